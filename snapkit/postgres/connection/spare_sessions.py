"""Sessions that are kept ready for a run that must not fail because it gets no connection.

They are opened beforehand, since later there may be no slot, no room under a limit, or a password that has changed.
While nobody needs them they are heard from every few seconds, so that neither a server nor a proxy ends them as idle.
One that has died, with a server that was restarted say, is replaced as soon as that can be done.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress

from psycopg.pq import TransactionStatus
from sqlalchemy import Connection, func, select, text

from snapkit.core.values import dataclass
from snapkit.errors import SnapkitError
from snapkit.postgres.connection.sqlstates import SERVER_ERRORS

_BEAT = 5.0
"""Seconds between two checks that all of them are there."""


@dataclass(frozen=True, slots=True)
class Handling:
    """How a session is opened, checked and closed. Each function may raise SnapkitError, or what the driver raises.

    ``refresh`` resets a session. ``claim`` takes a lock on one session of the reserve, and ``unclaim`` releases it. If
    that session dies, another one is claimed.
    """

    open: Callable[[], Connection]
    ping: Callable[[Connection], None]
    refresh: Callable[[Connection], None]
    close: Callable[[Connection], None]
    claim: Callable[[Connection], None]
    unclaim: Callable[[Connection], None]


class Reserve:
    """The sessions that are kept ready, and lent to whoever needs one. Several threads may use it."""

    def __init__(self, handling: Handling) -> None:
        self._handling = handling
        self._lock = threading.RLock()
        self._size = 0
        self._parked: list[Connection] = []
        self._lent = 0
        self._claimed: Connection | None = None
        self._is_to_be_claimed = True
        self._finished = threading.Event()
        self._thread = threading.Thread(target=self._keep, daemon=True)

    def begin(self) -> None:
        """Open the first session, and claim it. Raise SnapkitError if either fails."""
        first = self._open()
        try:
            self._handling.claim(first)
        except BaseException:
            self._handling.close(first)
            raise
        self._claimed = first
        self._size = 1
        self._park(first)
        self._thread.start()

    def fill(self, size: int) -> None:
        """Open sessions until there are ``size``. Raise SnapkitError if one cannot be opened."""
        with self._lock:
            self._size = max(self._size, size)
        while self._missing():
            self._park(self._open())

    def take(self) -> Connection | None:
        """Return a session that answers, to be given back. None if there is none. The claimed one is lent last."""
        with self._lock:
            while self._parked:
                session = self._parked.pop(0)
                try:
                    self._handling.refresh(session)
                except (SnapkitError, *SERVER_ERRORS):
                    self._drop(session)
                else:
                    self._lent += 1
                    return session
        return None

    def give_back(self, session: Connection) -> None:
        """Take a session back. It is reset, or replaced if it is lost."""
        with self._lock:
            self._lent -= 1
            if self._is_fit(session) and not self._finished.is_set():
                self._park(session)
            else:
                self._drop(session)

    def unclaim(self) -> None:
        """Release the lock of the claimed session, and claim none any more."""
        with self._lock:
            self._is_to_be_claimed = False
            session, self._claimed = self._claimed, None
            if session is not None and not session.closed and not session.invalidated:
                with suppress(SnapkitError, *SERVER_ERRORS):  # it goes with the session
                    self._handling.unclaim(session)

    def end(self) -> None:
        """Close all sessions. One that is still lent is closed when it is given back."""
        self._finished.set()
        with self._lock:
            self.unclaim()
            while self._parked:
                self._handling.close(self._parked.pop())

    def _open(self) -> Connection:
        session = self._handling.open()
        try:
            _stay_idle(session)
        except BaseException:
            self._handling.close(session)
            raise
        return session

    def _missing(self) -> int:
        with self._lock:
            return self._size - len(self._parked) - self._lent

    def _park(self, session: Connection) -> None:
        with self._lock:
            if self._finished.is_set():
                self._handling.close(session)
            elif session is self._claimed:
                self._parked.append(session)
            else:
                self._parked.insert(0, session)

    def _drop(self, session: Connection) -> None:
        if session is self._claimed:
            self._claimed = None
        self._handling.close(session)

    def _is_fit(self, session: Connection) -> bool:
        """Whether a session that comes back still answers, and is in no transaction. It is reset then."""
        if session.closed or session.invalidated:
            return False
        try:
            status = session.connection.driver_connection.info.transaction_status  # type: ignore[union-attr]
            if status != TransactionStatus.IDLE:
                return False
            session.execute(text("UNLISTEN *"))
            session.execute(text("RESET ALL"))
            _stay_idle(session)
        except SERVER_ERRORS:
            return False
        return True

    def _keep(self) -> None:
        while not self._finished.wait(_BEAT):
            with suppress(Exception):  # a thread has nobody to raise to, and tries again
                self._look()

    def _look(self) -> None:
        with self._lock:
            for session in tuple(self._parked):
                try:
                    self._handling.ping(session)
                except SERVER_ERRORS:
                    self._parked.remove(session)
                    self._drop(session)
        while self._missing() > 0 and not self._finished.is_set():
            self._park(self._open())
        with self._lock:
            if self._is_to_be_claimed and self._claimed is None and self._parked:
                session = self._parked[-1]
                self._handling.claim(session)
                self._claimed = session


def _stay_idle(session: Connection) -> None:
    """Keep the server from ending this session while we are suspended together with the command that runs."""
    session.execute(select(func.set_config("idle_session_timeout", "0", False)))
