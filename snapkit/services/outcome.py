"""What became of a transaction whose answer to COMMIT was lost: the server is asked again, by OID."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from datetime import timedelta

from snapkit.errors import SnapkitError, UnknownOutcomeError
from snapkit.postgres import catalog
from snapkit.postgres.errors import server_errors
from snapkit.postgres.locks import end_lost_session
from snapkit.postgres.server import Connection, Server
from snapkit.services.common import locked

PATIENCE = timedelta(seconds=30)
_PAUSE = 0.5

Question = Callable[[Connection], bool]


def bears_names(server: Server, lost_pid: int, names: Mapping[int, str], what: str) -> bool:
    """Whether each database, by OID, has its name of after the transaction; see ``went_through``."""
    expected = "\n".join(f"  OID {oid} is named {name!r}" for oid, name in names.items())
    return went_through(
        server,
        lost_pid,
        lambda connection: all(catalog.name_of(connection, oid) == name for oid, name in names.items()),
        what,
        "in pg_database,\n" + expected,
    )


def went_through(server: Server, lost_pid: int, is_done: Question, what: str, expected: str) -> bool:
    """Ask the server, once nothing can change any more, whether the transaction that was lost ``is_done``.

    The source's lock is taken first: the session that lost its connection (``lost_pid``) holds it until it has really
    ended, and its COMMIT may still arrive until then; so it is told to end. Raises UnknownOutcomeError, which says
    what ``expected`` one has to look for, if the server cannot be asked within ``PATIENCE``.
    """
    deadline = time.monotonic() + PATIENCE.total_seconds()
    try:
        while True:
            left = timedelta(seconds=max(0.0, deadline - time.monotonic()))
            try:
                return _ask(server, lost_pid, is_done, left)
            except SnapkitError as error:
                if time.monotonic() + _PAUSE >= deadline:
                    raise _unknown(what, expected) from error
            time.sleep(_PAUSE)
    except KeyboardInterrupt as error:
        raise _unknown(what, expected) from error


def _ask(server: Server, lost_pid: int, is_done: Question, wait: timedelta) -> bool:
    with server.connect() as connection, server_errors(""):
        end_lost_session(connection, server.source, lost_pid)
    with locked(server, wait) as connection, server_errors(""):
        return is_done(connection)


def _unknown(what: str, expected: str) -> UnknownOutcomeError:
    return UnknownOutcomeError(
        f"The connection was lost while {what} was being committed, and the server cannot be asked about it.",
        state="It went through wholly or not at all. It did if, " + expected,
        hint="When the server is back: snapkit list",
    )
