"""How often a run says in a pipe how far it is: a log is no terminal, and wants a line every so often at most."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from time import monotonic
from typing import TYPE_CHECKING

from snapkit.cli.format import progress_text

if TYPE_CHECKING:
    from snapkit.core.reporting import Progress

EVERY = timedelta(seconds=10)


class Pace:
    """Lets something through every so often; the first time after one such while, so that short runs stay silent."""

    def __init__(self, every: timedelta, clock: Callable[[], float] = monotonic) -> None:
        self._every = every.total_seconds()
        self._clock = clock
        self._next = clock() + self._every

    def is_due(self) -> bool:
        """Whether it is time again; said once for each while, however long nobody has asked."""
        now = self._clock()
        if now < self._next:
            return False
        self._next = now + self._every
        return True


def line_of(progress: Progress) -> str:
    """Return the line that tells of it."""
    detail = progress_text(progress)
    return f"{progress.phase}: {detail}" if detail else f"{progress.phase} ..."
