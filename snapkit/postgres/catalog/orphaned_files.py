"""The directories of databases, and those that belong to no database."""

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
    """A database's directory, below the data directory, that belongs to no database. ``newest`` is in UTC."""

    path: str
    files: int
    newest: datetime


def orphaned_directories(connection: Connection) -> list[OrphanedDirectory]:
    """Return what a crash of the server amid CREATE DATABASE has left; nothing for a role that is no superuser.

    PostgreSQL makes the directory, and enters the database into pg_database when the clone is complete; after a crash
    in between nothing remembers it. https://www.postgresql.org/docs/current/storage-file-layout.html
    """
    if not server_facts(connection).is_superuser:
        return []
    found = _unowned_directories(connection)
    # One that is being made or dropped at this moment looks the same; whoever does that holds a lock on the catalog.
    at_work = exists().where(
        pg_locks.c.locktype == "relation",
        pg_locks.c.relation == PG_DATABASE_OID,
        pg_locks.c.mode == "RowExclusiveLock",
        pg_locks.c.pid != func.pg_backend_pid(),
    )
    if not found or connection.execute(select(at_work)).scalar_one():
        return []
    found &= _unowned_directories(connection)  # what was complete by then is a database now
    return [_measured(connection, path) for path in sorted(found)]


def _unowned_directories(connection: Connection) -> set[str]:
    oids = connection.execute(select(cast(pg_database.c.oid, Text))).scalars().all()
    return {path for path in database_directories(connection) if path.rpartition("/")[2] not in oids}


def database_directories(connection: Connection) -> frozenset[str]:
    """Return the directories of databases, in whatever tablespace, below the data directory; for superusers.

    https://www.postgresql.org/docs/current/storage-file-layout.html
    """
    places = ["base"]
    version = major_version(server_version(connection))
    for oid in connection.execute(select(pg_tablespace.c.oid)).scalars():
        # pg_default and pg_global have no entry here; each PostgreSQL keeps to a directory of its own version.
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
