"""The two databases that are compared: a session in each, both in one transaction while a table is read."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from contextlib import ExitStack, contextmanager
from datetime import datetime
from typing import TypeVar

from snapkit.core.comparison.row_changes import Pair, Relation
from snapkit.postgres.comparison import reading
from snapkit.postgres.comparison.row_text import RowText
from snapkit.postgres.connection.server import Connection
from snapkit.postgres.sql.stall_watch import watching_for_stalls

_T = TypeVar("_T")

_BEAT = 1.0
"""Seconds between two calls of ``beat`` while both sides are at work."""


class Sides:
    """``before`` and ``after``: sessions that nobody else uses meanwhile.

    ``beat`` is called about once a second while both are at work, in the caller's thread. What it raises stops them.
    """

    def __init__(self, before: Connection, after: Connection, beat: Callable[[], None] = lambda: None) -> None:
        self.before = before
        self.after = after
        self._beat = beat
        self._threads = ThreadPoolExecutor(2, "side")
        for side in (before, after):
            reading.settle(side)
        self._common: datetime | None = None
        self._recoded = reading.encoding(before) != reading.encoding(after)

    def text(self, pair: Pair, *, is_before: bool) -> RowText:
        """How the rows of one side are read."""
        return RowText(pair, is_before, self._recoded)

    def close(self) -> None:
        """End the threads. The sessions are the caller's."""
        self._threads.shutdown()

    @contextmanager
    def snapshot(self, before: Relation | None = None, after: Relation | None = None) -> Iterator[datetime]:
        """Keep one snapshot of each database in the block, and both tables from being dropped or rewritten.

        Yields the moment of the snapshot of ``after``. What is read of a table before the block may be out of date in
        it: read it again (``relations(connection, [oid])``). Raises what LOCK TABLE raises: a table may be gone.
        https://www.postgresql.org/docs/current/transaction-iso.html#XACT-REPEATABLE-READ
        """
        with ExitStack() as stack:
            if self._common is not None:
                stack.enter_context(reading.locked(self.before, before))
                stack.enter_context(reading.locked(self.after, after))
                yield self._common
            else:
                stack.enter_context(reading.snapshot(self.before, before))
                yield stack.enter_context(reading.snapshot(self.after, after))

    @contextmanager
    def common_snapshot(self) -> Iterator[None]:
        """Keep one snapshot of each database for all blocks of ``snapshot`` in this block. Each has its own locks.

        A table may have been rewritten since (``reading.is_rewritten``).
        """
        with self.snapshot() as self._common:
            try:
                yield
            finally:
                self._common = None

    def both(self, work: Callable[[Connection], _T], after: Callable[[Connection], _T] | None = None) -> tuple[_T, _T]:
        """Do the same on both sides at the same time, or another thing on ``after``, and return what comes out.

        If one raises, or Ctrl-C comes, the other is cancelled and waited for, and it is raised.
        """
        before, then = self._do((self.before, work), (self.after, after or work))
        return before, then

    def one(self, work: Callable[[Connection], _T], *, is_before: bool) -> _T:
        """Do something on one side."""
        (done,) = self._do((self.before if is_before else self.after, work))
        return done

    def _do(self, *tasks: tuple[Connection, Callable[[Connection], _T]]) -> list[_T]:
        doing = {self._threads.submit(self._patiently, work, side): side for side, work in tasks}
        try:
            while wait(doing, _BEAT, FIRST_EXCEPTION).not_done and not self._failed(doing):
                self._beat()
            failed = self._failed(doing)
        finally:
            self._cancel(doing)
        if failed is not None:
            failed.result()  # the other one says that it was cancelled
        return [each.result() for each in doing]

    @staticmethod
    def _failed(doing: Iterable[Future[_T]]) -> Future[_T] | None:
        """Return the one that has failed."""
        return next((each for each in doing if each.done() and each.exception()), None)

    @staticmethod
    def _patiently(work: Callable[[Connection], _T], connection: Connection) -> _T:
        with watching_for_stalls(connection):
            return work(connection)

    @staticmethod
    def _cancel(doing: dict[Future[_T], Connection]) -> None:
        """Cancel what is not done, until it has ended: it may be between two statements when the first word comes."""
        while unfinished := wait(doing, 0).not_done:
            for each in unfinished:
                reading.cancel(doing[each])
            wait(doing, _BEAT)
