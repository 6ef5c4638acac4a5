"""The modality worklist over the wire: what a console asks for, and what it gets, from a real dose database."""

import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import psycopg
import pytest
from pydicom import Dataset
from pydicom import Sequence as Items
from pynetdicom import AE
from pynetdicom.sop_class import (  # type: ignore[attr-defined, unused-ignore]
    ModalityWorklistInformationFind,
)
from test_apply import begin, feed, records, settle

from dosestream.db.migrate import migrate
from dosestream.embedded.postgres import EmbeddedPostgres
from dosestream.events.records import RequestReference
from dosestream.kafka.records import Partition, Record
from dosestream.kafka.topics import Topic
from dosestream.settings import PostgresSettings, Settings, SiteSettings, WorklistSettings
from services.worklist.finder import Finder
from services.worklist.listener import Listener

sys.path.insert(0, str(Path(__file__).parents[1] / "unit" / "reconcile"))

from said import adt, arrival, at, ct_report, order, person

Said = tuple[Topic, Any]
HEARD = (Topic.ORDER, Topic.STUDY, Topic.PATIENT, Topic.CLOCK)
HOUR = 3600
JOE = person("P1", name="DOE^JOE", birth_date="1970-01-02", sex="M")
ANN = person("P2", name="ROE^ANN", birth_date="1980-03-04", sex="F")
TARO = person("P3", name="YAMADA^TARO=山田^太郎=やまだ^たろう", sex="M")
BOB = person("P4", name="MÜLLER^BOB")


def scheduled(second: float, accession: str, who: Any, modality: str, start: float, **fields: Any) -> Said:
    given = {"filler_order_number": f"F{accession}", "requested_procedure_id": f"R{accession}"} | fields
    return Topic.ORDER, order(
        second,
        patient=who,
        accession_number=accession,
        modality=modality,
        scheduled_at=at(start),
        **given,
    )


# 2026-03-02 08:00 UTC is second 0.
DAY: list[Said] = [
    scheduled(
        1,
        "A1",
        JOE,
        "CT",
        HOUR,
        scheduled_step_id="S1",
        station_ae_title="CT1",
        station_name="ROOM1",
        study_instance_uid="1.2.826.1",
        procedure_code="CTHEAD",
        procedure_scheme="L",
        procedure_meaning="CT head",
        step_code="P7",
        step_scheme="L",
        step_meaning="Protocol 7",
        performing_physician="STRANGE^STEPHEN",
        referring_physician="HOUSE^GREGORY",
        allergies="Iodine",
        patient_state="ventilated",
        weight_kg="80.5",
        height_m="1.8",
        priority="STAT",
        placer_order_number="PL1",
    ),
    scheduled(2, "A2", ANN, "MR", 2 * HOUR, station_ae_title="MR1"),
    scheduled(3, "A3", TARO, "CT", 26 * HOUR, station_ae_title="CT2"),
    scheduled(4, "A4", BOB, "DX", 50 * HOUR),
    scheduled(5, "A_5", ANN, "CT", 2 * HOUR, station_ae_title="CT2"),
    # These are not offered: cancelled, begun, completed, put off, split into others, never scheduled.
    scheduled(6, "A6", JOE, "CT", HOUR),
    (Topic.ORDER, order(7, "CA", "CA", accession_number="A6", filler_order_number="FA6")),
    scheduled(8, "A7", JOE, "CT", HOUR),
    (Topic.ORDER, order(9, "SC", "IP", accession_number="A7", filler_order_number="FA7")),
    scheduled(10, "A8", JOE, "CT", HOUR),
    (Topic.ORDER, order(11, "SC", "CM", accession_number="A8", filler_order_number="FA8")),
    scheduled(12, "A9", JOE, "CT", HOUR),
    (Topic.ORDER, order(13, "HD", "HD", accession_number="A9", filler_order_number="FA9")),
]


