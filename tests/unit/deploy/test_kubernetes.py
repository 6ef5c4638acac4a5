"""The chart and the plain manifests: rendered, valid for the API they are for, and equal to what the code says."""

import importlib.util
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from compose_file import ROOT

from dosestream.kafka.acl import SERVICES as ACL_SERVICES
from dosestream.kafka.topics import TOPICS
from dosestream.settings import ENVIRONMENT, parse

Manifest = dict[str, Any]
API = "1.33"
OPTIONS = (
    "strimzi.topics",
    "strimzi.users",
    "cloudNativePg.enabled",
    "reconciler.autoscaling.enabled",
    "ingest.autoscaling.enabled",
    "metrics.podMonitor",
)
ALL = tuple(part for one in OPTIONS for part in ("--set", f"{one}=true"))
SECURE = (
    "--set",
    "kafka.security.protocol=SASL_SSL",
    "--set",
    "ingest.tlsPort=2576",
    "--set",
    "arrivals.tlsPort=2762",
)
# Of operators; what they ask for is checked below.
CUSTOM = {"KafkaTopic", "KafkaUser", "Cluster", "ScaledObject", "TriggerAuthentication", "PodMonitor"}


def generate() -> Any:
    """deploy/helm/generate.py, which lies beside the package."""
    spec = importlib.util.spec_from_file_location("generate", ROOT / "deploy" / "helm" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


GENERATE = generate()
PLAIN: list[Manifest] = [one for one in yaml.safe_load_all(GENERATE.PLAIN.read_text()) if one]


@cache
def helm() -> str:
    """Helm's path."""
    places = [os.environ.get("PATH", "")]
    if shutil.which("go"):
        path = subprocess.run(["go", "env", "GOPATH"], capture_output=True, text=True, check=True)
        places.append(str(Path(path.stdout.strip()) / "bin"))
    found = shutil.which("helm", path=os.pathsep.join(places))
    if found is None:
        pytest.skip("helm is missing: go install helm.sh/helm/v3/cmd/helm@v3.19.0")
    return found


def render(*arguments: str) -> list[Manifest]:
    """The manifests of the chart with these options."""
    return [one for one in yaml.safe_load_all(GENERATE.rendered(helm(), *arguments)) if one]


def pods(manifests: list[Manifest]) -> Iterator[tuple[str, Manifest]]:
    """The component and pod specification of everything that starts pods."""
    for one in manifests:
        spec = one.get("spec", {})
        if one["kind"] == "CronJob":
            spec = spec["jobTemplate"]["spec"]
        if one["kind"] in ("Deployment", "StatefulSet", "CronJob", "Job"):
            template = spec["template"]
            yield template["metadata"]["labels"]["app.kubernetes.io/component"], template["spec"]


def validate(manifests: list[Manifest]) -> None:
    """Against the schemas of Kubernetes' API, unknown fields refused."""
    for one in manifests:
        if one["kind"] not in CUSTOM:
            kubernetes_validate.validate(one, API, strict=True)


def test_the_plain_manifests_are_valid() -> None:
    assert {"Deployment", "StatefulSet", "Service", "CronJob", "PodDisruptionBudget", "NetworkPolicy"} <= {
        one["kind"] for one in PLAIN
    }
    validate(PLAIN)


def test_a_wrong_manifest_is_not() -> None:
    broken = yaml.safe_load(yaml.safe_dump(next(one for one in PLAIN if one["kind"] == "Deployment")))
    broken["spec"]["replica"] = 1
    with pytest.raises(kubernetes_validate.ValidationError):
        validate([broken])


@pytest.mark.parametrize(
    ("options", "custom"),
    [((), set()), (ALL, CUSTOM - {"TriggerAuthentication"}), ((*ALL, *SECURE), CUSTOM)],
    ids=["defaults", "all options", "secured"],
)
def test_the_chart_renders_to_valid_manifests(options: tuple[str, ...], custom: set[str]) -> None:
    manifests = render(*options)
    validate(manifests)
    names = [(one["kind"], one["metadata"]["name"]) for one in manifests]
    assert len(names) == len(set(names))
    assert {one["kind"] for one in manifests} & CUSTOM == custom


def test_the_plain_manifests_are_the_charts() -> None:
    told = "run .venv/bin/python deploy/helm/generate.py"
    assert GENERATE.PLAIN.read_text() == GENERATE.rendered(helm()), told


def test_topics_and_access_rules_of_the_chart_are_those_of_the_code() -> None:
    for path, text in GENERATE.files().items():
        assert path.read_text() == text, f"{path}: run .venv/bin/python deploy/helm/generate.py"


def test_what_strimzi_makes_are_the_topics_of_a_site() -> None:
    made = {one["metadata"]["name"]: one["spec"] for one in render(*ALL) if one["kind"] == "KafkaTopic"}
    assert made.keys() == {str(spec.name) for spec in TOPICS}
    for spec in TOPICS:
        wanted = spec.config(17_825_792) | {"min.insync.replicas": "2"}
        found = made[str(spec.name)]
        assert (found["partitions"], found["replicas"]) == (spec.site_partitions, 3)
        assert {key: found["config"].get(key) for key in wanted} == wanted


def test_each_service_has_its_user_with_what_it_may_do_and_takes_its_password() -> None:
    manifests = render(*ALL, *SECURE)
    users = {one["metadata"]["name"]: one["spec"] for one in manifests if one["kind"] == "KafkaUser"}
    assert users.keys() == {f"dosestream-{name}" for name, grants in ACL_SERVICES.items() if grants}
    for name, spec in users.items():
        assert spec["authentication"] == {"type": "scram-sha-512"}
        rules = spec["authorization"]["acls"]
        allowed = {
            (rule["resource"]["type"], rule["resource"].get("name", "kafka-cluster"), operation)
            for rule in rules
            for operation in rule["operations"]
        }
        grants = ACL_SERVICES[name.removeprefix("dosestream-")]
        assert allowed == {(str(one.resource), one.name, str(one.operation)) for one in grants}
    # What docs/install.md has a site make, and what Strimzi makes: another secret would keep the pod from starting.
    made = {"dosestream-patient-key", "dosestream-postgres", "dosestream-cluster-ca-cert", *users}
    for component, pod in pods(manifests):
        sources = next(one for one in pod["volumes"] if one["name"] == "secrets")["projected"]["sources"]
        given = {one["secret"]["name"] for one in sources}
        assert given <= made, component
        user = environment(pod).get("DOSESTREAM_KAFKA_USER")
        if component == "worklist":  # speaks with no broker
            assert (user, given & users.keys()) == (None, set())
        else:
            assert user == ("dosestream-admin" if component == "prepare" else f"dosestream-{component}")
            assert user in given


@pytest.mark.parametrize(
    ("protocol", "asked"),
    [
        ("SASL_SSL", {"username", "password", "ca"}),
        ("SASL_PLAINTEXT", {"username", "password"}),
        ("SSL", {"ca"}),
        ("PLAINTEXT", None),
    ],
)
def test_lag_is_read_as_the_reconciler(protocol: str, asked: set[str] | None) -> None:
    manifests = render(*ALL, "--set", f"kafka.security.protocol={protocol}")
    trigger = next(one for one in manifests if one["kind"] == "ScaledObject")["spec"]["triggers"][0]
    found = [one for one in manifests if one["kind"] == "TriggerAuthentication"]
    if asked is None:
        assert "authenticationRef" not in trigger
        assert found == []
        return
    (authentication,) = found
    assert trigger["authenticationRef"]["name"] == authentication["metadata"]["name"]
    assert ("sasl" in trigger["metadata"], "tls" in trigger["metadata"]) == (
        "password" in asked,
        "ca" in asked,
    )
    spec = authentication["spec"]
    parameters = [*spec.get("env", ()), *spec["secretTargetRef"]]
    assert {one["parameter"] for one in parameters} == asked
    reconciler = dict(pods(manifests))["reconciler"]
    assert {one["name"] for one in spec.get("env", ())} <= environment(reconciler).keys()


def environment(pod: Manifest) -> Mapping[str, str]:
    """The variables of a pod's one container."""
    (container,) = pod["containers"]
    return {one["name"]: one["value"] for one in container["env"]}


def test_what_operators_are_asked_for_has_what_they_need() -> None:
    made = {one["kind"]: one for one in render(*ALL)}
    cluster = made["Cluster"]["spec"]
    assert made["Cluster"]["apiVersion"] == "postgresql.cnpg.io/v1"
    assert cluster["bootstrap"]["initdb"]["owner"] == "dosestream"
    assert cluster["storage"]["size"]
    # CloudNativePG's service for writing is named after the cluster.
    assert all(
        "@dosestream-postgres-rw:" in environment(pod)["DOSESTREAM_POSTGRES"] for _, pod in pods(PLAIN)
    )
    scaled = made["ScaledObject"]["spec"]
    (trigger,) = scaled["triggers"]
    assert trigger["metadata"]["consumerGroup"] == "dosestream-reconciler"
    assert all(isinstance(value, str) for value in trigger["metadata"].values())
    assert scaled["maxReplicaCount"] <= max(spec.site_partitions for spec in TOPICS)
    named = {(one["kind"], one["metadata"]["name"]) for one in render(*ALL)}
    for one in ("ScaledObject", "HorizontalPodAutoscaler"):
        target = made[one]["spec"]["scaleTargetRef"]
        assert (target["kind"], target["name"]) in named


def test_pods_run_without_rights_and_tell_whether_they_live_and_can_work() -> None:
    found = dict(pods(PLAIN))
    assert found.keys() == {"ingest", "arrivals", "reconciler", "worklist", "cleanup", "prepare"}
    for component, pod in found.items():
        (container,) = pod["containers"]
        assert container["args"][0] == component
        assert pod["securityContext"]["runAsUser"] == 10001
        assert container["securityContext"]["readOnlyRootFilesystem"] is True
        assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
        assert container["resources"]["requests"].keys() == {"cpu", "memory"}
        # A Service named dosestream-worklist would else set DOSESTREAM_WORKLIST_PORT.
        assert pod["enableServiceLinks"] is False
        if component not in ("cleanup", "prepare"):
            assert container["livenessProbe"]["httpGet"]["path"] == "/health/live"
            assert container["readinessProbe"]["httpGet"]["path"] == "/health/ready"


def test_what_a_pod_is_given_is_a_setting() -> None:
    beside = {"DOSESTREAM_CONFIG", "DOSESTREAM_POSTGRES_PASSWORD_FILE"}
    for _, pod in pods([*PLAIN, *render(*ALL, *SECURE)]):
        for name in environment(pod).keys() - beside:
            assert name in ENVIRONMENT or name.removesuffix("_FILE") in ENVIRONMENT, name
    (config,) = [one for one in PLAIN if one["kind"] == "ConfigMap"]
    assert parse(config["data"]["dosestream.toml"]).site.authority == "HOSP"


def test_tables_are_made_at_the_installation_and_expanded_before_an_upgrade() -> None:
    def job(manifests: list[Manifest]) -> Manifest:
        (found,) = [one["metadata"] for one in manifests if one["kind"] == "Job"]
        assert isinstance(found, dict)
        return found

    # No hook: with --wait one after the installation would begin once the services are ready, which wait for it.
    assert "annotations" not in job(PLAIN)
    upgraded = job(render("--is-upgrade"))
    assert upgraded["annotations"]["helm.sh/hook"] == "pre-upgrade"
    assert upgraded["name"] != job(PLAIN)["name"]


def test_the_job_before_an_upgrade_reads_the_configuration_of_the_new_release() -> None:
    """Helm makes hooks by their weights, and all of them before any other object of the release changes."""
    value = '[site]\nname = "new"\nauthority = "NEW"\n'
    manifests = render("--is-upgrade", "--set-string", f"config={value}")
    validate(manifests)
    hooks = [one for one in manifests if "helm.sh/hook" in one["metadata"].get("annotations", {})]
    weights = {
        one["kind"]: int(one["metadata"]["annotations"].get("helm.sh/hook-weight", 0)) for one in hooks
    }
    assert weights.keys() == {"ConfigMap", "Job"}
    assert weights["ConfigMap"] < weights["Job"]
    config, job = sorted(hooks, key=lambda one: str(one["kind"]))
    for one in hooks:
        annotations = one["metadata"]["annotations"]
        assert annotations["helm.sh/hook"] == "pre-upgrade"
        # Else the second upgrade meets the object of the first.
        assert "before-hook-creation" in annotations["helm.sh/hook-delete-policy"]
    assert parse(config["data"]["dosestream.toml"]).site.authority == "NEW"
    mounted = {component: configuration(pod) for component, pod in pods(manifests)}
    assert mounted.pop("prepare") == configuration(job["spec"]["template"]["spec"])
    assert configuration(job["spec"]["template"]["spec"]) == config["metadata"]["name"]
    # The services' own is another object, which a hook may not delete.
    assert set(mounted.values()) == {"dosestream-config"}
    assert config["metadata"]["name"] != "dosestream-config"
    # At the installation there is nothing older to be read, and no hook.
    assert {configuration(pod) for _, pod in pods(PLAIN)} == {"dosestream-config"}


def configuration(pod: Manifest) -> str:
    """The ConfigMap that a pod mounts."""
    (found,) = [one["configMap"]["name"] for one in pod["volumes"] if "configMap" in one]
    return str(found)


def test_services_and_policies_choose_pods_that_exist() -> None:
    labels = [
        {"app.kubernetes.io/name": "dosestream", "app.kubernetes.io/instance": "dosestream"}
        | {"app.kubernetes.io/component": component}
        for component, _ in pods(PLAIN)
    ]
    ports = {
        component: {port["name"] for port in pod["containers"][0].get("ports", ())}
        for component, pod in pods(PLAIN)
    }
    for one in PLAIN:
        spec = one.get("spec", {})
        chosen = {
            "Service": lambda spec: spec["selector"],
            "PodDisruptionBudget": lambda spec: spec["selector"]["matchLabels"],
            "NetworkPolicy": lambda spec: spec["podSelector"]["matchLabels"],
        }.get(one["kind"])
        if chosen is None:
            continue
        assert any(chosen(spec).items() <= each.items() for each in labels), one["metadata"]["name"]
        if one["kind"] == "Service":
            component = spec["selector"]["app.kubernetes.io/component"]
            assert {port["targetPort"] for port in spec["ports"]} <= ports[component]
