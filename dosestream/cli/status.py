"""`dosestream status`: what a person on duty looks at first."""

import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from dosestream.cli.stackfile import ReadyFileOption


def status(
    ready_file: ReadyFileOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="The same as JSON, for a script.")] = False,
) -> None:
    """Services, topics and how far the dose database is behind them, sources and how far each has come, studies
    by link state, alerts of high dose, rejections."""
    from dosestream.cli import stackfile

    document = gather(stackfile.find(ready_file))
    if as_json:
        print(json.dumps(document, indent=2))
    else:
        _print(document)


def gather(ready: dict[str, Any]) -> dict[str, Any]:
    """Everything `status` shows, as JSON values.

    Raises:
        StackError: the broker or the database is away.
    """
    from dosestream.cli import stackfile, watch
    from dosestream.kafka.topics import Topic

    topics = watch.topics(stackfile.kafka_of(ready), ready["postgres"])
    dose = watch.dose(ready["postgres"])
    alerts_by_kind, newest_alerts = watch.alerts(ready["postgres"])
    cleanup = watch.cleanup(ready["postgres"])
    return {
        "services": services(ready),
        "topics": [
            {"topic": state.name, "records": state.records, "behind": state.behind} for state in topics
        ],
        "sources": [asdict(source) for source in watch.sources(ready["postgres"])],
        "studies": dict(dose.by_link_state),
        "alerts": dict(alerts_by_kind),
        "newest_alerts": [asdict(alert) for alert in newest_alerts],
        "cleanup": None if cleanup is None else asdict(cleanup),
        "rejected": next((state.records for state in topics if state.name == Topic.REJECTED), 0),
    }


def services(ready: dict[str, Any]) -> list[dict[str, Any]]:
    """Each service and whether it is there: by its process under `up`, else by its port."""
    from dosestream.embedded import ports

    if folder := ready.get("data_dir"):
        try:
            known = json.loads((Path(folder) / "run" / "services.json").read_text())
        except (OSError, ValueError):
            known = {}
        return [{"service": name, **entry, "up": _alive(entry.get("pid"))} for name, entry in known.items()]
    return [
        {"service": name, "up": ports.answers(ready[key]["port"], ready[key]["host"], timeout_s=2.0)}
        for name, key in (("ingest", "mllp"), ("arrivals", "dicom"), ("worklist", "worklist"))
    ]


def _alive(pid: object) -> bool:
    if not isinstance(pid, int):
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def _print(document: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console()
    table = Table("service", "state", "process", "restarts")
    for entry in document["services"]:
        # Without `up`, what does not answer here may well run on another machine or in another container.
        away = "DOWN" if "restarts" in entry else "not here"
        state = "up" if entry["up"] else away
        table.add_row(entry["service"], state, str(entry.get("pid", "")), str(entry.get("restarts", "")))
    console.print(table)
    table = Table("topic")
    table.add_column("records", justify="right")
    table.add_column("behind", justify="right")
    for entry in document["topics"]:
        behind = "" if entry["behind"] is None else str(entry["behind"])
        table.add_row(entry["topic"], str(entry["records"]), behind)
    console.print(table)
    table = Table("source", "last heard", "told up to", "")
    for entry in document["sources"]:
        idle = "idle" if entry["idle"] else ""
        table.add_row(entry["name"], entry["last_received_at"], entry["watermark"], idle)
    console.print(table)
    table = Table("studies")
    table.add_column("", justify="right")
    for state, count in document["studies"].items():
        table.add_row(state, str(count))
    console.print(table)
    if document["alerts"]:
        counts = ", ".join(f"{kind} {count}" for kind, count in document["alerts"].items())
        table = Table("alert", "study", "since", title=f"alerts of high dose: {counts}", title_justify="left")
        for entry in document["newest_alerts"]:
            said = "{kind}: {value:g} {unit} (threshold {threshold:g})".format_map(entry)
            table.add_row(said, entry["study_instance_uid"], entry["first_triggered_at"] or "")
        console.print(table)
    console.print(f"rejected messages: {document['rejected']}")
    if (last := document["cleanup"]) is not None:
        went = ", ".join(f"{kind} {count}" for kind, count in last["removed"].items()) or "nothing"
        console.print(f"last cleanup: {last['started_at']}, {last['outcome']}; went: {went}")
