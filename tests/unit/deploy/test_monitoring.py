"""The alert rules and the dashboard name metrics that exist, and Prometheus reads them."""

import json
import re
import runpy
from pathlib import Path
from typing import Any

import pytest
import yaml
from promtool import RULES, needs_promtool, promtool

from dosestream.metrics.names import METRICS, Kind

DEPLOY = RULES.parents[1]
DASHBOARD: dict[str, Any] = json.loads((DEPLOY / "grafana" / "dashboard.json").read_text())
RULE_LIST = [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
QUERIES = {
    f"{panel['title']} {target['refId']}": target["expr"] for panel in PANELS for target in panel["targets"]
}
EXPRESSIONS = {rule["alert"]: rule["expr"] for rule in RULE_LIST} | QUERIES
SHOWN = {
    name
    for metric in METRICS.values()
    for name in (
        [f"{metric.name}_{end}" for end in ("bucket", "sum", "count")]
        if metric.kind is Kind.HISTOGRAM
        else [metric.name]
    )
}


@pytest.mark.parametrize("where", sorted(EXPRESSIONS))
def test_only_metrics_that_are_shown_are_asked_for(where: str) -> None:
    asked = set(re.findall(r"\bdosestream_\w+", EXPRESSIONS[where]))
    assert asked <= SHOWN
    assert asked or re.search(r"\b(up|process_\w+|ALERTS)\{", EXPRESSIONS[where])


@pytest.mark.parametrize("where", sorted(EXPRESSIONS))
def test_only_labels_that_the_metric_has_are_asked_for(where: str) -> None:
    known = {"instance", "job", "le", "worker", "alertname", "alertstate", "severity"}
    known |= {label for metric in METRICS.values() for label in metric.labels}
    grouped = re.findall(r"by \(([\w, ]+)\)", EXPRESSIONS[where])
    matched = re.findall(r"(\w+)(?:=~|!~|!=|=)\"", EXPRESSIONS[where])
    assert {label for group in grouped for label in group.split(", ")} | set(matched) <= known


@pytest.mark.parametrize("rule", RULE_LIST, ids=lambda rule: rule["alert"])
def test_an_alert_says_what_is_wrong_and_what_to_do(rule: dict[str, Any]) -> None:
    assert rule["annotations"].keys() == {"summary", "action"}
    assert all(text.endswith(".") for text in rule["annotations"].values())
    assert rule["labels"]["severity"] in ("page", "ticket")


def test_the_dashboard_is_what_its_script_writes() -> None:
    made = runpy.run_path(str(DEPLOY / "grafana" / "build.py"))["dashboard"]()
    assert made == DASHBOARD, "run: python deploy/grafana/build.py"


def test_the_documentation_names_every_metric() -> None:
    page = (DEPLOY.parent / "docs" / "monitoring.md").read_text()
    assert [name for name in METRICS if f"`{name}`" not in page] == []


def test_no_two_panels_lie_over_each_other() -> None:
    cells = [
        (x, y)
        for panel in DASHBOARD["panels"]
        for place in [panel["gridPos"]]
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]
    assert len(cells) == len(set(cells))
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])


@pytest.mark.slow
@needs_promtool
def test_the_rules_are_quiet_and_speak_as_their_own_tests_say() -> None:
    code, said = promtool("test", "rules", str(RULES.with_name("rules_test.yaml")))
    assert code == 0, said


@needs_promtool
def test_prometheus_reads_its_configuration_and_the_rules() -> None:
    code, said = promtool("check", "config", str(RULES.with_name("prometheus.yaml")))
    assert code == 0, said


@needs_promtool
def test_every_query_of_the_dashboard_parses(tmp_path: Path) -> None:
    rules = [{"record": f"panel:{number}", "expr": one} for number, one in enumerate(QUERIES.values())]
    path = tmp_path / "queries.yaml"
    path.write_text(json.dumps({"groups": [{"name": "panels", "rules": rules}]}))
    code, said = promtool("check", "rules", str(path))
    assert code == 0, said
    assert f"{len(QUERIES)} rules found" in said


@needs_promtool
def test_a_query_that_is_none_does_not_parse(tmp_path: Path) -> None:
    path = tmp_path / "queries.yaml"
    path.write_text(json.dumps({"groups": [{"name": "p", "rules": [{"record": "a:b", "expr": "sum("}]}]}))
    assert promtool("check", "rules", str(path))[0] != 0
