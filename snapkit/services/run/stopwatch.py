"""Measure how long the parts of a run take."""

from __future__ import annotations

from datetime import timedelta
from time import monotonic

from snapkit.core.outage.hold_rules import Phase


class Stopwatch:
    """Measures a run from the moment when this is made, and its phases, each from the end of the one before."""

    def __init__(self) -> None:
        self._began = self._lapped = monotonic()
        self._phases: list[Phase] = []

    def lap(self, name: str, *, holds: bool = False, leaving: timedelta = timedelta(0)) -> None:
        """Note that the phase ``name`` ends now; ``holds`` says that clients were held in it.

        ``leaving`` is how much of it went by until all sessions had left; that becomes a phase of its own before it.
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
