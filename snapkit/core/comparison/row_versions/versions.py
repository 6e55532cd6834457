"""Which row versions only one of two databases has, found in lists of versions as PostgreSQL sends them.

Both databases were once the same files. So a version that neither has touched since is at the same place in both, and
has the same author: its ``ctid`` and its ``xmin``. No two databases of a server ever give out the same XID.
https://www.postgresql.org/docs/current/ddl-system-columns.html
"""

from __future__ import annotations

from collections.abc import Iterable

from snapkit.core.comparison.tids import WIDTH
from snapkit.core.values import dataclass

_HEADER = 20
"""Bytes before the elements of an array of one dimension; the number of elements is in the last eight but four."""

_AUTHOR = 8
"""Bytes of an element of ``xid[]``: its length, and the XID."""


@dataclass(frozen=True, slots=True)
class Versions:
    """Row versions in the order of their places: ``tid[]`` and ``xid[]`` as array_send() gives them, without headers.

    https://www.postgresql.org/docs/current/protocol-overview.html#PROTOCOL-FORMAT-CODES
    """

    places: bytes = b""
    authors: bytes = b""

    @classmethod
    def received(cls, sent: Iterable[bytes | None]) -> Versions:
        """Take what was sent: both arrays, one after the other; None is what array_agg() makes of no rows."""
        places, authors = [], []
        for some in filter(None, sent):
            number = int.from_bytes(some[_HEADER - 8 : _HEADER - 4])
            end = _HEADER + number * WIDTH
            places.append(some[_HEADER:end])
            authors.append(some[end + _HEADER :])
        return cls(b"".join(places), b"".join(authors))

    def __len__(self) -> int:
        return len(self.places) // WIDTH

    def place(self, at: int) -> bytes:
        return self.places[at * WIDTH : (at + 1) * WIDTH]

    def same(self, at: int, other: Versions, there: int, number: int) -> bool:
        """Whether so many versions are the same as those of the other, from these positions on."""
        return (
            self.places[at * WIDTH : (at + number) * WIDTH] == other.places[there * WIDTH : (there + number) * WIDTH]
            and self.authors[at * _AUTHOR : (at + number) * _AUTHOR]
            == other.authors[there * _AUTHOR : (there + number) * _AUTHOR]
        )

    def tids(self, start: int, end: int) -> bytes:
        """The places of some versions; see ``core.comparison.tids``."""
        return self.places[start * WIDTH : end * WIDTH]


def only_in_one(before: Versions, after: Versions) -> tuple[bytes, bytes]:
    """Return the tids of the versions that only ``before`` has, and of those that only ``after`` has.

    Long runs of the same versions are compared as bytes, so the time is that of the differences.
    """
    gone: list[bytes] = []
    new: list[bytes] = []
    left, right = 0, 0
    while True:
        same = _run_of_same(before, left, after, right)
        left, right = left + same, right + same
        if left == len(before) or right == len(after):
            break
        earlier = _run_before(before, left, after.place(right))
        later = _run_before(after, right, before.place(left))
        if not earlier and not later:  # at the same place, by another author
            earlier = later = 1
        gone.append(before.tids(left, left + earlier))
        new.append(after.tids(right, right + later))
        left, right = left + earlier, right + later
    gone.append(before.tids(left, len(before)))
    new.append(after.tids(right, len(after)))
    return b"".join(gone), b"".join(new)


def _run_of_same(before: Versions, left: int, after: Versions, right: int) -> int:
    """How many versions are the same from these positions on."""
    most = min(len(before) - left, len(after) - right)
    same, step = 0, 1
    while step:
        step = min(step, most - same)
        if before.same(left + same, after, right + same, step):
            same += step
            if same == most:
                break
            step *= 2
        else:
            most = same + step - 1
            step //= 2
    return same


def _run_before(versions: Versions, start: int, place: bytes) -> int:
    """How many versions, from ``start`` on, are at a place before this one."""
    end, step = start, 1
    most = len(versions)
    while step:
        step = min(step, most - end)
        if step and versions.place(end + step - 1) < place:
            end += step
            step *= 2
        else:
            most = end + max(step - 1, 0)
            step //= 2
    return end - start
