"""docs/scaling.md tells what was measured (bench/scale.json) and what the model makes of it, and metrics that exist."""

import re
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from dosestream.metrics.names import METRICS

sys.path.insert(0, str(Path(__file__).parents[3] / "bench"))

from region import RUNS, Measured, by_day, costs, held, read, reckoned, region

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "scaling.md").read_text(encoding="utf-8")

ONE = Measured(
    messages_a_day=36_000,
    adt_share=0.8,
    hl7=900,
    dicom=100,
    kinds={},
    hl7_bytes=0,
    dicom_bytes=0,
    sent_s=1000,
    took_s=1000,
    resting={},
    processor_s={
        "ingest": 1.0,
        "arrivals": 1.0,
        "reconciler, applying": 2.0,
        "PostgreSQL": 3.0,
        "Kafka": 1.0,
    },
    topics={"radiology.hl7.raw.v1": (1000, 1_000_000), "radiology.audit.v1": (1000, 100_000)},
    tables={"patient": 50_000, "fact": 200_000},
    people=100,
    log_bytes=1_000_000,
    rate=0,
)
DAYS = by_day(read(RUNS))


@pytest.mark.parametrize("runs", DAYS, ids=[f"the day of {runs[0].messages_a_day:,}" for runs in DAYS])
def test_the_page_shows_what_the_model_makes_of_the_runs(runs: list[Measured]) -> None:
    """Otherwise copy what `python bench/region.py` prints."""
    assert reckoned(runs).partition("\n\n")[2] in PAGE


def test_the_page_shows_what_was_measured() -> None:
    assert costs(read(RUNS)) in PAGE
    assert held(read(RUNS)) in PAGE


def test_the_page_names_metrics_that_exist() -> None:
    named = set(re.findall(r"`(dosestream_\w+)", PAGE))
    assert named
    assert named <= set(METRICS)


def test_a_region_needs_in_proportion_to_its_messages() -> None:
    """One hospital: 3,600 messages in the busiest hour, one a second; a message costs 5 ms of the chain that applies it."""
    one, many = region([ONE], 1, people=1000), region([ONE], 300, people=1000)
    assert one.peak == 1
    assert one.processors["PostgreSQL"] == pytest.approx(0.006)
    # 1.5 processors of applying and waiting, half of it busy at most.
    assert (one.reconcilers, many.reconcilers) == (1, 3)
    assert (one.partitions, many.partitions) == (12, 12)
    # The audit trail is as long as it is kept: three years.
    kept = 36_000 * 3 * (1000 * 3650 + 100 * 3 * 365)
    assert one.topic_bytes[1] == pytest.approx(kept)
    # Of people each has one row, whatever is said of them.
    assert one.table_bytes[1] == pytest.approx(36_000 * 3650 * 200 + 1000 * 500)
    assert many.table_bytes[1] == pytest.approx(300 * one.table_bytes[1])


def test_a_message_costs_what_it_did_at_the_rate_that_comes_next_below() -> None:
    fast = replace(ONE, sent_s=10, processor_s={name: cost / 10 for name, cost in ONE.processor_s.items()})
    assert region([ONE, fast], 99).processors["Kafka"] == pytest.approx(99 * 0.001 / 0.5)
    assert region([ONE, fast], 100).processors["Kafka"] == pytest.approx(100 * 0.0001 / 0.5)
