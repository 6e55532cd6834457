"""A snapshot of a database for several sessions. Its tables are locked: nobody drops or rewrites them meanwhile."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta

from psycopg import errors, sql
from sqlalchemy import BigInteger, ColumnElement, Connection, Text, and_, cast, column, func, select

from snapkit.core.client_session import ClientSession
from snapkit.core.copying.division import Table
from snapkit.core.copying.lock_room import LockTable
from snapkit.errors import NOTHING_CHANGED, BusyError
from snapkit.postgres.catalog.sessions import SESSION_COLUMNS, may_terminate
from snapkit.postgres.catalog.tables import FIRST_OWN, catalog_table, pg_class, pg_locks, pg_stat_activity
from snapkit.postgres.connection.driver import driver_connection
from snapkit.postgres.copying.contents import tables
from snapkit.postgres.copying.relay import Stopped, StoppedError

_ATTEMPTS = 20

LOCKING_LIMIT = timedelta(seconds=30)
"""How long LOCK TABLE may wait in all. Tables that it has locked already cannot be changed meanwhile."""


def lock_table(connection: Connection) -> LockTable:
    """Return how many locks a copy of the connected database takes, and how many the server has room for.

    https://www.postgresql.org/docs/current/runtime-config-locks.html#GUC-MAX-LOCKS-PER-TRANSACTION
    """

    def setting(name: str) -> ColumnElement[int]:
        return cast(func.current_setting(name), BigInteger)

    numbers = (
        func.count(type_=BigInteger).filter(pg_class.c.relkind.in_(("r", "p"))),
        func.count(type_=BigInteger).filter(pg_class.c.relkind.in_(("i", "I", "t", "S", "m", "v"))),
    )
    sessions = setting("max_connections") + setting("max_prepared_transactions")
    return LockTable(
        *connection.execute(
            select(setting("max_locks_per_transaction"), sessions, *numbers).where(
                pg_class.c.oid >= FIRST_OWN, pg_class.c.relpersistence != "t"
            )
        ).one()
    )


def begin_snapshot(connection: Connection, stopped: Stopped) -> tuple[str, list[Table]]:
    """Begin a transaction that locks all tables and exports a snapshot. Return the snapshot's name, and the tables.

    LOCK TABLE comes first, and takes no snapshot. So no table is truncated or rewritten between its lock and the
    snapshot: it would look empty to an older snapshot. The transaction stays open.
    https://www.postgresql.org/docs/current/sql-lock.html, .../functions-admin.html#FUNCTIONS-SNAPSHOT-SYNCHRONIZATION

    Raises what LOCK TABLE raises, StoppedError, and BusyError if tables come and go faster than they can be locked.
    """
    driver = driver_connection(connection)
    for _ in range(_ATTEMPTS):
        if stopped():
            raise StoppedError
        seen = tables(connection)
        driver.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        try:
            lock_tables(connection, seen)
        except (errors.UndefinedTable, errors.InvalidSchemaName, errors.WrongObjectType):
            driver.rollback()
            continue
        snapshot = connection.execute(select(func.pg_export_snapshot(type_=Text))).scalar_one()
        locked = tables(connection)
        if [(each.oid, each.schema, each.name) for each in locked] == [(e.oid, e.schema, e.name) for e in seen]:
            return snapshot, locked
        driver.rollback()
    raise BusyError(
        "Tables are created and dropped all the time, so that they cannot all be locked.",
        state=NOTHING_CHANGED,
        hint="Run the command again when that is over, or leave out --strategy online.",
    )


def join_snapshot(connection: Connection, snapshot: str, held: Iterable[Table]) -> None:
    """Begin a transaction with the exported snapshot, and lock these tables in it.

    If it took its locks later, it could queue behind a session that waits for the first holder of them. Each would wait
    for another then, in a deadlock that PostgreSQL cannot detect.
    """
    driver = driver_connection(connection)
    driver.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
    driver.execute(sql.SQL("SET TRANSACTION SNAPSHOT {}").format(sql.Literal(snapshot)))
    lock_tables(connection, held)


def lock_tables(connection: Connection, wanted: Iterable[Table]) -> None:
    """Keep the tables from being dropped, truncated or rewritten until the transaction ends. Nothing else is blocked.

    lock_timeout limits the wait for each table, and LOCKING_LIMIT that for all. SET takes no snapshot.
    https://www.postgresql.org/docs/current/runtime-config-client.html#GUC-LOCK-TIMEOUT
    """
    names = [sql.SQL("ONLY {}").format(sql.Identifier(each.schema, each.name)) for each in wanted]
    if names:
        limit = sql.SQL("SET LOCAL statement_timeout TO {}")
        driver = driver_connection(connection)
        driver.execute(limit.format(LOCKING_LIMIT // timedelta(milliseconds=1)))
        driver.execute(sql.SQL("LOCK TABLE {} IN ACCESS SHARE MODE").format(sql.SQL(", ").join(names)))
        driver.execute(limit.format(0))


def kept_waiting(connection: Connection, holder_pid: int) -> list[tuple[ClientSession, float]]:
    """Return the sessions that wait for an ACCESS EXCLUSIVE lock on a table of ``holder_pid``, and how many seconds.

    Everybody else who wants the table queues behind them.
    """
    held = pg_locks.alias("held")
    wanted = catalog_table(
        "pg_locks",
        *(column(each.name, each.type) for each in pg_locks.columns),
        column("waitstart"),
    ).alias("wanted")
    seconds = func.extract("epoch", func.clock_timestamp() - wanted.c.waitstart)
    rows = connection.execute(
        select(*SESSION_COLUMNS, may_terminate(), func.coalesce(seconds, 0.0))
        .join_from(wanted, pg_stat_activity, pg_stat_activity.c.pid == wanted.c.pid)
        .join(held, and_(held.c.database == wanted.c.database, held.c.relation == wanted.c.relation))
        .where(
            wanted.c.locktype == "relation",
            held.c.locktype == "relation",
            ~wanted.c.granted,
            wanted.c.mode == "AccessExclusiveLock",
            held.c.granted,
            held.c.pid == holder_pid,
        )
    )
    return [(ClientSession(*row[:-1]), float(row[-1])) for row in rows]


def locks_in_the_way(connection: Connection, oid: int) -> list[ClientSession]:
    """Return the sessions that have an ACCESS EXCLUSIVE lock on a table of the database ``oid``."""
    rows = connection.execute(
        select(*SESSION_COLUMNS, may_terminate())
        .join_from(pg_locks, pg_stat_activity, pg_stat_activity.c.pid == pg_locks.c.pid)
        .where(
            pg_locks.c.locktype == "relation",
            pg_locks.c.database == oid,
            pg_locks.c.mode == "AccessExclusiveLock",
            pg_locks.c.granted,
        )
        .distinct()
    )
    return [ClientSession(*row) for row in rows]
