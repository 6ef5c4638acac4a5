"""TOML text to settings; every mistake is told with its line."""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from types import UnionType
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from dosestream.settings.checks import CHECKS, CHOICES, WHOLE
from dosestream.settings.sections import Settings

K = TypeVar("K")


class SettingsError(Exception):
    """The configuration cannot be used. `mistakes` has one sentence each, with its line."""

    def __init__(self, mistakes: list[str]) -> None:
        super().__init__("\n".join(mistakes))
        self.mistakes = mistakes


def parse(text: str, name: str = "dosestream.toml") -> Settings:
    """Settings from TOML text.

    Raises:
        SettingsError: with every mistake found.
    """
    return build(Settings, text, name)


def build(kind: type[K], text: str, name: str) -> K:
    """A frozen dataclass from TOML text, its nested ones and lists of them included.

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
        found.append((line_of(text, trail), message))

    made = _build(kind, document, (), mistake)
    if found:
        raise SettingsError([f"{name}:{line}: {message}" for line, message in sorted(found)])
    assert isinstance(made, kind)
    return made


def line_of(text: str, trail: tuple[str, ...]) -> int:
    """The line on which the key at the end of the trail stands, else that of its table, 1 where it cannot be told."""
    *tables, key = trail
    if key.isdigit() and tables:
        # An item of a list stands where the list does.
        key = tables.pop()
    section = ".".join(name for name in tables if not name.isdigit())
    wanted_occurrence = next((int(name) for name in tables if name.isdigit()), 0)
    current, occurrence, header_line = "", -1, 1
    for number, line in enumerate(text.splitlines(), 1):
        if header := re.match(r"\s*\[{1,2}\s*([^\]]+?)\s*\]", line):
            current = header[1]
            occurrence = occurrence + 1 if current == section else occurrence
            if current == section and occurrence == wanted_occurrence:
                header_line = number
            if current == ".".join((*filter(None, [section]), key)) or (current == key and not section):
                return number
        elif (
            current == section
            and occurrence in (-1, wanted_occurrence)
            and re.match(rf"\s*[\"']?{re.escape(key)}[\"']?\s*[=.]", line)
        ):
            return number
    return header_line


def _build(kind: Any, value: Any, trail: tuple[str, ...], mistake: Any) -> Any:
    """Check one value against its annotation and build it; a mistake is told and the value left as it is."""
    origin = get_origin(kind)
    if isinstance(kind, type) and is_dataclass(kind):
        if not isinstance(value, dict):
            mistake(trail, f"{trail[-1]!r} is a table: write [{'.'.join(trail)}]")
            return value
        hints = get_type_hints(kind)
        known = {f.name for f in fields(kind) if not f.metadata.get("loaded")}
        for key in value.keys() - known:
            mistake((*trail, key), f"unknown key {key!r}; known here: {', '.join(sorted(known))}")
        told: list[str] = []

        def tell(trail: tuple[str, ...], message: str) -> None:
            told.append(message)
            mistake(trail, message)

        built = {k: _build(hints[k], v, (*trail, k), tell) for k, v in value.items() if k in known}
        made = kind(**built)
        # What is wrong with the whole is asked once its parts are of their types.
        for keys, message in WHOLE[kind](made) if kind in WHOLE and not told else ():
            mistake((*trail, *keys), message)
        return made
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
        return {str(k): _build(get_args(kind)[1], v, (*trail, str(k)), mistake) for k, v in value.items()}
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
    # A key that means something else elsewhere is listed with its section.
    section = ".".join(name for name in trail if not name.isdigit())
    choices = CHOICES.get(section) or CHOICES.get(key)
    if choices and value not in choices:
        mistake(trail, f"{key!r} is {value!r}, but must be one of {', '.join(filter(None, choices))}")
    return value


def _word(kind: Any) -> str:
    words = {int: "a whole number", float: "a number", str: "text", bool: "true or false"}
    return words.get(kind, str(kind))
