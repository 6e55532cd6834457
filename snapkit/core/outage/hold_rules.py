"""How long clients may be held, and who is disconnected."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from snapkit.core.durations import duration_text
from snapkit.core.reporting import Caution
from snapkit.core.values import dataclass

DEFAULT_GRACE = timedelta(seconds=1)

DOOR_GRACE = timedelta(seconds=4)
"""The part of the grace that can be spent while new connections wait. PostgreSQL gives sessions five seconds to leave,
and disconnected ones then need a moment to end."""


@dataclass(frozen=True, slots=True)
class HoldRules:
    """How clients may be held.

    ``grace`` is how long transactions that run may go on before they are ended; ``limit`` how long clients may be held
    at most, None for as long as it takes. Without ``disconnect`` nobody is disconnected.
    """

    disconnect: bool = True
    grace: timedelta = DEFAULT_GRACE
    limit: timedelta | None = None

    @property
    def grace_at_the_door(self) -> timedelta:
        """The part of the grace that is spent while new clients wait. Half of the limit is left for the work itself."""
        grace = min(self.grace, DOOR_GRACE)
        return grace if self.limit is None else min(grace, self.limit / 2)

    @property
    def grace_before(self) -> timedelta:
        """The part of the grace that is spent before that, while everybody works."""
        return self.grace - self.grace_at_the_door if self.disconnect else timedelta(0)

    def left(self, held: timedelta) -> timedelta | None:
        """Return how much longer clients may be held after ``held``: at least 1 ms; None: without limit."""
        return None if self.limit is None else max(self.limit - held, timedelta(milliseconds=1))

    def begun(self, held: timedelta) -> HoldRules:
        """Return the rules for the rest of a hold in which clients have waited for ``held`` already."""
        return replace(self, grace=max(self.grace_at_the_door - held, timedelta(0)), limit=self.left(held))

    def exceeded(self, outage: timedelta) -> tuple[Caution, ...]:
        """Warn of an ``outage`` that was longer than the limit, although the run succeeded."""
        if self.limit is None or outage <= self.limit:
            return ()
        return (
            Caution(
                "outage_exceeded",
                f"Clients were held for {duration_text(outage)}, although --max-outage is "
                f"{duration_text(self.limit)}: by then, the change could no longer be taken back.",
            ),
        )


DEFAULT_RULES = HoldRules()


@dataclass(frozen=True, slots=True)
class Phase:
    """A part of a run, how long it took, and whether clients were held meanwhile."""

    name: str
    duration: timedelta
    holds: bool = False
