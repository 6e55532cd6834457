"""What a run reports: cautions, and how far it is. Sizes are bytes, durations timedeltas."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

from snapkit.core.values import dataclass


@dataclass(frozen=True, slots=True)
class Caution:
    """A warning: the run succeeded, but the user should know this. ``code`` is for programs."""

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run is, in bytes or, for drops, in databases; ``done`` is None where it cannot be told."""

    phase: str
    elapsed: timedelta
    """Since the phase began."""
    done: int | None = None
    total: int | None = None
    waits: bool = False
    """Whether it waits for somebody else, whom ``phase`` names; shown in a pipe, too."""
    unit: str = "bytes"
    is_estimate: bool = False
    """Whether ``done`` is estimated from the time that it took last time, because the server does not show it."""
    pace: float | None = None
    """The recent units a second, if known; the remaining time is estimated from it."""
    is_late: bool = False
    """Whether it takes longer than last time, so that nobody knows how much longer."""

    @property
    def rate(self) -> float | None:
        """Units a second since the beginning; None at first."""
        seconds = self.elapsed.total_seconds()
        return self.done / seconds if self.done and seconds > 0 else None

    @property
    def remaining(self) -> timedelta | None:
        """The remaining time at the recent pace, or at the rate so far; None if it is not known.

        It is not known either when all is done and something else is still to come.
        """
        pace = self.pace or self.rate
        if self.total is None or self.done is None or pace is None or self.done >= self.total or self.is_late:
            return None
        return timedelta(seconds=(self.total - self.done) / pace)


Observe = Callable[[Progress], None]
"""Is told how far a run is, now and then and from any thread."""


def unobserved(progress: Progress) -> None:
    """Stands for an observer where nobody looks."""
