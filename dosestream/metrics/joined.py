"""The pages of several processes as one, each value with the label `worker`."""

import json
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Final
from urllib.error import URLError
from urllib.request import urlopen

from prometheus_client.metrics_core import Metric as Family
from prometheus_client.parser import text_string_to_metric_families

# A process that hangs is left out.
TIMEOUT_S: Final = 2.0

# Names of the processes to the addresses they serve at, as far as they are known.
Addresses = Callable[[], Mapping[str, str]]


def pages(addresses: Mapping[str, str], path: str) -> dict[str, str]:
    """What each process answers; those that do not answer, or with an error, are left out."""

    def fetch(item: tuple[str, str]) -> tuple[str, str | None]:
        try:
            with urlopen(item[1] + path, timeout=TIMEOUT_S) as response:
                return item[0], response.read().decode()
        except (URLError, OSError, ValueError):
            return item[0], None

    if not addresses:
        return {}
    with ThreadPoolExecutor(len(addresses)) as pool:
        return {name: text for name, text in pool.map(fetch, addresses.items()) if text is not None}


def joined(texts: Mapping[str, str]) -> Iterable[Family]:
    """The families of all pages together."""
    families: dict[str, Family] = {}
    for worker, text in sorted(texts.items()):
        for family in text_string_to_metric_families(text):
            mine = families.setdefault(family.name, Family(family.name, family.documentation, family.type))
            mine.samples += [
                sample._replace(labels={**sample.labels, "worker": worker}) for sample in family.samples
            ]
    return families.values()


def address_in(ready_file_text: str) -> str:
    """Where the process that wrote this ready file serves; empty where it does not."""
    found = json.loads(ready_file_text).get("metrics", "")
    return str(found)
