"""One TOML file a site owns (`dosestream.toml`) over these defaults, and the environment over both.

Every setting has a default that works on one machine. `load` explains a mistake with its line.
"""

import os
import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, is_dataclass, replace
from pathlib import Path
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from dosestream.hl7.charset import CODECS
from dosestream.hl7.path import Path as FieldPath
from dosestream.hl7.path import PathError

MIB = 1024 * 1024


class SettingsError(Exception):
    """The configuration cannot be used. `mistakes` has one sentence each, with its line."""

    def __init__(self, mistakes: list[str]) -> None:
        super().__init__("\n".join(mistakes))
        self.mistakes = mistakes


@dataclass(frozen=True, slots=True)
class SiteSettings:
    """The site as a whole."""

    name: str = "site"
    # Assigning authority of patient identifiers that name none.
    authority: str = "HOSP"
    # Zone of times without offset, IANA name.
    timezone: str = "UTC"
    # Key of the patient hash in Kafka record keys; set it to a secret of the site.
    patient_key_secret: str = "dosestream"


@dataclass(frozen=True, slots=True)
class KafkaSettings:
    """The broker."""

    bootstrap: str = "127.0.0.1:9092"
    replication: int = 1
    schema_registry: str = ""
    # Largest message a sender may send; a record may be 1 MiB larger, for the envelope.
    max_message_bytes: int = 16 * MIB
    # How long one produce may take before the sender is told to try again.
    delivery_timeout_ms: int = 4_500

    @property
    def max_record_bytes(self) -> int:
        return self.max_message_bytes + MIB


@dataclass(frozen=True, slots=True)
class PostgresSettings:
    """The dose database."""

    url: str = "postgresql://127.0.0.1:5432/dosestream"


@dataclass(frozen=True, slots=True)
class MllpSettings:
    """The HL7 listener."""

    host: str = "127.0.0.1"
    port: int = 2575
    max_connections: int = 1024
    idle_timeout_s: int = 4 * 3600
    frame_timeout_s: int = 60
    # AE: refuse what cannot be mapped. AA: accept it and keep it in the rejected topic.
    on_reject: str = "AE"
    # Messages between receipt and answer, per connection and in all.
    in_flight_per_connection: int = 64
    in_flight: int = 8192


@dataclass(frozen=True, slots=True)
class DicomSettings:
    """The DICOM listener."""

    host: str = "127.0.0.1"
    port: int = 11112
    ae_title: str = "DOSESTREAM"
    max_associations: int = 64


@dataclass(frozen=True, slots=True)
class SourceSettings:
    """One sender: matched by MSH-3|MSH-4 (HL7) or calling AE title (DICOM)."""

    name: str = ""
    sending_application: str = ""
    sending_facility: str = ""
    ae_title: str = ""
    authority: str = ""
    timezone: str = ""
    charset: str = ""
    on_reject: str = ""
    processing_ids: tuple[str, ...] = ("P", "T", "D")


@dataclass(frozen=True, slots=True)
class MappingSettings:
    """Where fields are read, beyond the IHE defaults."""

    # Paths tried for the accession number after IPC-1.1 and OBR-18, such as "OBR-3.1".
    accession_fallback: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class AuthoritySettings:
    """One assigning authority of patient identifiers; a change asks for a replay, since facts are filed by it."""

    name: str = ""
    # Other names of it, such as its OID.
    aliases: tuple[str, ...] = ()
    # ignore: 00123 is 123. keep: they are two patients.
    leading_zeros: str = "keep"
    # ignore: ab1 is AB1. keep: they are two patients.
    case: str = "keep"


@dataclass(frozen=True, slots=True)
class MatchingSettings:
    """Windows and tolerances of the reconciler, in hours, days or minutes as the name says."""

    window_hours: float = 24.0
    grace_hours: float = 24.0
    future_tolerance_hours: float = 24.0
    accession_days: int = 365
    duplicate_minutes: int = 10
    # Orders have a row from this status on (such as STARTED: only what is in progress); empty keeps all.
    keep_from_status: str = ""
    # Whether order messages may update patients.
    orders_update_patients: bool = True
    # What an ADT message means that names a patient who was merged into another: `follow`, the survivor;
    # `own`, that the merge is over and the identifier its own patient again.
    merged_away: str = "follow"
    # Identifiers that stand for nobody: they never connect anything.
    stop_list: tuple[str, ...] = ("0", "UNKNOWN", "TEST", "NONE", "N/A", "ANONYMOUS", "QA", "PHANTOM")
    # Facts in one group beyond which it is an anomaly.
    group_cap: int = 5000


