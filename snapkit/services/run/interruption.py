"""An interrupted run says how the databases stand at that moment."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from snapkit.errors import InterruptedRunError, UnknownOutcomeError


class InterruptionState:
    """How the databases stand, for the error of an interruption; ``untouched`` is how they stood in the beginning."""

    def __init__(self, untouched: str) -> None:
        self._untouched = untouched
        self.state = untouched
        self.is_open = False
        """Whether nobody knows how they stand."""

    def perhaps_done(self) -> None:
        """From here on the change may have gone through."""
        self.state, self.is_open = "It may be done. See what there is: snapkit list", True

    def undone(self) -> None:
        """The change has not gone through."""
        self.state, self.is_open = self._untouched, False


@contextmanager
def interruptions(state: str) -> Iterator[InterruptionState]:
    """Turn Ctrl-C in the block into InterruptedRunError, or UnknownOutcomeError if the change may have gone through."""
    standing = InterruptionState(state)
    try:
        yield standing
    except KeyboardInterrupt:
        kind = UnknownOutcomeError if standing.is_open else InterruptedRunError
        raise kind("Interrupted.", state=standing.state) from None
