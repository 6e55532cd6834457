"""psycopg's connection as we use it: how long an answer may take, and what is noted of a session."""

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
"""How long a statement of ours may take to be answered, before its connection is given up for lost. PostgreSQL limits
how long each of them waits for locks and for sessions to leave; only a few take as long as the data is large, and are
sent under ``answers_within(connection, None)``."""

_BETWEEN_WORDS = 1.0
"""Seconds between two words about what is waited for."""

CANCEL_LIMIT = timedelta(seconds=2)
"""How long a statement of ours that we cancel may take to be answered. PostgreSQL does so at once, but while it writes
to its disk."""

_T = TypeVar("_T")


class _LenientText(Loader):
    """Reads text that may not be UTF-8.

    The names and comments of all databases stand in shared catalogs, each in the encoding of the database from which
    it was written; one that cannot be read must not keep the others from being read.
    """

    def load(self, data: Buffer) -> str:
        return bytes(data).decode("utf-8", errors="replace")


@dataclass(frozen=True, slots=True)
class SessionDefault:
    """What a setting was before we made the session safe, and what set it: ``source`` is that of pg_settings."""

    value: str
    source: str


class DriverConnection(psycopg.Connection[Any]):
    """A connection that is given up for lost when the server has not answered for too long."""

    answer_limit: timedelta | None = ANSWER_LIMIT
    cancel_after: Callable[[], timedelta | None] = staticmethod(lambda: None)
    waits: Callable[[], None] = staticmethod(lambda: None)
    began_with: Mapping[str, SessionDefault] = {}
    unconfirmed: tuple[str, ...] = ()

    def wait(self, gen: PQGen[_T], *arguments: Any, **options: Any) -> _T:
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
    """Give the connection up for lost when an answer takes longer than ``limit`` in this block; None is no limit."""
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
    """Cancel what takes longer than ``limit`` in this block, which is asked whenever something is sent; None lets it.

    When the server does not answer to that within ``CANCEL_LIMIT``, the connection is given up for lost. ``waits`` is
    called every second until then.
    """
    driver = cast(DriverConnection, driver_connection(connection))
    driver.cancel_after, driver.waits = limit, waits
    try:
        yield
    finally:
        del driver.cancel_after, driver.waits


def longest_answer(connection: Connection) -> timedelta | None:
    """Return how long an answer on this connection may take before it is given up for lost; None is no limit."""
    return cast(DriverConnection, driver_connection(connection)).answer_limit


def note_unconfirmed(connection: Connection, said: Iterable[str]) -> None:
    """Note what PostgreSQL has said, after a COMMIT on this connection, of synchronous standbys that do not answer."""
    driver = cast(DriverConnection, driver_connection(connection))
    driver.unconfirmed += tuple(said)


def take_unconfirmed(connection: Connection) -> tuple[str, ...]:
    """Return what ``note_unconfirmed`` has noted since this was asked before."""
    driver = cast(DriverConnection, driver_connection(connection))
    said, driver.unconfirmed = driver.unconfirmed, ()
    return said


def open_connection(parameters: Mapping[str, Any]) -> DriverConnection:
    """Connect with libpq's ``parameters``.

    Raises what psycopg raises, and UsageError for parameters that libpq does not understand.
    """
    try:
        # Prepared statements are of no use but at the door, where no pooler is in between, which could not follow them.
        connection = DriverConnection.connect(**parameters, prepare_threshold=None)
    except psycopg.ProgrammingError as error:
        raise UsageError(f"The connection's options are wrong: {error}", state=NOTHING_CHANGED) from None
    except BaseException as error:
        # psycopg leaves an attempt that took too long to the garbage collector. Until that came along, it would
        # stay, once it got in, as a session of ours in the way of a clone.
        clear_frames(error.__traceback__)
        raise
    for kind in ("text", "varchar", "name"):
        connection.adapters.register_loader(kind, _LenientText)
    return connection


def driver_connection(connection: Connection) -> psycopg.Connection[Any]:
    """Return psycopg's own connection, for what SQLAlchemy has no word for: transactions, cancelling, libpq's facts."""
    return cast("psycopg.Connection[Any]", connection.connection.driver_connection)


def server_version(connection: Connection) -> int:
    """Return the server's version as a number, as libpq tells it; see ``core.server.version``."""
    return driver_connection(connection).info.server_version


def began_with(connection: Connection, name: str) -> SessionDefault:
    """Return what one of the settings that are made safe was when the session began."""
    return cast(DriverConnection, driver_connection(connection)).began_with[name]
