"""A server whose clock can be moved while it runs, as an administrator, NTP or a failover moves one."""

from __future__ import annotations

import os
import time
from datetime import timedelta
from pathlib import Path

import psycopg

from tests.cluster import Cluster
from tests.sandbox import wait_until

_LIBRARIES = "/usr/lib/*/faketime/libfaketime.so.1"


def faketime() -> Path | None:
    """Return libfaketime, which stands between a program and its clock; None where it is not installed."""
    return next(iter(sorted(Path("/").glob(_LIBRARIES.lstrip("/")))), None)


class ClusterWithMovingClock(Cluster):
    """Its clock is the machine's, moved by what ``move`` was told last. Its timers go on as they were.

    https://github.com/wolfcw/libfaketime
    """

    @property
    def _offset(self) -> Path:
        return self.root / "clock"

    def launch(self) -> None:
        library = faketime()
        assert library is not None
        self._offset.write_text("+0\n")
        self._offset.chmod(0o644)
        moved = {
            "LD_PRELOAD": str(library),
            "FAKETIME_TIMESTAMP_FILE": str(self._offset),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "FAKETIME_DISABLE_SHM": "1",
        }
        before = dict(os.environ)
        os.environ.update(moved)
        try:
            super().launch()
        finally:
            os.environ.clear()
            os.environ.update(before)

    def move(self, by: timedelta) -> None:
        """Set the clock ``by`` so much ahead of the machine's, or behind; return when sessions see it."""
        self._offset.write_text(f"{by.total_seconds():+.0f}\n")
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:

            def seen() -> bool:
                row = connection.execute("SELECT extract(epoch FROM clock_timestamp())::float8").fetchone()
                assert row is not None
                return abs(float(row[0]) - time.time() - by.total_seconds()) < 60

            wait_until(seen)
