"""How far migrations have come in the database that a connection is to, without running code of the database's owner.

A SELECT may run such code with the rights of whoever asks: a view's or a rule's, a policy's, and, as soon as it is
planned, that of an index's expression or a CHECK constraint. COPY of a plain table is not planned: it reads the table's
own rows, and writes them with the types' output functions, which are C functions of a superuser's making. It refuses
what is no plain table, and, with ``row_security`` off, a table whose policies would apply. It brings all rows, so a
large table is left alone.
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
"""A version table is not larger, TOAST included."""

_TIME = 1.0
"""Seconds after which no other table is begun with; what is not read by then is told without its state."""


_VARCHAR = 1043
"""The OID of the type, the same on every server."""


@dataclass(frozen=True, slots=True)
class _Found:
    oid: int
    schema: str
    table: VersionTable


def read_migrations(connection: Connection) -> tuple[tuple[MigrationState, ...], int]:
    """Return the state of each version table, ``public`` first, and how many there are besides those told of.

    To be called inside a transaction, in a session without row security.
    """
    found = _find(connection)
    told = found[:MAX_MIGRATIONS]
    deadline = Deadline(_TIME)
    return tuple(_state(connection, each, deadline) for each in told), len(found) - len(told)


def _find(connection: Connection) -> list[_Found]:
    """Only what is a table by itself: views are somebody's code, and partitions may lie on another server."""
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
    """The names of a table's columns, or of some of them; null if there are none."""
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
