"""What became of a transaction whose answer to COMMIT was lost: the server is asked again, by OID."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import timedelta

from snapkit.errors import SnapkitError, UnknownOutcomeError
from snapkit.postgres import catalog
from snapkit.postgres.errors import server_errors
from snapkit.postgres.locks import end_lost_session
from snapkit.postgres.server import Server
from snapkit.services.common import locked

PATIENCE = timedelta(seconds=30)
_PAUSE = 0.5


def bears_names(server: Server, lost_pid: int, names: Mapping[int, str], what: str) -> bool:
    """Whether each database, by OID, has its name of after the transaction.

    The source's lock is taken first: the session that lost its connection (``lost_pid``) holds it until it has really
    ended, and its COMMIT may still arrive until then; so it is told to end. Raises UnknownOutcomeError if the server
    cannot be asked within ``PATIENCE``.
    """
    deadline = time.monotonic() + PATIENCE.total_seconds()
    try:
        while True:
            left = timedelta(seconds=max(0.0, deadline - time.monotonic()))
            try:
                return _ask(server, lost_pid, names, left)
            except SnapkitError as error:
                if time.monotonic() + _PAUSE >= deadline:
                    raise _unknown(names, what) from error
            time.sleep(_PAUSE)
    except KeyboardInterrupt as error:
        raise _unknown(names, what) from error


def _ask(server: Server, lost_pid: int, names: Mapping[int, str], wait: timedelta) -> bool:
    with server.connect() as connection, server_errors(""):
        end_lost_session(connection, server.source, lost_pid)
    with locked(server, wait) as connection, server_errors(""):
        return all(catalog.name_of(connection, oid) == name for oid, name in names.items())


def _unknown(names: Mapping[int, str], what: str) -> UnknownOutcomeError:
    expected = "\n".join(f"  OID {oid} is named {name!r}" for oid, name in names.items())
    return UnknownOutcomeError(
        f"The connection was lost while {what} was being committed, and the server cannot be asked about it.",
        state="It went through wholly or not at all. It did if, in pg_database,\n" + expected,
        hint="When the server is back: snapkit list",
    )
