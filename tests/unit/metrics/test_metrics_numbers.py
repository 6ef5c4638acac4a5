"""What is counted, and how it is shown: pure parts of the metrics."""

from collections.abc import Callable, Sequence

import pytest

from dosestream.kafka.records import Partition
from dosestream.kafka.topics import Topic
from dosestream.metrics import names
from dosestream.metrics.exposition import Exposition, Sample
from dosestream.metrics.heard import MOST, Heard
from dosestream.metrics.histogram import ANSWER, Histogram, cells_of
from dosestream.metrics.joined import joined
from dosestream.metrics.labels import Sources, folded, hl7_type, plain
from dosestream.metrics.names import METRICS, Kind
from dosestream.metrics.progress import lag
from dosestream.metrics.shared import shared_cells

TYPES = {
    "ORM^O01": "ORM^O01",
    "ORM^O01^ORM_O01": "ORM^O01",
    "ADT": "ADT",
    "": "none",
    "ORM^Smith": "ORM^other",
    "Smith^John": "other",
    "ZDS^Z01": "other",
}


@pytest.mark.parametrize("written", TYPES)
def test_a_message_type_is_shown_only_where_the_standard_lists_it(written: str) -> None:
    assert hl7_type(written) == TYPES[written]


def test_a_label_is_short_and_printable() -> None:
    assert plain("Müller\n" + "x" * 100) == "M_ller_" + "x" * 57
    assert plain("") == "none"


def test_sources_beyond_the_most_are_one_but_known_ones_never_are() -> None:
    sources = Sources({"RIS"}, most=2)
    assert [sources.label(one) for one in ("a", "b", "c", "RIS", "a")] == ["a", "b", "other", "RIS", "a"]


def test_counts_whose_labels_become_the_same_are_added() -> None:
    counts = {("a", "ORM^O01"): 2, ("a", "ORM^O01^ORM_O01"): 3}
    assert folded(counts, str, hl7_type) == {("a", "ORM^O01"): 5}


def test_what_a_sender_invents_does_not_grow_the_counts() -> None:
    heard = Heard()
    for number in range(3 * MOST):
        heard.add(f"sender {number}", "ADT^A08", "AA", 0.001)
    heard.add("x" * 1000, "ADT^A08", "AA", None)
    assert len(heard.counts) == MOST + 1
    assert sum(heard.counts.values()) == 3 * MOST + 1
    assert heard.seconds.read()[0][-1] == ("+Inf", 3 * MOST)


def one_by_one(histogram: Histogram, seconds: Sequence[float]) -> None:
    for one in seconds:
        histogram.observe(one)


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("observe", [one_by_one, Histogram.observe_all], ids=["one by one", "all at once"])
def test_a_histogram_counts_at_or_below_each_bound(
    shared: bool, observe: Callable[[Histogram, Sequence[float]], None]
) -> None:
    cells = shared_cells(cells_of(ANSWER)) if shared else None
    histogram = Histogram(ANSWER, cells)
    observe(histogram, (0.0005, 0.001, 0.0011, 3.0, 60.0))
    buckets, total = histogram.read()
    at = dict(buckets)
    assert (at["0.001"], at["0.0025"], at["2.5"], at["5.0"], at["10.0"], at["+Inf"]) == (2, 3, 3, 4, 4, 5)
    assert total == pytest.approx(63.0026)


def test_lag_is_what_lies_between_the_ledger_and_the_end_and_still_is_held() -> None:
    order, raw = str(Topic.ORDER), str(Topic.HL7_RAW)
    low = {Partition(order, 0): 0, Partition(order, 1): 50, Partition(raw, 0): 3}
    high = {Partition(order, 0): 10, Partition(order, 1): 60, Partition(raw, 0): 9}
    found = {
        (sample.metric.name, *sample.labels): sample.value
        for sample in lag({Partition(order, 0): 4}, low, high)
    }
    assert found == {
        ("dosestream_lag_records", order, "0"): 6,
        ("dosestream_ledger_offset", order, "0"): 4,
        # Nothing is applied yet, and the first fifty are gone.
        ("dosestream_lag_records", order, "1"): 10,
        ("dosestream_topic_records", order): 20,
        ("dosestream_topic_records", raw): 6,
    }


def test_the_page_shows_every_kind_and_a_reading_that_fails_is_counted() -> None:
    histogram = Histogram(ANSWER)
    histogram.observe(0.2)

    def broken() -> list[Sample]:
        raise ValueError("Smith^John")

    def good() -> list[Sample]:
        return [
            Sample(names.MESSAGES, 3, ("RIS", "ORM^O01", "AA")),
            Sample(names.IN_FLIGHT, 1),
            Sample(names.ANSWER_SECONDS, histogram),
        ]

    text = Exposition([broken, good]).text().decode()
    for line in (
        'dosestream_messages_total{answer="AA",source="RIS",type="ORM^O01"} 3.0',
        "dosestream_in_flight 1.0",
        'dosestream_answer_seconds_bucket{le="0.25"} 1.0',
        "dosestream_answer_seconds_count 1.0",
        "dosestream_scrape_failures_total 1.0",
        "# TYPE dosestream_messages_total counter",
    ):
        assert line in text
    assert "process_cpu_seconds_total" in text
    assert "Smith" not in text


def test_pages_of_workers_are_one_page_with_a_label() -> None:
    def page(count: int) -> str:
        return Exposition([lambda: [Sample(names.IGNORED, count)]]).text().decode()

    text = Exposition([], lambda: joined({"0": page(3), "1": page(4)})).text().decode()
    assert 'dosestream_ignored_total{worker="0"} 3.0' in text
    assert 'dosestream_ignored_total{worker="1"} 4.0' in text
    assert text.count("# TYPE dosestream_ignored_total") == 1
    assert text.count("# TYPE process_cpu_seconds_total") == 1
    assert 'process_cpu_seconds_total{worker="1"}' in text


@pytest.mark.parametrize("name", sorted(METRICS))
def test_a_metric_is_named_as_prometheus_asks(name: str) -> None:
    metric = METRICS[name]
    assert name.startswith("dosestream_")
    assert name.endswith("_total") == (metric.kind is Kind.COUNTER)
    assert metric.help.endswith(".")
