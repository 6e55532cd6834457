"""The rows of a table that differ."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime

from snapkit.core.comparison.row_changes import Change, ChangedRow, Method, Pair, Place
from snapkit.core.comparison.tids import by_leaf, unpack
from snapkit.core.comparison.writes import Rows
from snapkit.services.comparison.methods.joining import Differing
from snapkit.services.comparison.sides import Sides
from snapkit.services.comparison.spool import PairSpool, Spool
from snapkit.services.comparison.values import keys_of


class ChangedRows:
    """All rows of a table that differ; see ``core.comparison.row_changes.RowChanges``.

    ``updated``, ``deleted`` and ``inserted`` are their places, which hold in the snapshot in which they were found. As
    long as it is kept, the keys can be read: that is done when you iterate, some thousand rows at a time.
    """

    def __init__(self, sides: Sides, pair: Pair, method: Method, as_of: datetime | None) -> None:
        self.pair = pair
        self.method = method
        self.as_of = as_of
        self.reason: str | None = None
        self.updated = PairSpool()
        self.deleted = Spool()
        self.inserted = Spool()
        self._sides = sides

    @property
    def counts(self) -> Rows:
        return Rows(self.inserted.places, self.updated.rows, self.deleted.places)

    def put(self, differing: Sequence[Differing]) -> None:
        """Take rows that differ."""
        self.updated.put((before, after) for before, after in differing if before and after)
        for leaf, tids in by_leaf(before for before, after in differing if before and not after):
            self.deleted.put(leaf, tids)
        for leaf, tids in by_leaf(after for before, after in differing if after and not before):
            self.inserted.put(leaf, tids)

    def __iter__(self) -> Iterator[ChangedRow]:
        for some in self.updated:
            yield from keys_of(self._sides, self.pair, [ChangedRow(Change.UPDATED, None, *each) for each in some])
        for leaf, tids in self.deleted:
            gone = [ChangedRow(Change.DELETED, None, Place(leaf, *at), None) for at in unpack(tids)]
            yield from keys_of(self._sides, self.pair, gone)
        for leaf, tids in self.inserted:
            came = [ChangedRow(Change.INSERTED, None, None, Place(leaf, *at)) for at in unpack(tids)]
            yield from keys_of(self._sides, self.pair, came)
