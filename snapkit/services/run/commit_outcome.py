"""If the answer to COMMIT was lost, ask the server again what became of the transaction, by OID."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta

from snapkit.core.reporting import Observe, unobserved
from snapkit.errors import SnapkitError, UnknownOutcomeError
from snapkit.postgres.catalog import databases
from snapkit.postgres.connection.server import Connection, Server
from snapkit.postgres.connection.sqlstates import server_errors
from snapkit.postgres.sql.locks import end_lost_session
from snapkit.services.run.retry import Persistence
from snapkit.services.run.source_lock import locked

PATIENCE = timedelta(seconds=30)

Question = Callable[[Connection], bool]


def bears_names(
    server: Server,
    lost_pid: int,
    names: Mapping[int, str],
    what: str,
    *,
    persistence: Persistence | None = None,
    observe: Observe = unobserved,
) -> bool:
    """Return whether each database, by OID, has the name that the transaction gives it; see ``went_through``."""
    expected = "\n".join(f"  OID {oid} is named {name!r}" for oid, name in names.items())
    return went_through(
        server,
        lost_pid,
        lambda connection: all(databases.name_of(connection, oid) == name for oid, name in names.items()),
        what,
        "pg_database says:\n" + expected,
        persistence=persistence,
        observe=observe,
    )


def went_through(
    server: Server,
    lost_pid: int,
    is_done: Question,
    what: str,
    expected: str,
    *,
    persistence: Persistence | None = None,
    observe: Observe = unobserved,
) -> bool:
    """Ask the server whether the lost transaction ``is_done``, once that can no longer change.

    The lock of the source is taken first. The session that was lost (``lost_pid``) holds it until it has ended, and its
    COMMIT may still arrive before; so it is told to end. If the server cannot be asked within ``PATIENCE``,
    UnknownOutcomeError says what is ``expected`` to be seen if the transaction went through. With ``persistence`` it is
    asked for longer, while the trouble may pass.
    """
    least = Persistence(PATIENCE)
    longest = persistence if persistence is not None and persistence.left > least.left else least

    def ask() -> bool:
        try:
            return _ask(server, lost_pid, is_done, min(longest.left, PATIENCE))
        except SnapkitError as error:
            error.is_passing |= least.left > timedelta(0)
            raise

    try:
        return longest.through(ask, f"to learn what became of {what}", observe)
    except (SnapkitError, KeyboardInterrupt) as error:
        raise _unknown(what, expected) from error


def _ask(server: Server, lost_pid: int, is_done: Question, wait: timedelta) -> bool:
    with server.connect() as connection, server_errors(""):
        end_lost_session(connection, server.source, lost_pid)
    with locked(server, wait) as connection, server_errors(""):
        return is_done(connection)


def _unknown(what: str, expected: str) -> UnknownOutcomeError:
    return UnknownOutcomeError(
        f"The connection was lost during the COMMIT of {what}, and the server cannot be asked about it.",
        state="Either all of it is done, or nothing. It is done if " + expected,
        hint="When the server is back: snapkit list",
    )