@dataclass(frozen=True, slots=True)
class ClockSettings:
    """Ticks of `radiology.clock.v1`, and what is usual of sources: their watermarks are shown, and decide nothing."""

    interval_s: float = 60.0
    # How much later than its time a message usually comes, and how long a source may be silent before it is idle.
    lateness_minutes: float = 60.0
    idle_minutes: float = 240.0


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything, as frozen values."""

    site: SiteSettings = field(default_factory=SiteSettings)
    kafka: KafkaSettings = field(default_factory=KafkaSettings)
    postgres: PostgresSettings = field(default_factory=PostgresSettings)
    mllp: MllpSettings = field(default_factory=MllpSettings)
    dicom: DicomSettings = field(default_factory=DicomSettings)
    source: tuple[SourceSettings, ...] = ()
    mapping: MappingSettings = field(default_factory=MappingSettings)
    matching: MatchingSettings = field(default_factory=MatchingSettings)
    clock: ClockSettings = field(default_factory=ClockSettings)
    # "ORC-1_ORC-5" to status, over the default table of dosestream/reconcile/status.py.
    order_status: Mapping[str, str] = field(default_factory=dict)
    # Status to the statuses that may follow it, blanks between, over the default table there.
    order_transitions: Mapping[str, str] = field(default_factory=dict)
    # Alias authority to the one it stands for, such as an OID to its namespace id.
    authority_alias: Mapping[str, str] = field(default_factory=dict)
    # Authorities whose identifiers are written in several ways.
    authority: tuple[AuthoritySettings, ...] = ()
    # Institution Name (0008,0080) of a report without issuer to the authority of its patients.
    institution_authority: Mapping[str, str] = field(default_factory=dict)


# Environment variable to the setting it overrides: what compose and Kubernetes set.
ENVIRONMENT: dict[str, tuple[str, str]] = {
    "DOSESTREAM_KAFKA": ("kafka", "bootstrap"),
    "DOSESTREAM_SCHEMA_REGISTRY": ("kafka", "schema_registry"),
    "DOSESTREAM_POSTGRES": ("postgres", "url"),
    "DOSESTREAM_MLLP_HOST": ("mllp", "host"),
    "DOSESTREAM_MLLP_PORT": ("mllp", "port"),
    "DOSESTREAM_DICOM_HOST": ("dicom", "host"),
    "DOSESTREAM_DICOM_PORT": ("dicom", "port"),
    "DOSESTREAM_DICOM_AE_TITLE": ("dicom", "ae_title"),
    "DOSESTREAM_PATIENT_KEY_SECRET": ("site", "patient_key_secret"),
    "DOSESTREAM_CLOCK_INTERVAL_S": ("clock", "interval_s"),
}

CHOICES: dict[str, tuple[str, ...]] = {
    "on_reject": ("AE", "AA", ""),
    "leading_zeros": ("keep", "ignore"),
    "case": ("keep", "ignore"),
    "merged_away": ("follow", "own"),
    "keep_from_status": ("", "SCHEDULED", "ARRIVED", "STARTED", "COMPLETED"),
}


def _port(value: object) -> str | None:
    return None if isinstance(value, int) and 0 <= value <= 65535 else "is no port: 0 to 65535, 0 for any"


def _zone(value: object) -> str | None:
    return None if not value or _is_zone(str(value)) else "is no IANA time zone (such as Europe/Amsterdam)"


def _charset(value: object) -> str | None:
    if not value or str(value).upper() in CODECS:
        return None
    return f"is no character set that is read; these are: {', '.join(sorted(CODECS))}"


def _path(value: object) -> str | None:
    try:
        FieldPath.parse(str(value))
    except PathError:
        return "is no path: write SEG-F.C, such as OBR-3.1 or PID-3[4.1=HOSP].1"
    return None


def _status(value: object) -> str | None:
    return None if value in STATUSES else f"is no status; these are: {', '.join(STATUSES)}"


# What a value must be beyond its type: by its key, or for a list or table by the key of the whole.
CHECKS: dict[str, Callable[[object], str | None]] = {
    "port": _port,
    "timezone": _zone,
    "charset": _charset,
    "accession_fallback": _path,
    "order_status": _status,
}
STATUSES = ("SCHEDULED", "ARRIVED", "STARTED", "COMPLETED", "CANCELED", "DISCONTINUED", "ON_HOLD")


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
    settings = parse(text, str(path or "dosestream.toml"))
    mistakes: list[str] = []
    for variable, (section, key) in ENVIRONMENT.items():
        if value := environ.get(variable):
            part = getattr(settings, section)
            try:
                settings = replace(
                    settings, **{section: replace(part, **{key: type(getattr(part, key))(value)})}
                )
            except ValueError:
                mistakes.append(
                    f"environment: {variable}={value!r} is no {type(getattr(part, key)).__name__}"
                )
    if mistakes:
        raise SettingsError(mistakes)
    return settings


def parse(text: str, name: str = "dosestream.toml") -> Settings:
    """Settings from TOML text.

    Raises:
        SettingsError: with every mistake found.
    """
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        line = re.search(r"at line (\d+)", str(error))
        raise SettingsError([f"{name}:{line[1] if line else 1}: {error}"]) from error
    found: list[tuple[int, str]] = []

    def mistake(trail: tuple[str, ...], message: str) -> None:
        found.append((_line(text, trail), message))

    settings = _build(Settings, document, (), mistake)
    if found:
        raise SettingsError([f"{name}:{line}: {message}" for line, message in sorted(found)])
    assert isinstance(settings, Settings)
    return settings


def _line(text: str, trail: tuple[str, ...]) -> int:
    """The line on which the key at the end of the trail stands, 1 where it cannot be told."""
    *tables, key = trail
    if key.isdigit() and tables:
        # An item of a list stands where the list does.
        key = tables.pop()
    section = ".".join(name for name in tables if not name.isdigit())
    wanted_occurrence = next((int(name) for name in tables if name.isdigit()), 0)
    current, occurrence = "", -1
    for number, line in enumerate(text.splitlines(), 1):
        if header := re.match(r"\s*\[{1,2}\s*([^\]]+?)\s*\]", line):
            current = header[1]
            occurrence = occurrence + 1 if current == section else occurrence
            if current == ".".join((*filter(None, [section]), key)) or (current == key and not section):
                return number
        elif (
            current == section
            and occurrence in (-1, wanted_occurrence)
            and re.match(rf"\s*[\"']?{re.escape(key)}[\"']?\s*[=.]", line)
        ):
            return number
    return 1


def _build(kind: Any, value: Any, trail: tuple[str, ...], mistake: Any) -> Any:
    """Check one value against its annotation and build it; a mistake is told and the value left as it is."""
    origin = get_origin(kind)
    if isinstance(kind, type) and is_dataclass(kind):
        if not isinstance(value, dict):
            mistake(trail, f"{trail[-1]!r} is a table: write [{'.'.join(trail)}]")
            return value
        hints = get_type_hints(kind)
        known = {f.name for f in fields(kind)}
        for key in value.keys() - known:
            mistake((*trail, key), f"unknown key {key!r}; known here: {', '.join(sorted(known))}")
        built = {k: _build(hints[k], v, (*trail, k), mistake) for k, v in value.items() if k in known}
        return kind(**built)
    if origin is tuple:
        if not isinstance(value, list):
            mistake(trail, f"{trail[-1]!r} is a list: write [...]")
            return ()
        item = get_args(kind)[0]
        return tuple(_build(item, v, (*trail, str(i)), mistake) for i, v in enumerate(value))
    if origin is not None and issubclass(origin, Mapping):
        if not isinstance(value, dict):
            mistake(trail, f"{trail[-1]!r} is a table of text")
            return {}
        return {str(k): _build(str, v, (*trail, str(k)), mistake) for k, v in value.items()}
    if origin in (Union, UnionType):
        return value
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        mistake(trail, f"{trail[-1]!r} is {value!r}, but must be {_word(kind)}")
        return value
    key = trail[-1]
    check = CHECKS.get(key) or CHECKS.get(trail[-2] if len(trail) > 1 else "")
    if check is not None and (wrong := check(value)) is not None:
        mistake(trail, f"{value!r} {wrong}")
    if key in CHOICES and value not in CHOICES[key]:
        mistake(trail, f"{key!r} is {value!r}, but must be one of {', '.join(filter(None, CHOICES[key]))}")
    return value


def _word(kind: Any) -> str:
    words = {int: "a whole number", float: "a number", str: "text", bool: "true or false"}
    return words.get(kind, str(kind))


def _is_zone(name: str) -> bool:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return False
    return True


def source_for_hl7(settings: Settings, application: str, facility: str) -> SourceSettings:
    """The configured source of a message, else one named MSH-3|MSH-4 with the site's defaults."""
    for source in settings.source:
        if (source.sending_application or source.sending_facility) and (
            source.sending_application in ("", application) and source.sending_facility in ("", facility)
        ):
            return source
    return SourceSettings(name=f"{application}|{facility}")


def source_for_ae(settings: Settings, calling: str) -> SourceSettings:
    """The configured source of a calling AE title, else one named after it with the site's defaults."""
    for source in settings.source:
        if source.ae_title and source.ae_title == calling:
            return source
    return SourceSettings(name=calling, ae_title=calling)
