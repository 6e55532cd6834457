"""Join the rows of two sides, more than memory holds: SQLite sorts them, in a file that goes with the process."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator

from snapkit.core.comparison.row_changes import Place
from snapkit.core.comparison.tids import TID
from snapkit.postgres.comparison.rows import LISTED

_IDENTITY = 16
"""Bytes. As many of the value follow."""

_MOST_WAITING = 50_000
"""Rows that may wait in memory for the same row on the other side: mostly, it comes soon."""

_Waiting = dict[bytes, list[tuple[int, bytes]]]
"""Identity and value, and where such rows are: leaf and place."""

_SETTINGS = (
    "PRAGMA journal_mode = OFF",
    "PRAGMA synchronous = OFF",
    "PRAGMA cache_size = -16000",  # kB
    "PRAGMA temp_store = FILE",
)
_TABLE = "CREATE TABLE found (identity BLOB, value BLOB, side INTEGER, leaf INTEGER, tid BLOB)"

# Rows without a key may be there several times. They are numbered, so that each finds one of the other side.
_NUMBERED = """
    CREATE VIEW numbered AS
    SELECT *, row_number() OVER (PARTITION BY identity, side ORDER BY leaf, tid) AS number FROM found
"""
_DIFFERENT = """
    SELECT max(leaf) FILTER (WHERE side = 0), max(tid) FILTER (WHERE side = 0),
           max(leaf) FILTER (WHERE side = 1), max(tid) FILTER (WHERE side = 1)
    FROM {rows}
    GROUP BY {identity}
    HAVING min(side) = max(side) OR min(value) <> max(value)
    ORDER BY 1, 2, 3, 4
"""
_BY_KEY = _DIFFERENT.format(rows="found", identity="identity")
_BY_VALUE = _DIFFERENT.format(rows="numbered", identity="identity, number")

Differing = tuple[Place | None, Place | None]
"""Where a row lies before and after; None: there is none."""


class Join:
    """Takes rows of both sides, and gives those that are of one side only, or have another value on the other."""

    def __init__(self) -> None:
        self._waiting: tuple[_Waiting, _Waiting] = {}, {}
        self._number_waiting = 0
        self._database = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        for statement in (*_SETTINGS, _TABLE, _NUMBERED, "BEGIN"):
            self._database.execute(statement)

    def put(self, side: int, leaf: int, listed: bytes) -> None:
        """Take rows of a side, 0 before and 1 after, as ``postgres.comparison.rows.listed`` returns them."""
        own, others = self._waiting[side], self._waiting[1 - side]
        for at in range(0, len(listed), LISTED):
            row = listed[at + TID.size : at + LISTED]
            if same := others.get(row):
                same.pop()
                self._number_waiting -= 1
                if not same:
                    del others[row]
            else:
                own.setdefault(row, []).append((leaf, listed[at : at + TID.size]))
                self._number_waiting += 1
        if self._number_waiting > _MOST_WAITING:
            self._put_down()

    def _put_down(self) -> None:
        rows = (
            (row[:_IDENTITY], row[_IDENTITY:], side, leaf, tid)
            for side, waiting in enumerate(self._waiting)
            for row, places in waiting.items()
            for leaf, tid in places
        )
        self._database.executemany("INSERT INTO found VALUES (?, ?, ?, ?, ?)", rows)
        for waiting in self._waiting:
            waiting.clear()
        self._number_waiting = 0

    def differing(self, *, by_key: bool) -> Iterator[Differing]:
        """Return the rows that differ, by their places. ``by_key``: each identity is there once on a side."""
        self._put_down()
        for before, gone, after, came in self._database.execute(_BY_KEY if by_key else _BY_VALUE):
            yield _place(before, gone), _place(after, came)

    def close(self) -> None:
        self._database.close()


def _place(leaf: int | None, tid: bytes | None) -> Place | None:
    return None if leaf is None or tid is None else Place(leaf, *TID.unpack(tid))
