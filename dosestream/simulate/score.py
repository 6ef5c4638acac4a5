"""How well the links of the dose database agree with the true answer: shares, not cells.

A link is a study with its primary order. Strong links are those by study UID, accession, order number, or
accession alone; weak ones are by patient, modality and time.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import psycopg
from psycopg import sql
from psycopg.rows import dict_row

from dosestream.simulate.truth import Line

# What a link is told apart by: the order's numbers. A number the truth leaves undefined is not compared.
NUMBERS = ("accession_number", "filler_order_number", "placer_order_number")
WEAK = "window"
Row = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Score:
    """Counts of studies.

    Attributes:
        strong, strong_right: studies that truly have a strong link; those that show exactly that link.
        weak, weak_right: studies with exactly one order that fits by patient, modality and time; as above.
        linked, linked_right: studies that show a link; those of them whose link is the true one.
        open_studies, open_right: studies with no one true link; those that show their true state.
        wrong: UIDs of studies that show a link which is not the true one.
        missed: UIDs of studies that do not show their true link or state.
    """

    strong: int
    strong_right: int
    weak: int
    weak_right: int
    linked: int
    linked_right: int
    open_studies: int
    open_right: int
    wrong: tuple[str, ...] = ()
    missed: tuple[str, ...] = ()

    @property
    def strong_share(self) -> float:
        """Of the true strong links, the share that is shown."""
        return _share(self.strong_right, self.strong)

    @property
    def precision(self) -> float:
        """Of the links shown, the share that is true."""
        return _share(self.linked_right, self.linked)

    @property
    def weak_recall(self) -> float:
        """Of the true weak links, the share that is shown."""
        return _share(self.weak_right, self.weak)

    def __str__(self) -> str:
        return (
            f"strong links {self.strong_right} of {self.strong} ({self.strong_share:.2%}), "
            f"weak links {self.weak_right} of {self.weak} ({self.weak_recall:.2%}), "
            f"links that are true {self.linked_right} of {self.linked} ({self.precision:.2%}), "
            f"other states {self.open_right} of {self.open_studies}"
        )


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 1.0


def score(url: str, lines: Iterable[Line], schema: str = "dose") -> Score:
    """The score of the public views in `schema`, as `compare.compare` reads them.

    Raises:
        psycopg.OperationalError: the database is away.
    """
    studies = [line for line in lines if line["kind"] == "study"]
    query = sql.SQL("SELECT study_instance_uid, link_state, link_method, {} FROM {}").format(
        sql.SQL(", ").join(map(sql.Identifier, NUMBERS)), sql.Identifier(schema, "study")
    )
    with psycopg.connect(url, row_factory=dict_row) as connection:
        return scored(studies, connection.execute(query).fetchall())


def scored(studies: Sequence[Line], rows: Iterable[Row]) -> Score:
    """The pure part of `score`: lines of studies against rows of `dose.study`."""
    found = {row["study_instance_uid"]: row for row in rows}
    counts = dict.fromkeys(
        (
            "strong",
            "strong_right",
            "weak",
            "weak_right",
            "linked",
            "linked_right",
            "open_studies",
            "open_right",
        ),
        0,
    )
    wrong: list[str] = []
    missed: list[str] = []
    for line in studies:
        uid = str(line["study_instance_uid"])
        row = found.get(uid, {})
        shows, truly = row.get("link_state") == "linked", line.get("link_state") == "linked"
        right = truly and shows and all(line.get(name) == row[name] for name in NUMBERS if name in line)
        if shows:
            counts["linked"] += 1
            counts["linked_right"] += right
            if not right:
                wrong.append(uid)
        kind = "open_studies" if not truly else "weak" if line["link_method"] == WEAK else "strong"
        agrees = right if truly else row.get("link_state") == line.get("link_state")
        counts[kind] += 1
        counts["open_right" if kind == "open_studies" else f"{kind}_right"] += agrees
        if not agrees:
            missed.append(uid)
    return Score(**counts, wrong=tuple(wrong), missed=tuple(missed))
