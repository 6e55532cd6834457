"""What a database is at one moment, besides its rows, and how it is known that this did not change meanwhile.

The rows of a database cannot change while nobody is connected and nobody can connect. Its properties can: anybody with
the right may grant, set and rename.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field

from snapkit.core.inventory.database import Database
from snapkit.core.plans.properties import Properties, for_roles
from snapkit.core.values import dataclass


@dataclass(frozen=True, slots=True)
class Versions:
    """The versions of the database's rows in the shared catalogs.

    A row gets a new version with every change, even if it is changed back. So equal versions mean that nothing changed
    in between. ``settings``, ``comment`` and ``labels`` are None where there are none.
    """

    database: str
    settings: str | None
    comment: str | None
    labels: str | None


@dataclass(frozen=True, slots=True)
class Moment:
    """Everything about a database besides its contents, at one moment.

    ``roles`` has the OID of each role that ``properties`` name, because a role may be renamed before the copy gets
    them.
    """

    database: Database
    comment: str | None
    properties: Properties
    versions: Versions
    roles: Mapping[str, int] = field(hash=False)

    def properties_now(self, names: Mapping[int, str]) -> Properties:
        """Return the properties by the names that the roles have now, by OID; without those roles that are gone."""
        return for_roles(self.properties, {name: names.get(oid) for name, oid in self.roles.items()})
