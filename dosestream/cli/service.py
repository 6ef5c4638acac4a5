"""`dosestream ingest | arrivals | reconciler`: one service in the foreground, as a container runs it."""

import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

# Subcommand to what it does; each is services/<name>/service.py.
SERVICES = {
    "ingest": "Listen for HL7 over MLLP and write it to Kafka, raw and normalised.",
    "arrivals": "Listen for DICOM (C-STORE, C-ECHO) and write dose reports and study arrivals to Kafka.",
    "reconciler": "Derive the dose database from the topics, and publish radiology.dose.v1.",
}

ConfigOption = Annotated[
    Path | None, typer.Option("--config", help="dosestream.toml; else DOSESTREAM_CONFIG, else the defaults.")
]


def command(name: str) -> Callable[..., None]:
    """The command that runs that service."""

    def run(config: ConfigOption = None) -> None:
        from dosestream import logs, settings

        loaded = settings.load(config)
        logs.configure(name)
        module = importlib.import_module(f"services.{name}.service")
        sys.exit(module.run(loaded))

    return run
