"""Make changed rows of row versions that only one side has: an updated row has one on both sides, under the same key.

Memory is bounded, however many there are.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from functools import partial
from itertools import zip_longest
from typing import Final

from snapkit.core.comparison.row_changes import Method, Pair
from snapkit.core.comparison.tids import PLACE, without
from snapkit.core.values import dataclass
from snapkit.postgres.comparison.row_text import RowText
from snapkit.postgres.comparison.rows import (
    HASH,
    LISTED,
    Texts,
    can_be_found_by_keys,
    found_by_keys,
    listed_at,
    texts_at,
)
from snapkit.postgres.connection.server import Connection
from snapkit.services.comparison.changed_rows import ChangedRows
from snapkit.services.comparison.methods.joining import Differing, Join
from snapkit.services.comparison.sides import Sides
from snapkit.services.comparison.spool import Spool

BEFORE: Final = 0
AFTER: Final = 1

_FEW = 50_000
"""As many rows are looked up by their key, where the other side has ``_MANY_TIMES`` as many."""

_MANY_TIMES = 8


class Collector:
    """Takes what only one side has; ``finish`` makes the changed rows of it.

    What is fed of one side must be all of it: of a row that was updated the old version as well as the new one. Rows
    that have the same values on both sides are no difference, so it does no harm to feed more than what differs.
    """

    def __init__(self, sides: Sides, pair: Pair) -> None:
        self._sides = sides
        self._pair = pair
        self._places = Spool(), Spool()
        self._join = Join(by_key=pair.key is not None)
        self._are_listed = False

    def put(self, side: int, leaf: int, tids: bytes) -> None:
        """Take places of row versions that only one side has: of ``BEFORE`` or ``AFTER``, none of them twice."""
        self._places[side].put(leaf, tids)

    def put_listed(self, side: int, listed: bytes) -> None:
        """Take rows of which identity and value are known (``postgres.comparison.rows.listed``). Feed both sides by
        turns: most of these rows will be the same."""
        self._are_listed = True
        self._join.put_mostly_same(side, listed)

    def finish(self, method: Method, as_of: datetime | None = None) -> ChangedRows:
        """Return the changed rows. The snapshot must still be kept."""
        found = ChangedRows(self._sides, self._pair, method, as_of)
        numbers = [spool.places for spool in self._places]
        if not self._are_listed and 0 in numbers:
            found.deleted, found.inserted = self._places
        elif not self._are_listed and self._may_look_up(numbers):
            self._look_up(found, BEFORE if numbers[BEFORE] < numbers[AFTER] else AFTER)
        else:
            self._join_all(found)
        return found

    def _may_look_up(self, numbers: list[int]) -> bool:
        is_worth_it = min(numbers) <= _FEW and min(numbers) * _MANY_TIMES <= max(numbers)
        return is_worth_it and can_be_found_by_keys(self._pair)

    def _look_up(self, found: ChangedRows, few: int) -> None:
        """Look the few rows up on the other side. What is found there is not of that side only."""
        met: set[bytes] = set()
        for leaf, tids in self._places[few]:
            differing = self._looked_up(few, leaf, tids, met)
            found.put(differing)
        other = found.inserted if few == BEFORE else found.deleted
        for leaf, tids in self._places[1 - few]:
            other.put(leaf, without(tids, leaf, met) if met else tids)

    def _looked_up(self, few: int, leaf: int, tids: bytes, met: set[bytes]) -> list[Differing]:
        texts, others = (self._sides.text(self._pair, is_before=side == BEFORE) for side in (few, 1 - few))
        rows = self._sides.one(partial(_with_keys, text=texts, leaf=leaf, tids=tids), is_before=few == BEFORE)
        keys = [row.key for row in rows]
        partners = self._sides.one(
            lambda connection: list(found_by_keys(connection, others, keys)), is_before=few != BEFORE
        )
        differing: list[Differing] = []
        alone = set(range(len(rows)))
        for partner in partners:
            alone.discard(partner.position)
            met.add(partner.place)
            row = rows[partner.position]
            if row.value != partner.value:
                differing.append(_in_order(few, row.place, partner.place))
        return differing + [_in_order(few, rows[position].place, None) for position in sorted(alone)]

    def _join_all(self, found: ChangedRows) -> None:
        for some in zip_longest(*self._places):
            listed = self._sides.both(*(self._reader(side, some[side]) for side in (BEFORE, AFTER)))
            for side in (BEFORE, AFTER):
                self._join.put(side, listed[side])
        for differing in self._join.differing():
            found.put(differing)

    def _reader(self, side: int, places: tuple[int, bytes] | None) -> Callable[[Connection], bytes]:
        if places is None:
            return lambda _: b""
        leaf, tids = places
        text = self._sides.text(self._pair, is_before=side == BEFORE)
        return lambda connection: listed_at(connection, text, text.leaf(leaf), tids)


@dataclass(frozen=True, slots=True)
class _Keyed:
    """A row with its key as text, and its value as a hash."""

    place: bytes
    key: Texts
    value: bytes


def _with_keys(connection: Connection, *, text: RowText, leaf: int, tids: bytes) -> list[_Keyed]:
    assert text.pair.key is not None  # noqa: S101 - ``can_be_found_by_keys`` has seen to it
    listed = listed_at(connection, text, text.leaf(leaf), tids)
    values = {listed[at : at + PLACE]: listed[at + LISTED - HASH : at + LISTED] for at in range(0, len(listed), LISTED)}
    return [
        _Keyed(place, key, values[place])
        for place, key in texts_at(connection, text, text.leaf(leaf), text.pair.key, tids)
    ]


def _in_order(side: int, own: bytes, other: bytes | None) -> Differing:
    return (own, other) if side == BEFORE else (other, own)
