"""Which table of one database is which of the other, which column is which, and by which key rows are recognised."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from snapkit.core.comparison.row_changes import Column, Leaf, Pair, Relation

Names = tuple[str, ...]

_VIRTUAL = "v"
"""Computed anew whenever it is read, by code of the table's owner."""

_ALIKE = frozenset({25, 1043})
"""The OIDs of text and varchar. They print alike, and turn into each other without a rewrite."""


def pair_tables(before: Iterable[Relation], after: Iterable[Relation], *, related: bool) -> list[Pair]:
    """Pair the tables of two databases. ``related`` ones were once the same files, so that OIDs mean the same in both.

    Tables pair by OID where they are related: a renamed table is the same table. The others pair by name. A partition
    that was attached or detached meanwhile is part of its root on one side, and a table by itself on the other.
    Sorted by name, as they are shown.
    """
    left, right = list(before), list(after)
    pairs: list[Pair] = []
    if related:
        by_oid = {each.oid: each for each in right}
        pairs += [_pair(each, by_oid[each.oid], related=True) for each in left if each.oid in by_oid]
    paired = {pair.before.oid for pair in pairs if pair.before}
    left, right = ([each for each in side if each.oid not in paired] for side in (left, right))
    by_name = {(each.schema, each.name): each for each in right}
    for each in left:
        other = by_name.pop((each.schema, each.name), None)
        pairs.append(_pair(each, other, related=related) if other else _alone(each, related=related, is_before=True))
    pairs += [_alone(each, related=related, is_before=False) for each in by_name.values()]
    return sorted(pairs, key=lambda pair: (pair.shown.schema, pair.shown.name))


def _alone(relation: Relation, *, related: bool, is_before: bool) -> Pair:
    columns = tuple((each, each) for each in _stored(relation))
    return Pair(
        before=relation if is_before else None,
        after=None if is_before else relation,
        columns=columns,
        key=_key_of(relation.keys, relation.keys, columns),
        reason=relation.reason,
        related=related,
    )


def _pair(before: Relation, after: Relation, *, related: bool) -> Pair:
    columns, same = _pair_columns(before, after, by_number=related and before.oid == after.oid)
    return Pair(
        before=before,
        after=after,
        columns=columns,
        key=_key_of(before.keys, after.keys, columns),
        reason=before.reason or after.reason,
        versions_tell=same and all(_prints_alike(*pair) for pair in columns) and _leaves_agree(before, after, columns),
        related=related,
    )


_Columns = tuple[tuple[Column, Column], ...]


def _stored(relation: Relation) -> Iterator[Column]:
    return (each for each in relation.columns if each.generated != _VIRTUAL)


def _pair_columns(before: Relation, after: Relation, *, by_number: bool) -> tuple[_Columns, bool]:
    """Return the columns of both sides, and whether each is one column, rather than dropped and made anew."""
    pairs: list[tuple[Column, Column]] = []
    others = {each.number: each for each in _stored(after)}
    left = list(_stored(before))
    if by_number:
        pairs = [(each, others.pop(each.number)) for each in left if each.number in others]
        left = [each for each in left if each not in {pair[0] for pair in pairs}]
    same = by_number
    by_name = {each.name: each for each in others.values()}
    for each in left:
        if each.name in by_name:
            pairs.append((each, by_name[each.name]))
            same = False
    return tuple(sorted(pairs, key=lambda pair: pair[1].number)), same


def _prints_alike(before: Column, after: Column) -> bool:
    """Whether what is stored prints the same on both sides."""
    if before.type_oid != after.type_oid and not {before.type_oid, after.type_oid} <= _ALIKE:
        return False
    shapes = dict(before.shapes)
    return all(shapes.get(oid, text) == text for oid, text in after.shapes)


def _leaves_agree(before: Relation, after: Relation, columns: _Columns) -> bool:
    """Whether in each partition of both sides the columns are still the same ones."""
    theirs = {leaf.oid: _numbers(after, leaf) for leaf in after.leaves}
    return all(
        ours[one.number] == theirs[leaf.oid][other.number]
        for leaf in before.leaves
        if leaf.oid in theirs
        for ours in (_numbers(before, leaf),)
        for one, other in columns
    )


def _numbers(relation: Relation, leaf: Leaf) -> dict[int, int]:
    return dict(zip((each.number for each in relation.columns), leaf.numbers, strict=True))


def _key_of(before: Sequence[Names], after: Sequence[Names], columns: _Columns) -> _Columns | None:
    """The first key that both sides have, in whichever order of its columns."""
    partners = {one.name: (one, other) for one, other in columns}
    wanted = {frozenset(names) for names in after}
    for names in before:
        pairs = tuple(partners[name] for name in names if name in partners)
        if len(pairs) == len(names) and frozenset(other.name for _, other in pairs) in wanted:
            return pairs
    return None
