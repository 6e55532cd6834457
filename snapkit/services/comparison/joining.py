"""Join the rows of two sides, more than memory holds: SQLite sorts them, in a file that goes with the process."""

from __future__ import annotations

import sqlite3
import struct
from collections.abc import Iterator

from snapkit.core.comparison.tids import PLACE
from snapkit.postgres.comparison.rows import HASH, LISTED

_ROW = struct.Struct(f"{PLACE}s{HASH}s{HASH}s")
"""Place, identity, value."""

_MOST_WAITING = 50_000
"""Rows that may wait in memory for the same row on the other side: mostly, it comes soon."""

_Waiting = dict[bytes, list[bytes]]
"""Identity and value, and at which places such rows are."""

_SETTINGS = (
    "PRAGMA journal_mode = OFF",
    "PRAGMA synchronous = OFF",
    "PRAGMA cache_size = -16000",  # kB
    "PRAGMA temp_store = FILE",
)
_TABLE = "CREATE TABLE found (side INTEGER, place BLOB, identity BLOB, value BLOB)"

# Rows without a key may be there several times. They are numbered, so that each finds one of the other side.
_NUMBERED = """
    CREATE VIEW numbered AS
    SELECT *, row_number() OVER (PARTITION BY identity, side ORDER BY place) AS number FROM found
"""
_DIFFERENT = """
    SELECT max(place) FILTER (WHERE side = 0), max(place) FILTER (WHERE side = 1)
    FROM {rows}
    GROUP BY {identity}
    HAVING min(side) = max(side) OR min(value) <> max(value)
    ORDER BY 1, 2
"""
_BY_KEY = _DIFFERENT.format(rows="found", identity="identity")
_BY_VALUE = _DIFFERENT.format(rows="numbered", identity="identity, number")

Differing = tuple[bytes | None, bytes | None]
"""The places of a row before and after, each with its leaf (``core.comparison.tids``); None: there is none."""


class Join:
    """Takes rows of both sides, and gives those that are of one side only, or have another value on the other."""

    def __init__(self) -> None:
        self._waiting: tuple[_Waiting, _Waiting] = {}, {}
        self._number_waiting = 0
        self._database = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        for statement in (*_SETTINGS, _TABLE, _NUMBERED, "BEGIN"):
            self._database.execute(statement)

    def put(self, side: int, listed: bytes) -> None:
        """Take rows of a side, 0 before and 1 after, as ``postgres.comparison.rows.listed`` returns them."""
        rows = ((side, *row) for row in _ROW.iter_unpack(listed))
        self._database.executemany("INSERT INTO found VALUES (?, ?, ?, ?)", rows)

    def put_mostly_same(self, side: int, listed: bytes) -> None:
        """Take rows that mostly are the same on the other side, and come there at about the same time."""
        own, others = self._waiting[side], self._waiting[1 - side]
        for at in range(0, len(listed), LISTED):
            row = listed[at + PLACE : at + LISTED]
            if same := others.get(row):
                same.pop()
                self._number_waiting -= 1
                if not same:
                    del others[row]
            else:
                own.setdefault(row, []).append(listed[at : at + PLACE])
                self._number_waiting += 1
        if self._number_waiting > _MOST_WAITING:
            self._put_down()

    def _put_down(self) -> None:
        for side, waiting in enumerate(self._waiting):
            self.put(side, b"".join(place + row for row, places in waiting.items() for place in places))
            waiting.clear()
        self._number_waiting = 0

    def differing(self, *, by_key: bool) -> Iterator[Differing]:
        """Return the rows that differ, by their places. ``by_key``: each identity is there once on a side."""
        self._put_down()
        yield from self._database.execute(_BY_KEY if by_key else _BY_VALUE)

    def close(self) -> None:
        self._database.close()
