"""Reports in the database: rows written where they changed, their texts fetched from the messages that hold them."""

import hashlib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import cast

import orjson
from psycopg import Cursor

from dosestream.db.values import iso_time, without_nul
from dosestream.events.codec import Codec
from dosestream.events.records import Report
from dosestream.reconcile.derive import Group
from dosestream.reconcile.reports import DIGEST
from dosestream.reconcile.rows import GroupRows, ReportRow

Row = tuple[object, ...]
# Bytes of message texts held at a time; one larger text is held alone.
HELD = 8 * 2**20


def write(
    cursor: Cursor[Row], codec: Codec, groups: Mapping[int, Group], derived: Mapping[int, GroupRows]
) -> None:
    """Bring the reports of these groups up to what was derived."""
    # Facts stay, so a group without a report message never had a row.
    spoken = [number for number, group in groups.items() if group.reports]
    if not spoken:
        return
    cursor.execute("SELECT grp, report_key, content_hash FROM report WHERE grp = ANY(%s)", (spoken,))
    before = {(int(str(grp)), str(key)): str(known) for grp, key, known in cursor.fetchall()}
    fresh: list[tuple[int, ReportRow, str]] = []
    for number in spoken:
        for row in derived[number].reports:
            hashed = content_hash(row)
            if before.get((number, row.report_key)) == hashed:
                del before[number, row.report_key]
            else:
                fresh.append((number, row, hashed))
    if before:
        cursor.execute(
            "DELETE FROM report r USING unnest(%s::bigint[], %s::text[]) AS n (grp, report_key) "
            "WHERE r.grp = n.grp AND r.report_key = n.report_key",
            ([grp for grp, _ in before], [key for _, key in before]),
        )
    for rows in _in_parts(cursor, fresh):
        _insert(cursor, codec, rows)


def content_hash(row: ReportRow) -> str:
    """What tells whether a row changed."""
    return hashlib.sha256(orjson.dumps(asdict(row))).hexdigest()[:32]


def text_of(event: Report) -> str | None:
    """The text of a report; None where it was let go and a digest is in its place."""
    return None if event.text.startswith(DIGEST) else event.text


def report_content(row: ReportRow, group: int, text: str | None, hashed: str) -> dict[str, object]:
    """A row of the table, with the text that the message of `row.text_of` holds."""
    return {
        "study_instance_uid": row.study_instance_uid,
        "accession_number": row.accession_number,
        "status": row.status,
        "text": text,
        "reported_at": iso_time(row.reported_at),
        "finalized_at": iso_time(row.finalized_at),
        "report_key": row.report_key,
        "grp": group,
        "content_hash": hashed,
    }


def _in_parts(
    cursor: Cursor[Row], fresh: Sequence[tuple[int, ReportRow, str]]
) -> Iterator[list[tuple[int, ReportRow, str]]]:
    """The rows in parts whose messages fit into memory together."""
    sizes: dict[str, int] = {}
    if wanted := _told_by(fresh):
        cursor.execute(
            "SELECT event_id, coalesce(octet_length(value), 0) FROM fact WHERE event_id = ANY(%s)", (wanted,)
        )
        sizes = {str(event_id): int(str(size)) for event_id, size in cursor.fetchall()}
    part: list[tuple[int, ReportRow, str]] = []
    held = 0
    for item in fresh:
        size = sizes.get(item[1].text_of or "", 0)
        if part and held + size > HELD:
            yield part
            part, held = [], 0
        part.append(item)
        held += size
    if part:
        yield part


def _told_by(rows: Iterable[tuple[int, ReportRow, str]]) -> list[str]:
    return [row.text_of for _, row, _ in rows if row.text_of is not None]


def _insert(cursor: Cursor[Row], codec: Codec, rows: Collection[tuple[int, ReportRow, str]]) -> None:
    texts: dict[str, str] = {}
    if wanted := _told_by(rows):
        cursor.execute("SELECT event_id, value FROM fact WHERE event_id = ANY(%s)", (wanted,))
        texts = {
            str(event_id): text
            for event_id, value in cursor.fetchall()
            if value is not None
            and (text := text_of(codec.decode(bytes(cast(bytes, value)), Report))) is not None
        }
    cursor.execute(
        "INSERT INTO report SELECT * FROM jsonb_populate_recordset(NULL::report, %s::jsonb)",
        (
            without_nul(
                [
                    report_content(row, number, texts.get(row.text_of or ""), hashed)
                    for number, row, hashed in rows
                ]
            ),
        ),
    )
