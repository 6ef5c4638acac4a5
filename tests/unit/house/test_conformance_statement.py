"""docs/conformance.md says what the code does: its tables, and the contexts that are really accepted."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields
from functools import cache
from typing import Any

import pytest
from confluent_kafka import Producer
from conformance_tables import BESIDES, PAGE, TABLES, shown, storage_classes
from pynetdicom import AE, build_context

from dosestream.dose.rejection_note import KEY_OBJECT_SELECTION
from dosestream.events.records import Appointment, Order, Patient, Report
from dosestream.mapping import defaults
from dosestream.settings import DicomSettings, KafkaSettings, PostgresSettings, Settings, WorklistSettings
from services.arrivals.listener import Listener as ArrivalsListener
from services.arrivals.service import Arrivals
from services.worklist.finder import Finder
from services.worklist.listener import Listener as WorklistListener

TEXT = PAGE.read_text(encoding="utf-8")
IMPLICIT = "1.2.840.10008.1.2"
CLUSTERS: list[Producer] = []
# What an association may propose (PS3.8 9.3.2.2).
MOST_CONTEXTS = 128
# Fields that the prose under the table tells of, or that are not read from fields of a message.
TOLD_IN_PROSE = {
    "weight_kg",
    "height_m",
    "prior_visit_number",
    "patient",
    "action",
    "trigger",
    "paths",
    "scheduled_cleared",
    "text",
    "text_digest",
    "attachments",
    "event_time_path",
    "ended_at",
}
ENVELOPE = {
    "event_id",
    "source",
    "control_id",
    "received_at",
    "raw_partition",
    "raw_offset",
    "message_type",
    "message_time",
    "sequence_number",
}


@pytest.mark.parametrize("name", TABLES)
def test_the_table_is_what_the_code_offers(name: str) -> None:
    """Otherwise: python tests/unit/house/conformance_tables.py"""
    assert shown(TEXT, name) == TABLES[name]()


@pytest.mark.parametrize(
    ("event", "kind"),
    [("patient", Patient), ("order", Order), ("report", Report), ("appointment", Appointment)],
)
def test_every_field_of_an_event_is_in_the_table(event: str, kind: Any) -> None:
    listed = set(defaults.readers(event)) | set(BESIDES[event])
    told = TOLD_IN_PROSE | ({"accession_number"} if event == "appointment" else set())
    assert {one.name for one in fields(kind)} - ENVELOPE - told <= listed


@cache
def mock_kafka() -> KafkaSettings:
    """A mock cluster that lives as long as the process."""
    CLUSTERS.append(Producer({"test.mock.num.brokers": 1, "bootstrap.servers": "mock", "log_level": 0}))
    broker = next(iter(CLUSTERS[0].list_topics(timeout=60).brokers.values()))
    return KafkaSettings(bootstrap=f"{broker.host}:{broker.port}")


@contextmanager
def arrivals() -> Iterator[int]:
    """The port of the listener of arrivals, beside a mock cluster; nothing is stored."""
    settings = Settings(kafka=mock_kafka(), dicom=DicomSettings(port=0))
    service = Arrivals(settings)
    listener = ArrivalsListener(settings, service.intake)
    try:
        yield listener.port
    finally:
        listener.stop_accepting()
        listener.close()
        service.stop()


@contextmanager
def worklist() -> Iterator[int]:
    """The port of the worklist's listener; nothing is found."""
    # No database is there, and none is needed to associate.
    url = "postgresql://nobody@127.0.0.1:9/dosestream"
    settings = Settings(postgres=PostgresSettings(url=url), worklist=WorklistSettings(port=0))
    finder = Finder(settings)
    listener = WorklistListener(settings.worklist, finder)
    try:
        yield listener.port
    finally:
        listener.close()
        finder.close()


def accepted(port: int, called: str, proposed: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Those of the abstract and transfer syntaxes that associations are accepted with."""
    found: list[tuple[str, str]] = []
    for start in range(0, len(proposed), MOST_CONTEXTS):
        ae: Any = AE(ae_title="CONSOLE")
        ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = 30
        contexts = [build_context(*one) for one in proposed[start : start + MOST_CONTEXTS]]
        association = ae.associate("127.0.0.1", port, contexts=contexts, ae_title=called)
        assert association.is_established or association.is_aborted
        found += [
            (str(one.abstract_syntax), str(one.transfer_syntax[0])) for one in association.accepted_contexts
        ]
        if association.is_established:
            association.release()
    return found


def uids(name: str, entity: str = "") -> list[str]:
    """The UIDs in a table of the page, of one application entity's rows."""
    rows = [row for row in shown(TEXT, name).splitlines() if row.startswith(f"| {entity} |") or not entity]
    return re.findall(r"\b1\.2\.840\.10008[.\d]+", "\n".join(rows))


def test_arrivals_accepts_the_contexts_of_the_page_and_no_others() -> None:
    classes = uids("dicom-classes", "DOSESTREAM") + uids("dicom-storage")
    assert len(classes) == len(set(classes)) == len(storage_classes()) + 4
    others = ["1.2.840.10008.5.1.4.31", "1.2.840.10008.5.1.4.1.2.2.1", "1.2.840.10008.5.1.4.1.2.2.2"]
    with arrivals() as port:
        found = accepted(port, "DOSESTREAM", [(uid, IMPLICIT) for uid in (*classes, *others)])
        assert sorted(found) == sorted((uid, IMPLICIT) for uid in classes)
        syntaxes = [(KEY_OBJECT_SELECTION, uid) for uid in uids("dicom-syntaxes")]
        assert sorted(accepted(port, "DOSESTREAM", syntaxes)) == sorted(syntaxes)


def test_the_worklist_accepts_the_contexts_of_the_page_and_no_others() -> None:
    classes = uids("dicom-classes", "DOSESTREAM_WL")
    syntaxes = [
        uid
        for row in shown(TEXT, "dicom-syntaxes").splitlines()
        for uid in re.findall(r"\b1\.2\.840\.10008[.\d]+", row)
        if row.rstrip("| ").endswith("worklist")
    ]
    others = [uid for uid in uids("dicom-syntaxes") if uid not in syntaxes]
    assert syntaxes and others
    proposed = [(uid, syntax) for uid in classes for syntax in (*syntaxes, *others)]
    with worklist() as port:
        proposed += [(KEY_OBJECT_SELECTION, IMPLICIT)]
        found = accepted(port, "DOSESTREAM_WL", proposed)
    assert sorted(found) == sorted((uid, syntax) for uid in classes for syntax in syntaxes)
