"""The foreign keys of the live database: the order in which rows go, and the check where no trigger makes it.

https://www.postgresql.org/docs/current/catalog-pg-constraint.html
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from psycopg import sql
from sqlalchemy import Connection, Integer, Text, column, select
from sqlalchemy.dialects.postgresql import ARRAY, OID

from snapkit.core.carrying.three_versions import Values
from snapkit.core.values import dataclass
from snapkit.postgres.carrying.live_rows import NUMBER, STAGE, LiveTable, staged
from snapkit.postgres.catalog.tables import catalog_table, pg_attribute, pg_class, pg_namespace
from snapkit.postgres.connection.driver import driver_connection

_constraint = catalog_table(
    "pg_constraint",
    column("oid", OID),
    column("contype", Text),
    column("conparentid", OID),
    column("conrelid", OID),
    column("confrelid", OID),
    column("conkey", ARRAY(Integer)),
    column("confkey", ARRAY(Integer)),
)


@dataclass(frozen=True, slots=True)
class ForeignKey:
    """Some columns of a table refer to those of its ``parent``; each table is (OID, schema, name)."""

    child: tuple[int, str, str]
    columns: tuple[str, ...]
    parent: tuple[int, str, str]
    referred: tuple[str, ...]


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
    tables = {row.oid: (row.oid, row.nspname, row.relname) for row in named}
    attributes = connection.execute(
        select(pg_attribute.c.attrelid, pg_attribute.c.attnum, pg_attribute.c.attname).where(
            pg_attribute.c.attrelid.in_(oids), pg_attribute.c.attnum > 0
        )
    )
    names = {(row.attrelid, row.attnum): row.attname for row in attributes}
    return [
        ForeignKey(
            tables[row.conrelid],
            tuple(names[row.conrelid, each] for each in row.conkey),
            tables[row.confrelid],
            tuple(names[row.confrelid, each] for each in row.confkey),
        )
        for row in rows
    ]


def without_parent(
    connection: Connection, table: LiveTable, key: ForeignKey, rows: Sequence[Values]
) -> Collection[int]:
    """Return the places of the rows whose parent is not there. The parents of the others stay until the transaction ends.

    ``rows`` have the values of the key's columns.
    """
    driver = driver_connection(connection)
    parent, same = sql.Identifier(*key.parent[1:]), _same(key.referred, key.columns)
    whole = sql.SQL(" AND ").join(sql.SQL("late.{} IS NOT NULL").format(sql.Identifier(each)) for each in key.columns)
    with staged(connection, table, rows, key.columns):
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


def with_children(connection: Connection, table: LiveTable, key: ForeignKey, rows: Sequence[Values]) -> Collection[int]:
    """Return the places of the rows that others refer to; ``rows`` have the values of the columns referred to."""
    child, same = sql.Identifier(*key.child[1:]), _same(key.columns, key.referred)
    with staged(connection, table, rows, key.referred):
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
