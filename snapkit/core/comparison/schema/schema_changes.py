"""Compare the definitions of two databases: what was added, removed and changed.

Where the two were once the same files, an object is known by its address, so a renamed one is the same one. What is
left over is paired by name, and so is everything between two databases that are not related.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import NamedTuple

from snapkit.core.comparison.differences import ChangedDefinition, DefinitionChange
from snapkit.core.comparison.schema.defined_objects import Definition
from snapkit.core.comparison.schema.printed_whole import Parts, parts_by_owner, whole
from snapkit.core.comparison.schema.reprinted import means_the_same

Same = Callable[[str, str], bool]
"""Whether two texts define the same."""


class _Pair(NamedTuple):
    before: Definition | None
    after: Definition | None

    @property
    def shown(self) -> Definition:
        found = self.after or self.before
        assert found is not None  # noqa: S101 - a pair has at least one side
        return found


class _Sides(NamedTuple):
    before: Mapping[str, Definition]
    after: Mapping[str, Definition]
    partners: Mapping[str, str]
    """The address after of each address before that has one."""
    related: bool


_ORDER = (
    *("schema", "extension", "access method", "language", "type", "collation", "conversion", "function", "procedure"),
    *("aggregate", "operator", "operator family", "operator class", "cast", "transform"),
    *("text search parser", "text search template", "text search dictionary", "text search configuration"),
    *("foreign data wrapper", "foreign server", "user mapping", "sequence", "table", "foreign table", "column"),
    *("constraint", "index", "view", "materialized view", "statistics", "trigger", "rule", "policy"),
    *("event trigger", "publication", "setting", "owner", "privilege", "comment", "security label"),
)
"""The order for reading."""

_PLACES = {kind: place for place, kind in enumerate(_ORDER)}


def schema_changes(
    before: Iterable[Definition], after: Iterable[Definition], *, related: bool, same: Same = means_the_same
) -> tuple[ChangedDefinition, ...]:
    """Return what differs, in the order in which it is read.

    ``related`` says that the two databases were once the same files. ``same`` judges the texts of a pair.

    Not told by itself is what belongs to something that is added or removed, and what a partition or a child table has
    inherited if the same became of the original.
    """
    old, new = ({each.address: each for each in side} for side in (before, after))
    sides = _Sides(old, new, _partners(old, new, related=related), related)
    pairs = _pairs(sides)
    changed = [each for each in pairs if _is_changed(each, sides, same)]
    told = [*_without_echoes(_without_parts(changed))]
    parts = parts_by_owner(old.values()), parts_by_owner(new.values())
    found = [*(_change(each, *parts) for each in told), *_owners(pairs)]
    return tuple(sorted(found, key=_reading_order))


def _reading_order(change: ChangedDefinition) -> tuple[int, str, str, str]:
    place = _PLACES.get(change.object, len(_PLACES))
    return place, change.schema or "", change.name, change.change


# --- pairs ---


def _partners(before: Mapping[str, Definition], after: Mapping[str, Definition], *, related: bool) -> Mapping[str, str]:
    """Pair what is the same object: by address if the databases are related, and what is left over by name.

    A name counts within its scope, such as a table. So scopes are paired before what lies in them.
    """
    partners: dict[str, str] = {}
    if related:
        partners |= {at: at for at, each in before.items() if at in after and after[at].object == each.object}
    taken = set(partners.values())
    candidates: dict[tuple[object, ...], list[str]] = defaultdict(list)
    for each in after.values():
        if each.address not in taken:
            scope = each.scope if each.scope in after else _elsewhere(each, related=related)
            candidates[each.object, scope, each.path[-1]].append(each.address)
    for each in sorted(before.values(), key=partial(_depth, before)):
        if each.address not in partners:
            gone = f"gone {each.scope}"
            scope = partners.get(each.scope or "", gone) if each.scope in before else _elsewhere(each, related=related)
            if found := candidates.get((each.object, scope, each.path[-1])):
                partners[each.address] = found.pop()
    return partners


def _elsewhere(each: Definition, *, related: bool) -> object:
    """Return what stands for a scope that is not compared itself.

    Between related databases it is the same in both, and so has the same address. Else it is a schema of PostgreSQL's
    own or something of an extension, and has the same name.
    """
    return each.scope if related or each.scope is None else (each.schema, each.path[:-1])


def _depth(side: Mapping[str, Definition], each: Definition) -> int:
    depth = 0
    while each.scope is not None and each.scope in side:
        each, depth = side[each.scope], depth + 1
    return depth


def _pairs(sides: _Sides) -> list[_Pair]:
    paired = set(sides.partners.values())
    return [
        *(_Pair(each, sides.after.get(sides.partners.get(at, ""))) for at, each in sides.before.items()),
        *(_Pair(None, each) for at, each in sides.after.items() if at not in paired),
    ]


# --- what is told ---


def _is_changed(pair: _Pair, sides: _Sides, same: Same) -> bool:
    """Whether it is added, removed, or defined otherwise.

    If the catalogs say the same of a related object, it is printed otherwise only because another one was renamed.
    """
    before, after = pair
    if before is None or after is None:
        return True
    if before.hidden != after.hidden:
        return True
    if same(before.text, after.text) and same(before.tail, after.tail):
        return False
    return not sides.related or before.raw != after.raw


def _kind(pair: _Pair) -> DefinitionChange:
    if pair.before is None:
        return DefinitionChange.ADDED
    return DefinitionChange.REMOVED if pair.after is None else DefinitionChange.CHANGED


def _without_parts(changed: Sequence[_Pair]) -> Iterator[_Pair]:
    """Leave out what goes with something that is added or removed."""
    added = {each.after.address for each in changed if each.before is None and each.after}
    removed = {each.before.address for each in changed if each.after is None and each.before}
    for pair in changed:
        gone = pair.after is None and pair.before and pair.before.parent in removed
        come = pair.before is None and pair.after and pair.after.parent in added
        if not (gone or come):
            yield pair


_NAMED_IN_TEXT = {"constraint", "index", "trigger"}
"""What is printed with its own name or its table's, so that a copy on a partition has another text."""


