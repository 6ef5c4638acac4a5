"""Decisions from the command line through a real broker into a real dose database."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import psycopg
import pytest
from reading import held, stored

from dosestream.db import ledger
from dosestream.db.apply import apply, derive_dirty, enter_live_generation
from dosestream.db.migrate import migrate
from dosestream.db.records import decode
from dosestream.events.codec import Codec
from dosestream.events.identity import patient_key
from dosestream.events.records import Decision, Demographics, Identifier, Patient
from dosestream.kafka.codec import codec_for
from dosestream.kafka.records import Partition, Record
from dosestream.kafka.topics import Topic
from dosestream.reconcile.rules import Rules
from dosestream.settings import KafkaSettings

START = 1_772_438_400_000_000


def decide(kafka: KafkaSettings, *arguments: str) -> subprocess.CompletedProcess[str]:
    """`dosestream ...` as typed beside a stack that the variables tell."""
    program = "from dosestream.cli import main; main()"
    return subprocess.run(
        [sys.executable, "-c", program, *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env=os.environ | {"DOSESTREAM_KAFKA": kafka.bootstrap, "DOSESTREAM_POSTGRES": "postgresql://nowhere"},
    )


def patient(number: int, value: str, name: str, prior: Sequence[str] = ()) -> Patient:
    """An ADT message; with `prior` a merge."""
    return Patient(
        event_id=f"{number:032d}",
        source="HIS|HOSP",
        control_id=f"M{number}",
        received_at=START + number,
        raw_partition=0,
        raw_offset=number,
        event_time=START + number,
        action="merge" if prior else "update",
        trigger="A40" if prior else "A08",
        patient=Demographics(identifiers=(Identifier(authority="HOSP", value=value),), name=name),
        prior_identifiers=tuple(Identifier(authority="HOSP", value=p) for p in prior),
    )


def test_a_decision_is_on_its_topic_with_what_was_typed(kafka: KafkaSettings) -> None:
    before = {r[:2] for r in held(kafka, Topic.DECISION)}
    result = decide(
        kafka, "reassign", "--study", "1.2.9", "--accession", "A9", "--by", "ANNA", "--reason", "wrong entry"
    )
    assert (result.returncode, result.stderr) == (0, "")
    (record,) = [r for r in held(kafka, Topic.DECISION) if r[:2] not in before]
    assert record.value is not None
    decision = codec_for(kafka).decode(record.value, Decision)
    assert (decision.kind, decision.study_instance_uid, decision.accession_number) == (
        "reassign",
        "1.2.9",
        "A9",
    )
    assert (decision.by, decision.reason, decision.withdrawn) == ("ANNA", "wrong entry", False)
    assert decision.event_id in result.stdout
    assert f"partition {record.partition.number} offset {record.offset}" in result.stdout
    assert "dose.study" in result.stdout


def test_a_decisions_key_is_made_with_the_stacks_own_secret(kafka: KafkaSettings, tmp_path: Path) -> None:
    (tmp_path / "secrets.json").write_text(json.dumps({"patient_key_secret": "its own"}))
    ready = {"kafka": kafka.bootstrap, "postgres": "postgresql://nowhere", "data_dir": str(tmp_path)}
    (tmp_path / "ready.json").write_text(json.dumps(ready))
    arguments = (
        "--prior",
        "HOSP:KEY1",
        "--patient",
        "HOSP:KEY2",
        "--ready-file",
        str(tmp_path / "ready.json"),
    )
    result = decide(kafka, "merge", *arguments)
    assert (result.returncode, result.stderr) == (0, "")
    keys = {message.key() for message in stored(kafka, lambda topic: topic == Topic.DECISION)}
    assert patient_key(b"its own", "HOSP", "KEY2") in keys


def test_an_unmerge_typed_and_taken_back_moves_the_patient(
    kafka: KafkaSettings, fresh_database: Callable[[], str]
) -> None:
    url = fresh_database()
    migrate(url)
    said = [patient(1, "P1", "DOE^JOE"), patient(2, "P2", "ROE^ANN"), patient(3, "P2", "", prior=["P1"])]
    told = [Record(Partition(str(Topic.PATIENT), 0), n, Codec().encode(e)) for n, e in enumerate(said)]
    known = {(r.partition, r.offset) for r in held(kafka, Topic.DECISION)}
    with psycopg.connect(url, autocommit=True) as connection:
        with connection.transaction(), connection.cursor() as cursor:
            enter_live_generation(cursor)
            ledger.begin(cursor, {told[0].partition: 0})

        def feed(records: Sequence[Record]) -> list[Any]:
            if records:
                with connection.transaction(), connection.cursor() as cursor:
                    enter_live_generation(cursor)
                    ledger.begin(cursor, {r.partition: r.offset for r in reversed(records)})
            decoded, stopped = decode(codec_for(kafka), records)
            assert not stopped
            apply(connection, Codec(), Rules(), decoded)
            while derive_dirty(connection, Codec(), Rules()):
                pass
            query = "SELECT patient_id, merged_into_id, patient_name FROM dose.patient ORDER BY patient_id"
            return connection.execute(query).fetchall()

        def heard() -> list[Record]:
            fresh = [r for r in held(kafka, Topic.DECISION) if (r.partition, r.offset) not in known]
            known.update((r.partition, r.offset) for r in fresh)
            return fresh

        merged = [("P1", "P2", "ROE^ANN"), ("P2", None, "ROE^ANN")]
        assert feed(told) == merged
        about = ("unmerge", "--prior", "HOSP:P1", "--patient", "HOSP:P2")
        assert decide(kafka, *about).returncode == 0
        assert feed(heard()) == [("P1", None, "DOE^JOE"), ("P2", None, "ROE^ANN")]
        assert decide(kafka, *about, "--withdraw").returncode == 0
        assert feed(heard()) == merged


@pytest.mark.parametrize("kind", ["link", "unlink", "exclude", "include", "merge"])
def test_every_kind_is_published_under_its_own_name(kafka: KafkaSettings, kind: str) -> None:
    order = ["--filler", "F1"] if kind in ("link", "unlink") else []
    about = ["--prior", "HOSP:1", "--patient", "HOSP:2"] if kind == "merge" else ["--study", "1.2.3", *order]
    result = decide(kafka, kind, *about)
    assert result.returncode == 0
    assert result.stdout.startswith(f"{kind}: decision ")
