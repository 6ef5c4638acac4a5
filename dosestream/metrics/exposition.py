"""Readings as Prometheus' text format."""

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final, NamedTuple

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
)
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.registry import Collector

from dosestream.metrics.histogram import Histogram
from dosestream.metrics.names import SCRAPE_FAILURES, Kind, Metric

log = logging.getLogger("dosestream.metrics")

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"


class Sample(NamedTuple):
    """One value of a metric, with the values of its labels in their order."""

    metric: Metric
    value: float | Histogram
    labels: tuple[str, ...] = ()


# Read at each scrape, on the scrape's thread; may raise, and is left out then.
Reading = Callable[[], Iterable[Sample]]
# The same as Prometheus' own families, such as another process told them.
Families = Callable[[], Iterable[Family]]


class Exposition(Collector):
    """All readings of one service, and its process's own: CPU time, memory, open files."""

    def __init__(self, readings: Sequence[Reading], others: Families = tuple) -> None:
        self._readings = tuple(readings)
        self._others = others
        self._failures = 0
        self._process = ProcessCollector(registry=None)
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)

    def text(self) -> bytes:
        """What `/metrics` answers."""
        return generate_latest(self._registry)

    def collect(self) -> Iterator[Family]:
        """Called by the registry."""
        families: dict[str, Family] = {one.name: one for one in self._process.collect()}
        for reading in self._readings:
            try:
                samples = list(reading())
            except Exception as error:
                # What it could not read may stand in the error's text.
                log.warning("a reading for the metrics failed: %s", type(error).__name__)
                self._failures += 1
                continue
            for sample in samples:
                _add(families, sample)
        _add(families, Sample(SCRAPE_FAILURES, self._failures))
        by_name = {family.name: family for family in families.values()}
        for other in self._others():
            if (same := by_name.get(other.name)) is not None:
                same.samples.extend(other.samples)
            else:
                by_name[other.name] = other
        yield from by_name.values()


def _add(families: dict[str, Family], sample: Sample) -> None:
    metric, value, labels = sample
    family = families.get(metric.name)
    if isinstance(value, Histogram):
        if family is None:
            family = families[metric.name] = HistogramMetricFamily(
                metric.name, metric.help, labels=metric.labels
            )
        assert isinstance(family, HistogramMetricFamily)
        buckets, total = value.read()
        family.add_metric(labels, buckets, total)
        return
    if family is None:
        kind = CounterMetricFamily if metric.kind is Kind.COUNTER else GaugeMetricFamily
        family = families[metric.name] = kind(metric.name, metric.help, labels=metric.labels)
    assert isinstance(family, CounterMetricFamily | GaugeMetricFamily)
    family.add_metric(labels, value)
