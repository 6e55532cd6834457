"""The kinship of two databases of the inventory."""

from __future__ import annotations

from snapkit.core.comparison.lineage import Kinship, kinship
from snapkit.core.inventory.database import Database
from snapkit.postgres.connection.server import Connection
from snapkit.services.run.lineage import lineages
from snapkit.services.run.survey import ServerState


def kinship_of(connection: Connection, state: ServerState, one: Database, other: Database) -> Kinship:
    """Return the kinship of two databases, each an entry's or the live one, by what is noted on the server.

    ``connection`` is to any database of the server, ``state`` what was gathered there.
    """
    known = lineages(connection, state)
    return kinship(known.of(one.oid), known.of(other.oid))
