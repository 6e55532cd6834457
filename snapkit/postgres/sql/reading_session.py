"""A session inside an entry that is lent to one reader after another."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import psycopg

from snapkit.errors import SnapkitError
from snapkit.postgres.catalog import sessions
from snapkit.postgres.connection.driver import driver_connection
from snapkit.postgres.connection.safe_settings import READING, make_safe, set_settings
from snapkit.postgres.connection.server import Connection
from snapkit.postgres.connection.sqlstates import SERVER_ERRORS


class ReadingSession:
    """Such a session. psycopg's connection is kept besides, since a lost one cannot be asked for it."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self._driver: psycopg.Connection[Any] = driver_connection(connection)
        self.pid = self._driver.info.backend_pid

    def is_lost(self, asked: Connection) -> bool:
        """Whether it has ended; ``asked`` is another session of the server."""
        return self._is_gone or not sessions.is_there(asked, self.pid)

    @property
    def _is_gone(self) -> bool:
        return self.connection.invalidated or self._driver.closed

    def made_ready(self) -> bool:
        """Make it as it was when it was opened; return False if it cannot be used again."""
        driver = self._driver
        with suppress(SnapkitError, *SERVER_ERRORS):
            if self._is_gone:
                return False
            self.connection.rollback()
            driver.rollback()
            driver.isolation_level = driver.read_only = driver.deferrable = None
            driver.autocommit = True
            driver.execute("DISCARD ALL")
            make_safe(self.connection)
            set_settings(self.connection, READING)
            return True
        return False
