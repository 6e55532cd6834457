"""Many places of row versions, packed as PostgreSQL sends and takes them: no row costs any work of ours.

A ctid is a block and a line. The elements of an array of them, in the binary format, are ten bytes each: their length,
which is always six, the block, the line. Such bytes are called ``tids`` here. Put after a header they are a value of
the type tid[]. https://www.postgresql.org/docs/current/datatype-oid.html (tid)
"""

from __future__ import annotations

import struct
from collections.abc import Container, Iterable, Iterator
from itertools import groupby
from operator import itemgetter
from typing import Final

from snapkit.core.comparison.row_changes import Place

PLACE: Final = 10
"""Bytes of one place with its leaf: as oidsend() and tidsend() give them."""

_PLACE = struct.Struct(">IIH")
_LEAF = 4
"""Bytes of the OID of a leaf."""

_ELEMENT = struct.Struct(">iIH")
_HEADER = struct.Struct(">iiIii")
_LENGTH = struct.pack(">i", 6)
_TID = 27
"""The OID of the type tid."""

WIDTH = _ELEMENT.size
"""Bytes of one place."""


def pack(places: Iterable[tuple[int, int]]) -> bytes:
    """Return the tids of blocks and lines."""
    return b"".join(_ELEMENT.pack(6, block, line) for block, line in places)


def unpack(tids: bytes) -> Iterator[tuple[int, int]]:
    """Return blocks and lines."""
    return ((block, line) for _, block, line in _ELEMENT.iter_unpack(tids))


def as_array(tids: bytes) -> bytes:
    """Return a value of the type tid[], in the binary format."""
    return _HEADER.pack(1, 0, _TID, len(tids) // WIDTH, 1) + tids if tids else _HEADER.pack(0, 0, _TID, 0, 0)[:12]


def of_array(value: bytes | None) -> bytes:
    """Return what is in a value of the type tid[], in the binary format, without NULLs; None is an empty one."""
    return value[_HEADER.size :] if value else b""


def place_of(packed: bytes) -> Place:
    return Place(*_PLACE.unpack(packed))


def places_of(packed: bytes) -> list[Place]:
    """Return many places with their leaves, one after the other."""
    return [Place(*numbers) for numbers in _PLACE.iter_unpack(packed)]


def by_leaf(places: Iterable[bytes]) -> Iterator[tuple[int, bytes]]:
    """Return the tids of places with their leaves; those of a leaf that come one after the other are put together."""
    for leaf, some in groupby(places, key=itemgetter(slice(0, _LEAF))):
        yield int.from_bytes(leaf), b"".join([_LENGTH + each[_LEAF:] for each in some])


def without(tids: bytes, leaf: int, places: Container[bytes]) -> bytes:
    """Leave out what is among these places with their leaves."""
    head = leaf.to_bytes(_LEAF)
    elements = (tids[at : at + WIDTH] for at in range(0, len(tids), WIDTH))
    return b"".join([each for each in elements if head + each[len(_LENGTH) :] not in places])


def batches(tids: bytes, size: int) -> Iterator[bytes]:
    """Cut into pieces of at most ``size`` places."""
    return (tids[at : at + size * WIDTH] for at in range(0, len(tids), size * WIDTH))
