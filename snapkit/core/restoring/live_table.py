"""What a live table asks of rows that are written to it: what must be unique, what refers to what, its sequences."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from graphlib import CycleError, TopologicalSorter

from snapkit.core.values import dataclass


@dataclass(frozen=True, slots=True)
class UniqueRule:
    """A unique index or an exclusion constraint: no two rows may have all ``expressions`` in these relations.

    ``expressions`` and ``predicate`` are SQL over the table's columns, as PostgreSQL prints it, ``operators`` are
    qualified. ``nulls_equal``: two NULLs count as the same.
    """

    name: str
    expressions: tuple[str, ...]
    operators: tuple[str, ...]
    predicate: str | None = None
    nulls_equal: bool = False
    columns: tuple[str, ...] = ()
    """Its columns by name; empty if it is over an expression."""


@dataclass(frozen=True, slots=True)
class ForeignKey:
    """A foreign key: tables by OID and by name, and for each column the operator that compares parent with child."""

    name: str
    child: int
    child_name: tuple[str, str]
    child_columns: tuple[str, ...]
    parent: int
    parent_name: tuple[str, str]
    parent_columns: tuple[str, ...]
    operators: tuple[str, ...]
    child_only: bool = True
    parent_only: bool = True
    """Whether it is meant without the tables that inherit from it; not so where it has partitions."""


@dataclass(frozen=True, slots=True)
class OwnedSequence:
    """A sequence that gives a column its values."""

    schema: str
    name: str
    column: str
    increment: int
    cached: int = 1


@dataclass(frozen=True, slots=True)
class UserTrigger:
    """A trigger of users' that is enabled, on a table or on one of its partitions; ``mode`` as in pg_trigger."""

    table: tuple[str, str]
    name: str
    mode: str


@dataclass(frozen=True, slots=True)
class LiveTable:
    """One live table; ``triggers`` are those that would run."""

    oid: int
    unique: tuple[UniqueRule, ...] = ()
    sequences: tuple[OwnedSequence, ...] = ()
    triggers: tuple[UserTrigger, ...] = ()
    key_operators: tuple[str, ...] = ()
    """For each column of the key by which rows are recognised, the operator that compares it."""


def parents_first(tables: Collection[int], keys: Iterable[ForeignKey]) -> list[int]:
    """Return the tables in the order in which rows are inserted: what others refer to comes first.

    Where they refer to each other in a circle, the order within it is the given one: only deferred keys can help there.
    """
    wanted: Mapping[int, set[int]] = {
        table: {key.parent for key in keys if key.child == table and key.parent != table and key.parent in tables}
        for table in tables
    }
    remaining = dict(wanted)
    while True:
        try:
            return list(TopologicalSorter(remaining).static_order())
        except CycleError as error:
            first, second = error.args[1][:2]  # the second depends on the first
            remaining = {**remaining, second: remaining[second] - {first}}


def stands_alone(table: LiveTable, key: Collection[str], keys: Iterable[ForeignKey], chosen: Collection[int]) -> bool:
    """Whether rows of this table can be in conflict with no other row that is written, nor with live rows.

    Nothing but its ``key`` has to be unique, and no foreign key leads from or to another of the ``chosen`` tables, nor
    to itself.
    """
    return all(set(rule.columns) == set(key) and rule.predicate is None for rule in table.unique) and not any(
        table.oid in (each.child, each.parent) and each.child in chosen and each.parent in chosen for each in keys
    )
