"""Move the rows of one table from one session to another, without looking at them.

COPY sends a message for each row; taken from libpq and put into libpq in bundles, they cost a fraction of what the
two servers' sides of it do. SQLAlchemy has no word for COPY, so the statements are composed by psycopg.
https://www.postgresql.org/docs/current/libpq-copy.html
"""

from __future__ import annotations

import select
from collections.abc import Callable
from typing import Any

import psycopg
from psycopg import errors, pq, sql

__all__ = ["StoppedError", "patiently", "relay"]

_BUNDLE = 128 * 1024
"""Bytes that are put together before they are sent on."""

_LOOK = 0.25
"""Seconds after which a wait looks whether it has been told to stop."""

Stopped = Callable[[], bool]
Session = psycopg.Connection[Any]


class StoppedError(Exception):
    """Told to stop before it was done."""


def patiently(session: Session, statement: sql.Composable, stopped: Stopped) -> pq.abc.PGresult:
    """Run one statement that may take as long as the data is large; return its result.

    Raises psycopg.Error, and StoppedError, having cancelled it, when told to stop.
    """
    session.pgconn.send_query(statement.as_bytes(session))
    return _result(session, stopped)


def relay(
    source: Session, target: Session, read: sql.Composable, write: sql.Composable, stopped: Stopped
) -> tuple[int, int]:
    """Let ``write``, a COPY FROM STDIN in ``target``, take what ``read``, a COPY TO STDOUT in ``source``, gives.

    Returns how many rows the one says that it has sent, and the other that it has taken. Raises psycopg.Error, and
    StoppedError when told to stop; then neither session is fit for anything more.
    """
    patiently(source, read, stopped)
    patiently(target, write, stopped)
    bundle: list[bytes] = []
    size = 0
    while True:
        length, data = source.pgconn.get_copy_data(1)
        if length > 0:
            bundle.append(bytes(data))
            size += length
            if size >= _BUNDLE:
                _put(target, b"".join(bundle), stopped)
                bundle, size = [], 0
        elif length == 0:
            _wait(source, stopped, writes=False)
            source.pgconn.consume_input()
        else:
            break
    sent = _rows(_result(source, stopped))
    if bundle:
        _put(target, b"".join(bundle), stopped)
    target.pgconn.put_copy_end()
    _flush(target, stopped)
    return sent, _rows(_result(target, stopped))


def _put(target: Session, data: bytes, stopped: Stopped) -> None:
    target.pgconn.put_copy_data(data)
    _flush(target, stopped)


def _flush(session: Session, stopped: Stopped) -> None:
    while session.pgconn.flush():
        _wait(session, stopped, writes=True)
        session.pgconn.consume_input()


def _wait(session: Session, stopped: Stopped, *, writes: bool) -> None:
    """Wait until there is something to read or, with ``writes``, room to write as well."""
    socket = [session.pgconn.socket]
    while not any(select.select(socket, socket if writes else [], [], _LOOK)):
        if stopped():
            session.cancel_safe()
            raise StoppedError
    if stopped():
        session.cancel_safe()
        raise StoppedError


def _result(session: Session, stopped: Stopped) -> pq.abc.PGresult:
    """Wait for the answer to what was sent; raise the error that it is."""
    pgconn = session.pgconn
    _flush(session, stopped)
    last: pq.abc.PGresult | None = None
    while True:
        while pgconn.is_busy():
            _wait(session, stopped, writes=False)
            pgconn.consume_input()
        result = pgconn.get_result()
        if result is None:
            break
        last = result
        if result.status in (pq.ExecStatus.COPY_IN, pq.ExecStatus.COPY_OUT):
            break
    if last is None:
        raise psycopg.OperationalError("the connection was lost")
    if last.status in (pq.ExecStatus.FATAL_ERROR, pq.ExecStatus.BAD_RESPONSE):
        raise errors.error_from_result(last, encoding="utf-8")
    return last


def _rows(result: pq.abc.PGresult) -> int:
    """The number in ``COPY 123``."""
    return int((result.command_status or b"").split()[-1])
