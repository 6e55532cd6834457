"""Run statements: one by one, in a transaction, or as far as the role's rights go."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from datetime import timedelta

from sqlalchemy import func, select
from sqlalchemy.exc import DBAPIError

from snapkit.core.statements import Checkpoint, CreateDatabase, DropDatabase, SetRole, Statement
from snapkit.postgres.ddl import DatabaseDDL, sql_text
from snapkit.postgres.errors import (
    INSUFFICIENT_PRIVILEGE,
    SERVER_ERRORS,
    is_connection_loss,
    sqlstate_of,
)
from snapkit.postgres.patience import overseen
from snapkit.postgres.server import Connection, driver_connection

_log = logging.getLogger(__name__)


def run(connection: Connection, *statements: Statement) -> None:
    """Run the statements in order; whether in a transaction is the caller's affair."""
    for statement in statements:
        _log.info("%s", sql_text(statement))
        takes_long = isinstance(statement, Checkpoint | CreateDatabase | DropDatabase)  # as long as the data is large
        with overseen(connection) if takes_long else nullcontext():
            connection.execute(DatabaseDDL(statement))


@contextmanager
def transaction(connection: Connection) -> Iterator[None]:
    """Run the block in a transaction or, inside one, behind a savepoint."""
    with driver_connection(connection).transaction():
        yield


def limit_lock_wait(connection: Connection, limit: timedelta) -> None:
    """Let statements of this session wait for a lock no longer than ``limit``."""
    _set_timeout(connection, "lock_timeout", max(limit, timedelta(milliseconds=1)))


def limit_statements(connection: Connection, limit: timedelta) -> None:
    """Let the server cancel statements of this session that take longer than ``limit``; zero lets them.

    It does so even if we are gone by then. Inside a transaction that is rolled back, the setting is too.
    https://www.postgresql.org/docs/current/runtime-config-client.html#GUC-STATEMENT-TIMEOUT
    """
    _set_timeout(connection, "statement_timeout", limit)


def _set_timeout(connection: Connection, name: str, limit: timedelta) -> None:
    milliseconds = math.ceil(limit.total_seconds() * 1000)
    connection.execute(select(func.set_config(name, str(milliseconds), False)))


def commit(
    connection: Connection,
    work: Callable[[], None],
    went_through: Callable[[int], bool],
    undone: Callable[[], None] = lambda: None,
) -> None:
    """Run ``work`` in one transaction, and learn its outcome even if the answer to COMMIT is lost.

    Then the connection is closed, and ``went_through``, given the lost session's process ID, asks the server. Returns
    only if the transaction was committed; otherwise the error is raised, and the transaction has been rolled back,
    which ``undone`` is told before. An interruption that comes without that leaves it open what has happened.
    """
    pid = driver_connection(connection).info.backend_pid
    commit_sent = False
    try:
        with transaction(connection):
            work()
            commit_sent = True
    except (*SERVER_ERRORS, KeyboardInterrupt) as error:
        if not commit_sent or not (isinstance(error, KeyboardInterrupt) or is_connection_loss(error)):
            undone()
            raise
        connection.invalidate(error)
        if not went_through(pid):
            undone()
            raise


def run_permitted(connection: Connection, statements: Iterable[Statement]) -> list[Statement]:
    """Run, inside a transaction, what the role has the right to; return the statements that it has not.

    What is to be run as another role (between two ``SetRole``) is run whole or not at all.
    """
    refused: list[Statement] = []
    for group in _groups(statements):
        try:
            with transaction(connection):
                run(connection, *group)
        except DBAPIError as error:
            if sqlstate_of(error) != INSUFFICIENT_PRIVILEGE:
                raise
            refused += group
    return refused


def _groups(statements: Iterable[Statement]) -> Iterator[list[Statement]]:
    group: list[Statement] = []
    acting = False
    for statement in statements:
        group.append(statement)
        if isinstance(statement, SetRole):
            acting = statement.role is not None
        if not acting:
            yield group
            group = []
