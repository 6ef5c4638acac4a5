"""Code maps: a site's codes to the network's, read from CSV. Pure: the text comes from elsewhere.

Columns, named in the first line: `from_code` and `to_code`; `from_scheme` (empty: whatever the scheme),
`to_scheme`, `to_meaning` where wanted. Other columns are the site's own notes.
"""

import csv
import hashlib
import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

REQUIRED = ("from_code", "to_code")


class CodeMapError(Exception):
    """The file is no code map. `mistakes` has each with its line."""

    def __init__(self, mistakes: list[tuple[int, str]]) -> None:
        super().__init__("; ".join(f"line {line}: {text}" for line, text in mistakes))
        self.mistakes = mistakes


class Coded(NamedTuple):
    """A code as the network writes it."""

    code: str
    scheme: str = ""
    meaning: str = ""


@dataclass(frozen=True, slots=True)
class CodeTable:
    """One code map: (code, scheme) to the network's code; the scheme may be empty.

    Attributes:
        name: of the file.
        digest: the first 12 hex digits of the SHA-256 of its text.
    """

    name: str
    digest: str
    codes: Mapping[tuple[str, str], Coded] = field(repr=False)

    def find(self, code: str, scheme: str) -> Coded | None:
        """The network's code; None where the map has none for it."""
        return self.codes.get((code, scheme)) or self.codes.get((code, ""))


def read(text: str, name: str) -> CodeTable:
    """The code map of a CSV text; commas, semicolons or tabs between, as its first line has them.

    Raises:
        CodeMapError: with every mistake.
    """
    text = text.removeprefix("\ufeff")
    heading = text.split("\n", 1)[0]
    between = max(",;\t", key=heading.count)
    rows = csv.DictReader(io.StringIO(text), delimiter=between, restkey="", restval="")
    columns = [(column or "").strip() for column in rows.fieldnames or ()]
    if missing := [column for column in REQUIRED if column not in columns]:
        raise CodeMapError([(1, f"the first line names no column {' and no column '.join(missing)}")])
    rows.fieldnames = columns
    codes: dict[tuple[str, str], Coded] = {}
    lines: dict[tuple[str, str], int] = {}
    mistakes: list[tuple[int, str]] = []
    for row in rows:
        line = rows.line_num
        cell = {name: value.strip() for name, value in row.items() if isinstance(value, str)}
        if not any(cell.values()):
            continue
        key = (cell["from_code"], cell.get("from_scheme", ""))
        if not key[0] or not cell["to_code"]:
            mistakes.append((line, f"{'from_code' if not key[0] else 'to_code'} is empty"))
        elif key in codes:
            mistakes.append((line, f"{key[0]!r} stands in line {lines[key]} already"))
        else:
            codes[key] = Coded(cell["to_code"], cell.get("to_scheme", ""), cell.get("to_meaning", ""))
            lines[key] = line
    if mistakes:
        raise CodeMapError(mistakes)
    return CodeTable(name, hashlib.sha256(text.encode()).hexdigest()[:12], codes)
