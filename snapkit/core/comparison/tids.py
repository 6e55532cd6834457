"""Many places of row versions, packed as PostgreSQL sends and takes them: no row costs any work of ours.

A ctid is a block and a line. The elements of an array of them, in the binary format, are ten bytes each: their length,
which is always six, the block, the line. Such bytes are called ``tids`` here. Put after a header they are a value of
the type tid[]. https://www.postgresql.org/docs/current/datatype-oid.html (tid)
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator

TID = struct.Struct(">IH")
"""A place as tidsend() gives it: an element without its length."""

_ELEMENT = struct.Struct(">iIH")
_HEADER = struct.Struct(">iiIii")
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


def batches(tids: bytes, size: int) -> Iterator[bytes]:
    """Cut into pieces of at most ``size`` places."""
    return (tids[at : at + size * WIDTH] for at in range(0, len(tids), size * WIDTH))
