"""Places of rows, many of them: in memory as long as they are few, else in a file that goes with the process."""

from __future__ import annotations

import struct
import weakref
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from os import SEEK_END
from tempfile import SpooledTemporaryFile, gettempdir

from snapkit.core.comparison.row_changes import Place
from snapkit.core.comparison.tids import PLACE, WIDTH, batches, places_of
from snapkit.errors import NOTHING_CHANGED, SnapkitError

_IN_MEMORY = 2**22
"""Bytes."""

_HEAD = struct.Struct(">II")
_BATCH = 8192
"""Places that are handed out at once."""


@contextmanager
def spooling() -> Iterator[None]:
    """Say it if the files of the block cannot be written; nothing else in it works with files."""
    try:
        yield
    except OSError as error:
        raise SnapkitError(
            f"What was found cannot be kept in {gettempdir()!r} on this machine: {error.strerror or error}.",
            state=NOTHING_CHANGED,
            hint="Make room there, or name another directory with TMPDIR.",
        ) from error


class Spool:
    """Places by the OID of their leaf, as ``tids`` (``core.comparison.tids``), in the order in which they were put."""

    def __init__(self) -> None:
        self._file = file_of(self)
        self.places = 0
        """How many there are."""

    def put(self, leaf: int, tids: bytes) -> None:
        self._file.seek(0, SEEK_END)
        for some in batches(tids, _BATCH):
            self._file.write(_HEAD.pack(leaf, len(some)) + some)
        self.places += len(tids) // WIDTH

    def __iter__(self) -> Iterator[tuple[int, bytes]]:
        """Return leaves and ``tids``, some thousands at a time."""
        at = 0
        while head := self._read(at, _HEAD.size):
            leaf, size = _HEAD.unpack(head)
            yield leaf, self._read(at + _HEAD.size, size)
            at += _HEAD.size + size

    def _read(self, at: int, size: int) -> bytes:
        self._file.seek(at)  # somebody else may have read meanwhile
        return self._file.read(size)


class PairSpool:
    """Rows with their places on both sides."""

    def __init__(self) -> None:
        self._file = file_of(self)
        self.rows = 0

    def put(self, pairs: Iterable[tuple[bytes, bytes]]) -> None:
        """Take places with their leaves, before and after."""
        packed = [before + after for before, after in pairs]
        self._file.seek(0, SEEK_END)
        self._file.write(b"".join(packed))
        self.rows += len(packed)

    def __iter__(self) -> Iterator[list[tuple[Place, Place]]]:
        """Return some thousands at a time."""
        for at in range(0, self.rows, _BATCH):
            self._file.seek(at * 2 * PLACE)
            places = iter(places_of(self._file.read(_BATCH * 2 * PLACE)))
            yield list(zip(places, places, strict=True))


def file_of(spool: object) -> SpooledTemporaryFile[bytes]:
    """Return a file that is closed, and so gone, when nobody has the spool any more."""
    file = SpooledTemporaryFile(_IN_MEMORY)  # noqa: SIM115 - it lives as long as the spool
    weakref.finalize(spool, file.close)
    return file
