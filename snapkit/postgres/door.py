"""Hold the door of a database: run statements that need it empty while a second session sends everyone out.

CREATE DATABASE ... TEMPLATE and ALTER DATABASE ... RENAME first lock the database, so that new connections wait, and
then look for other sessions every 100 ms for up to five seconds (CountOtherDBBackends in PostgreSQL's source). The
sessions are disconnected in that time, again and again: one that was still starting up is not visible at once.
Nothing has to be undone if we die, since the lock dies with its session.

The wait for the lock itself has no such limit in PostgreSQL, and clients queue behind it; ``server.LOCK_TIMEOUT`` sets
one.

How long a clone takes nobody can say beforehand, so an answer that was lost on the way would be waited for without end.
The second session sees that the statement is over, and cuts the first one's connection.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import psycopg
from sqlalchemy import Connection

from snapkit.core.model import ClientSession
from snapkit.postgres.catalog import blockers, evict, waits_for_its_client
from snapkit.postgres.server import answers_within, driver_connection

SILENCE = timedelta(seconds=10)
"""How long an answer may be on its way; and how long the watcher's own questions may go unanswered."""

_BUSY_INTERVAL = 0.02
_CALM_INTERVAL = 0.25
_CALM_AFTER = 6.0
"""Seconds without anyone to disconnect. PostgreSQL gives up after five, so that a statement that still runs then has
got through, or waits for a lock."""


@dataclass
class DoorRecord:
    """Whom a door was closed on, by process ID; filled while it is held, complete afterwards."""

    disconnected: dict[int, ClientSession] = field(default_factory=dict)
    remaining: dict[int, ClientSession] = field(default_factory=dict)
    """Those seen inside that could not, or were not to be, disconnected."""
    blockers: dict[int, ClientSession] = field(default_factory=dict)
    """Those that hold a lock for which the statement waits."""
    problem: Exception | None = None
    """What ended the watch before its time."""


@contextmanager
def hold_door(
    ddl: Connection,
    watcher: Connection,
    oids: Collection[int],
    *,
    disconnect: bool,
    watch: Callable[[Connection], None] = lambda connection: None,
) -> Iterator[DoorRecord]:
    """Run the block's statements on ``ddl`` while ``watcher`` sends the sessions inside ``oids`` out.

    With ``disconnect`` false nobody is sent out: the statement is cancelled as soon as a session is seen inside while
    the door is held, so that waiting clients are not held for five seconds in vain. ``watch`` is called now and then,
    on the watcher's connection and in its thread, to see how far a long statement is.
    """
    record = DoorRecord()
    finished = threading.Event()
    doorkeeper = threading.Thread(
        target=_keep, args=(driver_connection(ddl), watcher, oids, disconnect, watch, record, finished), daemon=True
    )
    doorkeeper.start()
    try:
        yield record
    finally:
        finished.set()
        try:
            doorkeeper.join()
        except KeyboardInterrupt:  # too late: the block has its outcome, which must not be told as another
            doorkeeper.join()


class _Patience:
    """Cuts the connection of a session that the server has answered long ago, and that waits for the answer still."""

    def __init__(self, ddl: psycopg.Connection[Any]) -> None:
        self._socket = os.dup(ddl.fileno())
        self._pid = ddl.info.backend_pid
        self._answered_at: float | None = None

    def look(self, watcher: Connection) -> None:
        now = time.monotonic()
        if not waits_for_its_client(watcher, self._pid):
            self._answered_at = None
        elif self._answered_at is None:
            self._answered_at = now
        elif now - self._answered_at > SILENCE.total_seconds():
            with socket.socket(fileno=os.dup(self._socket)) as ours, suppress(OSError):
                ours.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        os.close(self._socket)


def _keep(
    ddl: psycopg.Connection[Any],
    watcher: Connection,
    oids: Collection[int],
    disconnect: bool,
    watch: Callable[[Connection], None],
    record: DoorRecord,
    finished: threading.Event,
) -> None:
    holder = ddl.info.backend_pid
    busy_at = time.monotonic()
    watched_at = busy_at
    try:
        with closing(_Patience(ddl)) as patience, answers_within(watcher, SILENCE):
            while not finished.is_set():
                now = time.monotonic()
                for eviction in evict(watcher, oids, holder, terminate=disconnect):
                    group = record.disconnected if eviction.was_told else record.remaining
                    group[eviction.session.pid] = eviction.session
                    busy_at = now
                if record.remaining and not disconnect:
                    ddl.cancel_safe()
                    return
                if now - watched_at >= _CALM_INTERVAL:
                    watch(watcher)
                    patience.look(watcher)
                    record.blockers |= {session.pid: session for session in blockers(watcher, holder)}
                    watched_at = now
                finished.wait(_BUSY_INTERVAL if now - busy_at < _CALM_AFTER else _CALM_INTERVAL)
    except Exception as error:  # a thread has nobody to raise to; the statement itself fails if this mattered
        record.problem = error