@dataclass
class Console:
    """A modality that asks; the answers of one query at a time."""

    host: str
    port: int
    calling: str = "CONSOLE"
    statuses: list[int] = field(default_factory=list)

    def associate(self) -> Any:
        ae: Any = AE(ae_title=self.calling)
        ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = 30
        ae.add_requested_context(ModalityWorklistInformationFind)
        return ae.associate(self.host, self.port)

    def ask(self, identifier: Dataset, association: Any = None) -> list[Dataset]:
        with_own = association is None
        association = association or self.associate()
        assert association.is_established
        found = []
        self.statuses = []
        for status, answer in association.send_c_find(identifier, ModalityWorklistInformationFind):
            self.statuses.append(int(status.Status))
            if answer is not None:
                found.append(answer)
        if with_own:
            association.release()
        return found


def query(step: dict[str, str] | None = None, **keys: str | Sequence[str]) -> Dataset:
    """An identifier that asks for what consoles ask for, with these keys."""
    out, item = Dataset(), Dataset()
    for name in ("AccessionNumber", "PatientName", "PatientID", "IssuerOfPatientID", "RequestedProcedureID"):
        setattr(out, name, "")
    out.StudyInstanceUID = ""
    for name in ("Modality", "ScheduledStationAETitle", "ScheduledProcedureStepID"):
        setattr(item, name, "")
    item.ScheduledProcedureStepStartDate = item.ScheduledProcedureStepStartTime = ""
    for name, value in (step or {}).items():
        setattr(item, name, value)
    for name, values in keys.items():
        setattr(out, name, values)
    out.ScheduledProcedureStepSequence = Items([item])
    return out


def accessions(found: Sequence[Dataset]) -> list[str]:
    return [str(answer.AccessionNumber) for answer in found]


@dataclass
class Hospital:
    """A dose database and its worklist."""

    url: str
    console: Console
    told: list[Said] = field(default_factory=list)

    def tell(self, *said: Said) -> None:
        """More messages, after those told before."""
        before = len(self.told)
        self.told += said
        with psycopg.connect(self.url, autocommit=True) as connection:
            batch = records(self.told)
            if not before:
                begin(connection, [Record(Partition(str(topic), 0), 0, b"") for topic in HEARD])
            feed(connection, batch[before:])
            settle(connection)


@pytest.fixture
def new_hospital(fresh_database: Callable[[], str]) -> Iterator[Callable[..., Hospital]]:
    opened: list[tuple[Listener, Finder]] = []

    def make(said: Sequence[Said] = DAY, zone: str = "UTC", **settings: Any) -> Hospital:
        url = fresh_database()
        migrate(url)
        whole = replace(
            Settings(),
            site=SiteSettings(timezone=zone),
            postgres=PostgresSettings(url),
            worklist=WorklistSettings(port=0, **settings),
        )
        finder = Finder(whole)
        listener = Listener(whole.worklist, finder)
        opened.append((listener, finder))
        hospital = Hospital(url, Console(listener.host, listener.port))
        hospital.tell(*said)
        return hospital

    yield make
    for listener, finder in opened:
        listener.close()
        finder.close()


