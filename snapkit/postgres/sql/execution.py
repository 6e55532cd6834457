"""Run statements: one by one, in a transaction, or as far as the role's rights go."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from datetime import timedelta

import psycopg
from psycopg.pq import TransactionStatus
from sqlalchemy import Text, func, select

from snapkit.core.plans.statements import Checkpoint, CreateDatabase, DropDatabase, SetRole, Statement
from snapkit.postgres.connection.driver import cancelled_after, driver_connection, longest_answer, note_unconfirmed
from snapkit.postgres.connection.server import Connection
from snapkit.postgres.connection.sqlstates import (
    INSUFFICIENT_PRIVILEGE,
    QUERY_CANCELED,
    SERVER_ERRORS,
    is_connection_loss,
    sqlstate_of,
)
from snapkit.postgres.sql.ddl import DatabaseDDL, sql_text
from snapkit.postgres.sql.stall_watch import overseen

_log = logging.getLogger(__name__)


Left = Callable[[], timedelta | None]
"""How much longer clients may be held, at the moment of asking; None is for as long as it takes."""


def unlimited() -> None:
    """Nobody is held, or for as long as it takes."""


def run(connection: Connection, *statements: Statement, left: Left = unlimited) -> None:
    """Run the statements in order, each within what is ``left``; whether in a transaction is the caller's affair."""
    for statement in statements:
        if _log.isEnabledFor(logging.INFO):
            _log.info("%s", sql_text(statement))
        takes_long = isinstance(statement, Checkpoint | CreateDatabase | DropDatabase)  # as long as the data is large
        with limited(connection, left()), overseen(connection) if takes_long else nullcontext():
            connection.execute(DatabaseDDL(statement))


@contextmanager
def transaction(connection: Connection) -> Iterator[None]:
    """Run the block in a transaction or, inside one, behind a savepoint.

    The COMMIT waits no longer than that of ``commit``; ``take_unconfirmed`` tells what was said of standbys then.
    """
    driver = driver_connection(connection)
    if driver.info.transaction_status != TransactionStatus.IDLE:
        with driver.transaction():
            yield
        return
    with _overseen_commit(connection) as state:
        with driver.transaction():
            yield
            state.sent = True
        note_unconfirmed(connection, state.warnings)


@dataclass
class _Commit:
    """How far a COMMIT is: whether it was ``sent``, and what PostgreSQL has warned of since."""

    sent: bool = False
    warnings: list[str] = field(default_factory=list)


@contextmanager
def _overseen_commit(
    connection: Connection, left: Left = unlimited, waits: Callable[[], None] = lambda: None
) -> Iterator[_Commit]:
    """Let what is done once the block has said that its COMMIT is sent take no longer than what is ``left``.

    Or else as long as any answer may take. It is cancelled then. ``waits`` is called every second until then.
    """
    driver = driver_connection(connection)
    state = _Commit()

    def note(notice: psycopg.errors.Diagnostic) -> None:
        if state.sent and notice.severity_nonlocalized == "WARNING":
            state.warnings.append(" ".join(filter(None, (notice.message_primary, notice.message_detail))))

    def limit() -> timedelta | None:
        if not state.sent:
            return None
        allowed = left()
        return longest_answer(connection) if allowed is None else allowed

    driver.add_notice_handler(note)
    try:
        with cancelled_after(connection, limit, waits):
            yield state
    finally:
        driver.remove_notice_handler(note)


def limit_lock_wait(connection: Connection, limit: timedelta) -> None:
    """Let statements of this session wait for a lock no longer than ``limit``."""
    _set_timeout(connection, "lock_timeout", max(limit, timedelta(milliseconds=1)))


@contextmanager
def limited(connection: Connection, limit: timedelta | None) -> Iterator[None]:
    """Let the server cancel each statement of the block that takes longer than ``limit``; None lets them.

    It does so even if we are gone by then. The limit is for each statement by itself; and not for COMMIT, nor for the
    end of a statement that is a transaction of its own, since PostgreSQL stops its clock before that. Inside a
    transaction the limit lasts until the next one is set.
    https://www.postgresql.org/docs/current/runtime-config-client.html#GUC-STATEMENT-TIMEOUT
    """
    if limit is None:
        yield
        return
    in_transaction = driver_connection(connection).info.transaction_status != TransactionStatus.IDLE
    _set_timeout(connection, "statement_timeout", limit, in_transaction=in_transaction)
    try:
        yield
    finally:
        if not in_transaction and not connection.invalidated:
            with suppress(*SERVER_ERRORS):  # a connection that is lost needs no other limit
                _set_timeout(connection, "statement_timeout", timedelta(0))


def _set_timeout(connection: Connection, name: str, limit: timedelta, *, in_transaction: bool = False) -> None:
    milliseconds = math.ceil(limit.total_seconds() * 1000)
    connection.execute(select(func.set_config(name, str(milliseconds), in_transaction)))


@contextmanager
def committing_locally(connection: Connection) -> Iterator[None]:
    """Let the block's statements not wait for synchronous standbys, so that clients whom they hold do not either.

    For what counts only once a later transaction is committed, which does wait: a standby that has that one has all
    that was before it. https://www.postgresql.org/docs/current/runtime-config-wal.html#GUC-SYNCHRONOUS-COMMIT
    """
    connection.execute(select(func.set_config("synchronous_commit", "local", False)))
    try:
        yield
    except BaseException:
        with suppress(*SERVER_ERRORS):
            _wait_for_standbys(connection)
        raise
    _wait_for_standbys(connection)


