"""psycopg's connection, with a limit on how long an answer may take, and with notes on the session."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import timedelta
from traceback import clear_frames
from typing import Any, TypeVar, cast

import psycopg
from psycopg.abc import Buffer, PQGen
from psycopg.adapt import Loader
from psycopg.pq import TransactionStatus
from sqlalchemy import Connection

from snapkit.core.values import dataclass
from snapkit.errors import NOTHING_CHANGED, UsageError
from snapkit.processes.deadline import Deadline

ANSWER_LIMIT = timedelta(seconds=60)
"""How long the server may take to answer a statement of ours. After that the connection counts as lost.

PostgreSQL limits how long each statement waits for locks and for sessions to leave. The few that take longer the larger
the data is are sent under ``answers_within(connection, None)``."""

_BETWEEN_WORDS = 1.0
"""Seconds between two calls of ``waits``."""

CANCEL_LIMIT = timedelta(seconds=2)
"""How long the server may take to answer a statement that we cancel. PostgreSQL answers at once, unless it is writing
to its disk."""

_T = TypeVar("_T")


class _LenientText(Loader):
    """Reads text that may not be UTF-8.

    The names and comments of all databases are in shared catalogs. Each is in the encoding of the database from which
    it was written. One that cannot be read must not keep the others from being read.
    """

    def load(self, data: Buffer) -> str:
        return bytes(data).decode("utf-8", errors="replace")


@dataclass(frozen=True, slots=True)
class SessionDefault:
    """The value that a setting had before we made the session safe. ``source`` says what set it, as in pg_settings."""

    value: str
    source: str


class DriverConnection(psycopg.Connection[Any]):
    """A connection that counts as lost when the server does not answer in time."""

    answer_limit: timedelta | None = ANSWER_LIMIT
    cancel_after: Callable[[], timedelta | None] = staticmethod(lambda: None)
    waits: Callable[[], None] = staticmethod(lambda: None)
    began_with: Mapping[str, SessionDefault] = {}
    unconfirmed: tuple[str, ...] = ()
    waiting: int | None = None
    """The number of the answer that is waited for at this moment; None: of none."""
    _answers = 0

    def wait(self, gen: PQGen[_T], *arguments: Any, **options: Any) -> _T:
        self._answers += 1
        self.waiting = self._answers
        try:
            return self._wait(gen, *arguments, **options)
        finally:
            self.waiting = None

    def _wait(self, gen: PQGen[_T], *arguments: Any, **options: Any) -> _T:
        if (until_cancel := self.cancel_after()) is not None:
            deadline = Deadline(until_cancel)
            while True:
                patience = min(deadline.left, _BETWEEN_WORDS)
                look = Deadline(patience)
                try:
                    return super().wait(gen, *arguments, **{"timeout": patience, **options})
                except psycopg.Error:
                    if not look.is_over or self.info.transaction_status != TransactionStatus.ACTIVE:
                        raise
                if deadline.is_over:
                    break
                self.waits()
            with suppress(psycopg.Error):  # then the answer will not come either
                self.cancel_safe(timeout=CANCEL_LIMIT.total_seconds())
            return self._wait_within(CANCEL_LIMIT, gen, *arguments, **options)
        if self.answer_limit is None:
            return super().wait(gen, *arguments, **options)
        return self._wait_within(self.answer_limit, gen, *arguments, **options)

    def _wait_within(self, patience: timedelta, gen: PQGen[_T], *arguments: Any, **options: Any) -> _T:
        limit = patience.total_seconds()
        deadline = Deadline(limit)
        try:
            return super().wait(gen, *arguments, **{"timeout": limit, **options})
        except psycopg.Error:
            if not deadline.is_over:
                raise
            self.pgconn.finish()
            raise psycopg.OperationalError(f"no answer within {limit:.0f} s") from None


@contextmanager
def answers_within(connection: Connection, limit: timedelta | None) -> Iterator[None]:
    """Treat the connection as lost when an answer takes longer than ``limit`` in this block. None is no limit."""
    driver = cast(DriverConnection, driver_connection(connection))
    before, driver.answer_limit = driver.answer_limit, limit
    try:
        yield
    finally:
        driver.answer_limit = before


@contextmanager
def cancelled_after(
    connection: Connection, limit: Callable[[], timedelta | None], waits: Callable[[], None] = lambda: None
) -> Iterator[None]:
    """Cancel each statement in this block that takes longer than ``limit``.

    ``limit`` is called whenever a statement is sent; None is no limit. ``waits`` is called every second until the
    statement is cancelled. When the server does not answer within ``CANCEL_LIMIT`` after that, the connection counts as
    lost.
    """
    driver = cast(DriverConnection, driver_connection(connection))
    driver.cancel_after, driver.waits = limit, waits
    try:
        yield
    finally:
        del driver.cancel_after, driver.waits


def awaited(connection: psycopg.Connection[Any]) -> int | None:
    """Return the number of the answer that psycopg's connection waits for at this moment; None if it waits for none."""
    return cast(DriverConnection, connection).waiting


def longest_answer(connection: Connection) -> timedelta | None:
    """Return how long an answer on this connection may take before it counts as lost. None is no limit."""
    return cast(DriverConnection, driver_connection(connection)).answer_limit


def note_unconfirmed(connection: Connection, said: Iterable[str]) -> None:
    """Note what PostgreSQL said, after a COMMIT on this connection, about synchronous standbys that do not answer."""
    driver = cast(DriverConnection, driver_connection(connection))
    driver.unconfirmed += tuple(said)


def take_unconfirmed(connection: Connection) -> tuple[str, ...]:
    """Return what ``note_unconfirmed`` has noted since the last call."""
    driver = cast(DriverConnection, driver_connection(connection))
    said, driver.unconfirmed = driver.unconfirmed, ()
    return said


def open_connection(parameters: Mapping[str, Any]) -> DriverConnection:
    """Connect with libpq's ``parameters``.

    Raises what psycopg raises, and UsageError for parameters that libpq does not understand.
    """
    try:
        # Prepared statements pay off only at the door. Elsewhere a pooler may be in between, which cannot follow them.
        connection = DriverConnection.connect(**parameters, prepare_threshold=None)
    except psycopg.ProgrammingError as error:
        raise UsageError(f"The connection's options are wrong: {error}", state=NOTHING_CHANGED) from None
    except BaseException as error:
        # psycopg leaves an attempt that took too long to the garbage collector. Until it is collected, it may still
        # get in, and then be a session of ours in the way of a clone.
        clear_frames(error.__traceback__)
        raise
    for kind in ("text", "varchar", "name"):
        connection.adapters.register_loader(kind, _LenientText)
    return connection


def driver_connection(connection: Connection) -> psycopg.Connection[Any]:
    """Return psycopg's own connection, for what SQLAlchemy does not offer: transactions, cancelling, libpq's facts."""
    return cast("psycopg.Connection[Any]", connection.connection.driver_connection)


def server_version(connection: Connection) -> int:
    """Return the server's version as a number, as libpq tells it; see ``core.server.version``."""
    return driver_connection(connection).info.server_version


def began_with(connection: Connection, name: str) -> SessionDefault:
    """Return the value that one of the safe settings had when the session began."""
    return cast(DriverConnection, driver_connection(connection)).began_with[name]
