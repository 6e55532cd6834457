"""Run long tasks side by side, while the caller's thread keeps idle sessions awake.

An idle session would be taken for forgotten, by other runs (``postgres/sql/locks.py``) and by the server's idle
timeouts.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from snapkit.postgres.copying.relay import StoppedError

Task = Callable[[], None]

_BEAT = 1.0
"""Seconds between two signs of life."""


class TaskGroup:
    """Runs each task in a thread of its own, and calls ``beat`` once a second in the caller's.

    ``cancel`` is called for tasks that do not notice by themselves that they are to stop.
    """

    def __init__(self, beat: Task, cancel: Task) -> None:
        self._beat = beat
        self._cancel = cancel
        self._stop = threading.Event()
        self._failures: list[Exception] = []

    def stopped(self) -> bool:
        """Whether the tasks are to stop: one has failed, or the run was interrupted."""
        return self._stop.is_set()

    def run(self, *tasks: Task) -> None:
        """Return when all tasks have ended. What the first that failed, or ``beat``, raised is raised; the others are
        stopped and waited for before."""
        ended = threading.Semaphore(0)
        threads = [threading.Thread(target=self._work, args=(task, ended), daemon=True) for task in tasks]
        try:
            for thread in threads:
                thread.start()
            left = len(threads)
            while left:
                if ended.acquire(timeout=_BEAT):
                    left -= 1
                else:
                    self._beat()
            self._beat()
        except BaseException:
            self._stop.set()
            raise
        finally:
            self._gather(threads)
        if self._failures:
            raise self._failures[0]

    def _work(self, task: Task, ended: threading.Semaphore) -> None:
        try:
            task()
        except StoppedError:
            self._stop.set()
        except Exception as error:  # raised by ``run``
            self._failures.append(error)
            self._stop.set()
        finally:
            ended.release()

    def _gather(self, threads: list[threading.Thread]) -> None:
        """Wait for all of them, whatever interrupts it: what they work on is about to be dropped."""
        while any(thread.is_alive() for thread in threads):
            try:
                for thread in threads:
                    thread.join(_BEAT)
                if self._stop.is_set():
                    self._cancel()
            except KeyboardInterrupt:
                self._stop.set()
