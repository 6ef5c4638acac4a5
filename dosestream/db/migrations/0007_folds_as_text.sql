-- A fold is read and written whole: as text it is neither taken apart nor put together by the server.
ALTER TABLE patient ALTER COLUMN fold DROP DEFAULT;
ALTER TABLE patient ALTER COLUMN fold TYPE text USING fold::text;
ALTER TABLE patient ALTER COLUMN fold SET DEFAULT '{}';
