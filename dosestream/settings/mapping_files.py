"""The site's code maps and Python, read when the configuration is loaded."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from dosestream.mapping import code_maps, plugin
from dosestream.mapping.code_maps import CodeMapError
from dosestream.mapping.plugin import SiteCode, SiteCodeError
from dosestream.settings.mapping import CodeMapSettings, MappingSettings

# A mistake at a key of the configuration: the keys that lead to it, and what is wrong.
Tell = Callable[[tuple[str, ...], str], None]


def with_mapping_files(
    mapping: MappingSettings, folder: Path, tell: Tell, mistakes: list[str]
) -> MappingSettings:
    """The section with the content of its files; `folder` is where relative paths begin.

    A file that cannot be read is told at the key that names it, what is wrong inside one is among `mistakes`.
    """
    if mapping.code_map:
        tables = tuple(
            _with_table(number, one, folder, tell, mistakes) for number, one in enumerate(mapping.code_map)
        )
        mapping = replace(mapping, code_map=tables)
    if mapping.python:
        mapping = replace(mapping, code=_code(folder / mapping.python, tell, mistakes))
    return mapping


def _with_table(
    number: int, one: CodeMapSettings, folder: Path, tell: Tell, mistakes: list[str]
) -> CodeMapSettings:
    path = folder / one.file
    if (text := _text(path, ("mapping", "code_map", str(number), "file"), tell)) is None:
        return one
    try:
        return replace(one, table=code_maps.read(text, path.name))
    except CodeMapError as error:
        mistakes += [f"{path}:{line}: {told}" for line, told in error.mistakes]
        return one


def _code(path: Path, tell: Tell, mistakes: list[str]) -> SiteCode | None:
    if (text := _text(path, ("mapping", "python"), tell)) is None:
        return None
    code = SiteCode(path.name, text)
    try:
        plugin.load(code)
    except SiteCodeError as error:
        mistakes.append(f"{path}:{error.line}: {error}")
    return code


def _text(path: Path, trail: tuple[str, ...], tell: Tell) -> str | None:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        tell(trail, f"{path}: cannot be read: {error.strerror}")
    except UnicodeDecodeError as error:
        tell(trail, f"{path}: is not UTF-8 from byte {error.start} on")
    return None
