"""What an interruption says: how things stand at the moment when it comes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from snapkit.errors import InterruptedRunError, UnknownOutcomeError


class InterruptionState:
    """How things stand at this moment: what an interruption says of it. ``untouched`` is how they stood before."""

    def __init__(self, untouched: str) -> None:
        self._untouched = untouched
        self.state = untouched
        self.is_open = False
        """Whether nobody knows how they stand."""

    def perhaps_done(self) -> None:
        """From here on the change may have gone through."""
        self.state, self.is_open = "It may be done. See what there is: snapkit list", True

    def undone(self) -> None:
        """It has turned out that it has not."""
        self.state, self.is_open = self._untouched, False


@contextmanager
def interruptions(state: str) -> Iterator[InterruptionState]:
    """Turn Ctrl-C inside into an error that says what became of the databases: UnknownOutcomeError if that is open."""
    standing = InterruptionState(state)
    try:
        yield standing
    except KeyboardInterrupt:
        kind = UnknownOutcomeError if standing.is_open else InterruptedRunError
        raise kind("Interrupted.", state=standing.state) from None
