"""Hold the door of a database: run statements that need it free of sessions; a second session disconnects clients.

CREATE DATABASE ... TEMPLATE and ALTER DATABASE ... RENAME first lock the database, so that new connections wait. Then
they look for other sessions every 100 ms, for up to five seconds (CountOtherDBBackends in PostgreSQL's source). In that
time the sessions are disconnected, again and again: one that is still starting up is not visible at once. Nothing has
to be undone if we die, since the lock ends with its session.

PostgreSQL sleeps between two looks, and a signal wakes it early. So the session that runs the statement listens on a
channel of its own, and is notified as soon as nobody is left inside. That saves clients most of the 100 ms. It is not
done for a statement that takes long: a busy session that listens keeps the server from clearing its queue of
notifications, which all databases share. https://www.postgresql.org/docs/current/sql-notify.html

Idle sessions are disconnected at once. A session in a transaction may end it until the grace is over. There are two
exceptions. A transaction that began after the door was closed gets no grace, or a busy client would never be found
idle. Neither does one that cannot end before the door is opened, since workers of its parallel query wait at the door.

PostgreSQL does not limit the wait for the lock itself, and clients queue behind it;
``safe_settings.LOCK_TIMEOUT`` sets one.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import psycopg
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from snapkit.core.client_session import ClientSession
from snapkit.core.outage.hold_rules import HoldRules
from snapkit.core.plans.statements import Listen
from snapkit.postgres.catalog.sessions import blockers
from snapkit.postgres.connection.driver import answers_within, driver_connection
from snapkit.postgres.connection.sqlstates import (
    INSUFFICIENT_PRIVILEGE,
    LOCK_NOT_AVAILABLE,
    SERVER_ERRORS,
    is_connection_loss,
    sqlstate_of,
)
from snapkit.postgres.outage.eviction import DoorLook, Eviction, make_ready, running_transactions
from snapkit.postgres.sql.ddl import DatabaseDDL
from snapkit.postgres.sql.execution import limited
from snapkit.processes.deadline import Deadline

_EAGER_INTERVAL = 0.003
_EAGER = 0.1
"""Seconds in which the looks come fast: after the watch began, or somebody was last seen inside. Clients wait each
millisecond of them: the lock is being taken, or the last session is about to leave. At most ``_FIRST`` in all."""
_FIRST_INTERVAL = 0.01
_FIRST = 0.5
_BUSY_INTERVAL = 0.02
_QUIET_INTERVAL = 0.1
_QUIET_AFTER = 1.0
"""Seconds without anyone to disconnect, after somebody was there. Then the door is held, and nobody new can come in: it
is enough to look as often as PostgreSQL itself does."""
_CALM_INTERVAL = 0.25
_CALM_AFTER = 6.0
"""Likewise. PostgreSQL gives up after five seconds. A statement that still runs then has got through, or waits for a
lock."""

_NEVER = 1_000_000
"""Executions after which psycopg prepares a statement. Those that it has prepared stay prepared."""

_NUDGES = 10
"""How often PostgreSQL is told to look again. It looks fifty times in all, and then gives up."""
_BETWEEN_NUDGES = 0.0025
"""Seconds between the first two. Each later pause is longer by as much. PostgreSQL sees a session that is starting up
before we do. So the notifications come fast at first, but go on for a tenth of a second."""

_SEE_LIMIT = timedelta(seconds=1)
_WATCHER_LIMIT = timedelta(seconds=10)
"""How long the watcher waits for an answer. A run that is over must not have to wait for it."""


@dataclass
class DoorRecord:
    """Who was inside when the door was held, by process ID. It is filled meanwhile, and complete afterwards."""

    disconnected: dict[int, ClientSession] = field(default_factory=dict)
    remaining: dict[int, ClientSession] = field(default_factory=dict)
    """Those inside that could not be disconnected, or were not to be."""
    blockers: dict[int, ClientSession] = field(default_factory=dict)
    """Those that hold a lock for which the statement waits."""
    emptied_at: float | None = None
    """When the last session was seen inside, on the monotonic clock; None if there was none."""
    nudges: int = 0
    """How many notifications were sent, each in a transaction of its own."""
    problem: Exception | None = None
    """The error that ended the watch early."""

    def leaving(self, since: float) -> timedelta:
        """Return how long after ``since``, on the monotonic clock, the last session was seen inside."""
        return timedelta(seconds=max((self.emptied_at or since) - since, 0))

    def note(self, found: list[Eviction], *, disconnect: bool) -> None:
        """Note whom a look found inside. One that may still end its transaction is neither gone nor in the way."""
        for eviction in found:
            session = eviction.session
            if eviction.was_told:
                self.disconnected[session.pid] = session
            elif not disconnect or not session.may_terminate:
                self.remaining[session.pid] = session
        if found:
            self.emptied_at = time.monotonic()


@contextmanager
def hold_door(
    ddl: Connection,
    watcher: Connection,
    oids: Collection[int],
    rules: HoldRules,
    watch: Callable[[Connection], None] = lambda connection: None,
    *,
    nudge: bool = True,
    turn: AbstractContextManager[Any] | None = None,
) -> Iterator[DoorRecord]:
    """Run the block's statements on ``ddl`` while ``watcher`` disconnects the sessions inside ``oids``.

    With ``nudge``, for statements that are expected to be brief, ``ddl`` is notified when nobody is left inside.

    If nobody is to be disconnected, the statement is cancelled as soon as a session is seen inside while the door is
    held. So clients do not wait five seconds in vain. ``watch`` is called now and then, on the watcher's connection and
    in its thread, to see how far a long statement is. The caller has to keep the limit of the rules. Whoever holds
    ``turn``, a lock, may use the watcher's connection meanwhile; there is no look then.

    What is sent while clients are held is prepared beforehand; see ``_prepared_look``.
    """
    look = _prepared_look(watcher, oids, driver_connection(ddl).info.backend_pid, rules, nudge=nudge)
    doorkeeper = _Doorkeeper(driver_connection(ddl), watcher, look, rules=rules, watch=watch, turn=turn)
    if look.channel is not None:
        ddl.execute(DatabaseDDL(Listen(look.channel)))
    doorkeeper.start()
    interruption: KeyboardInterrupt | None = None
    try:
        yield doorkeeper.record
    finally:
        try:
            doorkeeper.finish()
        except KeyboardInterrupt as late:  # the record has to be complete all the same
            interruption = late
            doorkeeper.finish()
        if look.channel is not None and not ddl.invalidated:
            with suppress(*SERVER_ERRORS):  # it ends with the connection, too
                ddl.execute(DatabaseDDL(Listen(look.channel, ends=True)))
    if interruption is not None:  # the block has ended without an error of its own
        raise interruption


def _prepared_look(
    watcher: Connection, oids: Collection[int], holder_pid: int, rules: HoldRules, *, nudge: bool
) -> DoorLook:
    """Return the look, after it has looked once. There is no door yet, so that it finds and notifies nobody.

    This composes, prepares and plans its statement, which takes a tenth of the time from then on. Nothing is prepared
    later: that would take one more round trip while clients are held. A role that may not notify waits for PostgreSQL's
    next look instead. Whatever else is refused here will be refused, and reported, when the door is held.
    https://www.postgresql.org/docs/current/sql-prepare.html
    """

    def composed(channel: str | None) -> DoorLook:
        return DoorLook(watcher, oids, holder_pid, terminate=rules.disconnect, channel=channel)

    look = composed(f"snapkit_{holder_pid}" if nudge else None)
    driver = driver_connection(watcher)
    try:
        with answers_within(watcher, _WATCHER_LIMIT):
            make_ready(watcher)
            driver.prepare_threshold = 0
            try:
                look.look({})
            except DBAPIError as error:
                if look.channel is None or sqlstate_of(error) != INSUFFICIENT_PRIVILEGE:
                    raise
                look = composed(None)
                look.look({})
    except DBAPIError as error:
        if is_connection_loss(error):
            raise
    finally:
        driver.prepare_threshold = _NEVER
    return look


class _Doorkeeper:
    """Disconnects sessions, in a thread of its own, while the door is held. For the parameters see ``hold_door``."""

    def __init__(
        self,
        ddl: psycopg.Connection[Any],
        watcher: Connection,
        look: DoorLook,
        *,
        rules: HoldRules,
        watch: Callable[[Connection], None],
        turn: AbstractContextManager[Any] | None,
    ) -> None:
        self.record = DoorRecord()
        self._turn = turn or nullcontext()
        self._ddl = ddl
        self._holder = ddl.info.backend_pid
        self._watcher = watcher
        self._look = look
        self._rules = rules
        self._watch = watch
        self._running: dict[int, str | None] = {}
        self._grace_ends: float | None = None
        self._nudges, self._nudged_at = 0, 0.0
        self._finished = threading.Event()
        self._thread = threading.Thread(target=self._keep, daemon=True)

    def start(self) -> None:
        """Begin to watch the door."""
        self._thread.start()

    def finish(self) -> None:
        """End the watch. The record is complete."""
        self._finished.set()
        self._thread.join()

    def _keep(self) -> None:
        record = self.record
        began = watched_at = time.monotonic()
        try:
            with answers_within(self._watcher, _WATCHER_LIMIT):
                while not self._finished.is_set():
                    now = time.monotonic()
                    tell = self._may_nudge(now)
                    with self._turn:
                        found = self._find(now, tell=tell)
                    record.note(found, disconnect=self._rules.disconnect)
                    if record.remaining and not self._rules.disconnect:
                        self._ddl.cancel_safe()
                        return
                    if found:
                        self._let_end(found)
                    elif tell:
                        self._nudges, self._nudged_at = self._nudges + 1, now
                    if now - watched_at >= _CALM_INTERVAL:
                        with self._turn:
                            self._see()
                        watched_at = now
                    calm_for = now - (record.emptied_at or began)
                    self._finished.wait(_interval(now - began, calm_for, is_held=record.emptied_at is not None))
        except Exception as error:  # there is nobody to raise to; if it matters, the statement itself fails
            record.problem = error

    def _find(self, now: float, *, tell: bool) -> list[Eviction]:
        """Look who is inside. If a notification cannot be sent, the look found nobody, and no other one is tried.

        The server's queue of notifications may be full, or somebody's COMMIT may be waiting with one.
        """
        try:
            found = self._look.look(self._spared(now), tell=tell)
            self.record.nudges += tell and not found
            return found
        except DBAPIError as error:
            if is_connection_loss(error) or not (tell or sqlstate_of(error) == LOCK_NOT_AVAILABLE):
                raise
            if tell:
                self._nudges = _NUDGES
            return []

    def _see(self) -> None:
        """See how far the statement is, and whom it waits for, within ``_SEE_LIMIT``."""
        with limited(self._watcher, _SEE_LIMIT):
            for look in (self._watch, self._note_blockers):
                try:
                    look(self._watcher)
                except DBAPIError as error:
                    if is_connection_loss(error):
                        raise

    def _note_blockers(self, watcher: Connection) -> None:
        self.record.blockers |= {session.pid: session for session in blockers(watcher, self._holder)}

    def _spared(self, now: float) -> dict[int, str | None] | None:
        """Return whose transactions may still end, as ``DoorLook.look`` wants it."""
        is_over = self._grace_ends is not None and now >= self._grace_ends
        return None if is_over or not self._rules.grace else self._running

    def _let_end(self, found: list[Eviction]) -> None:
        """Note the transactions that were there first. The grace begins with the first look that finds a session.

        It does not begin earlier, since the look may have waited for its turn: nobody's grace is cut short.
        """
        if self._grace_ends is None:
            self._grace_ends = time.monotonic() + self._rules.grace_at_the_door.total_seconds()
        self._running = {each.session.pid: each.transaction for each in found} | self._running

    def _may_nudge(self, now: float) -> bool:
        due = self._nudges < _NUDGES and now - self._nudged_at >= self._nudges * _BETWEEN_NUDGES
        return due and self._look.channel is not None and self.record.emptied_at is not None


def _interval(held_for: float, calm_for: float, *, is_held: bool) -> float:
    """Return how many seconds to wait before the next look.

    ``calm_for`` is how long nobody has been inside. ``is_held`` says that somebody was, so that the door is held.
    """
    if calm_for >= _CALM_AFTER:
        return _CALM_INTERVAL
    if calm_for >= _QUIET_AFTER and is_held:
        return _QUIET_INTERVAL
    if held_for >= _FIRST:
        return _BUSY_INTERVAL
    return _EAGER_INTERVAL if calm_for < _EAGER else _FIRST_INTERVAL


def await_transactions(connection: Connection, oids: Collection[int], rules: HoldRules) -> None:
    """Wait for the transactions inside these databases to end, for that part of the grace that comes before the door.

    Everybody works on meanwhile. Transactions that begin later are not waited for.
    """
    deadline = Deadline(rules.grace_before)
    running: frozenset[str] | None = None
    while not deadline.is_over:
        now_running = running_transactions(connection, oids)
        running = now_running if running is None else running & now_running
        if not running:
            return
        time.sleep(min(_CALM_INTERVAL, deadline.left))
