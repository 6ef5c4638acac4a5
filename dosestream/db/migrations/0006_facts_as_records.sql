-- Of orders, decisions and appointments the record itself is kept, and no header beside it; facts stored before
-- keep theirs. Rows that are often written again find room for it on their page.
ALTER TABLE fact ALTER COLUMN header DROP NOT NULL;
ALTER TABLE identifier SET (fillfactor = 80);
ALTER TABLE patient SET (fillfactor = 80);
ALTER TABLE study SET (fillfactor = 80);
