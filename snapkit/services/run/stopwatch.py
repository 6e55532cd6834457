"""Time the parts of a run."""

from __future__ import annotations

from datetime import timedelta
from time import monotonic

from snapkit.core.outage.hold_rules import Phase


class Stopwatch:
    """Times a run from when it is made, and its phases, each from the end of the one before."""

    def __init__(self) -> None:
        self._began = self._lapped = monotonic()
        self._phases: list[Phase] = []

    def lap(self, name: str, *, holds: bool = False, leaving: timedelta = timedelta(0)) -> None:
        """Note that the phase ``name`` ends here; ``holds`` says that clients were held in it.

        ``leaving`` is how much of it was waited for sessions to leave, which is told as a phase of its own before it.
        """
        now = monotonic()
        if leaving:
            self._phases.append(Phase("leaving", leaving, holds))
        self._phases.append(Phase(name, timedelta(seconds=now - self._lapped) - leaving, holds))
        self._lapped = now

    @property
    def phases(self) -> tuple[Phase, ...]:
        return tuple(self._phases)

    @property
    def elapsed(self) -> timedelta:
        return timedelta(seconds=monotonic() - self._began)
