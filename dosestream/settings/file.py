"""Settings from the site's file and from the environment over it."""

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from dosestream.settings.document import SettingsError, line_of, parse
from dosestream.settings.files import with_files
from dosestream.settings.secret import read_secret, with_password
from dosestream.settings.sections import Settings

# Environment variable to the setting it overrides: what compose and Kubernetes set.
ENVIRONMENT: dict[str, tuple[str, ...]] = {
    "DOSESTREAM_KAFKA": ("kafka", "bootstrap"),
    "DOSESTREAM_KAFKA_SECURITY_PROTOCOL": ("kafka", "security_protocol"),
    "DOSESTREAM_KAFKA_USER": ("kafka", "user"),
    "DOSESTREAM_KAFKA_PASSWORD_FILE": ("kafka", "password_file"),
    "DOSESTREAM_KAFKA_CA_FILE": ("kafka", "ca_file"),
    "DOSESTREAM_KAFKA_CERTIFICATE": ("kafka", "certificate"),
    "DOSESTREAM_KAFKA_KEY": ("kafka", "key"),
    "DOSESTREAM_SCHEMA_REGISTRY": ("kafka", "schema_registry"),
    "DOSESTREAM_SCHEMA_REGISTRY_AUTH_FILE": ("kafka", "schema_registry_auth_file"),
    "DOSESTREAM_SCHEMA_REGISTRY_CA_FILE": ("kafka", "schema_registry_ca_file"),
    "DOSESTREAM_POSTGRES": ("postgres", "url"),
    "DOSESTREAM_MLLP_HOST": ("mllp", "host"),
    "DOSESTREAM_MLLP_PORT": ("mllp", "port"),
    "DOSESTREAM_MLLP_TLS_PORT": ("mllp", "tls", "port"),
    "DOSESTREAM_MLLP_WORKERS": ("mllp", "workers"),
    "DOSESTREAM_MLLP_GATHER": ("mllp", "gather"),
    "DOSESTREAM_REPEATS": ("repeats", "folder"),
    "DOSESTREAM_DICOM_HOST": ("dicom", "host"),
    "DOSESTREAM_DICOM_PORT": ("dicom", "port"),
    "DOSESTREAM_DICOM_AE_TITLE": ("dicom", "ae_title"),
    "DOSESTREAM_WORKLIST_HOST": ("worklist", "host"),
    "DOSESTREAM_WORKLIST_PORT": ("worklist", "port"),
    "DOSESTREAM_WORKLIST_AE_TITLE": ("worklist", "ae_title"),
    "DOSESTREAM_PATIENT_KEY_SECRET": ("site", "patient_key_secret"),
    "DOSESTREAM_CLOCK_INTERVAL_S": ("clock", "interval_s"),
    "DOSESTREAM_METRICS_HOST": ("metrics", "host"),
    "DOSESTREAM_METRICS_PORT": ("metrics", "port"),
}


def load(path: str | Path | None = None, environ: Mapping[str, str] | None = None) -> Settings:
    """Settings from the file (`path`, else `DOSESTREAM_CONFIG`, else none) and the environment.

    Raises:
        SettingsError: with every mistake found, each with its line.
    """
    environ = os.environ if environ is None else environ
    path = path or environ.get("DOSESTREAM_CONFIG") or None
    text = ""
    if path is not None:
        try:
            text = Path(path).read_text(encoding="utf-8")
        except OSError as error:
            raise SettingsError([f"{path}: cannot be read: {error.strerror}"]) from error
    name = str(path or "dosestream.toml")
    settings = parse(text, name)
    mistakes: list[str] = []
    settings = with_files(
        settings,
        Path(path).parent if path is not None else Path(),
        lambda trail, told: mistakes.append(f"{name}:{line_of(text, trail)}: {told}"),
        mistakes,
    )
    for variable, trail in ENVIRONMENT.items():
        if value := _value(variable, environ, mistakes):
            try:
                settings = _with(settings, trail, value)
            except ValueError as error:
                mistakes.append(f"environment: {variable}={value!r} is no {error.args[-1]}")
    settings = replace(settings, postgres=with_password(settings.postgres, environ, mistakes))
    if mistakes:
        raise SettingsError(mistakes)
    return settings


def _value(variable: str, environ: Mapping[str, str], mistakes: list[str]) -> str | None:
    """The variable's value, else the content of the file that `<variable>_FILE` names: how compose, Kubernetes
    and systemd hand over secrets."""
    if value := environ.get(variable):
        return value
    named = environ.get(f"{variable}_FILE")
    return read_secret(Path(named), f"environment: {variable}_FILE", mistakes) if named else None


def _with(part: Any, trail: tuple[str, ...], value: str) -> Any:
    """The section with the setting at the end of the trail changed.

    Raises:
        ValueError: the value is not of the setting's type, which the last argument names.
    """
    key, *rest = trail
    old = getattr(part, key)
    if rest:
        return replace(part, **{key: _with(old, tuple(rest), value)})
    try:
        return replace(part, **{key: type(old)(value)})
    except ValueError as error:
        raise ValueError(str(error), type(old).__name__) from None
