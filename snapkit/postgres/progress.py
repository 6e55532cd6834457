"""How far a clone is. CREATE DATABASE has no progress view, so this looks where each method leaves traces."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import Any

from sqlalchemy import BigInteger, Connection, Select, Text, cast, column, func, literal_column, select, true

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
        return sum(connection.execute(_size_of(f"base/{oid}")).scalar_one() for oid in new) if new else None


def _size_of(directory: str) -> Select[Any]:
    """The size of a directory's files, file by file: pg_database_size knows no database before it is committed.

    https://www.postgresql.org/docs/current/functions-admin.html#FUNCTIONS-ADMIN-GENFILE
    """
    names = func.pg_ls_dir(directory, True, False).table_valued(column("name", Text), name="names").render_derived()
    stat = func.pg_stat_file(func.concat(directory, "/", names.c.name), True)
    file = stat.table_valued(column("size", BigInteger)).lateral("file")
    total = func.coalesce(cast(func.sum(file.c.size), BigInteger), 0)
    return select(total).select_from(names.join(file, true()))
