"""An application that uses the source while snapkit runs, and comes back at once whenever it is disconnected."""

from __future__ import annotations

import threading
import time

import psycopg


class Application:
    """One client that asks all the time; ``longest_wait`` is the longest it went without an answer, in seconds."""

    def __init__(self, url: str) -> None:
        self.was_disconnected = False
        self.longest_wait = 0.0
        self._answered_at = time.monotonic()
        self._stopped = threading.Event()
        self._served = threading.Event()
        self._thread = threading.Thread(target=self._work, args=(url,), daemon=True)
        self._thread.start()
        assert self._served.wait(20)

    def _work(self, url: str) -> None:
        while not self._stopped.is_set():
            try:
                with psycopg.connect(url, autocommit=True, connect_timeout=20, application_name="shop") as connection:
                    while not self._stopped.is_set():
                        connection.execute("SELECT count(*) FROM item")
                        now = time.monotonic()
                        self.longest_wait = max(self.longest_wait, now - self._answered_at)
                        self._answered_at = now
                        self._served.set()
                        self._stopped.wait(0.02)
            except psycopg.Error:
                self.was_disconnected = True
                self._stopped.wait(0.005)

    def served_again(self) -> bool:
        """Whether it gets an answer from now on, within a while."""
        self._served.clear()
        return self._served.wait(20)

    def stop(self) -> None:
        self._stopped.set()
        self._thread.join(30)
