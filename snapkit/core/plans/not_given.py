"""The properties that a backup could not be given. Its document notes their names, so that a rollback can add them.

Only names: a value may be a secret, and every role can read the document. The live database may still have the values.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace

from snapkit.core.plans.properties import (
    Privilege,
    Properties,
    SecurityLabel,
    Setting,
    shown,
    statements_to_add,
)
from snapkit.core.plans.statements import Statement
from snapkit.core.values import dataclass


def lacking(wanted: Properties, found: Properties) -> tuple[str, ...]:
    """Return the names of the properties that are not as they are wanted."""
    present = _named(found)
    return tuple(name for name, item in _named(wanted).items() if present.get(name) != item)


@dataclass(frozen=True, slots=True)
class Recalled:
    """What an entry still lacks: ``names``, and as ``wanted`` as much as the live database has of it."""

    names: tuple[str, ...]
    wanted: Properties

    @property
    def unknown(self) -> tuple[str, ...]:
        """The names of what the live database has not either, so that nobody knows the values."""
        known = _named(self.wanted)
        return tuple(name for name in self.names if name not in known)

    def statements(self, name: str) -> tuple[Statement, ...]:
        """Give the database ``name`` what is known."""
        return statements_to_add(name, self.wanted)


def recall(noted: Collection[str], present: Properties, live: Properties | None) -> Recalled:
    """Return what of the ``noted`` names an entry with the properties ``present`` still lacks.

    Somebody may have given it some of them since; those are its own now.
    """
    own = _named(present)
    names = tuple(name for name in noted if name not in own)
    wanting = frozenset(names)
    items = frozenset(item for name, item in _named(live).items() if name in wanting) if live else frozenset()
    wanted = replace(
        present,
        privileges=frozenset(item for item in items if isinstance(item, Privilege)),
        settings=frozenset(item for item in items if isinstance(item, Setting)),
        security_labels=frozenset(item for item in items if isinstance(item, SecurityLabel)),
    )
    return Recalled(names, wanted)


_Item = Privilege | Setting | SecurityLabel


def _named(properties: Properties) -> Mapping[str, _Item]:
    """Return each property by its name, which says all but its value."""
    items: list[_Item] = [*sorted(properties.privileges or ()), *sorted(properties.settings)]
    items += sorted(properties.security_labels)
    return {_name(item): item for item in items}


def _name(item: _Item) -> str:
    if isinstance(item, SecurityLabel):
        return f"security label of {item.provider}"
    return f"{'privilege' if isinstance(item, Privilege) else 'setting'} {shown(item)}"
