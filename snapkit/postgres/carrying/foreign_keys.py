"""The foreign keys of the live database: the order in which rows go, and the check where no trigger makes it.

https://www.postgresql.org/docs/current/catalog-pg-constraint.html
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from psycopg import sql
from sqlalchemy import Boolean, Connection, Integer, Text, column, select
from sqlalchemy.dialects.postgresql import ARRAY, OID

from snapkit.core.carrying.three_versions import Values
from snapkit.core.restoring.live_table import ForeignKey
from snapkit.postgres.carrying.live_rows import NUMBER, STAGE, WrittenTable, staged
from snapkit.postgres.catalog.tables import catalog_table, pg_attribute, pg_class, pg_namespace
from snapkit.postgres.connection.driver import driver_connection

_constraint = catalog_table(
    "pg_constraint",
    column("oid", OID),
    column("conname", Text),
    column("contype", Text),
    column("condeferrable", Boolean),
    column("conparentid", OID),
    column("conrelid", OID),
    column("confrelid", OID),
    column("conkey", ARRAY(Integer)),
    column("confkey", ARRAY(Integer)),
)


def foreign_keys(connection: Connection) -> list[ForeignKey]:
    """Return the foreign keys of the connected database; of partitioned tables those of the root."""
    rows = connection.execute(
        select(*_constraint.c).where(_constraint.c.contype == "f", _constraint.c.conparentid == 0)
    ).all()
    oids = {oid for row in rows for oid in (row.conrelid, row.confrelid)}
    named = connection.execute(
        select(pg_class.c.oid, pg_namespace.c.nspname, pg_class.c.relname)
        .join_from(pg_class, pg_namespace, pg_namespace.c.oid == pg_class.c.relnamespace)
        .where(pg_class.c.oid.in_(oids))
    )
    tables = {row.oid: (row.nspname, row.relname) for row in named}
    attributes = connection.execute(
        select(pg_attribute.c.attrelid, pg_attribute.c.attnum, pg_attribute.c.attname).where(
            pg_attribute.c.attrelid.in_(oids), pg_attribute.c.attnum > 0
        )
    )
    names = {(row.attrelid, row.attnum): row.attname for row in attributes}
    return [
        ForeignKey(
            name=row.conname,
            child=row.conrelid,
            child_name=tables[row.conrelid],
            child_columns=tuple(names[row.conrelid, each] for each in row.conkey),
            parent=row.confrelid,
            parent_name=tables[row.confrelid],
            parent_columns=tuple(names[row.confrelid, each] for each in row.confkey),
            operators=(),
        )
        for row in rows
    ]


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
    parent, same = sql.Identifier(*key.parent_name), _same(key.parent_columns, key.child_columns)
    whole = sql.SQL(" AND ").join(
        sql.SQL("late.{} IS NOT NULL").format(sql.Identifier(each)) for each in key.child_columns
    )
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
    child, same = sql.Identifier(*key.child_name), _same(key.child_columns, key.parent_columns)
    with staged(connection, table, rows, key.parent_columns):
        found = driver_connection(connection).execute(
            sql.SQL("SELECT late.{} FROM {} AS late WHERE EXISTS (SELECT 1 FROM {} AS other WHERE {})").format(
                NUMBER, STAGE, child, same
            )
        )
        return {number for (number,) in found}


def _same(others: Sequence[str], late: Sequence[str]) -> sql.Composed:
    return sql.SQL(" AND ").join(
        sql.SQL("other.{} = late.{}").format(sql.Identifier(one), sql.Identifier(two))
        for one, two in zip(others, late, strict=True)
    )
