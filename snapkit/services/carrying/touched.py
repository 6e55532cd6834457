"""What is known of rows at the end of a guarded command: which were written since the backup, and how they were left.

They may be many, so they lie in a file that goes with the guard. What is not in it was not touched.
"""

from __future__ import annotations

import json
import sqlite3
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from snapkit.core.carrying.three_versions import UNTOUCHED, AtBoundary, Values

MOST = 2_000_000
"""Rows that are noted. A command that touches more has its tables left as they are."""

Key = tuple[str, ...]


class Knowledge(Protocol):
    """What is known of tables at the boundary, by their OID in the database that is displaced."""

    def unknown(self, table: int) -> str | None:
        """Return why nothing is known of a table; None if it is known of each row whether it was touched."""

    def at(self, table: int, keys: Sequence[Key]) -> Mapping[Key, AtBoundary]:
        """Return what is known of each of these rows."""


class Untouched:
    """Some tables that were named: whatever was written to them since the backup is the clients'."""

    def __init__(self, tables: Mapping[int, bool]) -> None:
        self._named = tables

    def unknown(self, table: int) -> str | None:
        return None if self._named.get(table) else "not named by --carry-table"

    def at(self, table: int, keys: Sequence[Key]) -> Mapping[Key, AtBoundary]:
        return dict.fromkeys(keys, UNTOUCHED)


class TouchedRows(AbstractContextManager["TouchedRows"]):
    """The rows that were written between a backup and a boundary, in a file that goes with the block."""

    def __init__(self) -> None:
        self._directory = tempfile.TemporaryDirectory(prefix="snapkit-", ignore_cleanup_errors=True)
        self._rows = sqlite3.connect(f"{self._directory.name}/touched", check_same_thread=False, isolation_level=None)
        # Nobody reads it after us, whatever happens.
        self._rows.execute("PRAGMA journal_mode = OFF")
        self._rows.execute("PRAGMA synchronous = OFF")
        self._rows.execute(
            "CREATE TABLE touched (relation INTEGER, key TEXT, row TEXT, PRIMARY KEY (relation, key)) WITHOUT ROWID"
        )
        self._known: dict[int, str | None] = {}
        self._number = 0

    def __exit__(self, *_: object) -> None:
        self._rows.close()
        self._directory.cleanup()

    def note(self, table: int, rows: Iterable[tuple[Key, Values | None]]) -> None:
        """Note all rows of a table that were touched, with their values at the boundary; None: there was none.

        The table is known from then on. Raises OverflowError for too many.
        """
        for key, values in rows:
            self._number += 1
            if self._number > MOST:
                raise OverflowError
            self._rows.execute(
                "INSERT OR REPLACE INTO touched VALUES (?, ?, ?)", (table, json.dumps(key), json.dumps(values))
            )
        self._known[table] = None

    def note_unknown(self, table: int, reason: str) -> None:
        """Note why it is not known which rows of a table were touched."""
        self._known[table] = reason

    def unknown(self, table: int) -> str | None:
        return self._known.get(table, "its rows could not be read when the command had ended")

    def at(self, table: int, keys: Sequence[Key]) -> Mapping[Key, AtBoundary]:
        return {key: self._at(table, key) for key in keys}

    def _at(self, table: int, key: Key) -> AtBoundary:
        found = self._rows.execute(
            "SELECT row FROM touched WHERE relation = ? AND key = ?", (table, json.dumps(key))
        ).fetchone()
        if found is None:
            return UNTOUCHED
        values = json.loads(found[0])
        return AtBoundary(is_known=True, values=None if values is None else tuple(values))
