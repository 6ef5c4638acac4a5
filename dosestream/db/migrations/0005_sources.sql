-- How far each source has come. Lateness and silence are the site's at the last batch that heard of the source.
CREATE TABLE source (
    source text PRIMARY KEY,
    spoken_of timestamptz NOT NULL,
    last_received_at timestamptz NOT NULL,
    lateness interval NOT NULL,
    silence interval NOT NULL
);
