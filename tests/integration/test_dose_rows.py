"""Dose of a study in a real dose database: images and reports in any order, dose checks, administrations, the unread."""

from collections.abc import Callable, Sequence
from itertools import permutations
from typing import Any

import psycopg

from dosestream.db import ledger
from dosestream.db.apply import apply, derive_dirty, enter_live_generation
from dosestream.db.migrate import migrate
from dosestream.db.records import decode
from dosestream.events.codec import Codec
from dosestream.events.records import (
    Administration,
    Demographics,
    DoseCheck,
    DoseReport,
    DoseTotal,
    IrradiationEvent,
    OrganDose,
    Study,
    XRaySource,
)
from dosestream.kafka.records import Partition, Record
from dosestream.kafka.topics import Topic
from dosestream.reconcile.rules import Rules

CODEC, RULES = Codec(), Rules()
START = 1_772_438_400_000_000
UID = "1.2.826.0.1.2"
Connection = psycopg.Connection[Any]


def instance(number: int, kind: str, dose: DoseReport) -> Study:
    return Study(
        event_id=f"{number:032d}",
        source="ROOM1",
        control_id=f"M{number}",
        received_at=START + number,
        raw_partition=0,
        raw_offset=number,
        event_time=START + number,
        kind=kind,
        study_instance_uid=UID,
        sop_instance_uid=f"{UID}.{number}",
        sop_class_uid="1.2.3",
        modality="CT",
        study_at=START,
        patient=Demographics(),
        dose=dose,
    )


IMAGES = [
    instance(
        number,
        "image",
        DoseReport(
            template="10011",
            source="image",
            events=(
                IrradiationEvent(irradiation_event_uid="9.1", ctdivol_mgy=float(number), no_event_uid=True),
            ),
        ),
    )
    for number in (1, 3)
]
REPORT = instance(
    5,
    "dose_report",
    DoseReport(
        template="10011",
        totals=(
            DoseTotal(quantity="ct_dlp", value=1000.0, unit="mGy.cm", stored_value="1", stored_unit="Gy.cm"),
        ),
        events=(
            IrradiationEvent(
                irradiation_event_uid="9.1",
                dlp_mgycm=900.0,
                ctdivol_mgy=10.0,
                ctdi_phantom="BODY",
                measured={"water_equivalent_diameter_mm": 251.0, "focal_spot_mm": 0.6},
                described={"modulation": "XYZ_EC"},
                stored={"dlp_mgycm": "0.9 Gy.cm"},
                dose_checks=(
                    DoseCheck(kind="alert", dlp_configured=True, dlp_value_mgycm=800.0, reason="Trauma"),
                ),
                sources=(
                    XRaySource(number=1, kvp=80.0, measured={"tube_current_max_ma": 300.0}),
                    XRaySource(number=2, kvp=140.0),
                ),
            ),
        ),
        unread=("113838,DCM: 'n/a' is no number",),
    ),
)
NUCLEAR = instance(
    6,
    "dose_report",
    DoseReport(
        template="10021",
        administrations=(
            Administration(
                agent="FDG",
                started_at=START,
                activity_mbq=250.0,
                measured={"half_life_s": 6588.0},
                organ_doses=(OrganDose(organ="Kidney", laterality="L", dose_mgy=2.5),),
            ),
        ),
    ),
)


def told(connection: Connection, said: Sequence[Study]) -> dict[str, list[dict[str, Any]]]:
    """The dose rows after each instance was applied in a batch of its own."""
    partition = Partition(str(Topic.STUDY), 0)
    with connection.transaction(), connection.cursor() as cursor:
        enter_live_generation(cursor)
        ledger.begin(cursor, {partition: 0})
    for offset, event in enumerate(said):
        decoded, stopped = decode(CODEC, [Record(partition, offset, CODEC.encode(event))])
        assert not stopped
        apply(connection, CODEC, RULES, decoded)
    while derive_dirty(connection, CODEC, RULES):
        pass
    return {view: rows(connection, view) for view in VIEWS}


VIEWS = (
    "study",
    "dose_total",
    "irradiation_event",
    "xray_source",
    "dose_check",
    "administration",
    "organ_dose",
    "unread",
)


def rows(connection: Connection, view: str) -> list[dict[str, Any]]:
    cursor = connection.execute(f"SELECT * FROM dose.{view}")
    names = [column.name for column in cursor.description or ()]
    found = [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
    return sorted(
        ({n: v for n, v in row.items() if n not in ("revision", "updated_at")} for row in found), key=repr
    )


def test_images_tell_an_acquisition_until_a_report_comes(database: Connection) -> None:
    found = told(database, IMAGES)
    (event,), (study,) = found["irradiation_event"], found["study"]
    assert (event["ctdivol_mgy"], event["dose_source"], event["confidence"]) == (2.0, "image", "low")
    assert (study["dose_source"], study["dose_confidence"], study["event_count"]) == ("image", "low", 1)
    assert study["ct_dlp_total_mgycm"] is None


def test_every_part_of_a_report_has_its_row(database: Connection) -> None:
    found = told(database, [REPORT, NUCLEAR])
    (event,), (check,), (total,) = found["irradiation_event"], found["dose_check"], found["dose_total"]
    assert (event["water_equivalent_diameter_mm"], event["modulation"]) == (251.0, "XYZ_EC")
    assert (event["lateral_dimension_mm"], event["stored"]) == (None, {"dlp_mgycm": "0.9 Gy.cm"})
    assert (event["ssde_mgy"], round(event["ssde_computed_mgy"], 2)) == (None, 14.74)
    assert (event["ssde_computed_method"], event["ssde_diameter_mm"]) == (
        "AAPM 220 water-equivalent diameter",
        251.0,
    )
    assert (check["kind"], check["dlp_configured"], check["ctdivol_configured"]) == ("alert", True, None)
    assert (check["dlp_value_mgycm"], check["reason"], check["person"]) == (800.0, "Trauma", None)
    assert (total["stated"], total["from_events"], total["differs"]) == (1000.0, 900.0, True)
    assert (total["stored_value"], total["stored_unit"], total["confidence"]) == ("1", "Gy.cm", "high")
    assert [row["tube_current_max_ma"] for row in found["xray_source"]] == [300.0, None]
    (given,), (organ,), (unread,) = found["administration"], found["organ_dose"], found["unread"]
    assert (given["agent"], given["activity_mbq"], given["half_life_s"]) == ("FDG", 250.0, 6588.0)
    assert (organ["organ"], organ["laterality"], organ["dose_mgy"]) == ("Kidney", "L", 2.5)
    assert unread["item"].startswith("113838,DCM")
    assert found["study"][0]["dose_source"] == "rdsr"


def test_any_order_of_images_and_reports_gives_the_same_rows(fresh_database: Callable[[], str]) -> None:
    seen = []
    for said in list(permutations([*IMAGES, REPORT, NUCLEAR]))[::7]:
        url = fresh_database()
        migrate(url)
        with psycopg.connect(url, autocommit=True) as connection:
            seen.append(told(connection, said))
    assert len(seen) == 4
    assert all(one == seen[0] for one in seen)
    assert [row["dose_source"] for row in seen[0]["irradiation_event"]] == ["rdsr"]
