"""Do not wait for ever for an answer that was lost on the way.

How long a clone or a drop takes nobody can say beforehand, so their connection cannot be given up after a while, as
others are (``driver.ANSWER_LIMIT``). But the server knows whether it is still at work: a second connection asks it.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta

from sqlalchemy import Connection

from snapkit.postgres.catalog.sessions import waits_for_its_client
from snapkit.postgres.connection.driver import answers_within, driver_connection
from snapkit.postgres.connection.server import beside

SILENCE = timedelta(seconds=10)
"""How long an answer may be on its way."""


@contextmanager
def overseen(connection: Connection) -> Iterator[None]:
    """Let the statements of the block take their time; cut the connection once the server has answered long ago.

    Then the statement fails as one whose connection was lost.
    """
    finished = threading.Event()
    driver = driver_connection(connection)
    wire = socket.fromfd(driver.fileno(), socket.AF_INET, socket.SOCK_STREAM)  # whatever it is, to be shut only
    overseer = threading.Thread(
        target=_oversee, args=(connection, driver.info.backend_pid, wire, finished), daemon=True
    )
    overseer.start()
    try:
        with answers_within(connection, None):
            yield
    finally:
        finished.set()


def _oversee(connection: Connection, pid: int, wire: socket.socket, finished: threading.Event) -> None:
    """Most statements are over before the first look, for which a connection is opened only then.

    If that cannot be had there is nothing to be done about it: the statement is waited for, as any program would.
    """
    with wire, suppress(Exception):
        if finished.wait(SILENCE.total_seconds()):
            return
        with beside(connection) as watcher:
            answered = False
            while not finished.wait(SILENCE.total_seconds()):
                before, answered = answered, waits_for_its_client(watcher, pid)
                if before and answered:
                    with suppress(OSError):
                        wire.shutdown(socket.SHUT_RDWR)