SPS = dict[str, str]
# What is asked, by keys of the step and of the request, and the accessions that answer.
ASKED: dict[str, tuple[SPS, dict[str, str | list[str]], list[str]]] = {
    "nothing is everything, the earliest first": ({}, {}, ["A1", "A2", "A_5", "A3", "A4"]),
    "a star is everything": ({"Modality": "*"}, {"PatientName": "*"}, ["A1", "A2", "A_5", "A3", "A4"]),
    "one modality": ({"Modality": "CT"}, {}, ["A1", "A_5", "A3"]),
    "a modality's case counts": ({"Modality": "ct"}, {}, []),
    "one station": ({"ScheduledStationAETitle": "CT2"}, {}, ["A_5", "A3"]),
    "a station by wildcard": ({"ScheduledStationAETitle": "CT?"}, {}, ["A1", "A_5", "A3"]),
    "a station's name": ({"ScheduledStationName": "ROOM*"}, {}, ["A1"]),
    "one day": ({"ScheduledProcedureStepStartDate": "20260302"}, {}, ["A1", "A2", "A_5"]),
    "several days": ({"ScheduledProcedureStepStartDate": "20260303-20260304"}, {}, ["A3", "A4"]),
    "from a day on": ({"ScheduledProcedureStepStartDate": "20260304-"}, {}, ["A4"]),
    "up to a day": ({"ScheduledProcedureStepStartDate": "-20260302"}, {}, ["A1", "A2", "A_5"]),
    "one time of any day": ({"ScheduledProcedureStepStartTime": "100000"}, {}, ["A2", "A_5", "A3", "A4"]),
    "from a time on, of any day": (
        {"ScheduledProcedureStepStartTime": "0930-"},
        {},
        ["A2", "A_5", "A3", "A4"],
    ),
    "up to a time of any day": ({"ScheduledProcedureStepStartTime": "-0930"}, {}, ["A1"]),
    "a day and a range of its times": (
        {"ScheduledProcedureStepStartDate": "20260302", "ScheduledProcedureStepStartTime": "0930-1200"},
        {},
        ["A2", "A_5"],
    ),
    "ranges of days and times are one period": (
        {
            "ScheduledProcedureStepStartDate": "20260302-20260304",
            "ScheduledProcedureStepStartTime": "0930-0959",
        },
        {},
        ["A2", "A_5", "A3"],
    ),
    "a name without regard to case": ({}, {"PatientName": "doe^joe"}, ["A1"]),
    "a name by its beginning": ({}, {"PatientName": "Ro*"}, ["A2", "A_5"]),
    "half a name is no name": ({}, {"PatientName": "DOE"}, []),
    "a name with an umlaut in another case": (
        {},
        {"SpecificCharacterSet": "ISO_IR 100", "PatientName": "müller*"},
        ["A4"],
    ),
    "a patient": ({}, {"PatientID": "P2"}, ["A2", "A_5"]),
    "a patient of an issuer": ({}, {"PatientID": "P2", "IssuerOfPatientID": "HOSP"}, ["A2", "A_5"]),
    "a patient of another issuer": ({}, {"PatientID": "P2", "IssuerOfPatientID": "OTHER"}, []),
    "patients by one character": ({}, {"PatientID": "P?"}, ["A1", "A2", "A_5", "A3", "A4"]),
    "an accession": ({}, {"AccessionNumber": "A3"}, ["A3"]),
    "an underscore is no wildcard": ({}, {"AccessionNumber": "A_5*"}, ["A_5"]),
    "a percent sign is no wildcard": ({}, {"AccessionNumber": "A%"}, []),
    "a requested procedure": ({}, {"RequestedProcedureID": "RA2"}, ["A2"]),
    "a step": ({"ScheduledProcedureStepID": "S1"}, {}, ["A1"]),
    "a performing physician": ({"ScheduledPerformingPhysicianName": "strange*"}, {}, ["A1"]),
    "one study": ({}, {"StudyInstanceUID": "1.2.826.1"}, ["A1"]),
    "a list of studies": ({}, {"StudyInstanceUID": ["1.2.826.1", "1.2.3.4"]}, ["A1"]),
}


def test_a_query_finds_what_its_keys_match(new_hospital: Callable[..., Hospital]) -> None:
    console = new_hospital().console
    association = console.associate()
    found = {
        name: accessions(console.ask(query(step, **keys), association))
        for name, (step, keys, _) in ASKED.items()
    }
    association.release()
    assert found == {name: expected for name, (_, _, expected) in ASKED.items()}


