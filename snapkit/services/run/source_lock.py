"""Hold the source's advisory lock on the connection that runs the DDL: one run at a time for each source."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from time import monotonic

from snapkit.core.client_session import ClientSession
from snapkit.core.reporting import Observe, Progress, unobserved
from snapkit.errors import NOTHING_CHANGED
from snapkit.postgres.connection.server import Connection, Server
from snapkit.postgres.connection.sqlstates import server_errors
from snapkit.postgres.sql.locks import source_lock
from snapkit.services.run.preconditions import check_server


@contextmanager
def locked(server: Server, wait: timedelta, observe: Observe = unobserved) -> Iterator[Connection]:
    """Open the working connection, and hold the lock of the server's source on it; see ``hold_lock``."""
    with server.connect() as connection, lock_on(connection, server.source, wait, observe):
        yield connection


@contextmanager
def lock_on(connection: Connection, source: str, wait: timedelta, observe: Observe) -> Iterator[None]:
    """Hold the lock of a source on the working connection, for a run that changes something; see ``hold_lock``.

    A Ctrl-C when the lock is released is ignored: the block is done, and the lock ends with the connection.
    """
    check_server(connection)
    is_done = False
    try:
        with hold_lock(connection, source, wait, observe):
            yield
            is_done = True
    except KeyboardInterrupt:
        if not is_done:
            raise


@contextmanager
def hold_lock(
    connection: Connection, source: str, wait: timedelta, observe: Observe
) -> Iterator[tuple[ClientSession, ...]]:
    """Hold the lock of a source, as ``source_lock`` does; ``observe`` is told who has it while it is waited for."""
    began = monotonic()

    def announce(text: str) -> None:
        observe(Progress(text, timedelta(seconds=monotonic() - began), waits=True))

    with ExitStack() as stack:
        with server_errors(NOTHING_CHANGED):
            ended = stack.enter_context(source_lock(connection, source, wait, announce))
        yield ended
