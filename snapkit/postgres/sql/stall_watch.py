"""Do not wait for ever for an answer that was lost on the way.

Nobody can say beforehand how long a clone or a drop takes. So there is no ``driver.ANSWER_LIMIT`` for it. But the
server knows whether it is still at work: a second connection asks it.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import Any

import psycopg
from sqlalchemy import Connection

from snapkit.postgres.catalog.sessions import waits_for_its_client
from snapkit.postgres.connection.driver import answers_within, awaited, driver_connection
from snapkit.postgres.connection.server import another_to

SILENCE = timedelta(seconds=10)
"""How long an answer may be on its way to us."""


@contextmanager
def watching_for_stalls(connection: Connection) -> Iterator[None]:
    """Let the statements of the block take as long as they need. Cut the connection when an answer was lost.

    An answer is lost when it is waited for, and the server has sent it more than ``SILENCE`` ago. The statement then
    fails as after a lost connection.
    """
    finished = threading.Event()
    driver = driver_connection(connection)
    wire = socket.fromfd(driver.fileno(), socket.AF_INET, socket.SOCK_STREAM)  # of any family, to be shut
    watch = threading.Thread(target=_watch, args=(connection, driver, wire, finished), daemon=True)
    watch.start()
    try:
        with answers_within(connection, None):
            yield
    finally:
        finished.set()


def _watch(
    connection: Connection, driver: psycopg.Connection[Any], wire: socket.socket, finished: threading.Event
) -> None:
    """Most statements are over before the first look. Only then is a connection opened for it.

    If there is no connection to be had, the statement is waited for without limit.
    """
    with wire, suppress(Exception):
        before = None
        while not finished.wait(SILENCE.total_seconds()):
            now = awaited(driver)
            if now is not None and now == before:
                _watch_one(connection, driver, wire, finished, now)
            before = now


def _watch_one(
    connection: Connection, driver: psycopg.Connection[Any], wire: socket.socket, finished: threading.Event, which: int
) -> None:
    """Ask the server about a statement, until it is over."""
    answered = False
    with another_to(connection) as watcher:
        while awaited(driver) == which and not finished.is_set():
            before, answered = answered, waits_for_its_client(watcher, driver.info.backend_pid)
            if before and answered and awaited(driver) == which:
                with suppress(OSError):
                    wire.shutdown(socket.SHUT_RDWR)
            finished.wait(SILENCE.total_seconds())
