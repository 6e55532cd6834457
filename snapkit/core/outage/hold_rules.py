"""How clients may be held, and what a run says afterwards of how they were."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from snapkit.core.durations import duration_text
from snapkit.core.reporting import Caution
from snapkit.core.values import dataclass

DEFAULT_GRACE = timedelta(seconds=1)

DOOR_GRACE = timedelta(seconds=4)
"""How much of a grace can be spent behind a closed door: PostgreSQL gives sessions five seconds to leave, and those
that are disconnected then need a moment to be gone."""


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
        """How much of the grace is spent while new clients wait; half of the limit is left for the work itself."""
        grace = min(self.grace, DOOR_GRACE)
        return grace if self.limit is None else min(grace, self.limit / 2)

    @property
    def grace_before(self) -> timedelta:
        """How much of it is spent before that, while everybody works on."""
        return self.grace - self.grace_at_the_door if self.disconnect else timedelta(0)

    def left(self, held: timedelta) -> timedelta | None:
        """Return how much longer clients may be held who have been for ``held``: 1 ms at least, None is for ever."""
        return None if self.limit is None else max(self.limit - held, timedelta(milliseconds=1))

    def begun(self, held: timedelta) -> HoldRules:
        """Return the rules for the rest of a hold in which clients have waited for ``held`` already."""
        return replace(self, grace=max(self.grace_at_the_door - held, timedelta(0)), limit=self.left(held))

    def exceeded(self, outage: timedelta) -> tuple[Caution, ...]:
        """Warn of an ``outage`` that was longer than it was to be, of what went through all the same."""
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
