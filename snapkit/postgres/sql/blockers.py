"""Who holds the lock for which a session of ours waits. Another session has to ask while it waits."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from sqlalchemy import Connection

from snapkit.core.client_session import ClientSession
from snapkit.postgres.catalog.sessions import blockers
from snapkit.postgres.connection.driver import driver_connection
from snapkit.postgres.connection.server import beside

_FIRST_LOOK = 0.5
"""Seconds of waiting after which a session is opened to look. Statements rarely wait so long."""

_BETWEEN = 0.25


@contextmanager
def blockers_seen(connection: Connection) -> Iterator[dict[int, ClientSession]]:
    """Yield the sessions for which this connection has to wait in the block, by process ID; it is filled meanwhile.

    It may stay empty: there may be no free connection to look with.
    """
    seen: dict[int, ClientSession] = {}
    finished = threading.Event()
    waiter = driver_connection(connection).info.backend_pid

    def look() -> None:
        if finished.wait(_FIRST_LOOK):
            return
        with suppress(Exception), beside(connection) as watcher:
            while not finished.is_set():
                seen.update((session.pid, session) for session in blockers(watcher, waiter))
                finished.wait(_BETWEEN)

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield seen
    finally:
        finished.set()
        thread.join(_BETWEEN)
