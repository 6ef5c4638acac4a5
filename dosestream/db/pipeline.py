"""Transactions whose statements are sent without waiting: the server works on one while the next is made."""

import select
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Self

from psycopg import Connection, Cursor, Pipeline
from psycopg.pq.abc import PGresult

Row = tuple[object, ...]


class PipelineCursor(Cursor[Row]):
    """A cursor whose `execute` does not wait; `fetchone` and `fetchall` wait for all that was sent.

    An error of a statement shows at the next that waits, at the latest when the transaction is about to commit.
    """

    def __init__(self, connection: Connection[Row], pipeline: Pipeline) -> None:
        super().__init__(connection)
        self._all_sent = pipeline
        # Statements whose results did not come yet.
        self._under_way = 0

    def execute(self, *args: Any, **more: Any) -> Self:
        """Send a statement, all of it: left half sent, a large one would be waited for by both sides."""
        self._under_way += 1
        super().execute(*args, **more)
        server = self.connection.pgconn
        if server.flush():
            socket = select.poll()
            socket.register(server.socket, select.POLLIN | select.POLLOUT)
            while server.flush():
                if any(ready & ~select.POLLOUT for _, ready in socket.poll()):
                    server.consume_input()
        return self

    def ask(self, *args: Any) -> Cursor[Row]:
        """Send a statement whose rows are fetched later, from the cursor returned, whatever is sent meanwhile."""
        return type(self)(self.connection, self._all_sent).execute(*args)

    def executemany(self, query: Any, params_seq: Iterable[Any], **more: Any) -> None:
        """Send a statement with each of some parameters."""
        for params in params_seq:
            self.execute(query, params, **more)

    def fetchone(self) -> Row | None:
        """One row of the last statement; does not wait where it came already."""
        self._wait()
        return super().fetchone()

    def fetchall(self) -> list[Row]:
        """The rows of the last statement; does not wait where they came already."""
        self._wait()
        return super().fetchall()

    def _wait(self) -> None:
        # Results of earlier statements that nobody fetched come before, and are passed over.
        if self._under_way:
            self._all_sent.sync()

    def _set_results(self, results: list[PGresult]) -> None:
        self._under_way -= 1
        super()._set_results(results)


@contextmanager
def transaction(connection: Connection[Row]) -> Iterator[PipelineCursor]:
    """A transaction of its own on a connection without one, and a cursor for its statements.

    Raises:
        psycopg.Error: of any statement; the transaction was rolled back.
    """
    with (
        connection.transaction(),
        connection.pipeline() as pipeline,
        PipelineCursor(connection, pipeline) as cursor,
    ):
        yield cursor
