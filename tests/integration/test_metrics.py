"""What the services say of themselves on a real stack."""

import os
import signal
import time
from collections.abc import Iterator

import pytest
from running_stack import RunningStack, children, wait_until
from scraping import health, scrape, total

from dosestream.cli import watch
from dosestream.cli.service import SERVICES
from dosestream.client.send import MllpSender, code
from dosestream.metrics.names import METRICS

pytestmark = [pytest.mark.stack, pytest.mark.timeout(300)]


def message(control: str, kind: str = "ADT^A08", pid: str = "PID|||MET1^^^HOSP||Metric^Maria\r") -> bytes:
    return f"MSH|^~\\&|METRICS|HOSP|DS|X|20260301||{kind}|{control}|P|2.5\rEVN||2026\r{pid}".encode()


def send(stack: RunningStack, *messages: bytes) -> list[str]:
    with MllpSender(stack.ready["mllp"]["host"], stack.ready["mllp"]["port"]) as sender:
        return [code(sender.send(one)) for one in messages]


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStack]:
    """Two workers of ingest, so that their pages are joined."""
    folder = tmp_path_factory.mktemp("metrics")
    config = folder / "dosestream.toml"
    config.write_text("[mllp]\nworkers = 2\ngather = 0\n")
    with RunningStack.start(folder, "--config", str(config)) as running:
        yield running


@pytest.mark.parametrize("service", SERVICES)
def test_every_service_is_live_and_ready_and_shows_only_metrics_of_the_table(
    stack: RunningStack, service: str
) -> None:
    url = stack.ready["metrics"][service]
    assert health(url, "live")[0] == 200, health(url, "live")
    wait_until(lambda: health(url, "ready")[0] == 200, f"{service} is ready")
    shown = {one.name for one in scrape(url) if one.name.startswith("dosestream_")}
    known = {
        name
        for metric in METRICS
        for name in (metric, *(f"{metric}_{end}" for end in ("bucket", "sum", "count")))
    }
    assert "dosestream_ready" in shown
    assert shown <= known
    assert total(scrape(url), "dosestream_scrape_failures_total") == 0


def test_messages_are_counted_by_source_type_and_answer_over_all_workers(stack: RunningStack) -> None:
    url = stack.ready["metrics"]["ingest"]
    before = scrape(url)
    unique = str(time.time_ns())
    answers = [
        heard
        for number in range(8)
        for heard in send(stack, message(f"{unique}-{number}"), message(f"{unique}-r{number}", "ADT^Z99"))
    ]
    assert answers == ["AA", "AR"] * 8
    after = scrape(url)

    def grown(name: str, **labels: str) -> float:
        return total(after, name, **labels) - total(before, name, **labels)

    assert grown("dosestream_messages_total", source="METRICS|HOSP", type="ADT^A08", answer="AA") == 8
    assert grown("dosestream_messages_total", source="METRICS|HOSP", type="ADT^other", answer="AR") == 8
    assert grown("dosestream_answer_seconds_count") == 16
    assert grown("dosestream_rejected_total") == 8
    assert grown("dosestream_events_total", topic="radiology.patient.v1") == 8
    assert total(after, "dosestream_workers") == 2


def test_a_committed_row_is_timed_and_the_lag_goes_to_nothing(stack: RunningStack) -> None:
    url = stack.ready["metrics"]["reconciler"]
    before = total(scrape(url), "dosestream_row_seconds_count")
    send(stack, message(f"row-{time.time_ns()}"))
    wait_until(lambda: total(scrape(url), "dosestream_row_seconds_count") > before, "the row is timed")
    wait_until(lambda: watch.behind(stack.ready["kafka"], stack.ready["postgres"]) == 0, "at rest", 60)

    def caught_up() -> bool:
        values = scrape(url)
        clock = total(values, "dosestream_lag_records", topic="radiology.clock.v1")
        ledger = total(values, "dosestream_ledger_offset", topic="radiology.patient.v1")
        return ledger > 0 and total(values, "dosestream_lag_records") == clock

    wait_until(caught_up, "no lag")
    assert total(scrape(url), "dosestream_source_silence_limit_seconds", source="METRICS|HOSP") == 240 * 60


def test_a_worker_that_hangs_is_seen_and_the_others_go_on(stack: RunningStack) -> None:
    url = stack.ready["metrics"]["ingest"]
    parent = stack.pid("ingest")
    assert parent is not None
    worker = children(parent)[0]
    os.kill(worker, signal.SIGSTOP)
    try:
        assert total(scrape(url), "dosestream_workers") == 1
        assert health(url, "live")[0] == 200
    finally:
        os.kill(worker, signal.SIGCONT)
    wait_until(lambda: total(scrape(url), "dosestream_workers") == 2, "both again")


def test_with_the_broker_away_the_services_that_need_it_are_live_and_not_ready(stack: RunningStack) -> None:
    broker = stack.pid("kafka.Kafka")
    assert broker is not None
    urls = stack.ready["metrics"]
    os.kill(broker, signal.SIGSTOP)
    try:
        for service in ("arrivals", "reconciler", "ingest"):
            wait_until(lambda url=urls[service]: health(url, "ready")[0] == 503, f"{service} says so")  # type: ignore[misc]
            assert health(urls[service], "live")[0] == 200
        assert health(urls["worklist"], "ready")[0] == 200
        assert total(scrape(urls["arrivals"]), "dosestream_ready", check="kafka") == 0
    finally:
        os.kill(broker, signal.SIGCONT)
    for service in ("arrivals", "reconciler", "ingest"):
        wait_until(lambda url=urls[service]: health(url, "ready")[0] == 200, f"{service} again", 60)  # type: ignore[misc]


def test_a_service_that_is_killed_serves_at_the_same_address_again(stack: RunningStack) -> None:
    url = stack.ready["metrics"]["worklist"]
    stack.kill("worklist")

    def again() -> bool:
        try:
            return health(url, "ready")[0] == 200
        except OSError:
            return False

    wait_until(again, "the worklist is ready again", 60)
