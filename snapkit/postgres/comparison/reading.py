"""A session that reads rows to compare them: its settings, its snapshot."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta

import psycopg
from psycopg import sql
from sqlalchemy import Connection, DateTime, Text, and_, column, exists, func, select
from sqlalchemy.dialects.postgresql import OID

from snapkit.core.comparison.row_changes import Relation
from snapkit.postgres.catalog.tables import catalog_table
from snapkit.postgres.connection.driver import driver_connection
from snapkit.postgres.connection.safe_settings import set_settings
from snapkit.postgres.connection.sqlstates import SERVER_ERRORS
from snapkit.postgres.copying.snapshot import kept_waiting

_class = catalog_table("pg_class", column("oid", OID), column("relkind", Text), column("relfilenode", OID))

_SETTINGS = {
    # An error, rather than only those rows that a policy lets through.
    "row_security": "off",
    # One side waits while the other is at work, and while what was found is joined.
    "idle_in_transaction_session_timeout": "10min",
    # Clients are at work: one process a side is enough. And nothing is gained by compiling.
    "max_parallel_workers_per_gather": "0",
    "jit": "off",
    # Rows are asked for by their places, or by key. For some thousands of them the planner would rather read the table.
    "enable_seqscan": "off",
    "work_mem": "32MB",
    # Ranges of blocks are read by themselves, and in order.
    "enable_tidscan": "on",
    "synchronize_seqscans": "off",
}

_CANCELLING = 5.0
"""Seconds in which the server has to accept a request to cancel."""


def settle(connection: Connection) -> None:
    """Set up a session to read rows."""
    set_settings(connection, _SETTINGS)


def encoding(connection: Connection) -> str | None:
    """Return the encoding of the database."""
    return driver_connection(connection).info.parameter_status("server_encoding")


@contextmanager
def snapshot(
    connection: Connection, relation: Relation | None, begin: Callable[[], None] = lambda: None
) -> Iterator[datetime]:
    """Keep one snapshot in the block, and the relation's tables from being dropped, truncated or rewritten.

    LOCK TABLE comes first, and takes no snapshot: a table that is truncated between lock and snapshot would look empty
    to an older snapshot. Yields the moment of the snapshot. ``begin`` is called first; it may take another session's
    snapshot. Raises what LOCK TABLE raises. The clock is read by the statement that takes the snapshot, or a later one:
    all that is shown was committed before that moment, but what was committed just before it may not be shown.
    https://www.postgresql.org/docs/current/sql-lock.html
    """
    driver = driver_connection(connection)
    driver.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
    try:
        begin()
        if relation is not None:
            _lock(driver, relation)
        yield connection.execute(select(func.clock_timestamp(type_=DateTime(timezone=True)))).scalar_one()
    finally:
        with suppress(*SERVER_ERRORS):  # the connection is lost, and the transaction with it
            driver.rollback()


@contextmanager
def locked(connection: Connection, relation: Relation | None) -> Iterator[None]:
    """Do the same within a snapshot that is kept already, and give up the locks at the end of the block.

    The table may have been rewritten after the snapshot, and before the lock: see ``is_rewritten``.
    https://www.postgresql.org/docs/current/sql-rollback-to.html
    """
    driver = driver_connection(connection)
    driver.execute("SAVEPOINT locked")
    try:
        if relation is not None:
            _lock(driver, relation)
        yield
    finally:
        with suppress(*SERVER_ERRORS):
            driver.execute("ROLLBACK TO locked")
            driver.execute("RELEASE locked")


def is_rewritten(connection: Connection, tables: Collection[int]) -> bool:
    """Whether one of these tables was truncated or rewritten since the snapshot, to which it looks empty by now.

    Ask when the tables are locked. The catalog is read as of the snapshot; the function tells the present file.
    """
    file = func.coalesce(func.pg_relation_filenode(_class.c.oid), 0)
    wanted = and_(_class.c.oid.in_(tables), _class.c.relkind != "p", file != _class.c.relfilenode)
    return bool(connection.execute(select(exists().where(wanted))).scalar_one())


def is_waited_for(connection: Connection, patience: timedelta) -> bool:
    """Whether another session has waited that long for an ACCESS EXCLUSIVE lock on a table that we have locked."""
    connection.execute(select(func.pg_stat_clear_snapshot()))  # else the sessions are those of the first look
    waiting = kept_waiting(connection, driver_connection(connection).info.backend_pid)
    return any(seconds >= patience.total_seconds() for _, seconds in waiting)


def _lock(driver: psycopg.Connection[object], relation: Relation) -> None:
    """Materialised views cannot be named in LOCK TABLE: whoever reads one locks it."""
    if relation.kind not in ("r", "p"):
        return
    names = {(relation.schema, relation.name), *((leaf.schema, leaf.name) for leaf in relation.leaves)}
    named = sql.SQL(", ").join(sql.SQL("ONLY {}").format(sql.Identifier(*name)) for name in sorted(names))
    driver.execute(sql.SQL("LOCK TABLE {} IN ACCESS SHARE MODE").format(named))


def cancel(connection: Connection) -> None:
    """Cancel what another thread is running on a connection, if anything."""
    with suppress(psycopg.Error):
        driver_connection(connection).cancel_safe(timeout=_CANCELLING)
