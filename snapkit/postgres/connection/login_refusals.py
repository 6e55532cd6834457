"""Why the server refused a connection: an error of ours that says it, and what to do."""

from __future__ import annotations

import os
import re
import select
import sys
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import psycopg
from psycopg import pq
from psycopg.conninfo import make_conninfo

from snapkit.core.connection.login_refusals import Attempt, Refusal, explained, refusal_of
from snapkit.errors import ConnectionFailedError, NoSuchDatabaseError
from snapkit.processes.deadline import Deadline

_LIMIT = 3.0
"""Seconds that the server may take to refuse once more."""

_SQLSTATE = re.compile(rb'\tErrorResponse\t.* C "(\w{5})"')


def why_refused(error: psycopg.Error, parameters: Mapping[str, Any]) -> tuple[Refusal, str]:
    """Return the reason, and the server's message. ``parameters`` are those of the attempt.

    The text of the message decides. Where it is in another language, we connect once more to learn the SQLSTATE, which
    libpq keeps to itself.
    """
    needs_password = error.pgconn is not None and error.pgconn.needs_password
    refusal, said = refusal_of(str(error), error.sqlstate, needs_password=needs_password)
    if refusal is Refusal.UNKNOWN and error.pgconn is not None:
        refusal, _ = refusal_of(str(error), _sqlstate_told(parameters))
    return refusal, said


def refusal_error(refusal: Refusal, said: str, attempt: Attempt, state: str) -> ConnectionFailedError:
    """Return the error; ``state`` says what became of the databases.

    NoSuchDatabaseError is for a database that a command is about. A missing maintenance database is a
    ConnectionFailedError.
    """
    message, hint = explained(refusal, said, attempt)
    is_missing = refusal is Refusal.NO_DATABASE and not attempt.is_workplace
    kind = NoSuchDatabaseError if is_missing else ConnectionFailedError
    return kind(message, state=state, hint=hint, is_passing=refusal.is_passing)


def _sqlstate_told(parameters: Mapping[str, Any]) -> str | None:
    """Connect once more, and return the SQLSTATE of the refusal; None if it cannot be learnt.

    The server sends it, and libpq's trace shows it: on Linux, from libpq 18 on. The trace holds the answer to the
    server's question for a password, too. So it goes into memory that no other process can open, and is freed at once.
    https://www.postgresql.org/docs/current/libpq-control.html#LIBPQ-PQTRACE
    """
    if sys.platform != "linux":
        return None
    written = os.memfd_create("snapkit")
    connection = pq.PGconn.connect_start(make_conninfo("", **parameters).encode())
    try:
        with suppress(psycopg.Error, OSError, ValueError):
            connection.trace(written)
            _await_refusal(connection)
            connection.untrace()  # which writes what is still kept back
        os.lseek(written, 0, os.SEEK_SET)
        found = _SQLSTATE.findall(os.read(written, 1 << 16))
        return found[-1].decode() if found else None
    finally:
        connection.finish()
        os.close(written)


def _await_refusal(connection: pq.abc.PGconn) -> None:
    deadline = Deadline(_LIMIT)
    while not deadline.is_over:
        step = connection.connect_poll()
        if step == pq.PollingStatus.READING:
            select.select([connection.socket], [], [], deadline.left)
        elif step == pq.PollingStatus.WRITING:
            select.select([], [connection.socket], [], deadline.left)
        else:
            return
