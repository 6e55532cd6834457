"""How far sequences are moved before a swap, so that what clients insert afterwards does not collide with late rows."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta

from snapkit.core.values import dataclass

LEAST = 1000
"""A sequence is moved by at least as many of its steps."""

AHEAD = timedelta(minutes=10)
"""It is moved by as much as it would be used in this time, at its present rate."""


@dataclass(frozen=True, slots=True)
class Sequence:
    """A sequence. ``value`` is the last one that it gave out, None if it has given out none.

    https://www.postgresql.org/docs/current/view-pg-sequences.html
    """

    oid: int
    schema: str
    name: str
    value: int | None
    increment: int
    least: int
    greatest: int
    start: int
    readable: bool = True

    @property
    def is_rising(self) -> bool:
        return self.increment > 0

    def is_past(self, value: int) -> bool:
        """Whether what it gives out next lies beyond ``value``."""
        if self.value is None:
            return self.start > value if self.is_rising else self.start < value
        return self.value >= value if self.is_rising else self.value <= value


@dataclass(frozen=True, slots=True)
class Move:
    """A sequence, by its name in the database that is to go live, and the value it is set to.

    ``live`` is the OID of its counterpart in the database that is live until the swap.
    """

    oid: int
    schema: str
    name: str
    value: int
    live: int


def paired(own: Iterable[Sequence], live: Iterable[Sequence], *, related: bool) -> list[tuple[Sequence, Sequence]]:
    """Pair the sequences of two databases: of a clone by their OIDs, which stay through a rename, else by name."""
    live = list(live)
    by_oid = {each.oid: each for each in live} if related else {}
    by_name = {(each.schema, each.name): each for each in live}
    found = ((each, by_oid.get(each.oid) or by_name.get((each.schema, each.name))) for each in own)
    return [(each, counterpart) for each, counterpart in found if counterpart is not None]


Looks = Iterable[tuple[Iterable[Sequence], timedelta]]
"""What live sequences were like some time ago, and how long ago that was."""


def moves(pairs: Iterable[tuple[Sequence, Sequence]], looks: Looks) -> list[Move]:
    """Return how sequences are to be moved; the first of each pair is the one to be moved, with the backup's value.

    A sequence that nobody has used since the backup is moved, too: somebody may use it until the swap.
    """
    before = [({each.oid: each for each in sequences}, ago) for sequences, ago in looks]
    found = (
        (own, live, _target(own, live, max((_used(then.get(live.oid), live, ago) for then, ago in before), default=0)))
        for own, live in pairs
    )
    return [Move(own.oid, own.schema, own.name, target, live.oid) for own, live, target in found if target is not None]


def _target(own: Sequence, live: Sequence, steps: int) -> int | None:
    """Past the live value by the margin, but not beyond the last value that the sequence has; None: it is there."""
    if not live.readable:
        return None
    base = live.value if live.value is not None else own.value if own.value is not None else own.start
    target = base + max(LEAST, steps) * own.increment
    target = min(target, own.greatest) if own.is_rising else max(target, own.least)
    return None if own.value is not None and own.is_past(target) else target


def _used(before: Sequence | None, now: Sequence, ago: timedelta) -> int:
    """How many steps it would make in the time ahead, by those since ``before``."""
    if before is None or now.value is None or ago <= timedelta(0):
        return 0
    first = before.value if before.value is not None else before.start
    return max(0, int((now.value - first) / now.increment * (AHEAD / ago)))


def behind(moved: Iterable[Move], displaced: Iterable[Sequence]) -> list[Move]:
    """Return those that were overtaken all the same, before the swap: the displaced one has gone on past them."""
    last = {each.oid: each for each in displaced}
    return [
        each
        for each in moved
        if (found := last.get(each.live)) is not None
        and found.value is not None
        and found.value != each.value
        and found.is_past(each.value)
    ]
