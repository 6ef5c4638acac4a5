"""Scheduled steps looked up for the worklist."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from queue import Empty, LifoQueue
from typing import Any, Final

import psycopg
from psycopg.rows import dict_row

from dosestream.worklist.matching import Condition

COLUMNS: Final = (
    "study_instance_uid, accession_number, accession_issuer, requested_procedure_id, scheduled_step_id, "
    "placer_order_number, filler_order_number, patient_authority, patient_id, patient_name, patient_birth_date, "
    "patient_sex, modality, scheduled_at, ordered_at, status, station_ae_titles, station_name, station_location, "
    "procedure_code, procedure_scheme, procedure_meaning, step_code, step_scheme, step_meaning, "
    "performing_physician, requesting_physician, referring_physician, priority, reason, weight_kg, height_m, "
    "allergies, patient_state, visit_number, location"
)
# Together well under the ten seconds a modality is answered in.
CONNECT_S: Final = 3
STATEMENT_MS: Final = 4000


def statement(conditions: Sequence[Condition], zone: str, limit: int) -> tuple[str, list[object]]:
    """The query for steps, the earliest first, and its parameters."""
    parameters: list[object] = []
    wheres = [c.matching.sql(c.column, zone, parameters) for c in conditions]
    where = " AND ".join(f"({one})" for one in wheres) or "true"
    parameters.append(limit)
    text = (
        f"SELECT {COLUMNS} FROM dose.scheduled_step WHERE {where} "
        "ORDER BY scheduled_at, accession_number, scheduled_step_id LIMIT %s"
    )
    return text, parameters


class Steps:
    """Scheduled steps from the dose database, for several threads; connections are made as needed and kept.

    Args:
        url: of the database.
        connections: how many may be open.
    """

    def __init__(self, url: str, connections: int = 8) -> None:
        self._url = url
        self._idle: LifoQueue[psycopg.Connection[Any] | None] = LifoQueue()
        for _ in range(connections):
            self._idle.put(None)

    def find(self, conditions: Sequence[Condition], zone: str, limit: int) -> list[dict[str, Any]]:
        """At most `limit` steps that meet all conditions, as rows of the view.

        Raises:
            psycopg.Error: the database is away, or did not answer in time.
        """
        text, parameters = statement(conditions, zone, limit)
        try:
            return self._read(text, parameters)
        except psycopg.OperationalError as error:
            if isinstance(error, psycopg.errors.QueryCanceled):
                raise
            # A connection that was kept may have died with its server since.
            self._forget()
            return self._read(text, parameters)

    def close(self) -> None:
        """Close what is idle."""
        self._forget()

    def _read(self, text: str, parameters: list[object]) -> list[dict[str, Any]]:
        with self._connection() as connection, connection.cursor(row_factory=dict_row) as cursor:
            return cursor.execute(text.encode(), parameters).fetchall()

    @contextmanager
    def _connection(self) -> Iterator[psycopg.Connection[Any]]:
        try:
            connection = self._idle.get(timeout=CONNECT_S)
        except Empty:
            raise psycopg.OperationalError("all connections are busy") from None
        try:
            if connection is None or connection.closed:
                connection = psycopg.connect(
                    self._url,
                    autocommit=True,
                    connect_timeout=CONNECT_S,
                    options=f"-c statement_timeout={STATEMENT_MS}",
                    tcp_user_timeout=STATEMENT_MS,
                )
            yield connection
        finally:
            self._idle.put(connection)

    def _forget(self) -> None:
        """Close the idle connections; their places stay."""
        places = 0
        while True:
            try:
                connection = self._idle.get_nowait()
            except Empty:
                break
            places += 1
            if connection is not None:
                connection.close()
        for _ in range(places):
            self._idle.put(None)
