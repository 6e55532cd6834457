"""How far a clone is. CREATE DATABASE has no progress view, so this looks at the traces of each method."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import Any

from sqlalchemy import BigInteger, Connection, Select, Text, cast, column, func, literal_column, select, true

from snapkit.core.copying.estimates import Extent, Forecast, Pace, share_done
from snapkit.core.inventory.kinds import Strategy
from snapkit.core.reporting import Observe, Progress
from snapkit.core.values import dataclass
from snapkit.postgres.catalog.orphaned_files import database_directories
from snapkit.postgres.catalog.sessions import wait_event

_CHECKPOINT_EVENTS = frozenset(("CheckpointStart", "CheckpointDone"))


@dataclass(frozen=True, slots=True)
class Cloning:
    """A clone to be watched: the session that makes it, the method, the size, and how long it is expected to take."""

    pid: int
    strategy: Strategy
    total_bytes: int | None
    forecast: Forecast | None = None
    copies: bool = False
    """Whether ``clone`` is known to have to copy files, and so does not try to share blocks."""
    files: int | None = None

    @property
    def extent(self) -> Extent:
        """What is to be copied."""
        return Extent(self.total_bytes, self.files, shares=self.strategy is Strategy.CLONE and not self.copies)

    @property
    def expected(self) -> timedelta | None:
        """How long it took before, scaled to the present size. A lower bound says nothing about progress."""
        return self.forecast.duration if self.forecast is not None and not self.forecast.at_least else None


class CloneGauge:
    """Reports a clone's progress to ``observe``; call ``look`` now and then, on a connection of its own.

    WAL_LOG writes its copy to the WAL, and every role may read how that grows. The other methods write files, in a
    directory that is not in pg_database yet, and only a superuser can see them. For other roles the progress is that
    of the expected time. If that is not known, only the elapsed time is reported.
    """

    def __init__(self, connection: Connection, cloning: Cloning, is_superuser: bool, observe: Observe) -> None:
        self._cloning = cloning
        self._observe = observe
        self._by_wal = cloning.strategy is Strategy.WAL_LOG
        self._by_files = not self._by_wal and is_superuser
        self._began = self._looked = time.monotonic()
        self._wal_began = self._wal_bytes(connection) if self._by_wal else 0
        self._known = database_directories(connection) if self._by_files else frozenset()
        self._pace = Pace()
        self.checkpointing = timedelta(0)
        """How long the clone was seen to wait for checkpoints, which do not count as copying."""

    def look(self, connection: Connection) -> None:
        """See how far it is, and report it."""
        now = time.monotonic()
        if wait_event(connection, self._cloning.pid) in _CHECKPOINT_EVENTS:
            self.checkpointing += timedelta(seconds=now - self._looked)
        self._looked = now
        elapsed, total = timedelta(seconds=now - self._began), self._cloning.total_bytes
        done = self._done(connection)
        if done is None and total is not None and self._cloning.expected is not None:
            share, is_late = share_done(elapsed, self._cloning.expected)
            self._observe(Progress("Cloning", elapsed, round(total * share), total, is_estimate=True, is_late=is_late))
        elif done is None or total is None:
            self._observe(Progress("Cloning", elapsed, done))
        else:
            pace = self._pace.see(elapsed, min(done, total))
            self._observe(Progress("Cloning", elapsed, min(done, total), total, pace=pace))

    def _done(self, connection: Connection) -> int | None:
        if self._by_wal:
            return self._wal_bytes(connection) - self._wal_began
        return self._new_bytes(connection) if self._by_files else None

    @staticmethod
    def _wal_bytes(connection: Connection) -> int:
        return connection.execute(
            select(cast(func.pg_wal_lsn_diff(func.pg_current_wal_insert_lsn(), literal_column("'0/0'")), BigInteger))
        ).scalar_one()

    def _new_bytes(self, connection: Connection) -> int | None:
        """The size of the database directories that are new since the clone began; None before there is one.

        There is rarely another CREATE DATABASE at the same time. It would make the figure a little high.
        """
        new = database_directories(connection) - self._known
        return sum(connection.execute(_size_of(path)).scalar_one() for path in new) if new else None


def _size_of(directory: str) -> Select[Any]:
    """The size of a directory's files, file by file. pg_database_size does not know an uncommitted database.

    https://www.postgresql.org/docs/current/functions-admin.html#FUNCTIONS-ADMIN-GENFILE
    """
    names = func.pg_ls_dir(directory, True, False).table_valued(column("name", Text), name="names").render_derived()
    stat = func.pg_stat_file(func.concat(directory, "/", names.c.name), True)
    file = stat.table_valued(column("size", BigInteger)).lateral("file")
    total = func.coalesce(cast(func.sum(file.c.size), BigInteger), 0)
    return select(total).select_from(names.join(file, true()))
