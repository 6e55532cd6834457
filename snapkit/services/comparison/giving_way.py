"""Give a table up while it is compared, when somebody waits for our lock on it: everybody else queues behind them."""

from __future__ import annotations

from datetime import timedelta
from time import monotonic

from snapkit.postgres.comparison.reading import is_waited_for
from snapkit.services.comparison.methods.by_versions import Step
from snapkit.services.comparison.sides import Sides

PATIENCE = timedelta(seconds=1)
"""How long another session waits for an ACCESS EXCLUSIVE lock, as ALTER TABLE takes it, before we give the table up."""

_BETWEEN = timedelta(seconds=0.5)
"""Time between two looks."""


class GiveWayError(Exception):
    """The table is given up. The end of our transaction lets the others have it."""


def giving_way(sides: Sides, step: Step) -> Step:
    """Return ``step``, made to raise GiveWayError when another session waits too long."""
    looked = monotonic()

    def polite(blocks: int) -> None:
        nonlocal looked
        step(blocks)
        if monotonic() - looked >= _BETWEEN.total_seconds():
            if any(sides.both(lambda connection: is_waited_for(connection, PATIENCE))):
                raise GiveWayError
            looked = monotonic()

    return polite
