"""Writes dashboard.json beside it: `python deploy/grafana/build.py`. Its queries are this table's.

A row has a title and panels of 8 units of width; a panel a title, a unit (Grafana's ids), and queries with legends.
"""

import json
from pathlib import Path
from typing import Any

Query = tuple[str, str]
Panel = tuple[str, str, tuple[Query, ...]]

TARGET = Path(__file__).with_name("dashboard.json")
SOURCE = {"type": "prometheus", "uid": "prometheus"}
# Of 24 units.
WIDTH, HEIGHT = 8, 8

ROWS: tuple[tuple[str, tuple[Panel, ...]], ...] = (
    (
        "On duty",
        (
            (
                "Services",
                "short",
                (
                    ('up{job="dosestream"}', "{{instance}} answers"),
                    ("min by (instance) (dosestream_ready)", "{{instance}} ready"),
                ),
            ),
            (
                "Alerts",
                "short",
                (
                    (
                        'count by (alertname, severity) (ALERTS{alertname=~"Dosestream.*",alertstate="firing"})',
                        "{{alertname}} ({{severity}})",
                    ),
                ),
            ),
            (
                "Messages a second",
                "reqps",
                (("sum by (source) (rate(dosestream_messages_total[5m]))", "{{source}}"),),
            ),
        ),
    ),
    (
        "Messages in",
        (
            (
                "Answers a second",
                "reqps",
                (("sum by (answer) (rate(dosestream_messages_total[5m]))", "{{answer}}"),),
            ),
            (
                "Types a second",
                "reqps",
                (("sum by (type) (rate(dosestream_messages_total[5m]))", "{{type}}"),),
            ),
            (
                "Receipt to answer",
                "s",
                (
                    (
                        "histogram_quantile(0.5, sum by (instance, le) (rate(dosestream_answer_seconds_bucket[5m])))",
                        "{{instance}} median",
                    ),
                    (
                        "histogram_quantile(0.99, sum by (instance, le) (rate(dosestream_answer_seconds_bucket[5m])))",
                        "{{instance}} 99 %",
                    ),
                ),
            ),
            (
                "Under way",
                "short",
                (
                    ("sum by (instance) (dosestream_in_flight)", "{{instance}} messages"),
                    ("sum by (instance) (dosestream_connections)", "{{instance}} connections"),
                ),
            ),
            (
                "Refused, repeated, not stored",
                "short",
                (
                    ("sum by (code) (increase(dosestream_rejected_total[1h]))", "rejected: {{code}}"),
                    ("sum(increase(dosestream_ignored_total[1h]))", "ignored"),
                    ("sum(increase(dosestream_repeats_total[1h]))", "heard before"),
                    ("sum(increase(dosestream_not_stored_total[1h]))", "not stored"),
                ),
            ),
            (
                "Rules broken, an hour",
                "short",
                (
                    (
                        "sum by (source, rule) (increase(dosestream_findings_total[1h]))",
                        "{{source}}: {{rule}}",
                    ),
                ),
            ),
        ),
    ),
    (
        "Sources",
        (
            ("Silent for", "s", (("max by (source) (dosestream_source_silent_seconds)", "{{source}}"),)),
            (
                "Stopped",
                "short",
                (("max by (source, type) (dosestream_source_stopped)", "{{source}} {{type}}"),),
            ),
            (
                "Events a second",
                "reqps",
                (("sum by (topic) (rate(dosestream_events_total[5m]))", "{{topic}}"),),
            ),
        ),
    ),
    (
        "Dose database",
        (
            (
                "Behind",
                "short",
                (
                    (
                        'sum by (topic) (max by (topic, partition) (dosestream_lag_records{topic!="radiology.clock.v1"}))',
                        "{{topic}}",
                    ),
                ),
            ),
            (
                "Receipt to row",
                "s",
                (
                    (
                        "histogram_quantile(0.5, sum by (le) (rate(dosestream_row_seconds_bucket[5m])))",
                        "median",
                    ),
                    (
                        "histogram_quantile(0.99, sum by (le) (rate(dosestream_row_seconds_bucket[5m])))",
                        "99 %",
                    ),
                ),
            ),
            (
                "Events applied a second",
                "reqps",
                (
                    ("sum by (instance) (rate(dosestream_events_applied_total[5m]))", "{{instance}}"),
                    ("sum(rate(dosestream_transaction_restarts_total[5m]))", "transactions begun again"),
                ),
            ),
            (
                "Studies by link",
                "short",
                (
                    (
                        "sum by (link_state) (max by (link_state, phase) (dosestream_studies))",
                        "{{link_state}}",
                    ),
                ),
            ),
            (
                "Studies by phase",
                "short",
                (("sum by (phase) (max by (link_state, phase) (dosestream_studies))", "{{phase}}"),),
            ),
            (
                "Orders",
                "short",
                (('max by (state) (dosestream_orders{state=~"expected|overdue"})', "{{state}}"),),
            ),
            (
                "Anomalies",
                "short",
                (
                    ("max by (kind) (dosestream_anomalies)", "{{kind}}"),
                    ("max(dosestream_quarantined_records)", "quarantined"),
                ),
            ),
            ("High dose", "short", (("max by (kind) (dosestream_high_dose_alerts)", "{{kind}}"),)),
            (
                "To be published, to be derived",
                "short",
                (
                    ("max by (topic) (dosestream_outbox_records)", "{{topic}}"),
                    ("max(dosestream_groups_waiting)", "groups"),
                ),
            ),
        ),
    ),
    (
        "Room and time",
        (
            (
                "Disk free",
                "percentunit",
                (("dosestream_disk_free_bytes / dosestream_disk_size_bytes", "{{instance}} {{folder}}"),),
            ),
            ("Size of the database", "bytes", (("max(dosestream_database_bytes)", "database"),)),
            ("Records held", "short", (("max by (topic) (dosestream_topic_records)", "{{topic}}"),)),
            (
                "Certificates end in",
                "s",
                (("dosestream_certificate_expiry_timestamp_seconds - time()", "{{instance}} {{file}}"),),
            ),
            (
                "Clock",
                "s",
                (
                    ("max(dosestream_clock_age_seconds)", "newest tick"),
                    ("max(dosestream_reading_age_seconds)", "these numbers"),
                ),
            ),
            (
                "Cleanup removed, a day",
                "short",
                (("sum by (kind) (increase(dosestream_cleanup_removed_total[1d]))", "{{kind}}"),),
            ),
            (
                "CPU",
                "percentunit",
                (
                    (
                        'sum by (instance) (rate(process_cpu_seconds_total{job="dosestream"}[5m]))',
                        "{{instance}}",
                    ),
                ),
            ),
            (
                "Memory",
                "bytes",
                (('sum by (instance) (process_resident_memory_bytes{job="dosestream"})', "{{instance}}"),),
            ),
            (
                "Open files",
                "short",
                (('sum by (instance) (process_open_fds{job="dosestream"})', "{{instance}}"),),
            ),
        ),
    ),
)


