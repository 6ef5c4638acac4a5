"""`[mapping]`: where a site's fields are read, and what its codes and its own Python make of them."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from dataclasses import field as dataclass_field
from datetime import datetime

from dosestream.hl7.path import PathError
from dosestream.mapping import names
from dosestream.mapping.code_maps import CodeTable
from dosestream.mapping.fields import CODED, FIELDS, OWN, Kind, kind_of
from dosestream.mapping.place import DEFAULT, columns
from dosestream.mapping.plugin import SiteCode

# Filled when the configuration is loaded; no key of the file.
LOADED = {"loaded": True}

_TYPE = re.compile(r"[A-Z][A-Z0-9]{2}(\^[A-Z][A-Z0-9]{2})?")

Mistakes = list[tuple[tuple[str, ...], str]]


@dataclass(frozen=True, slots=True)
class RuleSettings:
    """One field, or fields that belong together, read from other places than IHE's; the last that fits holds.

    Attributes:
        source: the source it is for, by its name; empty for every source.
        types: `ORM^O01`, or `ADT` for any event; empty for every type.
        event: patient, order, appointment or report; empty for each that has the field.
        field: the field, or several with blanks between.
        paths: tried in turn; for several fields a path each, with blanks between; `default` for what IHE says.
        join: what stands between, where all values of a path are wanted as one text.
        trim: whether blanks round a value are taken off.
        strip_left: characters taken off in front, such as zeros.
        case: upper or lower.
        format: how a time or date is written, in the letters of `strptime`, such as `%d.%m.%Y %H:%M`.
        names: the parts of a name in the order they are sent, such as `given family`.
        constant: what holds where no path says anything.
        authority: assigning authority of identifiers.
    """

    source: str = ""
    types: tuple[str, ...] = ()
    event: str = ""
    field: str = ""
    paths: tuple[str, ...] = ()
    join: str = ""
    trim: bool = True
    strip_left: str = ""
    case: str = ""
    format: str = ""
    names: str = ""
    constant: str = ""
    authority: str = ""


@dataclass(frozen=True, slots=True)
class CodeMapSettings:
    """A CSV file that turns a field's codes into the network's.

    Attributes:
        file: beside the configuration file, where the path is relative.
        field: the field whose codes are mapped, with its scheme and meaning.
        source, types, event: as in a rule.
        unmapped: `keep` or `blank` a code the map has not; it is counted in either case.
        table: the file's content.
    """

    file: str = ""
    field: str = ""
    source: str = ""
    types: tuple[str, ...] = ()
    event: str = ""
    unmapped: str = "keep"
    table: CodeTable | None = dataclass_field(default=None, metadata=LOADED)


@dataclass(frozen=True, slots=True)
class MappingSettings:
    """Where fields are read, beyond the IHE defaults.

    Attributes:
        accession_fallback: paths tried for the accession number after IPC-1.1 and OBR-18, such as "OBR-3.1".
        rule: fields read from elsewhere.
        code_map: codes turned into the network's.
        python: a Python file of the site's own, beside the configuration file where the path is relative.
        code: its content.
    """

    accession_fallback: tuple[str, ...] = ()
    rule: tuple[RuleSettings, ...] = ()
    code_map: tuple[CodeMapSettings, ...] = ()
    python: str = ""
    code: SiteCode | None = dataclass_field(default=None, metadata=LOADED)


def described(mapping: MappingSettings) -> str:
    """What of the site's own holds, its files with the digests of their content: for the log."""
    files = [one.table for one in mapping.code_map if one.table is not None]
    told = [f"{table.name} {table.digest} ({len(table.codes)} codes)" for table in files]
    if mapping.code is not None:
        told.append(f"{mapping.code.name} {mapping.code.digest}")
    return "; ".join([f"{len(mapping.rule)} rules", *told])


