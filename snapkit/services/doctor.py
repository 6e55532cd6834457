"""Look at everything that a backup and a rollback need, and change nothing."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime

from snapkit.core.checks import Estimate, Facts, judge
from snapkit.core.estimates import expected_duration
from snapkit.core.inventory import is_remains
from snapkit.core.model import Database, Strategy
from snapkit.core.planning import NOTHING_CHANGED, choose_method
from snapkit.core.results import Diagnosis
from snapkit.errors import ConnectionFailedError
from snapkit.postgres import catalog
from snapkit.postgres.dependents import kept_by_entries_alone
from snapkit.postgres.errors import server_errors
from snapkit.postgres.opened import is_taken
from snapkit.postgres.replication import replication_of
from snapkit.postgres.server import Connection, Server
from snapkit.services.common import Gathered, gather, missing_grants
from snapkit.services.poolers import Pooler, look_at_poolers
from snapkit.services.room import free_bytes
from snapkit.services.workers import why_refused


def diagnose(server: Server, poolers: Sequence[Pooler] = ()) -> Diagnosis:
    """Return how each check comes out at this moment."""
    with server.connect() as connection:
        gathered = gather(connection, server.source)
        here = datetime.now(UTC)
        extensions = _extensions(server, gathered.facts) if gathered.live else None
        with server_errors(NOTHING_CHANGED):
            facts = _facts(server, connection, server.source, gathered, here, extensions)
            return Diagnosis(judge(replace(facts, poolers=look_at_poolers(connection, poolers, server.source))))


def _facts(
    server: Server,
    connection: Connection,
    source: str,
    gathered: Gathered,
    here: datetime,
    extensions: list[str] | None,
) -> Facts:
    live = gathered.live
    entries = gathered.inventory.of_source(source)
    footing = catalog.footing(connection)
    workers = catalog.background_workers(connection, live.oid) if live else ()
    replication = replication_of(connection, [live.oid] if live else [])
    return Facts(
        source=source,
        live=live,
        stale_collation=live is not None and catalog.stale_collation(connection, live.oid) is not None,
        is_standby=footing.is_standby,
        is_read_only=catalog.is_read_only(connection),
        behind_pooler=footing.behind_pooler,
        grants=missing_grants(connection, live) if live else {},
        sessions=catalog.sessions_inside(connection, [live.oid]) if live else (),
        prepared=catalog.prepared_transactions(connection, [source]).get(source, []),
        slots=[each.name for each in replication.slots],
        subscriptions=[each.name for each in replication.subscriptions],
        standbys=catalog.standbys(connection),
        workers=workers,
        workers_refused=why_refused(server, connection, live, workers) if live else None,
        extensions=extensions,
        free_bytes=free_bytes(connection, live, shutil.disk_usage) if live else None,
        estimates=_estimates(connection, gathered, live) if live else (),
        clock_difference=gathered.facts.now - here,
        remains=[entry for entry in entries if is_remains(entry)],
        entries=entries,
        dependents=kept_by_entries_alone(connection, [entry.database.oid for entry in gathered.inventory.entries]),
        left_open=[e for e in entries if e.opened is not None and not is_taken(connection, e.database.oid)],
        not_trusted=[entry for entry in gathered.inventory.distrusted if entry.source == source],
    )


def _extensions(server: Server, facts: catalog.ServerFacts) -> list[str] | None:
    try:
        with server.look_into_source(facts.quiet) as connection, server_errors(NOTHING_CHANGED):
            return catalog.extensions(connection)
    except ConnectionFailedError:
        return None


def _estimates(connection: Connection, gathered: Gathered, live: Database) -> list[Estimate]:
    size = catalog.sizes(connection, [live.oid]).get(live.oid)
    chosen = choose_method(None, gathered.facts.version, gathered.facts.can_share_blocks).strategy
    others = [each for each in (Strategy.FILE_COPY, Strategy.ONLINE) if each is not chosen]
    return [
        Estimate(each, size, expected_duration(gathered.inventory.entries, live.name, each, size))
        for each in (chosen, *others)
    ]
