"""Keeps `radiology.dose.v1` as a table of another PostgreSQL. Needs psycopg besides what subscriber.py needs.

python sql_sink.py --bootstrap HOST:PORT --into postgresql://... [-X key=value ...] [--registry URL] [--to-end]

The rule of the topic: the highest revision of a key wins, whatever order or how often records come; a record without
value says that the row is gone. So a sink may begin anywhere and read anything twice.
"""

import argparse
import json
from typing import Any

import psycopg
from confluent_kafka import Message
from psycopg.types.json import Jsonb
from subscriber import Decoder, plain, records

TOPIC = "radiology.dose.v1"
# The row as it came, so that a field added later is there at once, and columns of what is asked often.
TABLE = """
CREATE TABLE IF NOT EXISTS study_dose (
    study_instance_uid text PRIMARY KEY,
    revision bigint NOT NULL,
    gone boolean NOT NULL DEFAULT false,
    dose jsonb NOT NULL,
    patient_id text GENERATED ALWAYS AS (dose->>'patient_id') STORED,
    accession_number text GENERATED ALWAYS AS (dose->>'accession_number') STORED,
    procedure_code text GENERATED ALWAYS AS (dose->>'procedure_code') STORED,
    link_state text GENERATED ALWAYS AS (dose->>'link_state') STORED,
    ct_dlp_total_mgycm double precision GENERATED ALWAYS AS ((dose->>'ct_dlp_total_mgycm')::double precision) STORED,
    dose_rp_total_gy double precision GENERATED ALWAYS AS ((dose->>'dose_rp_total_gy')::double precision) STORED
)
"""
UPSERT = """
INSERT INTO study_dose AS held (study_instance_uid, revision, dose) VALUES (%s, %s, %s)
ON CONFLICT (study_instance_uid) DO UPDATE SET revision = EXCLUDED.revision, dose = EXCLUDED.dose, gone = false
WHERE EXCLUDED.revision > held.revision
"""
# The row stays with its revision, without its content: an older record that is heard again does not bring it back.
GONE = "UPDATE study_dose SET gone = true, dose = '{}' WHERE study_instance_uid = %s"


def apply(connection: psycopg.Connection[Any], message: Message, decoder: Decoder) -> None:
    """One record into the table."""
    key, value = message.key().decode(), message.value()
    if value is None:
        connection.execute(GONE, (key,))
    else:
        row = decoder.decode(value)
        dose = json.loads(json.dumps(row, default=plain))
        connection.execute(UPSERT, (key, row["revision"], Jsonb(dose)))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--bootstrap", required=True)
    parser.add_argument("--into", required=True, metavar="URL")
    parser.add_argument("-X", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--registry")
    parser.add_argument("--to-end", action="store_true")
    given = parser.parse_args()
    client = {"bootstrap.servers": given.bootstrap, **dict(one.split("=", 1) for one in given.X)}
    decoder = Decoder(client, given.registry)
    with psycopg.connect(given.into, autocommit=True) as connection:
        connection.execute(TABLE)
        # From the beginning each time: the topic is compacted, so that is one record a study, and no offset to keep.
        for message in records(client, [TOPIC], given.to_end):
            apply(connection, message, decoder)


if __name__ == "__main__":
    main()
