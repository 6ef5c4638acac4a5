"""`dosestream ingest | arrivals | reconciler | worklist | cleanup`: one service in the foreground, as a container runs it."""

import importlib
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from dosestream.cli.cleanup import cleanup

# Subcommand to what it does; each is services/<name>/service.py.
SERVICES = {
    "ingest": "Listen for HL7 over MLLP and write it to Kafka, raw and normalised.",
    "arrivals": "Listen for DICOM (C-STORE, MPPS, IAN, storage commitment) and write it and what it says to Kafka.",
    "reconciler": "Derive the dose database from the topics, and publish radiology.dose.v1.",
    "worklist": "Answer modality worklist queries (DICOM C-FIND) from the orders in the dose database.",
    "cleanup": "Let old facts leave the dose database, every day or --once; no row changes by it.",
}

ConfigOption = Annotated[
    Path | None, typer.Option("--config", help="dosestream.toml; else DOSESTREAM_CONFIG, else the defaults.")
]


WorkersOption = Annotated[
    int | None,
    typer.Option(
        "--workers", min=1, max=64, help="Processes that share the port; else mllp.workers, else 1."
    ),
]


def command(name: str) -> Callable[..., None]:
    """The command that runs that service."""
    own: dict[str, Callable[..., None]] = {"ingest": ingest, "arrivals": arrivals, "cleanup": cleanup}
    if name in own:
        return own[name]

    def run(config: ConfigOption = None) -> None:
        from dosestream import logs, settings

        loaded = settings.load(config)
        logs.configure(name)
        module = importlib.import_module(f"services.{name}.service")
        sys.exit(module.run(loaded))

    return run


def ingest(config: ConfigOption = None, workers: WorkersOption = None) -> None:
    """Ingest, in one process or in several."""
    from dosestream import logs, settings

    def read() -> settings.Settings:
        loaded = settings.load(config)
        return loaded if workers is None else replace(loaded, mllp=replace(loaded.mllp, workers=workers))

    loaded = read()
    logs.configure("ingest")
    module = importlib.import_module("services.ingest.service")
    sys.exit(module.run(loaded, read))


def arrivals(
    config: ConfigOption = None,
    watch: Annotated[
        Path | None,
        typer.Option("--watch", exists=True, file_okay=False, help="A folder whose files are taken in, too."),
    ] = None,
) -> None:
    """Arrivals, with a watched folder beside the listener where one is named."""
    from dosestream import logs, settings

    loaded = settings.load(config)
    if watch is not None:
        loaded = replace(loaded, dicom=replace(loaded.dicom, watch=str(watch)))
    logs.configure("arrivals")
    module = importlib.import_module("services.arrivals.service")
    sys.exit(module.run(loaded))
