"""A bound on how long something is waited for, by a clock that nobody sets."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from time import monotonic, sleep


class Deadline:
    """The moment after which something is no longer waited for."""

    def __init__(self, wait: timedelta | float) -> None:
        """``wait`` is how long until then, from now on: a duration, or seconds."""
        self._at = monotonic() + (wait.total_seconds() if isinstance(wait, timedelta) else wait)

    @property
    def left(self) -> float:
        """The seconds until then; 0 once it is over."""
        return max(self._at - monotonic(), 0.0)

    @property
    def is_over(self) -> bool:
        return self.left == 0.0


def wait_until(holds: Callable[[], bool], wait: timedelta | float, *, every: float) -> bool:
    """Ask at intervals until the condition ``holds``; return whether it did within that ``wait``.

    ``every`` is the interval, in seconds. The condition is asked at least once, and once more when the time is up.
    """
    deadline = Deadline(wait)
    while not (held := holds()) and not deadline.is_over:
        sleep(min(every, deadline.left))
    return held
