"""What a run reports: cautions, and how far it is. Sizes are bytes, durations timedeltas."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

from snapkit.core.values import dataclass


@dataclass(frozen=True, slots=True)
class Caution:
    """Something that went through, and that the user ought to know. ``code`` is for programs."""

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
    """Whether it stands still for somebody else, whom ``phase`` names; worth saying in a pipe, too."""
    unit: str = "bytes"
    is_estimate: bool = False
    """Whether ``done`` goes by how long it took the last time, since the server does not show it."""
    pace: float | None = None
    """Units a second of late, where that is known; what is left goes by it."""
    is_late: bool = False
    """Whether it takes longer by now than the last time told: how much longer, nobody knows."""

    @property
    def rate(self) -> float | None:
        """Units a second so far; None before there is anything to go by."""
        seconds = self.elapsed.total_seconds()
        return self.done / seconds if self.done and seconds > 0 else None

    @property
    def remaining(self) -> timedelta | None:
        """How long the rest takes at the pace of late, or else at the rate so far; None where nothing tells that.

        When all is done, and something besides is still to come, nothing does.
        """
        pace = self.pace or self.rate
        if self.total is None or self.done is None or pace is None or self.done >= self.total or self.is_late:
            return None
        return timedelta(seconds=(self.total - self.done) / pace)


Observe = Callable[[Progress], None]
"""Is told how far a run is, now and then and from any thread."""


def unobserved(progress: Progress) -> None:
    """Stands for an observer where nobody looks."""
