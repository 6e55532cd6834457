"""Clone a database whose collations have another version than the system's; that works, with a warning."""

from __future__ import annotations

from snapkit.core.copying.collation import collation_caution
from snapkit.core.plans.clone import ClonePlan
from snapkit.core.reporting import Caution
from snapkit.errors import NOTHING_CHANGED
from snapkit.postgres.catalog import databases
from snapkit.postgres.connection.server import Connection
from snapkit.postgres.connection.sqlstates import server_errors
from snapkit.postgres.sql.ddl import quote_name


def with_collation(connection: Connection, clone: ClonePlan) -> ClonePlan:
    """Return the plan with the version that its template has noted, where that is not the system's any more.

    PostgreSQL clones such a database only if it is told the version that the clone is to note.
    https://www.postgresql.org/docs/current/sql-createdatabase.html
    """
    if clone.is_online:  # made anew, by the system's collations
        return clone
    with server_errors(NOTHING_CHANGED):
        return clone.noting_collation(databases.stale_collation(connection, clone.template.oid))


def collation_cautions(connection: Connection, oid: int, name: str, *, is_live: bool) -> tuple[Caution, ...]:
    """Warn of a database, by its OID, whose indexes may not be in order; ``name`` is what it is called, or will be.

    It ``is_live``, or is about to be; else it is sealed.
    """
    with server_errors(NOTHING_CHANGED):
        version = databases.stale_collation(connection, oid)
    if version is None:
        return ()
    return (collation_caution(name, version, quoted=quote_name(name), is_live=is_live),)
