"""The site's code maps and Python, read when the configuration is loaded."""

from dataclasses import replace
from pathlib import Path

from dosestream.mapping import code_maps, plugin
from dosestream.mapping.code_maps import CodeMapError
from dosestream.mapping.plugin import SiteCode, SiteCodeError
from dosestream.settings.mapping import CodeMapSettings, MappingSettings


def with_mapping_files(mapping: MappingSettings, folder: Path, mistakes: list[str]) -> MappingSettings:
    """The section with the content of its files; `folder` is where relative paths begin."""
    if mapping.code_map:
        tables = tuple(_with_table(one, folder, mistakes) for one in mapping.code_map)
        mapping = replace(mapping, code_map=tables)
    if mapping.python:
        mapping = replace(mapping, code=_code(folder / mapping.python, mistakes))
    return mapping


def _with_table(one: CodeMapSettings, folder: Path, mistakes: list[str]) -> CodeMapSettings:
    path = folder / one.file
    if (text := _text(path, mistakes)) is None:
        return one
    try:
        return replace(one, table=code_maps.read(text, path.name))
    except CodeMapError as error:
        mistakes += [f"{path}:{line}: {told}" for line, told in error.mistakes]
        return one


def _code(path: Path, mistakes: list[str]) -> SiteCode | None:
    if (text := _text(path, mistakes)) is None:
        return None
    code = SiteCode(path.name, text)
    try:
        plugin.load(code)
    except SiteCodeError as error:
        mistakes.append(f"{path}:{error.line}: {error}")
    return code


def _text(path: Path, mistakes: list[str]) -> str | None:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        mistakes.append(f"{path}: cannot be read: {error.strerror}")
    except UnicodeDecodeError as error:
        mistakes.append(f"{path}: is not UTF-8 from byte {error.start} on")
    return None
