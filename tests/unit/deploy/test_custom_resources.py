"""What the chart asks of the operators KEDA and CloudNativePG, held against their own definitions.

A definition is the CRD's OpenAPI schema, from the Go module of the operator. Strimzi and the Prometheus operator come as
no module that can be had: what is asked of them is in `test_kubernetes.py`.
"""

import re
import shutil
import subprocess
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from test_kubernetes import ALL, SECURE, Manifest, render

# Also in .ci/run, which fetches them.
MODULES = {
    "keda.sh": "github.com/kedacore/keda/v2@v2.18.1",
    "postgresql.cnpg.io": "github.com/cloudnative-pg/cloudnative-pg@v1.27.0",
}
KINDS = {"ScaledObject", "TriggerAuthentication", "Cluster"}
PROTOCOLS = ("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL")


def module(name: str) -> Path:
    """The folder of a Go module that was downloaded."""
    if shutil.which("go") is None:
        pytest.skip("Go is missing: it fetches the operators' definitions")
    found = subprocess.run(["go", "env", "GOMODCACHE"], capture_output=True, text=True, check=True)
    folder = Path(found.stdout.strip()) / name
    if not folder.is_dir():
        pytest.skip(f"an operator's definitions are missing: go mod download {name}")
    return folder


@cache
def definition(api_version: str, kind: str) -> dict[str, Any]:
    """The schema of a custom resource, which refuses fields it does not name."""
    group, _, version = api_version.partition("/")
    for path in sorted((module(MODULES[group]) / "config" / "crd" / "bases").glob(f"{group}_*.yaml")):
        spec = yaml.load(path.read_text(), Loader=yaml.CSafeLoader)["spec"]
        if spec["names"]["kind"] == kind:
            (served,) = (one for one in spec["versions"] if one["name"] == version)
            assert served["served"] is True
            schema: dict[str, Any] = served["schema"]["openAPIV3Schema"]
            # Kubernetes' own, which it checks before the operator's.
            schema["properties"].pop("metadata")
            schema["properties"]["metadata"] = {
                "type": "object",
                "x-kubernetes-preserve-unknown-fields": True,
            }
            return dict(closed(schema))
    raise AssertionError(f"{MODULES[group]} has no {kind}")


def closed(schema: Any) -> Any:  # a JSON document
    """The same with every object refusing what it does not name: an API server drops it in silence."""
    if isinstance(schema, dict):
        schema = {key: closed(value) for key, value in schema.items()}
        if "properties" in schema and not schema.get("x-kubernetes-preserve-unknown-fields"):
            schema.setdefault("additionalProperties", False)
    if isinstance(schema, list):
        return [closed(one) for one in schema]
    return schema


def validate(one: Manifest) -> None:
    jsonschema.validate(one, definition(one["apiVersion"], one["kind"]))


@cache
def custom(*options: str) -> dict[str, Manifest]:
    return {one["kind"]: one for one in render(*ALL, *options) if one["kind"] in KINDS}


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_what_the_chart_asks_of_operators_is_what_they_define(protocol: str) -> None:
    made = custom("--set", f"kafka.security.protocol={protocol}")
    assert made.keys() == KINDS - ({"TriggerAuthentication"} if protocol == "PLAINTEXT" else set())
    for one in made.values():
        validate(one)


def test_one_instance_of_the_database_and_a_storage_class_are_defined_too() -> None:
    more = ("--set", "cloudNativePg.instances=1", "--set", "cloudNativePg.storage.className=fast")
    validate(custom(*more)["Cluster"])


@pytest.mark.parametrize(
    ("kind", "path", "name"),
    [
        ("ScaledObject", ("spec", "triggers", 0), "authentificationRef"),
        ("ScaledObject", ("spec",), "minReplicas"),
        ("TriggerAuthentication", ("spec", "secretTargetRef", 0), "secret"),
        ("Cluster", ("spec", "postgresql", "synchronous"), "mode"),
    ],
)
def test_a_misspelt_field_is_found(kind: str, path: tuple[str | int, ...], name: str) -> None:
    broken = deepcopy(custom(*SECURE)[kind])
    place: Any = broken
    for step in path:
        place = place[step]
    place[name] = {}
    with pytest.raises(jsonschema.ValidationError, match=name):
        validate(broken)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_keda_reads_every_field_of_the_trigger(protocol: str) -> None:
    """A trigger's own fields are texts of any name to the schema: KEDA's scaler says which it reads."""
    made = custom("--set", f"kafka.security.protocol={protocol}")
    scaler = (module(MODULES["keda.sh"]) / "pkg" / "scalers" / "kafka_scaler.go").read_text()
    constants = dict(re.findall(r'(\w+)\s+(?:\w+\s+)?= "(\w+)"', scaler))

    def read(of: str) -> set[str]:
        names = re.findall(rf'{of}\[(?:"(\w+)"|(\w+))\]', scaler)
        return {text or constants[constant] for text, constant in names}

    (trigger,) = made["ScaledObject"]["spec"]["triggers"]
    assert trigger["metadata"].keys() <= read("TriggerMetadata")
    assert trigger["metadata"]["offsetResetPolicy"] in constants.values()
    if "sasl" in trigger["metadata"]:
        assert trigger["metadata"]["sasl"] in constants.values()
    if authentication := made.get("TriggerAuthentication"):
        spec = authentication["spec"]
        parameters = {one["parameter"] for one in [*spec.get("env", ()), *spec["secretTargetRef"]]}
        assert parameters <= read("AuthParams")
