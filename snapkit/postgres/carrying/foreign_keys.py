"""Check what no trigger checks, where triggers are off: foreign keys of rows that are brought along.

https://www.postgresql.org/docs/current/catalog-pg-constraint.html
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from psycopg import sql
from sqlalchemy import Boolean, Connection, Text, column, select
from sqlalchemy.dialects.postgresql import OID

from snapkit.core.carrying.three_versions import Values
from snapkit.core.restoring.live_table import ForeignKey
from snapkit.postgres.carrying.live_rows import NUMBER, STAGE, WrittenTable, staged
from snapkit.postgres.catalog.tables import catalog_table
from snapkit.postgres.connection.driver import driver_connection
from snapkit.postgres.restoring.conflicts import child_of, parent_of, refers, refers_to_something

_constraint = catalog_table(
    "pg_constraint", column("conrelid", OID), column("contype", Text), column("condeferrable", Boolean)
)


def unchecked_tables(connection: Connection) -> set[int]:
    """Return the tables with deferrable rules of uniqueness: a trigger checks them, so that they hold only while it
    runs.

    https://www.postgresql.org/docs/current/sql-createtable.html
    """
    rows = connection.execute(
        select(_constraint.c.conrelid).where(_constraint.c.contype.in_(("p", "u", "x")), _constraint.c.condeferrable)
    )
    return set(rows.scalars())


def without_parent(
    connection: Connection, table: WrittenTable, key: ForeignKey, rows: Sequence[Values]
) -> Collection[int]:
    """Return the places of the rows whose parent is not there. Nobody can delete the other parents until COMMIT.

    ``rows`` have the values of the key's columns.
    """
    driver = driver_connection(connection)
    parent, same, whole = parent_of(key), refers(key, "other", "late"), refers_to_something(key, "late")
    with staged(connection, table, rows, key.child_columns):
        driver.execute(
            sql.SQL("SELECT 1 FROM {} AS other JOIN {} AS late ON {} FOR KEY SHARE OF other").format(
                parent, STAGE, same
            )
        )
        found = driver.execute(
            sql.SQL(
                "SELECT late.{} FROM {} AS late WHERE {} AND NOT EXISTS (SELECT 1 FROM {} AS other WHERE {})"
            ).format(NUMBER, STAGE, whole, parent, same)
        )
        return {number for (number,) in found}


def with_children(
    connection: Connection, table: WrittenTable, key: ForeignKey, rows: Sequence[Values]
) -> Collection[int]:
    """Return the places of the rows that others refer to; ``rows`` have the values of the columns referred to."""
    child, same = child_of(key), refers(key, "late", "other")
    with staged(connection, table, rows, key.parent_columns):
        found = driver_connection(connection).execute(
            sql.SQL("SELECT late.{} FROM {} AS late WHERE EXISTS (SELECT 1 FROM {} AS other WHERE {})").format(
                NUMBER, STAGE, child, same
            )
        )
        return {number for (number,) in found}
