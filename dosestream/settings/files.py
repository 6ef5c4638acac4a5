"""What the configuration names by file: read when it is loaded, so that a broken file is a mistake of it."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from dosestream.hl7.zsegments import ZContract, event_fields
from dosestream.mapping.place import DEFAULT
from dosestream.settings.document import SettingsError, build
from dosestream.settings.mapping import RuleSettings, rule_mistakes
from dosestream.settings.mapping_files import Tell, with_mapping_files
from dosestream.settings.sections import (
    DicomTlsSettings,
    KafkaSettings,
    MessageProfileSettings,
    Settings,
    TlsSettings,
)

Tls = TypeVar("Tls", TlsSettings, DicomTlsSettings)


def with_files(settings: Settings, folder: Path, tell: Tell, mistakes: list[str]) -> Settings:
    """The settings with the content of their files; `folder` is where relative paths begin.

    A file that cannot be read is told at the key that names it, what is wrong inside one is among `mistakes`.
    """
    settings = replace(settings, mapping=with_mapping_files(settings.mapping, folder, tell, mistakes))
    if named := settings.postgres.password_file:
        path = str((folder / named).absolute())
        settings = replace(settings, postgres=replace(settings.postgres, password_file=path))
    settings = replace(settings, kafka=_kafka(settings.kafka, folder, tell))
    mllp, dicom = settings.mllp, settings.dicom
    settings = replace(
        settings,
        mllp=replace(mllp, tls=_tls(("mllp", "tls"), mllp.tls, folder, tell)),
        dicom=replace(dicom, tls=_tls(("dicom", "tls"), dicom.tls, folder, tell)),
    )
    conformance, z_segments = settings.conformance, settings.z_segments
    if conformance.message_profile:
        profiles = tuple(
            _message_profile(number, one, folder, tell)
            for number, one in enumerate(conformance.message_profile)
        )
        settings = replace(settings, conformance=replace(conformance, message_profile=profiles))
    if z_segments.folder:
        found: tuple[ZContract, ...] = ()
        if (place := folder / z_segments.folder).is_dir():
            found = tuple(_read_contracts(sorted(place.glob("*.toml")), mistakes))
        else:
            tell(("z_segments", "folder"), f"{place}: is no folder of Z segment contracts")
        settings = replace(settings, z_segments=replace(z_segments, contract=(*z_segments.contract, *found)))
    return _with_contract_rules(settings, mistakes)


def _kafka(kafka: KafkaSettings, folder: Path, tell: Tell) -> KafkaSettings:
    """The same with whole paths; the files are read whenever a client is made."""
    keys = (
        *("password_file", "ca_file", "certificate", "key"),
        *("schema_registry_auth_file", "schema_registry_ca_file"),
    )
    whole: dict[str, Any] = {
        key: str((folder / name).absolute()) for key in keys if (name := getattr(kafka, key))
    }
    _see(("kafka",), whole, tell)
    return replace(kafka, **whole) if whole else kafka


def _see(section: tuple[str, ...], whole: Mapping[str, str], tell: Tell) -> None:
    for key, path in whole.items():
        try:
            with Path(path).open("rb"):
                pass
        except OSError as error:
            trail = (*section, key)
            tell(trail, f"{'.'.join(trail)}: {path}: {_reason(error)}")


def _tls(section: tuple[str, ...], tls: Tls, folder: Path, tell: Tell) -> Tls:
    """The same with whole paths. The files themselves change without the configuration, and are read by the
    listener; only that they can be read is looked at here."""
    whole: dict[str, Any] = {
        key: str((folder / name).absolute())
        for key in ("certificate", "key", "client_ca")
        if (name := getattr(tls, key))
    }
    _see(section, whole, tell)
    return replace(tls, **whole)


def _with_contract_rules(settings: Settings, mistakes: list[str]) -> Settings:
    """What the site's contracts give to order events, as rules behind the defaults and below the site's own."""
    rules = tuple(
        RuleSettings(source=source, event="order", field=field, paths=(DEFAULT, path))
        for source, field, path in event_fields(settings.z_segments.contract)
    )
    for rule in rules:
        mistakes += [f"{rule.paths[1]} for {rule.field!r}: {wrong}" for _, wrong in rule_mistakes(rule)]
    if not rules:
        return settings
    return replace(settings, mapping=replace(settings.mapping, rule=(*rules, *settings.mapping.rule)))


@cache
def shipped_contracts() -> tuple[ZContract, ...]:
    """The contracts of `schemas/z`: beside the package in a checkout, inside it when installed."""
    package = Path(__file__).parent.parent
    inside = package / "schemas" / "z"
    mistakes: list[str] = []
    folder = inside if inside.is_dir() else package.parent / "schemas" / "z"
    if not folder.is_dir():
        raise SettingsError([f"{folder}: is no folder of Z segment contracts"])
    found = tuple(_read_contracts(sorted(folder.glob("*.toml")), mistakes))
    if mistakes:
        raise SettingsError(mistakes)
    return found


def contracts(settings: Settings) -> tuple[ZContract, ...]:
    """Every contract that holds: the shipped ones but those a site wrote its own for, and the site's."""
    own = settings.z_segments.contract
    named = {one.segment for one in own}
    return (*(one for one in shipped_contracts() if one.segment not in named), *own)


def _message_profile(
    number: int, one: MessageProfileSettings, folder: Path, tell: Tell
) -> MessageProfileSettings:
    # Imported where it is needed: hl7apy takes a while to load.
    from dosestream.conformance import message_profile

    path = folder / one.file
    try:
        text = path.read_text(encoding="utf-8")
        message_profile.parse(text)
    except (OSError, ValueError) as error:
        tell(("conformance", "message_profile", str(number), "file"), f"{path}: {_reason(error)}")
        return one
    return replace(one, text=text)


def _read_contracts(paths: Iterable[Path], mistakes: list[str]) -> Iterable[ZContract]:
    for path in paths:
        try:
            yield build(ZContract, path.read_text(encoding="utf-8"), str(path))
        except SettingsError as error:
            mistakes += error.mistakes
        except (OSError, ValueError) as error:
            mistakes.append(f"{path}: {_reason(error)}")


def _reason(error: Exception) -> str:
    return f"cannot be read: {error.strerror}" if isinstance(error, OSError) else str(error)
