"""Database names: from (source, kind, time) to a name, and back for the names of the original script.

A name never proves anything: what a database is goes by its comment (see ``metadata``).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection
from datetime import UTC, datetime

from snapkit.core.inventory.kinds import Kind
from snapkit.core.utc import iso_utc
from snapkit.core.values import dataclass

MAX_NAME_BYTES = 63
"""NAMEDATALEN - 1: PostgreSQL cuts a longer name without an error.
https://www.postgresql.org/docs/current/sql-syntax-lexical.html#SQL-SYNTAX-IDENTIFIERS"""

_STAMP = "%Y%m%d_%H%M%S"
_SCRIPT_NAME = re.compile(r"(?P<source>.+)_backup_(?P<stamp>[0-9]{8}_[0-9]{6})", re.DOTALL)
_PARTIAL_NAME = re.compile(r".+_partial_(?P<stamp>[0-9]{8}_[0-9]{6})(?:_[0-9]+)?", re.DOTALL)
_STAMP_PART = re.compile(r"_([0-9]{8}_[0-9]{6})((?:_[0-9]+)?)\Z")
_SEQUENCE = re.compile(r"_[0-9]{8}_[0-9]{6}_([0-9]+)\Z")


@dataclass(frozen=True, slots=True)
class FreeNames:
    """The names that databases get which are made at a moment (``at``), beside those that are ``taken``."""

    at: datetime
    taken: Collection[str]

    def of(self, source: str, kind: Kind) -> str:
        """Return the name of the source's next database of a kind; see ``free_name``."""
        return free_name(source, kind, self.at, self.taken)


def free_name(source: str, kind: Kind, at: datetime, taken: Collection[str]) -> str:
    """Return ``{source}_{kind}_{YYYYMMDD}_{HHMMSS}`` in UTC, numbered behind every name of that second.

    ``_2`` is newer than no number and ``_3`` newer than ``_2``, also when the first of them is gone:
    the number is one more than the highest that is taken, never a gap. A name of more than 63 bytes has its
    source part cut, never inside a character, and given a hash of the whole.
    """
    tail = f"_{kind}_{_stamp(at)}"
    plain = _fit(source, tail)
    highest = max((number for name in taken if (number := _number_behind(plain, name, source, tail))), default=0)
    return plain if highest == 0 else _fit(source, f"{tail}_{highest + 1}")


def _number_behind(plain: str, name: str, source: str, tail: str) -> int | None:
    """The number that ``name`` carries among the names of this source, kind and second; None if it is not one."""
    if name == plain:
        return 1
    match = _SEQUENCE.search(name)
    if match is None:
        return None
    number = int(match[1])
    return number if name == _fit(source, f"{tail}_{number}") else None


def _fit(source: str, tail: str) -> str:
    if len((source + tail).encode()) <= MAX_NAME_BYTES:
        return source + tail
    digest = "_" + hashlib.sha256(source.encode()).hexdigest()[:8]
    room = MAX_NAME_BYTES - len((digest + tail).encode())
    return source.encode()[:room].decode(errors="ignore") + digest + tail


def _stamp(at: datetime) -> str:
    return re.sub("[-:Z]", "", iso_utc(at)).replace("T", "_")


def passing_name(source: str, at: datetime, oid: int) -> str:
    """Return what a database of ``source`` is named while it is dropped: no other can have that name from us."""
    return _fit(source, f"_{Kind.PARTIAL}_{_stamp(at)}_{oid}")


def is_passing_name(name: str, source: str, oid: int) -> bool:
    """Whether ``name`` is one that a database has from us while it is dropped."""
    return sequence_of(name) == oid and belongs_to(name, source, Kind.PARTIAL)


def sequence_of(name: str) -> int:
    """Return the number behind the second in a name of ours: 1 without one."""
    match = _SEQUENCE.search(name)
    return int(match[1]) if match else 1


def stamp_of(name: str) -> str | None:
    """Return the timestamp part of a name, number included (``20260110_103045_2``); None if it has none."""
    match = _STAMP_PART.search(name)
    return match[1] + match[2] if match else None


def read_script_name(name: str) -> tuple[str, datetime] | None:
    """Return (source, time) of a name that the original script gave, which is in UTC; None for any other name.

    A date that does not exist makes it any other name.
    """
    match = _SCRIPT_NAME.fullmatch(name)
    if match is None:
        return None
    at = _read_stamp(match["stamp"])
    return None if at is None else (match["source"], at)


def read_partial_name(name: str) -> datetime | None:
    """Return the time in the name of a clone under construction; None for any other name."""
    match = _PARTIAL_NAME.fullmatch(name)
    return _read_stamp(match["stamp"]) if match else None


def _read_stamp(stamp: str) -> datetime | None:
    try:
        return datetime.strptime(stamp, _STAMP).replace(tzinfo=UTC)
    except ValueError:
        return None


def belongs_to(name: str, source: str, kind: Kind) -> bool:
    """Whether ``name`` can be a name that ``free_name`` gave to this source and kind."""
    match = _STAMP_PART.search(name)
    return match is not None and name == _fit(source, f"_{kind}_{match[1]}{match[2]}")
