"""Places of rows, many of them: in memory as long as they are few, else in a file that goes with the process."""

from __future__ import annotations

import struct
import weakref
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
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


class ScratchFile:
    """What is put down and read again. Raises SnapkitError if there is no room, or the disk fails."""

    def __init__(self) -> None:
        self._file = SpooledTemporaryFile(_IN_MEMORY)  # noqa: SIM115 - it is closed when nobody has this any more
        weakref.finalize(self, _close, self._file)

    def append(self, data: bytes) -> int:
        """Return where it begins."""
        with _told():
            start = self._file.seek(0, SEEK_END)
            self._file.write(data)
            return start

    def read(self, start: int, size: int) -> bytes:
        with _told():
            self._file.seek(start)
            return self._file.read(size)


def _close(file: SpooledTemporaryFile[bytes]) -> None:
    with suppress(OSError):  # what could not be written is lost, and has been told
        file.close()


@contextmanager
def _told() -> Iterator[None]:
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
        self._file = ScratchFile()
        self.places = 0
        """How many there are."""

    def put(self, leaf: int, tids: bytes) -> None:
        for some in batches(tids, _BATCH):
            self._file.append(_HEAD.pack(leaf, len(some)) + some)
        self.places += len(tids) // WIDTH

    def __iter__(self) -> Iterator[tuple[int, bytes]]:
        """Return leaves and ``tids``, some thousands at a time."""
        at = 0
        while head := self._file.read(at, _HEAD.size):
            leaf, size = _HEAD.unpack(head)
            yield leaf, self._file.read(at + _HEAD.size, size)
            at += _HEAD.size + size


class PairSpool:
    """Rows with their places on both sides."""

    def __init__(self) -> None:
        self._file = ScratchFile()
        self.rows = 0

    def put(self, pairs: Iterable[tuple[bytes, bytes]]) -> None:
        """Take places with their leaves, before and after."""
        packed = [before + after for before, after in pairs]
        self._file.append(b"".join(packed))
        self.rows += len(packed)

    def __iter__(self) -> Iterator[list[tuple[Place, Place]]]:
        """Return some thousands at a time."""
        for at in range(0, self.rows, _BATCH):
            places = iter(places_of(self._file.read(at * 2 * PLACE, _BATCH * 2 * PLACE)))
            yield list(zip(places, places, strict=True))
