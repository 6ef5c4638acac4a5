"""Reading a service's `/metrics` and health as Prometheus and an orchestrator do."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.error import HTTPError
from urllib.request import urlopen

from prometheus_client.parser import text_string_to_metric_families

TIMEOUT_S = 20.0


@dataclass(frozen=True)
class Value:
    """One sample; labels in the order of their names."""

    name: str
    labels: tuple[tuple[str, str], ...]
    value: float

    def has(self, **labels: str) -> bool:
        """Whether these labels are among its own."""
        return labels.items() <= dict(self.labels).items()


def get(url: str, timeout_s: float = TIMEOUT_S) -> tuple[int, str]:
    """Status and body."""
    try:
        with urlopen(url, timeout=timeout_s) as response:
            return response.status, response.read().decode()
    except HTTPError as error:
        with error:
            return error.code, error.read().decode()


def scrape(url: str, timeout_s: float = TIMEOUT_S) -> list[Value]:
    """The samples of one service."""
    status, text = get(f"{url}/metrics", timeout_s)
    assert status == 200, text
    return list(_values(text))


def total(values: list[Value], name: str, **labels: str) -> float:
    """The sum of the samples of that name with these labels, 0 where there is none."""
    return sum(one.value for one in values if one.name == name and one.has(**labels))


def health(url: str, which: str) -> tuple[int, dict[str, Any]]:
    """Status and checks of `live` or `ready`."""
    status, text = get(f"{url}/health/{which}")
    checks: dict[str, Any] = json.loads(text)["checks"]
    return status, checks


def _values(text: str) -> Iterator[Value]:
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            yield Value(sample.name, tuple(sorted(sample.labels.items())), float(sample.value))