def test_an_answer_says_what_the_order_said(new_hospital: Callable[..., Hospital]) -> None:
    identifier = query(AccessionNumber="A1")
    for name in (
        "PatientBirthDate",
        "PatientSex",
        "PatientWeight",
        "PatientSize",
        "Allergies",
        "PatientState",
    ):
        setattr(identifier, name, None)
    for name in ("RequestedProcedureDescription", "ReferringPhysicianName", "RequestedProcedurePriority"):
        setattr(identifier, name, "")
    identifier.PlacerOrderNumberImagingServiceRequest = ""
    identifier.RequestedProcedureCodeSequence = Items([])
    identifier.ScheduledProcedureStepSequence[0].ScheduledProtocolCodeSequence = Items([Dataset()])
    (found,) = new_hospital().console.ask(identifier)
    step = found.ScheduledProcedureStepSequence[0]
    code, protocol = found.RequestedProcedureCodeSequence[0], step.ScheduledProtocolCodeSequence[0]
    said = {
        "PatientName": "DOE^JOE",
        "PatientID": "P1",
        "IssuerOfPatientID": "HOSP",
        "PatientBirthDate": "19700102",
        "PatientSex": "M",
        "PatientWeight": 80.5,
        "PatientSize": 1.8,
        "Allergies": "Iodine",
        "PatientState": "ventilated",
        "AccessionNumber": "A1",
        "StudyInstanceUID": "1.2.826.1",
        "RequestedProcedureID": "RA1",
        "RequestedProcedureDescription": "CT head",
        "RequestedProcedurePriority": "STAT",
        "ReferringPhysicianName": "HOUSE^GREGORY",
        "PlacerOrderNumberImagingServiceRequest": "PL1",
    }
    assert {name: getattr(found, name) for name in said} == said
    assert (code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning) == ("CTHEAD", "L", "CT head")
    assert (protocol.CodeValue, protocol.CodingSchemeDesignator, protocol.CodeMeaning) == (
        "P7",
        "L",
        "Protocol 7",
    )
    start = step.ScheduledProcedureStepStartDate, step.ScheduledProcedureStepStartTime
    assert (step.Modality, step.ScheduledStationAETitle, step.ScheduledProcedureStepID) == ("CT", "CT1", "S1")
    assert start == ("20260302", "090000")


def test_times_are_the_sites(new_hospital: Callable[..., Hospital]) -> None:
    console = new_hospital(zone="Asia/Tokyo").console
    step = {"ScheduledProcedureStepStartDate": "20260302", "ScheduledProcedureStepStartTime": "1800-1815"}
    (found,) = console.ask(query(step))
    assert found.ScheduledProcedureStepSequence[0].ScheduledProcedureStepStartTime == "180000"


# The query's character set, to that of an answer and the name it holds.
CHARSETS: dict[str, tuple[str | list[str], str, str | list[str], str]] = {
    "Japanese where asked for": (
        ["", "ISO 2022 IR 87"],
        "A3",
        ["", "ISO 2022 IR 87"],
        "YAMADA^TARO=山田^太郎=やまだ^たろう",
    ),
    "UTF-8 where asked for": ("ISO_IR 192", "A3", "ISO_IR 192", "YAMADA^TARO=山田^太郎=やまだ^たろう"),
    "UTF-8 where Latin-1 cannot say it": (
        "ISO_IR 100",
        "A3",
        "ISO_IR 192",
        "YAMADA^TARO=山田^太郎=やまだ^たろう",
    ),
    "UTF-8 where nothing was asked and ASCII cannot say it": ("", "A4", "ISO_IR 192", "MÜLLER^BOB"),
    "Latin-1 where it can": ("ISO_IR 100", "A4", "ISO_IR 100", "MÜLLER^BOB"),
    "what was asked where ASCII says it all": ("ISO_IR 144", "A1", "ISO_IR 144", "DOE^JOE"),
    "none where none is needed": ("", "A1", "", "DOE^JOE"),
}


def test_an_answer_is_in_the_character_set_of_the_query_where_that_can_say_it(
    new_hospital: Callable[..., Hospital],
) -> None:
    console = new_hospital().console
    found = {}
    for name, (asked, accession, _, _) in CHARSETS.items():
        identifier = query(AccessionNumber=accession)
        if asked:
            identifier.SpecificCharacterSet = asked
        (answer,) = console.ask(identifier)
        terms = answer.get("SpecificCharacterSet", "")
        found[name] = (terms if isinstance(terms, str) else list(terms), str(answer.PatientName))
    assert found == {name: (terms, who) for name, (_, _, terms, who) in CHARSETS.items()}


