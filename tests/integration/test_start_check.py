"""A service and topics that are not as they should be: told at its start, mended by `topics apply`."""

import os
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from own_broker import own_broker
from running_stack import DOSESTREAM, wait_until
from scraping import health
from test_ingest import Ingest

from dosestream.embedded import ports
from dosestream.kafka.cluster import Cluster
from dosestream.kafka.plan import plan
from dosestream.kafka.topics import Topic
from dosestream.kafka.wanted import WantedTopic, wanted_topics
from dosestream.settings import KafkaSettings

pytestmark = [pytest.mark.stack, pytest.mark.timeout(300)]


@pytest.fixture
def neglected(tmp_path: Path) -> Iterator[KafkaSettings]:
    """A broker with one topic missing and three that are not as they should be."""

    def spoilt(one: WantedTopic) -> WantedTopic:
        if one.name == Topic.PATIENT:
            return replace(one, partitions=1)
        if one.name == Topic.APPOINTMENT:
            return replace(one, config={**one.config, "cleanup.policy": "compact"})
        if one.name == Topic.REPORT:
            return replace(one, config={**one.config, "max.message.bytes": "1048588"})
        return one

    with own_broker(tmp_path / "broker", topics=False) as kafka:
        made = {one.name: spoilt(one) for one in wanted_topics(kafka, site=False) if one.name != Topic.ORDER}
        Cluster(kafka).make(plan(made.values(), {}), made)
        yield kafka


def said_of_topics(ingest: Ingest) -> list[str]:
    """What the log says of topics as an error."""
    lines = ingest.log.read_text().splitlines()
    return [line.partition(" ERROR ingest ")[2] for line in lines if " ERROR ingest radiology." in line]


def test_a_service_tells_each_fault_of_its_topics_and_is_ready_once_none_is_missing(
    neglected: KafkaSettings, tmp_path: Path
) -> None:
    port = ports.free(set())
    url, config = f"http://127.0.0.1:{port}", f"[metrics]\nport = {port}\n"
    ingest = Ingest(neglected, tmp_path, config)
    try:
        wait_until(lambda: "topics" in wrong(url), "it is not ready", 60)
        assert wrong(url) == {"topics": f"topics are missing: {Topic.ORDER}"}
        told = said_of_topics(ingest)
        faults = {Topic.PATIENT: "1 of 4 partitions", Topic.ORDER: "not there", Topic.REPORT: "1048588 bytes"}
        faults[Topic.APPOINTMENT] = "cleanup.policy compact"
        assert len(told) == len(faults)
        for topic, fault in faults.items():
            (line,) = [one for one in told if one.startswith(f"{topic} ")]
            assert fault in line
            assert "`dosestream topics apply`" in line
        mend(neglected)
        wait_until(lambda: wrong(url) == {}, "it is ready", 60)
        assert said_of_topics(ingest) == told
    finally:
        assert ingest.stop() == 0
    ingest.log.unlink()
    again = Ingest(neglected, tmp_path, config)
    wait_until(lambda: wrong(url) == {}, "it is ready", 60)
    assert again.stop() == 0
    assert said_of_topics(again) == []


def wrong(url: str) -> dict[str, str]:
    """The checks of being ready that fail."""
    _, checks = health(url, "ready")
    return {name: said for name, said in checks.items() if said != "ok"}


def mend(kafka: KafkaSettings) -> None:
    """As the line says."""
    environ = {**os.environ, "DOSESTREAM_KAFKA": kafka.bootstrap}
    done = subprocess.run(
        [DOSESTREAM, "topics", "apply", "--embedded"],
        env=environ,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
