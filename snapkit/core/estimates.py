"""How long a copy will take, judged by what earlier ones on this server took."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from datetime import timedelta

from snapkit.core.model import Entry, Strategy

_TELLING = 1 << 24
"""Bytes below which a copy's time says little about that of a larger one."""


_BRIEF = timedelta(seconds=10)
_SURELY_BRIEF = 1 << 30
"""Bytes that any disk copies in about that time."""


def is_brief(expected: timedelta | None, size: int | None) -> bool:
    """Whether copying ``size`` bytes will be a matter of seconds; ``expected`` is what ``expected_duration`` said."""
    if expected is None:
        return size is not None and size <= _SURELY_BRIEF
    return expected <= _BRIEF


def expected_duration(entries: Iterable[Entry], source: str, strategy: Strategy, size: int | None) -> timedelta | None:
    """Return how long copying ``size`` bytes of ``source`` will take; None where nothing is there to judge by.

    ``entries`` are all of the server's. The newest backup of this source that was made in the same way counts; failing
    that, the newest of another source that is not too small to tell.
    """
    if size is None:
        return None
    telling = [
        entry
        for entry in entries
        if (own := entry.metadata) and own.strategy is strategy and own.clone_bytes and own.clone_ms is not None
        if entry.source == source or own.clone_bytes >= min(size, _TELLING)
    ]
    newest = max(telling, key=lambda entry: (entry.source == source, entry.age_key), default=None)
    if newest is None or newest.metadata is None:
        return None
    bytes_then, milliseconds = newest.metadata.clone_bytes or 1, newest.metadata.clone_ms or 0
    return timedelta(milliseconds=milliseconds * size / bytes_then)


_RECENT = 3.0
"""Seconds; of a longer copy, its last third counts."""


class Pace:
    """The pace of a copy of late: a disk takes the first bytes into memory, and then goes at its own pace.

    While nothing moves, the pace stays what it was, so that what is left does not count upwards for that.
    """

    def __init__(self) -> None:
        self._seen: deque[tuple[float, int]] = deque()

    def see(self, elapsed: timedelta, done: int) -> float | None:
        """Note how much is done; return units a second of late, None before there is anything to go by."""
        now = elapsed.total_seconds()
        if not self._seen or done > self._seen[-1][1]:
            self._seen.append((now, done))
        since = now - max(_RECENT, now / 3)
        while len(self._seen) > 2 and self._seen[1][0] <= since:
            self._seen.popleft()
        (first, had), (last, has) = self._seen[0], self._seen[-1]
        return (has - had) / (last - first) if last > first else None


def share_done(elapsed: timedelta, expected: timedelta) -> tuple[float, bool]:
    """Return how much is done if it goes as the last time, and whether it takes longer than that; never quite all."""
    share = elapsed / expected if expected else 1.0
    return min(share, 0.99), share > 0.99