def test_a_japanese_name_is_found_in_its_own_character_set(new_hospital: Callable[..., Hospital]) -> None:
    identifier = query(SpecificCharacterSet=["", "ISO 2022 IR 87"], PatientName="山田*")
    assert accessions(new_hospital().console.ask(identifier)) == ["A3"]


def test_a_step_is_gone_once_its_study_was_heard_of(
    new_hospital: Callable[..., Hospital],
) -> None:
    hospital = new_hospital(DAY[:2])
    hospital.tell(
        (Topic.STUDY, arrival(HOUR, uid="1.2.9", patient=JOE, accession_number="A1", dose=ct_report("e1")))
    )
    assert accessions(hospital.console.ask(query())) == ["A2"]


def test_of_two_steps_the_one_performed_is_gone(new_hospital: Callable[..., Hospital]) -> None:
    both = [
        scheduled(n, "B1", JOE, "CT", n * HOUR, requested_procedure_id="RB", scheduled_step_id=f"S{n}")
        for n in (1, 2)
    ]
    hospital = new_hospital(both)
    offered = hospital.console.ask(query())
    steps = [a.ScheduledProcedureStepSequence[0] for a in offered]
    assert [s.ScheduledProcedureStepID for s in steps] == ["S1", "S2"]
    assert [s.ScheduledProcedureStepStartTime for s in steps] == ["090000", "100000"]
    assert len({a.StudyInstanceUID for a in offered}) == 1
    named = (RequestReference(accession_number="B1", scheduled_step_id="S1"),)
    hospital.tell(
        (Topic.STUDY, arrival(HOUR, uid="1.2.9", patient=JOE, accession_number="B1", requests=named))
    )
    (left,) = hospital.console.ask(query())
    assert left.ScheduledProcedureStepSequence[0].ScheduledProcedureStepID == "S2"


def test_after_a_merge_the_survivor_is_shown(new_hospital: Callable[..., Hospital]) -> None:
    hospital = new_hospital(DAY[:2])
    hospital.tell((Topic.PATIENT, adt(100, person("P9", name="DOE^JOSEPH", sex="M"), prior=person("P1"))))
    (found,) = hospital.console.ask(query(AccessionNumber="A1"))
    assert (found.PatientID, str(found.PatientName)) == ("P9", "DOE^JOSEPH")
    assert hospital.console.ask(query(PatientID="P1")) == []


def test_an_order_without_study_uid_gets_one_that_stays(new_hospital: Callable[..., Hospital]) -> None:
    hospital = new_hospital(DAY[:2])
    (before,) = hospital.console.ask(query(AccessionNumber="A2"))
    moved = order(
        50, "XO", "SC", patient=ANN, accession_number="A2", filler_order_number="FA2", scheduled_at=at(9)
    )
    hospital.tell((Topic.ORDER, moved))
    (after,) = hospital.console.ask(query(AccessionNumber="A2"))
    (elsewhere,) = new_hospital([DAY[1]]).console.ask(query(AccessionNumber="A2"))
    uids = {a.StudyInstanceUID for a in (before, after, elsewhere)}
    assert len(uids) == 1
    assert re.fullmatch(r"2\.25\.[1-9][0-9]{1,38}", uids.pop())


def test_more_than_the_limit_ends_with_a_warning(new_hospital: Callable[..., Hospital]) -> None:
    console = new_hospital(max_results=2).console
    assert accessions(console.ask(query())) == ["A1", "A2"]
    assert console.statuses == [0xFF00, 0xFF00, 0xB001]


def test_a_key_that_is_not_supported_is_told(new_hospital: Callable[..., Hospital]) -> None:
    console = new_hospital().console
    console.ask(query(AccessionNumber="A1", InstitutionName="ELSEWHERE"))
    assert console.statuses == [0xFF01, 0x0000]


