"""Try again while the trouble may pass."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from time import monotonic, sleep
from typing import TypeVar

from snapkit.core.durations import duration_text
from snapkit.core.reporting import Observe, Progress
from snapkit.errors import InterruptedRunError, SnapkitError
from snapkit.processes.deadline import Deadline

_T = TypeVar("_T")

_FIRST_PAUSE = 0.2
_LONGEST_PAUSE = 2.0
"""Seconds between two tries."""

_HEED = 0.1
"""Seconds between two looks whether the wait is to end."""


class Persistence:
    """How long something is tried again, counted from now; it is tried once at least.

    ``heed`` is called between two tries, and raises KeyboardInterrupt if the wait is to end.
    """

    def __init__(self, wait: timedelta, heed: Callable[[], None] = lambda: None) -> None:
        self._heed = heed
        self._began = monotonic()
        self._deadline = Deadline(wait)

    @property
    def left(self) -> timedelta:
        """How much of the time is left."""
        return timedelta(seconds=self._deadline.left)

    def through(self, attempt: Callable[[], _T], doing: str, observe: Observe) -> _T:
        """Return what the first try returns that succeeds.

        Raises an error that will not pass by itself at once, else the last one when the time is over; it says how often
        it was tried. ``observe`` is told what is waited for; ``doing`` says in a few words what is tried. If ``heed``
        ends the wait, InterruptedRunError says why it was waited.
        """
        tries, pause = 0, _FIRST_PAUSE
        while True:
            tries += 1
            try:
                return attempt()
            except SnapkitError as error:
                if not error.is_passing or self._deadline.left < pause:
                    raise self._told(error, tries) from error
                observe(Progress(f"Waiting {doing}: {_in_one_line(error)}", self._elapsed, waits=True))
                self._pause(pause, error, tries)
            pause = min(pause * 1.5, _LONGEST_PAUSE)

    def _pause(self, seconds: float, error: SnapkitError, tries: int) -> None:
        over = Deadline(seconds)
        try:
            self._heed()
            while not over.is_over:
                sleep(min(over.left, _HEED))
                self._heed()
        except KeyboardInterrupt:
            ended = InterruptedRunError(f"Interrupted. {error.message}", state=error.state)
            raise self._told(ended, tries) from error

    @property
    def _elapsed(self) -> timedelta:
        return timedelta(seconds=monotonic() - self._began)

    def _told(self, error: SnapkitError, tries: int) -> SnapkitError:
        if tries > 1:
            error.message += f"\nIt was tried {tries} times in {duration_text(self._elapsed)}."
        return error


def _in_one_line(error: SnapkitError) -> str:
    return " ".join(error.message.split()).removesuffix(".")