def dashboard() -> dict[str, Any]:
    """Grafana's dashboard model."""
    panels: list[dict[str, Any]] = []
    below = 0
    for title, row in ROWS:
        place = {"x": 0, "y": below, "w": 24, "h": 1}
        panels.append({"type": "row", "title": title, "id": len(panels) + 1, "gridPos": place, "panels": []})
        below += 1
        for number, panel in enumerate(row):
            across, down = number % 3, number // 3
            place = {"x": across * WIDTH, "y": below + down * HEIGHT, "w": WIDTH, "h": HEIGHT}
            panels.append(_panel(panel, len(panels) + 1, place))
        below += -(-len(row) // 3) * HEIGHT
    return {
        "uid": "dosestream",
        "title": "Dosestream",
        "tags": ["dosestream"],
        "schemaVersion": 39,
        "editable": True,
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "timezone": "browser",
        "panels": panels,
    }


def _panel(panel: Panel, number: int, place: dict[str, int]) -> dict[str, Any]:
    title, unit, queries = panel
    return {
        "type": "timeseries",
        "title": title,
        "id": number,
        "gridPos": place,
        "datasource": SOURCE,
        "fieldConfig": {"defaults": {"unit": unit, "min": 0}, "overrides": []},
        "options": {"legend": {"displayMode": "list", "placement": "bottom"}, "tooltip": {"mode": "multi"}},
        "targets": [
            {"refId": chr(65 + letter), "datasource": SOURCE, "expr": expression, "legendFormat": legend}
            for letter, (expression, legend) in enumerate(queries)
        ],
    }


if __name__ == "__main__":
    TARGET.write_text(json.dumps(dashboard(), indent=2) + "\n", encoding="utf-8")
