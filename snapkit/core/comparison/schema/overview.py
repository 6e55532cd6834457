"""What there is in a database, told shortly, so that only what differs has to be printed.

A clone by files has the very rows of its source. What has the same stamp in both of two related databases is the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import groupby
from typing import NamedTuple, TypeVar

from snapkit.core.comparison.schema.said_of_objects import Granted, Remark

_Row = TypeVar("_Row", Granted, Remark)


class Overview(NamedTuple):
    """``stamps`` are by address: a hash of an object's rows in the catalogs, its owner, and what of it is hidden.

    The other rows are sorted by address.
    """

    stamps: Mapping[str, str]
    privileges: list[Granted]
    default_privileges: list[Granted]
    comments: list[Remark]
    labels: list[Remark]

    @property
    def objects(self) -> set[str]:
        """The addresses of all objects that are needed to tell of it, with those of the tables of columns."""
        said = {each.address for rows in (self.privileges, self.comments, self.labels) for each in rows}
        return {*self.stamps, *said, *(f"{address.rpartition('.')[0]}.0" for address in said)}


def narrowed(before: Overview, after: Overview) -> tuple[Overview, Overview]:
    """Return both without what is the same in the other."""
    return _besides(before, after), _besides(after, before)


def _besides(one: Overview, other: Overview) -> Overview:
    return Overview(
        {address: stamp for address, stamp in one.stamps.items() if other.stamps.get(address) != stamp},
        _differing(one.privileges, other.privileges),
        _differing(one.default_privileges, other.default_privileges),
        _differing(one.comments, other.comments),
        _differing(one.labels, other.labels),
    )


def _differing(one: Iterable[_Row], other: Iterable[_Row]) -> list[_Row]:
    """Return the rows of those addresses that have other rows on the other side."""
    others = _by_address(other)
    return [row for address, rows in _by_address(one).items() if others.get(address) != rows for row in rows]


def _by_address(rows: Iterable[_Row]) -> dict[str, list[_Row]]:
    return {address: list(some) for address, some in groupby(rows, lambda each: each.address)}
