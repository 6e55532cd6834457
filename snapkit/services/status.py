"""Report how old the newest backup is."""

from __future__ import annotations

from datetime import timedelta

from snapkit.core.checks.disk_room import displaced_cautions
from snapkit.core.inventory.freshness import StatusReport, judge
from snapkit.core.server.replication import stranded
from snapkit.errors import NOTHING_CHANGED
from snapkit.postgres.catalog.replication import replication_of
from snapkit.postgres.connection.server import Server
from snapkit.postgres.connection.sqlstates import server_errors
from snapkit.services.list import listing_of
from snapkit.services.outage.pool_checks import Pooler, tell_paused


def report_status(
    server: Server,
    *,
    max_age: timedelta | None,
    sizes: bool,
    all_sources: bool,
    poolers: tuple[Pooler, ...] = (),
) -> StatusReport:
    """Return how old the newest backup is, of the source or of every source on the server; see ``judge``.

    It warns of databases that are still paused on one of the ``poolers``.
    """
    with server.connect() as connection:
        listing = listing_of(connection, server.source, sizes=sizes, all_sources=all_sources)
        told = listing.cautions if sizes else listing.cautions + displaced_cautions(listing.entries)
        with server_errors(NOTHING_CHANGED):
            told += stranded(replication_of(connection, [entry.database.oid for entry in listing.entries]))
        told += tell_paused(connection, poolers, server.source)
    return judge(listing.entries, listing.source, max_age=max_age, now=listing.now, sized=sizes, cautions=told)
