"""How far migrations have come in the connected database, read without running code of the database's owner.

A SELECT may run such code with our rights: that of a view, a rule or a policy and, as soon as it is planned, that of an
index expression or a CHECK constraint. COPY of a plain table is not planned. It reads the rows of the table itself, and
writes them with the output functions of the types, which only a superuser can define in C. It refuses everything that
is no plain table and, with ``row_security`` off, a table whose policies would apply. It returns all rows, so a large
table is left alone.
https://www.postgresql.org/docs/current/sql-copy.html, .../ddl-rowsecurity.html
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from psycopg import sql
from sqlalchemy import BigInteger, Boolean, ColumnElement, Connection, ScalarSelect, Text, func, select
from sqlalchemy.dialects.postgresql import ARRAY

from snapkit.core.deploy.deploy import MAX_MIGRATIONS, MigrationState, clean
from snapkit.core.deploy.migration_tools import NEIGHBOURS, TABLE_NAMES, Looks, Row, VersionTable, recognise_table
from snapkit.core.values import dataclass
from snapkit.postgres.catalog.tables import pg_attribute, pg_class, pg_namespace
from snapkit.postgres.connection.driver import driver_connection
from snapkit.postgres.connection.sqlstates import SERVER_ERRORS, is_connection_loss
from snapkit.postgres.sql.execution import transaction
from snapkit.processes.deadline import Deadline

_MAX_BYTES = 4 << 20
"""No version table is larger, TOAST included."""

_TIME = 1.0
"""Seconds after which no further table is read. Tables that are not read are reported without their state."""


_VARCHAR = 1043
"""The OID of the type, the same on every server."""


@dataclass(frozen=True, slots=True)
class _Found:
    oid: int
    schema: str
    table: VersionTable


def read_migrations(connection: Connection) -> tuple[tuple[MigrationState, ...], int]:
    """Return the state of each version table, those in ``public`` first, and how many more there are.

    Call it inside a transaction, with ``row_security`` off.
    """
    found = _find(connection)
    told = found[:MAX_MIGRATIONS]
    deadline = Deadline(_TIME)
    return tuple(_state(connection, each, deadline) for each in told), len(found) - len(told)


def _find(connection: Connection) -> list[_Found]:
    """Plain tables only: a view is somebody's code, and a partition may be on another server."""
    columns = _columns()
    bounded = _columns(pg_attribute.c.atttypmod > 0, pg_attribute.c.atttypid == _VARCHAR)
    neighbour = pg_class.alias()
    beside = (
        select(func.array_agg(neighbour.c.relname, type_=ARRAY(Text)))
        .where(neighbour.c.relnamespace == pg_namespace.c.oid, neighbour.c.relname.in_(NEIGHBOURS))
        .scalar_subquery()
    )
    rows = connection.execute(
        select(pg_class.c.oid, pg_namespace.c.nspname, pg_class.c.relname, columns, bounded, beside)
        .join_from(pg_class, pg_namespace, pg_namespace.c.oid == pg_class.c.relnamespace)
        .where(
            columns.is_not(None),
            pg_class.c.relname.in_(TABLE_NAMES),
            pg_class.c.relkind == "r",
            pg_class.c.relpersistence != "t",
            ~func.starts_with(pg_namespace.c.nspname, "pg_", type_=Boolean),
        )
        .order_by(pg_namespace.c.nspname != "public", pg_namespace.c.nspname, pg_class.c.relname)
    )
    return [
        _Found(oid, schema, version_table)
        for oid, schema, name, names, *looks in rows
        if (version_table := recognise_table(name, Looks(names, looks[0] or (), looks[1] or ())))
    ]


def _columns(*which: ColumnElement[bool]) -> ScalarSelect[Any]:
    """The names of a table's columns, or of some of them; NULL if there are none."""
    return (
        select(func.array_agg(pg_attribute.c.attname, type_=ARRAY(Text)))
        .where(pg_attribute.c.attrelid == pg_class.c.oid, pg_attribute.c.attnum > 0, ~pg_attribute.c.attisdropped)
        .where(*which)
        .correlate(pg_class)
        .scalar_subquery()
    )


def _state(connection: Connection, found: _Found, deadline: Deadline) -> MigrationState:
    unread = MigrationState(found.table.tool, clean(found.schema) or "", found.table.name)
    if deadline.is_over:
        return unread
    try:
        with transaction(connection):
            size = connection.execute(select(func.pg_table_size(found.oid, type_=BigInteger))).scalar()
            if size is None or size > _MAX_BYTES:
                return unread
            rows = _rows(connection, found.schema, found.table.name, found.table.columns)
    except SERVER_ERRORS as error:
        if is_connection_loss(error):
            raise
        return unread  # the role may not read it, somebody has locked it, a policy applies
    return found.table.state(unread.schema, rows)


def _rows(connection: Connection, schema: str, name: str, columns: Collection[str]) -> list[Row]:
    names = list(columns)
    statement = sql.SQL("COPY {} ({}) TO STDOUT").format(
        sql.Identifier(schema, name), sql.SQL(", ").join(map(sql.Identifier, names))
    )
    with driver_connection(connection).cursor() as cursor, cursor.copy(statement) as copy:
        return [dict(zip(names, row, strict=True)) for row in copy.rows()]
