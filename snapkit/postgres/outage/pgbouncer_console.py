"""The admin console of one PgBouncer. We never block on it: a PAUSE is answered only when the pool is empty.

The console speaks the simple query protocol only, and knows no SQL. Every error has the same SQLSTATE (08P01). A PAUSE
stays in force when the connection that sent it is gone, even before it was answered. A restart of PgBouncer forgets it.
A database that only the entry "*" covers leaves SHOW DATABASES after a moment without clients, and is still paused when
the next client comes. So RESUME is sent whatever the list says.
https://www.pgbouncer.org/usage.html#admin-console

The watchdog imports this too: of other packages it needs psycopg only.
"""

from __future__ import annotations

import selectors
import time
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress

import psycopg
from psycopg import pq

from snapkit.core.outage.pooled_databases import PooledDatabase, command, pooled_database
from snapkit.processes.deadline import Deadline

ANSWER_LIMIT = 3.0
"""Seconds that a console may take for an answer that it need not wait for."""

_LOOK_AGAIN = 1.0

Row = Mapping[str, str | None]


class ConsoleError(Exception):
    """The console refused a command. The text is PgBouncer's own."""


class ConsoleLostError(ConsoleError):
    """The console cannot be reached, has closed the connection, or does not answer."""


class Console:
    """One connection to an admin console. ``parameters`` are libpq's, with the console's database."""

    def __init__(self, parameters: Mapping[str, str]) -> None:
        try:
            # PgBouncer would refuse PGOPTIONS ("unsupported startup parameter").
            self._connection = psycopg.connect(
                **{**parameters, "options": "", "client_encoding": "utf8"},  # type: ignore[arg-type]
                autocommit=True,
                prepare_threshold=None,
            )
        except (psycopg.Error, UnicodeError) as error:
            raise ConsoleLostError(" ".join(str(error).split())) from error
        self._pgconn = self._connection.pgconn
        self._arrived: list[Row] | ConsoleError | None = None

    @property
    def is_pgbouncer(self) -> bool:
        """Whether it says that it is PgBouncer's console, and not a database behind a pooler, or another pooler."""
        return (self._connection.info.parameter_status("server_version") or "").endswith("/bouncer")

    @property
    def address(self) -> Mapping[str, str]:
        """The address that was reached. Another address of the same name would be another PgBouncer."""
        found = {"host": self._connection.info.host, "port": str(self._connection.info.port)}
        return found | ({"hostaddr": self._connection.info.hostaddr} if self._connection.info.hostaddr else {})

    @property
    def user(self) -> str:
        return self._connection.info.user

    def send(self, statement: str) -> None:
        """Send a command. ``await_answers`` waits for its answer."""
        self._arrived = None
        try:
            self._pgconn.send_query(statement.encode())
            self._pgconn.flush()
        except psycopg.Error as error:
            self._arrived = ConsoleLostError(_text(error))

    def poll(self) -> bool:
        """Whether the answer has arrived. Does not wait."""
        if self._arrived is None:
            try:
                self._pgconn.consume_input()
                if not self._pgconn.is_busy():
                    self._arrived = self._take()
            except psycopg.Error as error:
                self._arrived = ConsoleLostError(_text(error))
        return self._arrived is not None

    def answer(self) -> list[Row]:
        """Return the rows of the answer. Raise ConsoleError if there is none."""
        if self._arrived is None:
            raise ConsoleLostError("no answer came in time")
        if isinstance(self._arrived, ConsoleError):
            raise self._arrived
        return self._arrived

    def ask(self, statement: str, limit: float = ANSWER_LIMIT) -> list[Row]:
        """Send a command, wait for its answer, and return its rows. Raise ConsoleError if it does not come in time."""
        self.send(statement)
        await_answers([self], Deadline(limit))
        return self.answer()

    def databases(self) -> list[PooledDatabase]:
        return [pooled_database(row) for row in self.ask("SHOW DATABASES")]

    def is_paused(self, name: str) -> bool:
        """Whether PgBouncer holds clients of the database at this moment."""
        return any(each.name == name and each.paused for each in self.databases())

    def resume(self, name: str) -> bool:
        """Send RESUME for a database. Return whether it was still paused. Raises ConsoleError."""
        try:
            self.ask(command("RESUME", name))
        except ConsoleLostError:
            raise
        except ConsoleError:
            if self.is_paused(name):
                raise
            return False
        return True

    def fileno(self) -> int:
        return self._pgconn.socket

    @property
    def is_open(self) -> bool:
        return self._pgconn.status == pq.ConnStatus.OK

    def close(self) -> None:
        """Close the connection, even while it waits for an answer."""
        with suppress(psycopg.Error):
            self._pgconn.finish()
        self._connection.close()

    def _take(self) -> list[Row] | ConsoleError:
        rows: list[Row] = []
        problem: ConsoleError | None = None
        while (result := self._pgconn.get_result()) is not None:
            if result.status == pq.ExecStatus.FATAL_ERROR:
                is_last = not self.is_open or result.error_field(pq.DiagnosticField.SEVERITY) == b"FATAL"
                problem = (ConsoleLostError if is_last else ConsoleError)(_said(result))
            else:
                names = [(result.fname(column) or b"").decode() for column in range(result.nfields)]
                rows += [
                    {name: _decoded(result.get_value(row, column)) for column, name in enumerate(names)}
                    for row in range(result.ntuples)
                ]
        return problem or rows


def _said(result: pq.abc.PGresult) -> str:
    said = result.error_field(pq.DiagnosticField.MESSAGE_PRIMARY)
    return said.decode("utf-8", errors="replace") if said else " ".join(result.get_error_message().split())


def _decoded(value: bytes | None) -> str | None:
    return None if value is None else value.decode("utf-8", errors="replace")


def _text(error: psycopg.Error) -> str:
    return " ".join(str(error).split()) or "the connection was lost"


def await_answers(
    consoles: Collection[Console], deadline: Deadline, awake: Callable[[], None] = lambda: None
) -> list[Console]:
    """Wait until each console has answered, but no longer than ``deadline``. Return those that have not.

    ``awake`` is called every second meanwhile.
    """
    waiting = [console for console in consoles if not console.poll()]
    looked_at = time.monotonic()
    while waiting and not deadline.is_over:
        with selectors.DefaultSelector() as selector:
            for console in waiting:
                selector.register(console, selectors.EVENT_READ)
            selector.select(min(deadline.left, _LOOK_AGAIN))
        waiting = [console for console in waiting if not console.poll()]
        if time.monotonic() - looked_at >= _LOOK_AGAIN:
            awake()
            looked_at = time.monotonic()
    return waiting
