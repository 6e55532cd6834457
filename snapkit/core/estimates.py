"""How long a copy will take, judged by what earlier ones on this server took."""

from __future__ import annotations

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
