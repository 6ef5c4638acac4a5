"""Secrets that lie in files of their own, so that neither the configuration nor the environment holds them."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote, urlsplit, urlunsplit

from dosestream.settings.sections import PostgresSettings

PASSWORD_FILE = "DOSESTREAM_POSTGRES_PASSWORD_FILE"


def read_secret(path: Path, said: str, mistakes: list[str]) -> str | None:
    """The file's one line; None, and a mistake beginning with `said`, where there is none."""
    try:
        text = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "is no UTF-8"
        mistakes.append(f"{said}: {path}: {reason}")
        return None
    if not text or "\n" in text:
        mistakes.append(f"{said}: {path}: must hold one line")
        return None
    return text


def with_password(
    postgres: PostgresSettings, environ: Mapping[str, str], mistakes: list[str]
) -> PostgresSettings:
    """The same with the password of the file in its URL; one that the URL names already stays."""
    named = environ.get(PASSWORD_FILE) or postgres.password_file
    if not named:
        return postgres
    parts = urlsplit(postgres.url)
    if parts.password is not None or not parts.scheme:
        return postgres
    password = read_secret(Path(named), "the password of the database", mistakes)
    if password is None:
        return postgres
    user, _, host = parts.netloc.rpartition("@")
    if not user:
        mistakes.append("postgres.url names no user, whose password postgres.password_file is")
        return postgres
    return replace(
        postgres, url=urlunsplit(parts._replace(netloc=f"{user}:{quote(password, safe='')}@{host}"))
    )
