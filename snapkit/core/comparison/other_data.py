"""Data that is in no table: where sequences stand, and large objects."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime

from snapkit.core.comparison.differences import ChangedDefinition, ChangedTable, DefinitionChange
from snapkit.core.comparison.row_changes import Method
from snapkit.core.comparison.writes import Rows
from snapkit.core.values import dataclass

NO_PRIVILEGE = "this role has no SELECT privilege"


@dataclass(frozen=True, slots=True)
class SequenceState:
    """Where a sequence stands: the value that it gave last or, where it is not ``called``, the one that it gives next.

    ``value`` is None where this role may not read it. ``table`` is the one whose column it belongs to.
    """

    oid: int
    schema: str
    name: str
    value: int | None
    called: bool = True
    table: tuple[str, str] | None = None

    def describe(self) -> str:
        return f"{'last' if self.called else 'next'} value {self.value}"


def pair_sequences(
    before: Iterable[SequenceState], after: Iterable[SequenceState], *, related: bool
) -> list[tuple[SequenceState, SequenceState]]:
    """Return the sequences that both databases have; one of them only is a matter of definitions.

    By OID where the databases are related, and by name those that are left.
    """
    pairs: list[tuple[SequenceState, SequenceState]] = []
    left, right = list(before), list(after)
    if related:
        by_oid = {each.oid: each for each in right}
        pairs = [(each, by_oid[each.oid]) for each in left if each.oid in by_oid]
    paired = {each.oid for each, _ in pairs}
    by_name = {(each.schema, each.name): each for each in right if each.oid not in paired}
    rest = [each for each in left if each.oid not in paired and (each.schema, each.name) in by_name]
    return [*pairs, *((each, by_name[each.schema, each.name]) for each in rest)]


def changed_sequences(pairs: Iterable[tuple[SequenceState, SequenceState]]) -> tuple[ChangedDefinition, ...]:
    """Return the sequences that stand elsewhere."""
    return tuple(
        ChangedDefinition(
            "sequence", after.schema, after.name, DefinitionChange.CHANGED, before.describe(), after.describe()
        )
        for before, after in pairs
        if None not in (before.value, after.value) and (before.value, before.called) != (after.value, after.called)
    )


def unread_sequences(pairs: Iterable[tuple[SequenceState, SequenceState]]) -> tuple[ChangedTable, ...]:
    """Return the sequences that could not be compared."""
    return tuple(
        ChangedTable(after.schema, after.name, None, Method.NOT_COMPARED, reason=NO_PRIVILEGE)
        for before, after in pairs
        if None in (before.value, after.value)
    )


class LargeObjects:
    """Compares large objects, some at a time: OIDs with a digest of what is in them; None where it may not be read."""

    def __init__(self) -> None:
        self._rows = Rows()
        self._unread = 0
        self._number = 0

    def compare(self, before: Mapping[int, str | None], after: Mapping[int, str | None]) -> None:
        """Take all large objects of both sides in a range of OIDs."""
        both = before.keys() & after.keys()
        unread = {oid for oid in both if None in (before[oid], after[oid])}
        updated = sum(before[oid] != after[oid] for oid in both - unread)
        found = self._rows
        self._rows = Rows(
            found.inserted + len(after.keys() - both),
            found.updated + updated,
            found.deleted + len(before.keys() - both),
        )
        self._unread += len(unread)
        self._number += len(before.keys() | after.keys())

    def changed(self, as_of: datetime) -> tuple[ChangedTable, ...]:
        """Return what is to be told of them: nothing, or one table."""
        schema, table = "pg_catalog", "pg_largeobject"
        if self._unread:
            reason = f"this role may not read {self._unread} of {self._number} large objects"
            return (ChangedTable(schema, table, None, Method.NOT_COMPARED, reason=reason),)
        if not self._rows.total:
            return ()
        return (ChangedTable(schema, table, self._rows, Method.VALUES, as_of),)
