"""What the chart takes from the code, and the chart as plain manifests: `.venv/bin/python deploy/helm/generate.py`.

Run after a topic, an access rule or the chart changed; a test fails until it was. Needs helm.
"""

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dosestream.kafka.acl import SERVICES, Grant, Resource
from dosestream.kafka.topics import TOPICS

CHART = Path(__file__).parent / "dosestream"
PLAIN = CHART.parents[1] / "kubernetes" / "dosestream.yaml"
HEADER = "# Made of the chart in deploy/helm/dosestream by deploy/helm/generate.py: change that.\n"
# What a helm without a cluster renders for.
KUBERNETES = "1.33.0"
# Limits of sizes are a value of the chart.
OF_VALUES = "max.message.bytes"


def topics() -> list[dict[str, Any]]:
    """A row for each topic, with the partitions of a site."""
    return [
        {
            "name": str(spec.name),
            "partitions": spec.site_partitions,
            "config": {key: value for key, value in spec.config(0).items() if key != OF_VALUES},
        }
        for spec in TOPICS
    ]


def acls() -> dict[str, list[dict[str, Any]]]:
    """Strimzi's `spec.authorization.acls` for the user of each service; one without rights is left out."""
    return {name: _rules(grants) for name, grants in SERVICES.items() if grants}


def _rules(grants: tuple[Grant, ...]) -> list[dict[str, Any]]:
    by_resource: dict[tuple[str, str, bool], list[str]] = {}
    for grant in grants:
        operations = by_resource.setdefault((str(grant.resource), grant.name, grant.prefixed), [])
        if str(grant.operation) not in operations:
            operations.append(str(grant.operation))
    return [
        {"resource": _resource(kind, name, prefixed), "operations": operations}
        for (kind, name, prefixed), operations in by_resource.items()
    ]


def _resource(kind: str, name: str, prefixed: bool) -> Mapping[str, str]:
    if kind == Resource.CLUSTER:
        return {"type": "cluster"}
    return {"type": kind, "name": name, "patternType": "prefix" if prefixed else "literal"}


def files() -> dict[Path, str]:
    """The chart's files that are made of the code, and their text."""
    made = {"topics.json": topics(), "acls.json": acls()}
    return {CHART / "files" / name: json.dumps(value, indent=2) + "\n" for name, value in made.items()}


def rendered(helm: str, *arguments: str) -> str:
    """The manifests of a release named dosestream.

    Raises:
        subprocess.CalledProcessError: the chart is broken.
    """
    command = [helm, "template", "dosestream", str(CHART), "--kube-version", KUBERNETES, *arguments]
    return HEADER + subprocess.run(command, capture_output=True, text=True, check=True).stdout


if __name__ == "__main__":
    for path, text in files().items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    PLAIN.parent.mkdir(exist_ok=True)
    PLAIN.write_text(rendered("helm"))