@pytest.mark.parametrize(
    ("step", "keys"),
    [
        ({"ScheduledProcedureStepStartDate": "20260230"}, {}),
        ({"ScheduledProcedureStepStartDate": "tomorrow"}, {}),
        ({"ScheduledProcedureStepStartTime": "2500"}, {}),
        ({}, {"PatientBirthDate": "1970"}),
    ],
)
def test_a_date_that_is_none_is_refused_and_the_association_stays(
    new_hospital: Callable[..., Hospital], step: SPS, keys: dict[str, str]
) -> None:
    console = new_hospital(DAY[:1]).console
    association = console.associate()
    assert console.ask(query(step, **keys), association) == []
    assert console.statuses == [0xA900]
    assert accessions(console.ask(query(), association)) == ["A1"]
    association.release()


def test_a_cancelled_query_ends(new_hospital: Callable[..., Hospital]) -> None:
    many = [scheduled(n, f"C{n}", JOE, "CT", HOUR + n) for n in range(1, 300)]
    console = new_hospital(many).console
    association = console.associate()
    statuses: list[int] = []
    for status, _ in association.send_c_find(query(), ModalityWorklistInformationFind, msg_id=7):
        if not statuses:
            association.send_c_cancel(7, query_model=ModalityWorklistInformationFind)
        statuses.append(int(status.Status))
    association.release()
    assert statuses[-1] == 0xFE00
    assert len(statuses) < 300


def test_who_is_not_on_the_list_is_refused(new_hospital: Callable[..., Hospital]) -> None:
    console = new_hospital(DAY[:1], allowed_ae_titles=("CONSOLE",)).console
    assert accessions(console.ask(query())) == ["A1"]
    stranger = replace(console, calling="STRANGER").associate()
    assert stranger.is_rejected


def test_with_the_database_away_a_query_fails_in_time_and_is_answered_once_it_is_back(
    new_hospital: Callable[..., Hospital], embedded_postgres: EmbeddedPostgres
) -> None:
    console = new_hospital(DAY[:1]).console
    association = console.associate()
    assert accessions(console.ask(query(), association)) == ["A1"]
    embedded_postgres.stop(120)
    try:
        asked_at = time.monotonic()
        assert console.ask(query(), association) == []
        assert console.statuses == [0xC001]
        assert time.monotonic() - asked_at < 10
    finally:
        embedded_postgres.launch()
        embedded_postgres.wait_ready(200)
    assert accessions(console.ask(query(), association)) == ["A1"]
    association.release()


@pytest.mark.skipif(shutil.which("findscu") is None, reason="dcmtk (findscu) is not installed")
@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        (["0010,0010=doe*"], ["A1"]),
        (["0010,0020=P?", "(0040,0100)[0].Modality=CT"], ["A1", "A3", "A_5"]),
        (["(0040,0100)[0].ScheduledProcedureStepStartDate=20260302-20260303"], ["A1", "A2", "A3", "A_5"]),
        (
            [
                "(0040,0100)[0].ScheduledProcedureStepStartDate=20260302",
                "(0040,0100)[0].ScheduledProcedureStepStartTime=0930-",
            ],
            ["A2", "A_5"],
        ),
        (["(0040,0100)[0].ScheduledStationAETitle=CT2"], ["A3", "A_5"]),
    ],
)
def test_dcmtk_finds_the_same(
    new_hospital: Callable[..., Hospital], keys: list[str], expected: list[str]
) -> None:
    console = new_hospital().console
    command = ["findscu", "-W", "-k", "0008,0050"]
    for key in keys:
        command += ["-k", key]
    done = subprocess.run(
        [*command, console.host, str(console.port)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    said = re.findall(r"\(0008,0050\) SH \[([^\]]*)\]", done.stdout + done.stderr)
    assert sorted(found.strip() for found in said) == expected