def _wait_for_standbys(connection: Connection) -> None:
    """Let COMMIT wait for them again, though a cancellation that was meant for the statement before come too late."""
    again = select(func.set_config("synchronous_commit", "on", False))
    try:
        connection.execute(again)
    except SERVER_ERRORS as error:
        if sqlstate_of(error) != QUERY_CANCELED:
            raise
        connection.execute(again)


@dataclass(frozen=True)
class Committed:
    """A transaction that was committed; ``unconfirmed`` says why it may be that no synchronous standby has it."""

    unconfirmed: tuple[str, ...] = ()
    interrupted: bool = False
    """Whether an interruption came, too late to undo it."""


def commit(
    connection: Connection,
    work: Callable[[], None],
    went_through: Callable[[int], bool],
    undone: Callable[[], None] = lambda: None,
    left: Left = unlimited,
    *,
    goes_on: bool = True,
    waits: Callable[[], None] = lambda: None,
) -> Committed:
    """Run ``work`` in one transaction, and learn its outcome even if the answer to COMMIT is lost.

    Then the connection is closed, and ``went_through``, given the lost session's process ID, asks the server. Returns
    only if the transaction was committed; otherwise the error is raised, and the transaction has been rolled back,
    which ``undone`` is told before. An interruption that comes without that leaves it open what has happened. One that
    came too late to undo it is forgotten, unless the run ``goes_on`` only if there was none: then it is raised.

    A COMMIT that takes longer than what is ``left`` once ``work`` is done, or than any answer may take, is cancelled;
    an interruption does that at once. That seldom undoes it: what takes long is the wait for a synchronous standby, and
    by then the transaction is committed on this server. So PostgreSQL ends the wait alone, and says so in a warning,
    which is returned. Where it says that it was cancelled, the server is asked as after a loss, since that may have
    come a moment after the deed. ``waits`` is called every second while a standby is waited for.
    https://www.postgresql.org/docs/current/warm-standby.html#SYNCHRONOUS-REPLICATION
    """
    pid = driver_connection(connection).info.backend_pid
    is_synchronous = bool(connection.execute(_SYNCHRONOUS_STANDBYS).scalar_one())
    interrupted = False
    with _overseen_commit(connection, left, waits if is_synchronous else lambda: None) as state:
        try:
            with driver_connection(connection).transaction():
                work()
                state.sent = True
        except (*SERVER_ERRORS, KeyboardInterrupt) as error:
            interrupted = isinstance(error, KeyboardInterrupt)
            unclear = interrupted or is_connection_loss(error)
            if not state.sent or not (unclear or sqlstate_of(error) == QUERY_CANCELED):
                undone()
                raise
            connection.invalidate(error)
            if not went_through(pid):
                undone()
                raise
            if interrupted and not goes_on:
                raise
            if is_synchronous and not state.warnings:
                state.warnings.append("The answer to COMMIT was lost, so that nobody knows whether one has.")
    return Committed(tuple(state.warnings), interrupted)


_SYNCHRONOUS_STANDBYS = select(func.current_setting("synchronous_standby_names", type_=Text))


def run_permitted(connection: Connection, statements: Iterable[Statement], left: Left = unlimited) -> list[Statement]:
    """Run, inside a transaction, what the role has the right to; return the statements that it has not.

    What is to be run as another role (between two ``SetRole``) is run whole or not at all. Many are sent at once,
    behind one savepoint: of thousands, each with its own, every other session would feel the weight.
    https://www.postgresql.org/docs/current/subxacts.html
    """
    groups = list(_groups(statements))
    refused: list[Statement] = []
    for first in range(0, len(groups), _TOGETHER):
        refused += _refused(connection, groups[first : first + _TOGETHER], left)
    return refused


_TOGETHER = 100
"""How many statements are sent at once: few enough to be answered soon, each within its own limits."""


def _refused(connection: Connection, groups: list[list[Statement]], left: Left) -> list[Statement]:
    """Run the groups together and, where one of them is refused, one by one; return what is refused."""
    try:
        _run_behind_savepoint(connection, [statement for group in groups for statement in group], left)
    except psycopg.Error as error:
        if sqlstate_of(error) != INSUFFICIENT_PRIVILEGE:
            raise
        driver_connection(connection).execute(_BACK)
        if len(groups) == 1:
            return groups[0]
        return [each for group in groups for each in _refused(connection, [group], left)]
    return []


_BACK = "ROLLBACK TO SAVEPOINT snapkit_permitted; RELEASE SAVEPOINT snapkit_permitted"


def _run_behind_savepoint(connection: Connection, statements: list[Statement], left: Left) -> None:
    texts = list(map(sql_text, statements))
    for text in texts:
        _log.info("%s", text)
    with limited(connection, left()):
        # With no parameters it goes as it is, percent signs too, and PostgreSQL runs one after the other.
        texts = ["SAVEPOINT snapkit_permitted", *texts, "RELEASE SAVEPOINT snapkit_permitted"]
        driver_connection(connection).execute("; ".join(texts).encode())


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
