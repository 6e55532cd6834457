"""DROP DATABASE with a time limit. While it waits for others, it says for whom.

PostgreSQL 15 and later delete the files only when every process of the server has closed them, and wait for that
without a limit. A process that is stopped, or a worker of an extension that does not react, makes it wait for ever. A
drop that is cancelled then leaves the database invalid: it can only be dropped.
https://www.postgresql.org/docs/current/sql-dropdatabase.html
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from time import monotonic

import psycopg
from sqlalchemy import Connection, Integer, LargeBinary, Text, cast, column, func, select

from snapkit.core.plans.statements import DropDatabase, Statement
from snapkit.postgres.catalog.server_facts import server_facts
from snapkit.postgres.catalog.sessions import blockers, wait_event
from snapkit.postgres.catalog.tables import catalog_table
from snapkit.postgres.connection.driver import driver_connection
from snapkit.postgres.connection.server import beside
from snapkit.postgres.sql.execution import committing_locally, run

DROP_WAIT = timedelta(seconds=60)
"""How long a drop may take by default."""

IN_PASSING = timedelta(seconds=5)
"""How long a drop may take in a command that is for something else."""

AFTER_INTERRUPTION = timedelta(seconds=5)
"""How much longer a drop may take after the run was told to end. Most are complete by then."""

_FIRST_LOOK = timedelta(seconds=1)
_LOOK_AGAIN = timedelta(seconds=2)
_PAUSE = timedelta(seconds=0.1)
_CANCEL_LIMIT = 2.0

Tell = Callable[[str], None]
Interrupted = Callable[[], bool]


@dataclass
class Waiting:
    """What a drop was last seen to wait for; an empty text if it was not seen to wait."""

    what: str = ""


def send_drop(
    connection: Connection,
    statements: Sequence[Statement],
    wait: timedelta,
    *,
    tell: Tell = lambda what: None,
    interrupted: Interrupted = lambda: False,
    waiting: Waiting | None = None,
) -> None:
    """Run the statements that drop a database. Raises what the server raises: QueryCanceled if it takes too long.

    ``wait`` is the most that the drop may take; the server itself keeps that limit. The drop does not wait for
    synchronous standbys. If a standby that has not received it is promoted, the database still exists there, and
    nothing else is missing. ``tell`` is called with what the drop waits for, whenever that changes. Once
    ``interrupted`` is true, the drop may take ``AFTER_INTERRUPTION`` at most.
    """
    waiting = waiting or Waiting()
    with committing_locally(connection), _watched(connection, tell, interrupted, waiting):
        for statement in statements:
            run(connection, statement, left=(lambda: wait) if isinstance(statement, DropDatabase) else lambda: None)


@contextmanager
def _watched(connection: Connection, tell: Tell, interrupted: Interrupted, waiting: Waiting) -> Iterator[None]:
    finished = threading.Event()
    watch = threading.Thread(target=_watch, args=(connection, finished, tell, interrupted, waiting), daemon=True)
    watch.start()
    try:
        yield
    finally:
        finished.set()
        watch.join(_CANCEL_LIMIT)  # it reports nothing any more


def _watch(
    connection: Connection, finished: threading.Event, tell: Tell, interrupted: Interrupted, waiting: Waiting
) -> None:
    """Most drops are over before the first look. Only then is a connection opened for it."""
    driver = driver_connection(connection)
    pid = driver.info.backend_pid
    look_at = monotonic() + _FIRST_LOOK.total_seconds()
    cancel_at: float | None = None
    look: Connection | None = None
    with suppress(Exception), ExitStack() as stack:
        while not finished.wait(_PAUSE.total_seconds()):
            if cancel_at is None and interrupted():
                cancel_at = monotonic() + AFTER_INTERRUPTION.total_seconds()
            if cancel_at is not None and monotonic() > cancel_at:
                cancel_at += AFTER_INTERRUPTION.total_seconds()
                with suppress(psycopg.Error):
                    driver.cancel_safe(timeout=_CANCEL_LIMIT)
            if monotonic() < look_at:
                continue
            look_at = monotonic() + _LOOK_AGAIN.total_seconds()
            with suppress(Exception):  # what cannot be seen is not reported; the limit holds all the same
                look = look or stack.enter_context(beside(connection))
                what = _waits_for(look, pid)
                if what and what != waiting.what and not finished.is_set():
                    waiting.what = what
                    tell(what)


def _waits_for(connection: Connection, pid: int) -> str:
    """Say in a few words what the session ``pid``, which drops a database, waits for at this moment.

    https://www.postgresql.org/docs/current/monitoring-stats.html#WAIT-EVENT-IPC-TABLE
    """
    event = wait_event(connection, pid)
    if event is None:
        return ""
    if event == "ProcSignalBarrier":
        stuck = _stuck(connection)
        seen = f", which these have not done: {', '.join(stuck)}" if stuck else ""
        return f"every process of the server to close its files{seen}"
    if event.startswith("Checkpoint"):
        return "a checkpoint"
    holders = blockers(connection, pid)
    if holders:
        return "a lock that is held by " + ", ".join(each.describe() for each in holders[:3])
    return f"the server ({event})"


_STATES = {"T": "stopped", "t": "stopped by a debugger", "D": "waits for a disk"}


def _stuck(connection: Connection) -> list[str]:
    """Name the processes of the server that cannot react at this moment. Superusers only, and only on Linux.

    https://docs.kernel.org/filesystems/proc.html
    """
    if not server_facts(connection).is_superuser:
        return []
    activity = catalog_table(
        "pg_stat_activity",
        column("pid", Integer),
        column("backend_type", Text),
        column("usename", Text),
        column("application_name", Text),
    )
    path = func.concat("/proc/", cast(activity.c.pid, Text), "/stat", type_=Text)
    status = func.pg_read_binary_file(path, 0, 4096, True, type_=LargeBinary)
    found = []
    for row in connection.execute(select(*activity.c, status.label("status"))):
        state = bytes(row.status or b"").rpartition(b")")[2].split()[:1]
        how = _STATES.get(state[0].decode()) if state else None
        if how is not None:
            who = ", ".join(filter(None, (row.backend_type, row.usename, row.application_name)))
            found.append(f"pid {row.pid} ({who}), which {'is ' if how[0] == 's' else ''}{how}")
    return found
