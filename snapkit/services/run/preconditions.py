"""Check, before anything is changed: the server takes writes, the role has the rights, nobody is in the way."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from time import sleep

from snapkit.core.checks.in_the_way import (
    locked_by_others,
    prepared_transactions_open,
    sessions_busy,
    sessions_protected,
)
from snapkit.core.checks.preconditions import (
    lacks_ownership,
    lacks_rights,
    missing_grants,
    runs_through_pooler,
    takes_no_writes,
)
from snapkit.core.client_session import ClientSession
from snapkit.core.inventory.database import Database
from snapkit.errors import NOTHING_CHANGED, SnapkitError
from snapkit.postgres.catalog import roles, server_facts
from snapkit.postgres.catalog import sessions as catalog_sessions
from snapkit.postgres.connection.driver import server_version
from snapkit.postgres.connection.server import Connection
from snapkit.postgres.connection.sqlstates import (
    LOCK_NOT_AVAILABLE,
    SERVER_ERRORS,
    is_late_update,
    server_errors,
    sqlstate_of,
)
from snapkit.postgres.sql.blockers import blockers_seen
from snapkit.postgres.sql.ddl import quote_name
from snapkit.processes.deadline import Deadline

LEAVING = timedelta(seconds=5)
"""How long sessions that we may not end have to end by themselves: as long as PostgreSQL itself gives them. Those that
come meanwhile get that from PostgreSQL. https://www.postgresql.org/docs/current/sql-createdatabase.html"""


_LOOK_AGAIN = 0.1


def check_server(connection: Connection, *, makes_room: bool = False) -> None:
    """Raise if the server takes no writes, or if a pooler stands between.

    With ``makes_room`` a server that was made read-only is allowed: some are when their disk is full.
    """
    with server_errors(NOTHING_CHANGED):
        footing = server_facts.footing(connection)
    is_read_only = not makes_room and server_facts.is_read_only(connection)
    _raise(takes_no_writes(is_standby=footing.is_standby, is_read_only=is_read_only))
    _raise(runs_through_pooler(behind_pooler=footing.behind_pooler))


def _raise(error: SnapkitError | None) -> None:
    if error is not None:
        raise error


def check_rights(connection: Connection, database: Database, *, createdb: bool = True) -> None:
    """Raise PrivilegeError if the role does not own the database or, with ``createdb``, may not make and rename any."""
    with server_errors(NOTHING_CHANGED):
        if createdb:
            error = lacks_rights(database.name, grants_lacking(connection, database))
        else:
            rights, version = roles.role_rights(connection, database.owner), server_version(connection)
            error = lacks_ownership(rights, database, version, quote=quote_name)
    _raise(error)


def grants_lacking(connection: Connection, database: Database) -> dict[str, str]:
    """Return the rights that the role lacks to clone and rename a database, with the statement that grants each."""
    rights = roles.role_rights(connection, database.owner)
    return missing_grants(rights, database, server_version(connection), quote=quote_name)


def check_empty_enough(
    connection: Connection, databases: list[Database], *, disconnect: bool
) -> tuple[ClientSession, ...]:
    """Return the sessions inside; raise, before anything is changed, if one of them would not go.

    BusyError for prepared transactions, and for any session if none is to be disconnected; PrivilegeError for a session
    that this role may not end, and that does not end by itself within ``LEAVING``.
    """
    oids = [database.oid for database in databases]
    with server_errors(NOTHING_CHANGED):
        sessions = catalog_sessions.sessions_inside(connection, oids)
        prepared = catalog_sessions.prepared_transactions(connection, [database.name for database in databases])
    _raise(prepared_transactions_open(prepared))
    if sessions and not disconnect:
        raise sessions_busy(sessions, NOTHING_CHANGED)
    deadline = Deadline(LEAVING)
    stays = _protected(sessions)
    while stays:
        if deadline.is_over:
            check_may_end(connection, [session for session in sessions if _who(session) in stays], NOTHING_CHANGED)
        sleep(_LOOK_AGAIN)
        with server_errors(NOTHING_CHANGED):
            sessions = catalog_sessions.sessions_inside(connection, oids)
        stays &= _protected(sessions)
    return tuple(sessions)


def check_may_end(connection: Connection, sessions: Sequence[ClientSession], state: str) -> None:
    """Raise PrivilegeError if this role may not end one of the sessions."""
    if _protected(sessions):
        role = server_facts.server_facts(connection).role
        _raise(sessions_protected(sessions, state, quote_name(role)))


def _protected(sessions: Iterable[ClientSession]) -> set[tuple[int, datetime | None]]:
    return {_who(session) for session in sessions if not session.may_terminate}


def _who(session: ClientSession) -> tuple[int, datetime | None]:
    """Tell a session from a later one with the same process ID, if this role may see when it began."""
    return session.pid, session.backend_start


@contextmanager
def blockers_named(connection: Connection, state: str) -> Iterator[None]:
    """Translate errors as ``server_errors`` does, and name the sessions whose locks were waited for."""
    with blockers_seen(connection) as seen, server_errors(state):
        try:
            yield
        except SERVER_ERRORS as error:
            if seen and (sqlstate_of(error) == LOCK_NOT_AVAILABLE or is_late_update(error)):
                raise locked_by_others(list(seen.values()), state) from error
            raise
