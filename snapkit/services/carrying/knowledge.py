"""What is known of rows at the boundary: which were written since the backup by then, and how they were left.

They may be many, so they lie in a file that goes with the guard. What is not in it was not touched. It holds no data of
the database: keys and values are hashed, with a secret that is in memory only.
"""

from __future__ import annotations

import json
import sqlite3
import tempfile
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from hashlib import blake2b
from secrets import token_bytes
from typing import Protocol

from snapkit.core.carrying.three_versions import UNTOUCHED, AtBoundary, Values
from snapkit.core.comparison.patterns import TablePattern
from snapkit.core.comparison.row_changes import Pair

MOST = 2_000_000
"""Rows that are noted. If a command has touched more, the tables that are left to read are not brought along."""

Key = tuple[str, ...]


class Knowledge(Protocol):
    """What is known of the tables of a backup and the database that was live; the pairs are theirs."""

    def lacking(self, pair: Pair) -> str | None:
        """Return why nothing is known of a table; None if it is known of each row whether it was touched."""

    def at(self, pair: Pair, keys: Sequence[Key]) -> list[AtBoundary]:
        """Return what is known of each of these rows; their values are as ``as_noted`` gives them."""

    def as_noted(self, values: Values) -> Values:
        """Return values as those of the boundary are given, so that they can be compared."""


class NamedTables:
    """Some tables that were named: whatever was written to them since the backup is the clients'."""

    def __init__(self, patterns: Sequence[TablePattern]) -> None:
        self._patterns = patterns

    def lacking(self, pair: Pair) -> str | None:
        names = [(side.schema, side.name) for side in (pair.before, pair.after) if side is not None]
        if any(pattern.fits(*name) for pattern in self._patterns for name in names):
            return None
        return "no --carry-table names it: it is not known which rows are the deploy's, and which are the clients'"

    def at(self, pair: Pair, keys: Sequence[Key]) -> list[AtBoundary]:
        return [UNTOUCHED] * len(keys)

    def as_noted(self, values: Values) -> Values:
        return values


class NothingKnown:
    """A boundary that could not be noted."""

    def __init__(self, reason: str) -> None:
        self._reason = reason

    def lacking(self, pair: Pair) -> str | None:
        return self._reason

    def at(self, pair: Pair, keys: Sequence[Key]) -> list[AtBoundary]:
        raise NotImplementedError

    def as_noted(self, values: Values) -> Values:
        raise NotImplementedError


class TouchedRows(AbstractContextManager["TouchedRows"]):
    """The rows that were written between a backup and a boundary, in a file, until it is closed."""

    def __init__(self) -> None:
        self._directory = tempfile.TemporaryDirectory(prefix="snapkit-", ignore_cleanup_errors=True)
        # Read by another thread than the one that writes, but not at the same time.
        self._rows = sqlite3.connect(f"{self._directory.name}/rows", check_same_thread=False, isolation_level=None)
        self._rows.execute("PRAGMA journal_mode = OFF")  # nobody reads it after us, whatever happens
        self._rows.execute("PRAGMA synchronous = OFF")
        self._rows.execute(
            "CREATE TABLE touched (relation INTEGER, key BLOB, row TEXT, PRIMARY KEY (relation, key)) WITHOUT ROWID"
        )
        self._secret = token_bytes(32)
        self._columns: dict[int, tuple[int, ...]] = {}
        self._reasons: dict[int, str] = {}
        self._number = 0

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._rows.close()
        self._directory.cleanup()

    def note(self, pair: Pair, rows: Iterable[tuple[Key, Values | None]]) -> None:
        """Note all rows of a table that were touched, with their values at the boundary; None: there was none.

        With that the table is known, unless there are too many.
        """
        table = _oid(pair)
        for key, values in rows:
            if self._number == MOST:
                self.note_lack(pair, f"more than {MOST:,} rows were written while the command ran")
                return
            self._number += 1
            noted = json.dumps(None if values is None else self.as_noted(values))
            self._rows.execute("INSERT OR REPLACE INTO touched VALUES (?, ?, ?)", (table, self._hash(*key), noted))
        self._columns[table] = _columns(pair)

    def note_lack(self, pair: Pair, reason: str) -> None:
        """Note why it is not known which rows of a table were touched."""
        self._reasons[_oid(pair)] = reason

    def lacking(self, pair: Pair) -> str | None:
        table = _oid(pair)
        if table in self._reasons:
            return self._reasons[table]
        if table not in self._columns:
            return "it was made after the command had ended, or could not be read by then"
        if self._columns[table] != _columns(pair):
            return "its columns were changed after the command had ended"
        return None

    def at(self, pair: Pair, keys: Sequence[Key]) -> list[AtBoundary]:
        return [self._at(_oid(pair), key) for key in keys]

    def as_noted(self, values: Values) -> Values:
        return tuple(None if value is None else self._hash(value).hex() for value in values)

    def _hash(self, *texts: str) -> bytes:
        """128 bits, so that two values never have the same by chance."""
        joined = json.dumps(texts).encode()
        return blake2b(joined, digest_size=16, key=self._secret).digest()

    def _at(self, table: int, key: Key) -> AtBoundary:
        found = self._rows.execute(
            "SELECT row FROM touched WHERE relation = ? AND key = ?", (table, self._hash(*key))
        ).fetchone()
        if found is None:
            return UNTOUCHED
        values = json.loads(found[0])
        return AtBoundary(is_known=True, values=None if values is None else tuple(values))


def _oid(pair: Pair) -> int:
    """The OID of the table in the database that was live. It is the same at the boundary and now."""
    assert pair.after is not None  # noqa: S101 - of a table that was dropped nothing is brought along
    return pair.after.oid


def _columns(pair: Pair) -> tuple[int, ...]:
    return tuple(number for before, after in pair.columns for number in (before.number, after.number))