def rule_mistakes(rule: RuleSettings) -> Mistakes:
    """What is wrong with a rule: where (keys from its top) and a sentence for each mistake."""
    fields = rule.field.split()
    found = [*_scope_mistakes(rule.event, rule.types, fields)]
    if not fields:
        found.append((("field",), "'field' is missing: say which field of the event is read"))
    if not rule.paths and not rule.constant:
        found.append((("paths",), "'paths' is missing: say where the field is read, or give a constant"))
    for index, place in enumerate(rule.paths):
        if place == DEFAULT:
            continue
        try:
            columns(place, len(fields))
        except PathError as error:
            found.append((("paths", str(index)), str(error)))
        except ValueError as error:
            found.append((("paths", str(index)), f"{place!r} {error}"))
    found += _conversion_mistakes(rule, {kind_of(one) for one in fields}, fields)
    return found


def _conversion_mistakes(
    rule: RuleSettings, kinds: set[Kind | None], fields: list[str]
) -> Iterator[tuple[tuple[str, ...], str]]:
    if rule.names:
        try:
            names.template(rule.names)
        except ValueError as error:
            yield ("names",), f"{rule.names!r}: {error}"
    if rule.format and not (kinds == {Kind.TIME} or fields == ["birth_date"]):
        yield ("format",), "'format' is for times and for birth_date"
    if rule.format and not _is_format(rule.format):
        yield ("format",), f"{rule.format!r} is no format: write it as %d.%m.%Y %H:%M"
    if rule.constant and (len(fields) > 1 or kinds - {Kind.TEXT}):
        yield ("constant",), "'constant' is for one field that holds text"
    if rule.authority and Kind.IDENTIFIERS not in kinds:
        yield ("authority",), "'authority' is for identifiers"
    if rule.join and kinds - {Kind.TEXT}:
        yield ("join",), "'join' is for fields that hold text"


def _is_format(text: str) -> bool:
    """Whether what is written by the format is read by it again."""
    moment = datetime(2026, 11, 22, 13, 45, 59)
    try:
        return "%" in text and datetime.strptime(moment.strftime(text), text).year in (2026, 1900)
    except ValueError:
        return False


def code_map_mistakes(code_map: CodeMapSettings) -> Mistakes:
    """What is wrong with a code map: where (keys from its top) and a sentence for each mistake."""
    found = [*_scope_mistakes(code_map.event, code_map.types, [code_map.field] if code_map.field else [])]
    if not code_map.file:
        found.append((("file",), "'file' is missing: name a CSV file"))
    if code_map.field not in CODED:
        told = f"{code_map.field!r} holds no codes; these do: {', '.join(sorted(CODED))}"
        found.append((("field",), told))
    return found


def unknown_sources(mapping: MappingSettings, known: set[str]) -> Mistakes:
    """Rules and code maps for a source that is not configured; one not listed is named MSH-3|MSH-4."""
    scoped: dict[str, Sequence[RuleSettings | CodeMapSettings]] = {
        "rule": mapping.rule,
        "code_map": mapping.code_map,
    }
    return [
        (("mapping", key, str(index), "source"), f"{one.source!r} is the name of no [[source]]")
        for key, items in scoped.items()
        for index, one in enumerate(items)
        if one.source and "|" not in one.source and one.source not in known
    ]


def _scope_mistakes(event: str, types: tuple[str, ...], fields: list[str]) -> Mistakes:
    found: Mistakes = []
    if event and event not in FIELDS:
        found.append((("event",), f"{event!r} is no event; these are: {', '.join(FIELDS)}"))
        event = ""
    for index, one in enumerate(types):
        if not _TYPE.fullmatch(one):
            found.append(
                (("types", str(index)), f"{one!r} is no message type: write ORM^O01, or ADT for all")
            )
    known = (
        FIELDS[event] if event else {name: kind for table in FIELDS.values() for name, kind in table.items()}
    )
    for one in fields:
        if one in OWN:
            found.append((("field",), f"{one!r} is said by the message as a whole and is not mapped"))
        elif one not in known:
            of = f"of the event {event}" if event else "of any event"
            found.append((("field",), f"unknown field {one!r}; known {of}: {', '.join(sorted(known))}"))
    return found
