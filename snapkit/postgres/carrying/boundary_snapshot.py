"""A snapshot of the live database that several transactions see, one after the other.

https://www.postgresql.org/docs/current/functions-admin.html#FUNCTIONS-SNAPSHOT-SYNCHRONIZATION
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace

from psycopg import sql
from sqlalchemy import Connection

from snapkit.core.comparison.lineage import Boundary
from snapkit.postgres.catalog.boundary import present_boundary
from snapkit.postgres.connection.driver import driver_connection
from snapkit.postgres.connection.sqlstates import SERVER_ERRORS


@contextmanager
def exported_snapshot(connection: Connection) -> Iterator[tuple[str, Boundary]]:
    """Keep one snapshot in the block; yield the name by which others can take it, and what it is.

    The position of the WAL is one before it, so that whatever was written later lies behind it.
    """
    driver = driver_connection(connection)
    position = present_boundary(connection).lsn
    driver.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
    try:
        row = driver.execute("SELECT pg_export_snapshot()").fetchone()
        assert row is not None  # noqa: S101 - it returns one row
        yield str(row[0]), replace(present_boundary(connection), lsn=position)
    finally:
        with suppress(*SERVER_ERRORS):  # the connection is lost, and the transaction with it
            driver.rollback()


def take_snapshot(connection: Connection, name: str) -> None:
    """Let the transaction, which has just begun, see what that snapshot sees."""
    driver_connection(connection).execute(sql.SQL("SET TRANSACTION SNAPSHOT {}").format(sql.Literal(name)))


def committed(connection: Connection, xids: Iterable[int]) -> bool:
    """Whether one of these transactions has been committed since it was seen in progress."""
    return any(is_committed(connection, xid) for xid in xids)


def is_committed(connection: Connection, xid: int) -> bool | None:
    """Whether a recent transaction was committed; None while it is in progress.

    https://www.postgresql.org/docs/current/functions-info.html#FUNCTIONS-INFO-SNAPSHOT
    """
    row = driver_connection(connection).execute("SELECT pg_xact_status(%s::xid8)", [str(xid)]).fetchone()
    status = row[0] if row else None
    return None if status == "in progress" else status == "committed"
