"""An object with all that belongs to it, in the words of CREATE."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping

from snapkit.core.comparison.schema.defined_objects import Definition

Parts = Mapping[str, list[Definition]]
"""What belongs to each object, by its address."""

_ORDER = {"column": 0, "constraint": 1}

_TABLES = {"table", "foreign table"}


def parts_by_owner(definitions: Iterable[Definition]) -> Parts:
    """Return what belongs to each object, in the order in which it is printed."""
    parts: dict[str, list[Definition]] = defaultdict(list)
    for each in definitions:
        if each.parent is not None:
            parts[each.parent].append(each)
    for some in parts.values():
        some.sort(key=lambda each: (_ORDER.get(each.object, 2), each.place, each.object, each.name))
    return parts


def whole(definition: Definition, parts: Parts) -> str:
    """Return a definition, followed by those of all that belongs to it; columns and constraints stand in the table."""
    return "\n\n".join(_texts(definition, parts))


def _texts(definition: Definition, parts: Parts) -> Iterator[str]:
    its = parts.get(definition.address, [])
    within = [each for each in its if each.object in _ORDER] if definition.object in _TABLES else []
    text = definition.text
    if definition.object in _TABLES:
        text += " (\n" + ",\n".join(f"    {each.text}" for each in within) + "\n)" if within else " ()"
    owner = f"OWNER TO {definition.owner}" if definition.owner else ""
    yield "\n".join(filter(None, (text, definition.tail, owner)))
    for each in its:
        if each not in within:
            yield from _texts(each, parts)
            continue
        if each.tail:
            yield each.tail
        for more in parts.get(each.address, []):
            yield from _texts(more, parts)
