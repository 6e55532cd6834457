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
from snapkit.postgres.sql.stall_watch import watching_for_stalls

_log = logging.getLogger(__name__)


Left = Callable[[], timedelta | None]
"""Returns how much longer clients may be held, as of now. None: there is no limit."""


def unlimited() -> None:
    """No limit: nobody is held, or clients may be held for as long as it takes."""


def run(connection: Connection, *statements: Statement, left: Left = unlimited) -> None:
    """Run the statements in order, each within what is ``left``. The caller decides whether in a transaction."""
    for statement in statements:
        if _log.isEnabledFor(logging.INFO):
            _log.info("%s", sql_text(statement))
        takes_long = isinstance(statement, Checkpoint | CreateDatabase | DropDatabase)  # the larger the data
        with limited(connection, left()), watching_for_stalls(connection) if takes_long else nullcontext():
            connection.execute(DatabaseDDL(statement))


@contextmanager
def transaction(connection: Connection) -> Iterator[None]:
    """Run the block in a transaction or, inside a transaction, behind a savepoint.

    The COMMIT waits no longer than that of ``commit``. ``take_unconfirmed`` returns what PostgreSQL said of standbys.
    """
    driver = driver_connection(connection)
    if driver.info.transaction_status != TransactionStatus.IDLE:
        with driver.transaction():
            yield
        return
    with _bounded_commit(connection) as state:
        with driver.transaction():
            yield
            state.sent = True
        note_unconfirmed(connection, state.warnings)


@dataclass
class _Commit:
    """How far a COMMIT is: whether it was ``sent``, and the warnings of PostgreSQL since then."""

    sent: bool = False
    warnings: list[str] = field(default_factory=list)


@contextmanager
def _bounded_commit(
    connection: Connection, left: Left = unlimited, waits: Callable[[], None] = lambda: None
) -> Iterator[_Commit]:
    """Limit the COMMIT of the block to what is ``left``, or else to what any answer may take. Then it is cancelled.

    The limit counts from the moment when the block notes that its COMMIT is sent. ``waits`` is called every second.
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
    """Limit how long statements of this session wait for a lock."""
    _set_timeout(connection, "lock_timeout", max(limit, timedelta(milliseconds=1)))


@contextmanager
def limited(connection: Connection, limit: timedelta | None) -> Iterator[None]:
    """Have the server cancel each statement of the block that takes longer than ``limit``; None is no limit.

    The server does that even if we are gone by then. The limit is for each statement by itself. It does not hold for
    COMMIT, nor for the commit of a statement that is its own transaction: PostgreSQL stops its timer before that.
    Inside a transaction, the limit lasts until the next one is set.
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
            with suppress(*SERVER_ERRORS):  # a lost connection needs no limit
                _set_timeout(connection, "statement_timeout", timedelta(0))


def _set_timeout(connection: Connection, name: str, limit: timedelta, *, in_transaction: bool = False) -> None:
    milliseconds = math.ceil(limit.total_seconds() * 1000)
    connection.execute(select(func.set_config(name, str(milliseconds), in_transaction)))


@contextmanager
def committing_locally(connection: Connection) -> Iterator[None]:
    """Commit the block's statements without waiting for synchronous standbys, so that clients do not wait either.

    This is for statements that matter only together with a later transaction, which does wait. A standby that has
    received the later transaction has also received all that came before.
    https://www.postgresql.org/docs/current/runtime-config-wal.html#GUC-SYNCHRONOUS-COMMIT
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
    """Make COMMIT wait for standbys again, even if a late cancellation of the statement before hits this one."""
    again = select(func.set_config("synchronous_commit", "on", False))
    try:
        connection.execute(again)
    except SERVER_ERRORS as error:
        if sqlstate_of(error) != QUERY_CANCELED:
            raise
        connection.execute(again)


@dataclass(frozen=True)
class Committed:
    """A committed transaction. ``unconfirmed`` says why possibly no synchronous standby has received it."""

    unconfirmed: tuple[str, ...] = ()
    interrupted: bool = False
    """Whether an interruption came too late to undo it."""


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

    If the answer is lost, the connection is closed. ``went_through`` then asks the server, given the process ID of the
    lost session. Returns only if the transaction was committed. Otherwise ``undone`` is called, and the error raised:
    the transaction has been rolled back. If an interruption is raised without a call of ``undone``, the outcome is not
    known. An interruption that came too late to undo the transaction is noted in the result. Without ``goes_on`` it is
    raised instead.

    A COMMIT is cancelled when it takes longer than what is ``left`` after ``work``, or than any answer may take. An
    interruption cancels it at once. That seldom undoes the transaction: what takes long is the wait for a synchronous
    standby, and by then the transaction is committed on this server. PostgreSQL then ends only the wait, with a
    warning, which is returned. If PostgreSQL says that the COMMIT was cancelled, the server is asked as after a lost
    answer, since the cancellation may have come just after the commit. ``waits`` is called every second while COMMIT
    waits for a standby.
    https://www.postgresql.org/docs/current/warm-standby.html#SYNCHRONOUS-REPLICATION
    """
    pid = driver_connection(connection).info.backend_pid
    is_synchronous = bool(connection.execute(_SYNCHRONOUS_STANDBYS).scalar_one())
    interrupted = False
    with _bounded_commit(connection, left, waits if is_synchronous else lambda: None) as state:
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
                state.warnings.append("The answer to COMMIT was lost, so it is not known whether one has.")
    return Committed(tuple(state.warnings), interrupted)


_SYNCHRONOUS_STANDBYS = select(func.current_setting("synchronous_standby_names", type_=Text))


def run_permitted(connection: Connection, statements: Iterable[Statement], left: Left = unlimited) -> list[Statement]:
    """Run the statements that the role may run, inside a transaction. Return those that it may not.

    Statements that run as another role (between two ``SetRole``) are run as a whole or not at all. Many statements are
    sent at once, behind one savepoint: thousands of savepoints would slow down every other session.
    https://www.postgresql.org/docs/current/subxacts.html
    """
    groups = list(_groups(statements))
    refused: list[Statement] = []
    for first in range(0, len(groups), _TOGETHER):
        refused += _refused(connection, groups[first : first + _TOGETHER], left)
    return refused


_TOGETHER = 100
"""How many statements are sent at once: few enough for the limits of a single statement."""


def _refused(connection: Connection, groups: list[list[Statement]], left: Left) -> list[Statement]:
    """Run the groups together. If one of them is refused, run them one by one. Return those that are refused."""
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
        # Without parameters the text is sent as it is, percent signs too. PostgreSQL runs the statements in order.
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
