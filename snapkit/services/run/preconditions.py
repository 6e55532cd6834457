"""What has to hold before anything is touched: the server takes writes, the role may act, nobody is in the way."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from time import sleep

from snapkit.core.checks.doctor import no_writes
from snapkit.core.client_session import ClientSession
from snapkit.core.inventory.database import Database
from snapkit.core.server.version import grants_set_role_apart
from snapkit.errors import NOTHING_CHANGED, BusyError, PrivilegeError, SnapkitError, UsageError
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
    """Raise, before anything is touched, if the server takes no writes or a pooler stands before it.

    A server that was made read-only, as some are when their disk is full, still lets a run in that ``makes_room``.
    """
    with server_errors(NOTHING_CHANGED):
        footing = server_facts.footing(connection)
    is_read_only = not makes_room and server_facts.is_read_only(connection)
    refusal = no_writes(is_standby=footing.is_standby, is_read_only=is_read_only)
    if refusal is not None:
        message, hint = refusal
        raise SnapkitError(message, state=NOTHING_CHANGED, hint=hint)
    if footing.behind_pooler:
        raise UsageError(
            "The connection runs through a pooler, where locks of a session do not hold.",
            state=NOTHING_CHANGED,
            hint="Name the server itself with DIRECT_URL or --direct-url.",
        )


def check_rights(connection: Connection, database: Database, *, createdb: bool = True) -> None:
    """Raise PrivilegeError if the role does not own the database or, with ``createdb``, may not make and rename any."""
    with server_errors(NOTHING_CHANGED):
        grants = missing_grants(connection, database, createdb=createdb)
    if grants:
        raise PrivilegeError(
            f"For the database {database.name!r} the role lacks: {', '.join(grants)}.",
            state=NOTHING_CHANGED,
            hint="An administrator grants it with: " + " ".join(grants.values()),
        )


def missing_grants(connection: Connection, database: Database, *, createdb: bool = True) -> dict[str, str]:
    """Return the rights that the role lacks to clone and rename a database, with the statement that grants each."""
    rights = roles.role_rights(connection, database.owner)
    role, owner = quote_name(rights.role), quote_name(database.owner)
    grants = {}
    if createdb and not rights.may_create:
        grants["CREATEDB"] = f"ALTER ROLE {role} CREATEDB;"
    if not database.is_mine or (createdb and not rights.may_act_as_owner):
        alike = ""
        if database.owner_is_superuser:
            grant = f"ALTER DATABASE {quote_name(database.name)} OWNER TO {role};"
            alike = "and the same for the database and every backup of it, which go by one owner; "
        elif grants_set_role_apart(server_version(connection)):
            grant = f"GRANT {owner} TO {role} WITH INHERIT TRUE, SET TRUE;"
        else:
            grant = f"GRANT {owner} TO {role};" + ("" if rights.inherits else f" ALTER ROLE {role} INHERIT;")
        grants["ownership"] = f"{grant} ({alike}or connect as {database.owner})"
    return grants


def check_empty_enough(
    connection: Connection, databases: list[Database], *, disconnect: bool
) -> tuple[ClientSession, ...]:
    """Return who is inside; raise before anything is touched if somebody is there who would not go.

    BusyError for prepared transactions, and for any session if nobody is to be disconnected; PrivilegeError for a
    session that this role may not end and that does not end by itself within ``LEAVING``.
    """
    oids = [database.oid for database in databases]
    with server_errors(NOTHING_CHANGED):
        sessions = catalog_sessions.sessions_inside(connection, oids)
        prepared = catalog_sessions.prepared_transactions(connection, [database.name for database in databases])
    for name, gids in prepared.items():
        listed = ", ".join(repr(gid) for gid in gids)
        raise BusyError(
            f"{name!r} has prepared transactions, which disconnecting does not end: {listed}.",
            state=NOTHING_CHANGED,
            hint="End each of them, connected to that database, with COMMIT PREPARED or ROLLBACK PREPARED.",
        )
    if sessions and not disconnect:
        raise sessions_busy(sessions, NOTHING_CHANGED)
    deadline = Deadline(LEAVING)
    stays = _protected(sessions)
    while stays:
        if deadline.is_over:
            protected = [session for session in sessions if _who(session) in stays]
            raise sessions_protected(protected, NOTHING_CHANGED, server_facts.server_facts(connection).role)
        sleep(_LOOK_AGAIN)
        with server_errors(NOTHING_CHANGED):
            sessions = catalog_sessions.sessions_inside(connection, oids)
        stays &= _protected(sessions)
    return tuple(sessions)


def _protected(sessions: Iterable[ClientSession]) -> set[tuple[int, datetime | None]]:
    return {_who(session) for session in sessions if not session.may_terminate}


def _who(session: ClientSession) -> tuple[int, datetime | None]:
    """What tells a session from a later one of the same process ID, where this role may see it."""
    return session.pid, session.backend_start


def sessions_busy(sessions: list[ClientSession], state: str) -> BusyError:
    return BusyError(
        f"{_count(sessions)} connected:\n" + _lines(sessions),
        state=state,
        hint="Stop these clients, or leave --no-disconnect out to disconnect them.",
    )


def sessions_protected(sessions: list[ClientSession], state: str, role: str) -> PrivilegeError:
    return PrivilegeError(
        f"{_count(sessions)} connected that this role may not disconnect:\n" + _lines(sessions),
        state=state,
        hint=f"A superuser can let it: GRANT pg_signal_backend TO {quote_name(role)}; "
        "(sessions of superusers can be ended by superusers only). Or stop these clients.",
        is_passing=True,
    )


def locked_by_others(sessions: list[ClientSession], state: str) -> BusyError:
    """The error for a lock that was not to be had, or not before its holder had changed the database."""
    who = f"{_count(sessions)} holding it:\n{_lines(sessions)}" if sessions else "it has just been released."
    return BusyError(
        f"Another transaction holds a lock on the database; {who}",
        state=state,
        hint="Wait for that transaction to end, or end it, and run the command again.",
    )


@contextmanager
def blockers_named(connection: Connection, state: str) -> Iterator[None]:
    """Translate what the server raises inside, as ``server_errors`` does, and name for whose lock it was waited."""
    with blockers_seen(connection) as seen, server_errors(state):
        try:
            yield
        except SERVER_ERRORS as error:
            if seen and (sqlstate_of(error) == LOCK_NOT_AVAILABLE or is_late_update(error)):
                raise locked_by_others(list(seen.values()), state) from error
            raise


def _count(sessions: list[ClientSession]) -> str:
    return f"{len(sessions)} session{' is' if len(sessions) == 1 else 's are'}"


def _lines(sessions: list[ClientSession]) -> str:
    return "\n".join(session_lines(sessions))


def session_lines(sessions: list[ClientSession]) -> list[str]:
    """Return a line for each of the first sessions, and one that says how many more there are."""
    shown = [f"  {session.describe()}" for session in sessions[:10]]
    return shown + ([f"  and {len(sessions) - 10} more"] if len(sessions) > 10 else [])
