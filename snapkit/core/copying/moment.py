"""What a database is at one moment, beside its rows: what is read for a copy of it, and how it is known to hold still.

The rows of a database stand still while nobody is inside and nobody gets in. What belongs to it as an object does not:
anybody with the right may grant, set and rename meanwhile.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field

from snapkit.core.inventory.database import Database
from snapkit.core.plans.properties import Properties, for_roles
from snapkit.core.values import dataclass


@dataclass(frozen=True, slots=True)
class Versions:
    """Which versions of its rows in the shared catalogs a database has; each has another after every change, also back.

    So equal ones mean that nothing was changed in between, the name included. ``settings``, ``comment`` and
    ``labels`` are None where there are none.
    """

    database: str
    settings: str | None
    comment: str | None
    labels: str | None


@dataclass(frozen=True, slots=True)
class Moment:
    """All that belongs to a database beside its contents, as it was at one moment.

    ``roles`` tells the OID of each role that ``properties`` name: a role may be called otherwise by the time when they
    are given to the copy.
    """

    database: Database
    comment: str | None
    properties: Properties
    versions: Versions
    roles: Mapping[str, int] = field(hash=False)

    def properties_now(self, names: Mapping[int, str]) -> Properties:
        """Return the properties by the names that the roles have now, by OID; without those roles that are gone."""
        return for_roles(self.properties, {name: names.get(oid) for name, oid in self.roles.items()})
