"""Where the running stack is: the ready file, else the variables that services get."""

import json
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dosestream.embedded.errors import StackError
from dosestream.embedded.folder import default_folder

if TYPE_CHECKING:
    from dosestream.settings import KafkaSettings, Settings

ReadyFileOption = Annotated[
    Path | None,
    typer.Option(
        "--ready-file", help="What `up` wrote; else DOSESTREAM_KAFKA, DOSESTREAM_POSTGRES, ... are used."
    ),
]


def kafka_of(ready: Mapping[str, Any]) -> "KafkaSettings":
    """How to reach the broker of a ready file: its address, and the user of its configuration and of the
    environment.

    Raises:
        SettingsError: the configuration cannot be used.
    """
    from dosestream.settings import load

    return replace(load(ready.get("config")).kafka, bootstrap=ready["kafka"])


def settings_of(ready: Mapping[str, Any], config: Path | None) -> "Settings":
    """The configuration as it is now, with the servers and the patient key of a ready file's stack.

    Raises:
        SettingsError: the configuration cannot be used.
    """
    from dosestream.settings import Settings, load

    settings = load(config or ready.get("config"))
    site, folder = settings.site, ready.get("data_dir")
    # As `up` hands it to its services: the folder's own key where the site sets none.
    if folder and site.patient_key_secret == Settings().site.patient_key_secret:
        secrets = json.loads((Path(folder) / "secrets.json").read_text(encoding="utf-8"))
        site = replace(site, patient_key_secret=secrets["patient_key_secret"])
    return replace(
        settings,
        site=site,
        kafka=replace(settings.kafka, bootstrap=ready["kafka"]),
        postgres=replace(settings.postgres, url=ready["postgres"]),
    )


def find(ready_file: Path | None, environ: Mapping[str, str] = os.environ) -> dict[str, Any]:
    """The ready file's content, or the like of it made from DOSESTREAM_* variables and the configuration.

    Raises:
        StackError: there is neither.
        SettingsError: the configuration cannot be used.
    """
    # The stack of the default folder is found without a word.
    default = default_folder() / "run" / "ready.json"
    if ready_file is None and "DOSESTREAM_KAFKA" not in environ and default.exists():
        ready_file = default
    if ready_file is not None:
        try:
            document = json.loads(ready_file.read_text(encoding="utf-8"))
        except OSError as error:
            raise StackError(
                f"{ready_file} cannot be read ({error.strerror}): is the stack up, and started with "
                f"`--ready-file {ready_file}`?"
            ) from error
        except ValueError as error:
            raise StackError(
                f"{ready_file} is no ready file: give the file that `up --ready-file` wrote."
            ) from error
        if not isinstance(document, dict) or not {"kafka", "postgres"} <= document.keys():
            raise StackError(f"{ready_file} is no ready file: give the file that `up --ready-file` wrote.")
        return document
    if not {"DOSESTREAM_KAFKA", "DOSESTREAM_POSTGRES"} <= environ.keys():
        raise StackError(
            "Where the stack is cannot be told: give --ready-file (as given to `dosestream up`), or set "
            "DOSESTREAM_KAFKA and DOSESTREAM_POSTGRES."
        )
    from dosestream.settings import load

    settings = load(environ=environ)
    tls = settings.mllp.tls
    return {
        "mllp": {"host": settings.mllp.host, "port": settings.mllp.port},
        "mllp_tls": {"host": tls.host or settings.mllp.host, "port": tls.port} if tls.certificate else None,
        "dicom": {
            "host": settings.dicom.host,
            "port": settings.dicom.port,
            "ae_title": settings.dicom.ae_title,
        },
        "worklist": {
            "host": settings.worklist.host,
            "port": settings.worklist.port,
            "ae_title": settings.worklist.ae_title,
        },
        "kafka": settings.kafka.bootstrap,
        "postgres": settings.postgres.url,
        "web": None,
        "pid": None,
    }
