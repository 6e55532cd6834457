"""How far a clone is. CREATE DATABASE has no progress view, so this looks where each method leaves traces."""

from __future__ import annotations

import time
from datetime import timedelta

from sqlalchemy import BigInteger, ColumnElement, Connection, Text, cast, func, literal_column, select
from sqlalchemy.dialects.postgresql import OID

from snapkit.core.model import Observe, Progress, Strategy


class CloneGauge:
    """Reports a clone's progress to ``observe``; call ``look`` now and then, on a connection of its own.

    WAL_LOG writes its copy to the WAL, whose growth every role may read. The other methods write files, which only a
    superuser can see: the directory of a database that is not in pg_database yet. Elsewhere just the time is reported.
    """

    def __init__(
        self, connection: Connection, strategy: Strategy, total_bytes: int | None, is_superuser: bool, observe: Observe
    ) -> None:
        self._observe = observe
        self._total = total_bytes
        self._by_wal = strategy is Strategy.WAL_LOG
        self._by_files = not self._by_wal and is_superuser
        self._began = time.monotonic()
        self._wal_began = self._wal_bytes(connection) if self._by_wal else 0
        self._known = self._directories(connection) if self._by_files else frozenset()

    def look(self, connection: Connection) -> None:
        done: int | None = None
        if self._by_wal:
            done = self._wal_bytes(connection) - self._wal_began
        elif self._by_files:
            done = self._new_bytes(connection)
        if done is not None and self._total is not None:
            done = min(done, self._total)
        self._observe(
            Progress(
                "Cloning",
                timedelta(seconds=time.monotonic() - self._began),
                done,
                self._total if done is not None else None,
            )
        )

    @staticmethod
    def _wal_bytes(connection: Connection) -> int:
        return connection.execute(
            select(cast(func.pg_wal_lsn_diff(func.pg_current_wal_insert_lsn(), literal_column("'0/0'")), BigInteger))
        ).scalar_one()

    @staticmethod
    def _directories(connection: Connection) -> frozenset[str]:
        return frozenset(connection.execute(select(func.pg_ls_dir("base", type_=Text))).scalars())

    def _new_bytes(self, connection: Connection) -> int | None:
        """The size of the databases whose directory came since the clone began; None before there is one.

        Our clone is the only new one but for a rare CREATE DATABASE beside it, which makes the figure a little high.
        """
        new = [int(name) for name in self._directories(connection) - self._known if name.isdigit()]
        measured = (connection.execute(select(_size(oid))).scalar_one() for oid in new)
        return sum(size for size in measured if size is not None) if new else None


def _size(oid: int) -> ColumnElement[int | None]:
    return func.pg_database_size(cast(oid, OID), type_=BigInteger)
