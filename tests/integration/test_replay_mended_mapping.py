"""Accession numbers were read from the wrong field for long: mended, replayed from raw, and every study is linked."""

import json
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest
from running_stack import DOSESTREAM, RunningStack, wait_until

from dosestream.cli import watch
from dosestream.simulate.history import OVER_DAYS, history
from dosestream.simulate.main import await_truth
from dosestream.simulate.play import Ports, play
from dosestream.simulate.score import score
from dosestream.simulate.truth import Line

pytestmark = [pytest.mark.stack, pytest.mark.timeout(600)]

BASE = datetime.now(UTC).date() - timedelta(days=OVER_DAYS)
PATIENCE_S = 120.0
WRONG = '[[mapping.rule]]\nevent = "order"\nfield = "accession_number"\npaths = ["MSH-10"]\n'


def told(stack: RunningStack, seed: int) -> list[Line]:
    drawn = history(seed, BASE, days=1, sites=1, studies_a_day=10, compressed=True)
    assert play(drawn.timeline, Ports.of(stack.ready), PATIENCE_S).surprises == ()
    wait_until(
        lambda: watch.behind(stack.ready["kafka"], stack.ready["postgres"]) == 0, "the ledger's end", 90
    )
    return list(drawn.truth())


def replay(stack: RunningStack, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [DOSESTREAM, "replay", *arguments, "--ready-file", str(stack.ready_file)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300)


def by_accession(stack: RunningStack) -> int:
    """How many studies are linked by their accession number."""
    with psycopg.connect(stack.ready["postgres"]) as connection:
        row = connection.execute("SELECT count(*) FROM dose.study WHERE link_method = 'accession'").fetchone()
    return 0 if row is None else int(row[0])


def test_a_mended_mapping_replayed_from_raw_links_every_study_and_the_report_says_so(
    tmp_path: Path, start_stack: Callable[..., RunningStack]
) -> None:
    config, report = tmp_path / "dosestream.toml", tmp_path / "report.jsonl"
    config.write_text(WRONG)
    stack = start_stack("--config", str(config))
    lines = told(stack, 7301)
    unmended = score(stack.ready["postgres"], lines)
    assert unmended.strong_right < unmended.strong
    assert by_accession(stack) == 0

    stack.stop()
    config.write_text("")
    stack = start_stack("--config", str(config))
    done = replay(stack, "--from", "raw", "--swap", "--report", str(report))
    assert done.returncode == 0, done.stderr
    assert await_truth(stack.ready["postgres"], lines, PATIENCE_S) == []
    assert score(stack.ready["postgres"], lines).wrong == ()
    linked = by_accession(stack)
    assert linked > 0

    assert "messages mapped otherwise: accession_number" in done.stderr
    *differences, last = map(json.loads, report.read_text().splitlines())
    summary = last["summary"]
    assert summary["columns"]["accession_number"] >= linked
    assert (
        sum(
            one["studies"]
            for one in summary["changes"]
            if (one["column"], one["next"]) == ("link_method", "accession")
        )
        == linked
    )
    studies = [one for one in differences if one["table"] == "study"]
    for one in studies:
        if one["columns"].get("link_method", {}).get("next") == "accession":
            assert "messages mapped otherwise: accession_number" in one["why"]
            assert any("accession_number" in fact["fields"] for fact in one["facts"]["changed"])

    # Live goes on from the normalised topics, as they are mapped now.
    more = told(stack, 7302)
    assert await_truth(stack.ready["postgres"], lines + more, PATIENCE_S) == []

    # From the normalised topics the old mapping would come back.
    refused = replay(stack, "--from", "normalised", "--swap")
    assert (refused.returncode, "use --from raw" in refused.stderr) == (2, True)

    # Published, the events change nothing here.
    done = replay(stack, "--from", "raw", "--publish")
    assert done.returncode == 0, done.stderr
    assert "are published as they are mapped now" in done.stderr
    assert "the public rows are the same" in done.stderr
    wait_until(
        lambda: watch.behind(stack.ready["kafka"], stack.ready["postgres"]) == 0, "the ledger's end", 90
    )
    assert await_truth(stack.ready["postgres"], lines + more, PATIENCE_S) == []
