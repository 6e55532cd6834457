"""The directories of databases, and directories that belong to no database any more."""

from __future__ import annotations

from datetime import UTC, datetime

from sqlalchemy import Connection, DateTime, Text, cast, exists, func, select

from snapkit.core.server.version import major_version
from snapkit.core.values import dataclass
from snapkit.postgres.catalog.server_facts import server_facts
from snapkit.postgres.catalog.tables import PG_DATABASE_OID, pg_database, pg_locks, pg_tablespace
from snapkit.postgres.connection.driver import server_version


@dataclass(frozen=True, slots=True)
class OrphanedDirectory:
    """A directory of a database that does not exist. ``path`` is below the data directory, ``newest`` is in UTC."""

    path: str
    files: int
    newest: datetime


def orphaned_directories(connection: Connection) -> list[OrphanedDirectory]:
    """Return the directories that a crash of the server during CREATE DATABASE has left behind. Superusers only.

    PostgreSQL makes the directory first, and adds the row to pg_database when the copy is complete. After a crash in
    between, no catalog knows the directory. https://www.postgresql.org/docs/current/storage-file-layout.html
    """
    if not server_facts(connection).is_superuser:
        return []
    found = _unowned_directories(connection)
    # A directory that is just being made or dropped looks the same. Whoever does that locks the catalog.
    at_work = exists().where(
        pg_locks.c.locktype == "relation",
        pg_locks.c.relation == PG_DATABASE_OID,
        pg_locks.c.mode == "RowExclusiveLock",
        pg_locks.c.pid != func.pg_backend_pid(),
    )
    if not found or connection.execute(select(at_work)).scalar_one():
        return []
    found &= _unowned_directories(connection)  # a clone that is complete by now is a database
    return [_measured(connection, path) for path in sorted(found)]


def _unowned_directories(connection: Connection) -> set[str]:
    oids = connection.execute(select(cast(pg_database.c.oid, Text))).scalars().all()
    return {path for path in database_directories(connection) if path.rpartition("/")[2] not in oids}


def database_directories(connection: Connection) -> frozenset[str]:
    """Return the directories of databases in all tablespaces, relative to the data directory. Superusers only.

    https://www.postgresql.org/docs/current/storage-file-layout.html
    """
    places = ["base"]
    version = major_version(server_version(connection))
    for oid in connection.execute(select(pg_tablespace.c.oid)).scalars():
        # pg_default and pg_global are not here. Each major version of PostgreSQL has a directory of its own.
        names = _names_in(connection, f"pg_tblspc/{oid}")
        places += [f"pg_tblspc/{oid}/{name}" for name in names if name.startswith(f"PG_{version}_")]
    return frozenset(f"{place}/{name}" for place in places for name in _names_in(connection, place) if name.isdigit())


def _names_in(connection: Connection, directory: str) -> list[str]:
    """https://www.postgresql.org/docs/current/functions-admin.html#FUNCTIONS-ADMIN-GENFILE"""
    names = func.pg_ls_dir(directory, True, False, type_=Text).column_valued("name")
    return list(connection.execute(select(names)).scalars())


def _measured(connection: Connection, path: str) -> OrphanedDirectory:
    newest = func.timezone("UTC", func.pg_stat_file(path).table_valued("modification").c.modification, type_=DateTime)
    at = connection.execute(select(newest)).scalar_one().replace(tzinfo=UTC)
    return OrphanedDirectory(path, len(_names_in(connection, path)), at)
