"""Move the rows of one table from one session to another, without looking at them.

COPY sends a message for each row. Read from libpq and written to libpq in bundles, they cost a fraction of the work of
the two sessions. SQLAlchemy has no construct for COPY, so psycopg composes the statements.
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
"""Bytes that are collected before they are sent."""

_LOOK = 0.25
"""Seconds between two checks whether a wait has been told to stop."""

Stopped = Callable[[], bool]
Session = psycopg.Connection[Any]


class StoppedError(Exception):
    """It was told to stop before it was done."""


def patiently(session: Session, statement: sql.Composable, stopped: Stopped) -> pq.abc.PGresult:
    """Run one statement that takes longer the larger the data is. Return its result.

    Raises psycopg.Error. When told to stop, cancels it and raises StoppedError.
    """
    session.pgconn.send_query(statement.as_bytes(session))
    return _result(session, stopped)


def relay(
    source: Session, target: Session, read: sql.Composable, write: sql.Composable, stopped: Stopped
) -> tuple[int, int]:
    """Send the rows of ``read``, a COPY TO STDOUT in ``source``, to ``write``, a COPY FROM STDIN in ``target``.

    Returns how many rows the source says it sent, and the target says it received. Raises psycopg.Error, and
    StoppedError when told to stop. Neither session can be used any more then.
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
    """Wait for the answer. Raise it if it is an error."""
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
