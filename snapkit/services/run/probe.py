"""Look into the live database for what is good to know: its migrations, and how much was written to it.

If that fails, the run goes on without it. It takes a few seconds at most, and our session inside is gone afterwards.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import timedelta

from snapkit.core.comparison.writes import MAX_NOTED_TABLES, Activity, Present, Written, written_since
from snapkit.core.deploy.deploy import Deploy, MigrationState
from snapkit.core.inventory.database import Database
from snapkit.core.inventory.entry import Entry
from snapkit.core.inventory.kinds import Kind
from snapkit.core.values import dataclass
from snapkit.errors import SnapkitError
from snapkit.postgres.catalog import databases, sessions
from snapkit.postgres.catalog.server_facts import ServerFacts
from snapkit.postgres.connection.driver import driver_connection
from snapkit.postgres.connection.server import Connection, Server
from snapkit.postgres.connection.sqlstates import SERVER_ERRORS, is_connection_loss
from snapkit.postgres.copying.file_count import file_count
from snapkit.postgres.probe.migration_tables import read_migrations
from snapkit.postgres.probe.write_counters import TableCounters, counts, database_counters, last_commit, table_counters
from snapkit.processes.deadline import wait_until

_LIMIT = timedelta(seconds=1.5)
"""For each statement, and for our session to be gone. A whole look stays below ``locks.FORGOTTEN``: the working
connection lies idle meanwhile, and who waits for its lock would end it."""


@dataclass(frozen=True, slots=True)
class _Seen:
    """What was found inside a database."""

    files: int | None = None
    tables: TableCounters | None = None
    migrations: tuple[MigrationState, ...] = ()
    migrations_left_out: int = 0


@dataclass(frozen=True, slots=True)
class Noted:
    """What a backup notes of its source, besides what it needs."""

    deploy: Deploy | None
    activity: Activity | None
    files: int | None = None
    """Of about how many files the source is made."""


def note_source(server: Server, ddl: Connection, facts: ServerFacts, live: Database, deploy: Deploy | None) -> Noted:
    """Return ``deploy``, with the migrations found in the source, and the source's write counters at this moment."""
    seen = _look_inside(server, ddl, facts, live, files=True, migrations=True)
    # Read after our own session has gone, so that what it did there does not count as having come after the backup.
    activity = _counters(ddl, live.oid)
    if activity is not None and seen.tables is not None:
        most = dict(list(seen.tables.tables.items())[:MAX_NOTED_TABLES])
        complete = seen.tables.complete and len(seen.tables.tables) <= MAX_NOTED_TABLES
        activity = replace(activity, own=seen.tables.own, tables=most, complete=complete)
    found = replace(deploy or Deploy(), migrations=seen.migrations, migrations_left_out=seen.migrations_left_out)
    return Noted(found if found != Deploy() else None, activity, seen.files)


def count_files(server: Server, connection: Connection, facts: ServerFacts, live: Database) -> int | None:
    """Return about how many files the live database has; None if that cannot be read."""
    return _look_inside(server, connection, facts, live, files=True, tables=False, migrations=False).files


@dataclass(frozen=True, slots=True)
class LeftBehind:
    """What the live database has and a backup has not: what was written since, and later migrations."""

    written_since: Written | None = None
    migrations: tuple[MigrationState, ...] = ()


def look_at_live(
    server: Server,
    connection: Connection,
    facts: ServerFacts,
    live: Database | None,
    entry: Entry,
    *,
    migrations: bool,
) -> LeftBehind:
    """Return what a rollback to ``entry`` would put aside with the live database; empty if that cannot be read."""
    if live is None:
        return LeftBehind()
    noted = entry.metadata.activity if entry.metadata else None
    comparable = entry.kind is Kind.BACKUP and noted is not None and noted.oid == live.oid
    activity = _counters(connection, live.oid) if comparable else None  # before our own session comes to count
    seen = _look_inside(server, connection, facts, live, migrations=migrations) if comparable or migrations else _Seen()
    if entry.kind is not Kind.BACKUP:
        return LeftBehind(None, seen.migrations)
    if not comparable:
        return LeftBehind(written_since(entry.created_at, noted, live.oid, Present(None, {})), seen.migrations)
    at = None
    counting = True
    with _unless_lost():
        counting = counts(connection)
        at = last_commit(connection)
    if activity is not None and seen.tables is not None:
        found = seen.tables
        activity = replace(activity, own=found.own, tables=found.tables, complete=found.complete)
    names = seen.tables.names if seen.tables is not None else {}
    present = Present(activity, names, at, counting)
    return LeftBehind(written_since(entry.created_at, noted, live.oid, present), seen.migrations)


def _look_inside(
    server: Server,
    connection: Connection,
    facts: ServerFacts,
    live: Database,
    *,
    files: bool = False,
    tables: bool = True,
    migrations: bool,
) -> _Seen:
    """Look into the database with a session of its own; return when that session is gone."""
    seen = _Seen()
    pid = None
    with suppress(SnapkitError, *SERVER_ERRORS), server.probe(live.name, _LIMIT, facts.quiet) as inside:
        pid = driver_connection(inside).info.backend_pid
        if databases.own_database(inside) == live.oid:
            if files:
                seen = replace(seen, files=file_count(inside))
            if tables:
                seen = replace(seen, tables=table_counters(inside))
            if migrations:
                found, left_out = read_migrations(inside)
                seen = replace(seen, migrations=found, migrations_left_out=left_out)
    if pid is not None:
        await_end(connection, pid)
    return seen


def await_end(connection: Connection, pid: int) -> None:
    """Wait until a session is gone: until then it would count among those in the way."""
    wait_until(lambda: not sessions.is_there(connection, pid), _LIMIT, every=0.005)


def _counters(connection: Connection, oid: int) -> Activity | None:
    with _unless_lost():
        return database_counters(connection, oid)
    return None


@contextmanager
def _unless_lost() -> Iterator[None]:
    """Ignore what cannot be read; a lost working connection is raised, since the lock is lost with it."""
    try:
        yield
    except SERVER_ERRORS as error:
        if is_connection_loss(error):
            raise
