"""Bring late rows into the live database, in a transaction of the caller's, while clients work.

Values come and go as text, under the settings that all our sessions have. They are read in by a table of the very
types, so that no cast is used: users can define casts of their own.
https://www.postgresql.org/docs/current/sql-copy.html
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import psycopg
from psycopg import sql
from sqlalchemy import Connection

from snapkit.core.carrying.three_versions import Values
from snapkit.core.values import dataclass
from snapkit.postgres.carrying.refusals import refusal_of
from snapkit.postgres.connection.driver import driver_connection
from snapkit.postgres.connection.sqlstates import LOCK_NOT_AVAILABLE, sqlstate_of

_DEADLOCK_DETECTED = "40P01"

STAGE = sql.Identifier("pg_temp", "snapkit_late_rows")
NUMBER = sql.Identifier("snapkit: number")
"""A column of the stage; a table can hardly have one of that name."""


@dataclass(frozen=True, slots=True)
class WrittenTable:
    """A table of the live database. ``columns`` are those that are compared and written, ``key`` some of them.

    ``partitions`` are the OIDs of those with rows.
    """

    oid: int
    schema: str
    name: str
    columns: tuple[str, ...]
    key: tuple[str, ...]
    partitioned: bool = False
    partitions: tuple[int, ...] = ()

    @property
    def identifier(self) -> sql.Identifier:
        return sql.Identifier(self.schema, self.name)

    @property
    def own_rows(self) -> sql.Composed:
        """The table without those that inherit from it, but with its partitions."""
        return sql.SQL("{}{}").format(sql.SQL("" if self.partitioned else "ONLY "), self.identifier)

    def places(self, names: Sequence[str]) -> tuple[int, ...] | None:
        """Return where these columns are among all; None if one is not there."""
        return tuple(map(self.columns.index, names)) if set(names) <= set(self.columns) else None

    @property
    def key_places(self) -> tuple[int, ...]:
        return self.places(self.key) or ()


@contextmanager
def taking_back(connection: Connection) -> Iterator[None]:
    """If the block fails, take back what it has written. Raises RefusedRowsError if PostgreSQL refuses rows."""
    try:
        with driver_connection(connection).transaction():
            yield
    except psycopg.Error as error:
        refusal = refusal_of(error)
        if refusal is None:
            raise
        raise refusal from error


def may_pass(error: BaseException) -> bool:
    """Whether it was others' locks that a statement failed for."""
    return sqlstate_of(error) in (LOCK_NOT_AVAILABLE, _DEADLOCK_DETECTED)


def turn_triggers_off(connection: Connection) -> bool:
    """Let no trigger run in this transaction, if the role may say so; foreign keys are not checked then either.

    https://www.postgresql.org/docs/current/runtime-config-client.html#GUC-SESSION-REPLICATION-ROLE
    """
    driver = driver_connection(connection)
    try:
        with driver.transaction():
            driver.execute("SET LOCAL session_replication_role = replica")
    except psycopg.errors.InsufficientPrivilege:
        return False
    return True


def check_at_once(connection: Connection) -> None:
    """Have PostgreSQL check deferrable constraints at each statement, so that it tells which rows break one."""
    driver_connection(connection).execute("SET CONSTRAINTS ALL IMMEDIATE")


@contextmanager
def staged(
    connection: Connection, table: WrittenTable, rows: Sequence[Values], columns: Sequence[str]
) -> Iterator[None]:
    """Have a passing table with these values of some columns while the block runs, numbered from 0 on."""
    driver = driver_connection(connection)
    names = sql.SQL(", ").join(map(sql.Identifier, columns))
    driver.execute(
        sql.SQL("CREATE TEMPORARY TABLE {} AS SELECT 0 AS {}, {} FROM {} WITH NO DATA").format(
            STAGE, NUMBER, names, table.identifier
        )
    )
    with driver.cursor() as cursor, cursor.copy(sql.SQL("COPY {} FROM STDIN").format(STAGE)) as copy:
        for number, row in enumerate(rows):
            copy.write_row((str(number), *row))
    yield
    driver.execute(sql.SQL("DROP TABLE {}").format(STAGE))


def locked_rows(connection: Connection, table: WrittenTable, keys: Sequence[Values]) -> dict[int, Values]:
    """Return the live rows that have these keys, by the place of the key in ``keys``; they stay locked."""
    driver = driver_connection(connection)
    with staged(connection, table, keys, table.key):
        driver.execute(
            sql.SQL("SELECT 1 FROM {} AS live JOIN {} AS late ON {} ORDER BY late.{} FOR UPDATE OF live").format(
                table.own_rows, STAGE, _same_key(table), NUMBER
            )
        )
        values = sql.SQL(", ").join(sql.Identifier("live", each) for each in table.columns)
        query = sql.SQL("COPY (SELECT late.{}, {} FROM {} AS live JOIN {} AS late ON {}) TO STDOUT").format(
            NUMBER, values, table.own_rows, STAGE, _same_key(table)
        )
        with driver.cursor() as cursor, cursor.copy(query) as copy:
            return {int(row[0]): row[1:] for row in copy.rows()}


def insert_rows(connection: Connection, table: WrittenTable, rows: Sequence[Values]) -> None:
    """Insert rows with all their values, identity columns too."""
    names = sql.SQL(", ").join(map(sql.Identifier, table.columns))
    with staged(connection, table, rows, table.columns):
        driver_connection(connection).execute(
            sql.SQL("INSERT INTO {} ({}) OVERRIDING SYSTEM VALUE SELECT {} FROM {}").format(
                table.identifier, names, names, STAGE
            )
        )


def update_rows(connection: Connection, table: WrittenTable, rows: Sequence[Values], columns: Sequence[int]) -> None:
    """Set some columns of the rows that have the keys of these."""
    changed = [table.columns[each] for each in columns]
    picked = [(*(row[each] for each in table.key_places), *(row[each] for each in columns)) for row in rows]
    sets = sql.SQL(", ").join(
        sql.SQL("{} = late.{}").format(sql.Identifier(each), sql.Identifier(each)) for each in changed
    )
    with staged(connection, table, picked, [*table.key, *changed]):
        driver_connection(connection).execute(
            sql.SQL("UPDATE {} AS live SET {} FROM {} AS late WHERE {}").format(
                table.own_rows, sets, STAGE, _same_key(table)
            )
        )


def delete_rows(connection: Connection, table: WrittenTable, keys: Sequence[Values]) -> None:
    with staged(connection, table, keys, table.key):
        driver_connection(connection).execute(
            sql.SQL("DELETE FROM {} AS live USING {} AS late WHERE {}").format(table.own_rows, STAGE, _same_key(table))
        )


def _same_key(table: WrittenTable) -> sql.Composed:
    return sql.SQL(" AND ").join(
        sql.SQL("live.{} = late.{}").format(sql.Identifier(each), sql.Identifier(each)) for each in table.key
    )
