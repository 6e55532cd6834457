"""How long clients have been held in a run, and how much longer they may be."""

from __future__ import annotations

from datetime import timedelta
from time import monotonic

from snapkit.core.outage.hold_rules import HoldRules


class Hold:
    """One hold of clients, under the user's ``rules``: from the PAUSE of a pooler, or from the closing of the door.

    ``since`` is when it began, in seconds of the monotonic clock; None until ``begin``.
    """

    def __init__(self, rules: HoldRules, since: float | None = None) -> None:
        self.rules = rules
        self._since = since

    def begin(self) -> None:
        """Note that clients have to wait from now on, if they do not already."""
        if self._since is None:
            self._since = monotonic()

    @property
    def held(self) -> timedelta:
        """How long they have been held so far."""
        return timedelta(0) if self._since is None else timedelta(seconds=monotonic() - self._since)

    def left(self) -> timedelta | None:
        """Return how much longer they may be held; None where they are not yet, or there is no limit."""
        return None if self._since is None else self.rules.left(self.held)

    def rest(self) -> HoldRules:
        """Return what is left of the rules."""
        return self.rules if self._since is None else self.rules.begun(self.held)