def _without_echoes(changed: Iterable[_Pair]) -> Iterator[_Pair]:
    """Leave out what was inherited, if the same became of the original."""
    found = list(changed)
    became = {at: pair for pair in found for at in _addresses(pair)}
    for pair in found:
        if not any(_is_echo(pair, became[origin]) for origin in _origins(pair) if origin in became):
            yield pair


def _addresses(pair: _Pair) -> Iterator[str]:
    if pair.before:
        yield f"before {pair.before.address}"
    if pair.after:
        yield f"after {pair.after.address}"


def _origins(pair: _Pair) -> Iterator[str]:
    if pair.before and pair.before.origin:
        yield f"before {pair.before.origin}"
    if pair.after and pair.after.origin:
        yield f"after {pair.after.origin}"


def _is_echo(pair: _Pair, original: _Pair) -> bool:
    if _kind(pair) is not _kind(original):
        return False
    if _kind(pair) is not DefinitionChange.CHANGED and pair.shown.object in _NAMED_IN_TEXT:
        return True
    return _texts(pair) == _texts(original)


def _texts(pair: _Pair) -> tuple[str | None, ...]:
    return tuple(each and each.shown for each in pair)


def _change(pair: _Pair, parts_before: Parts, parts_after: Parts) -> ChangedDefinition:
    before, after = pair
    if before is None:
        return _changed(pair, None, whole(pair.shown, parts_after))
    if after is None:
        return _changed(pair, whole(before, parts_before), None)
    return _changed(pair, before.shown, after.shown)


def _changed(pair: _Pair, before: str | None, after: str | None, kind: str | None = None) -> ChangedDefinition:
    shown = pair.shown
    return ChangedDefinition(kind or shown.object, shown.schema, shown.name, _kind(pair), before, after)


def _owners(pairs: Iterable[_Pair]) -> Iterator[ChangedDefinition]:
    """Tell a change of the owner by itself: a function's text is long."""
    for pair in pairs:
        before, after = pair
        if before and after and before.owner != after.owner and before.owner and after.owner:
            was, is_ = (f"ALTER {each.title} OWNER TO {each.owner};" for each in (before, after))
            yield _changed(pair, was, is_, kind="owner")
