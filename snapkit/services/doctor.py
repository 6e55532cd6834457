"""Look at everything that a backup and a rollback need, and change nothing."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime

from snapkit.core.checks.doctor import judge
from snapkit.core.checks.facts import Check, Estimate, Facts, Status
from snapkit.core.copying.estimates import Extent, foretell
from snapkit.core.copying.lock_room import LockTable
from snapkit.core.inventory.database import Database
from snapkit.core.inventory.kinds import Strategy
from snapkit.core.inventory.selection import is_leftover
from snapkit.core.outcome import Outcome
from snapkit.core.values import dataclass
from snapkit.errors import NOTHING_CHANGED, ConnectionFailedError, SnapkitError, UsageError
from snapkit.postgres.catalog import databases, server_facts, sessions
from snapkit.postgres.catalog.dependents import kept_by_entries_alone
from snapkit.postgres.catalog.replication import replication_of
from snapkit.postgres.connection.server import Connection, Server
from snapkit.postgres.connection.sqlstates import server_errors
from snapkit.postgres.copying.file_count import file_count
from snapkit.postgres.copying.programs import find_programs
from snapkit.postgres.copying.snapshot import lock_table
from snapkit.postgres.sql.ddl import quote_name
from snapkit.postgres.sql.entry_locks import is_taken
from snapkit.services.copying.decision import check_copying
from snapkit.services.copying.estimate import method_for
from snapkit.services.outage.pool_checks import Pooler, look_at_poolers
from snapkit.services.outage.workers import why_refused
from snapkit.services.run.disk_room import free_bytes
from snapkit.services.run.preconditions import grants_lacking
from snapkit.services.run.survey import ServerState, gather


def diagnose(server: Server, poolers: Sequence[Pooler] = ()) -> Diagnosis:
    """Return how each check comes out at this moment."""
    with server.connect() as connection:
        gathered = gather(connection, server.source)
        here = datetime.now(UTC)
        inside = _look_inside(server, gathered.facts) if gathered.live else None
        with server_errors(NOTHING_CHANGED):
            facts = _facts(server, connection, gathered, here=here, inside=inside)
            return Diagnosis(judge(replace(facts, poolers=look_at_poolers(connection, poolers, server.source))))


def _facts(
    server: Server,
    connection: Connection,
    gathered: ServerState,
    *,
    here: datetime,
    inside: _Inside | None,
) -> Facts:
    source = server.source
    live = gathered.live
    entries = gathered.inventory.of_source(source)
    footing = server_facts.footing(connection)
    workers = sessions.background_workers(connection, live.oid) if live else ()
    return Facts(
        source=source,
        quoted_source=quote_name(source),
        live=live,
        stale_collation=databases.stale_collation(connection, live.oid) if live else None,
        is_standby=footing.is_standby,
        is_read_only=server_facts.is_read_only(connection),
        behind_pooler=footing.behind_pooler,
        grants=grants_lacking(connection, live) if live else {},
        role=quote_name(gathered.facts.role),
        sessions=sessions.sessions_inside(connection, [live.oid]) if live else (),
        prepared=sessions.prepared_transactions(connection, [source]).get(source, []),
        replication=replication_of(connection, [live.oid] if live else []),
        standbys=server_facts.standbys(connection),
        workers=workers,
        workers_refused=why_refused(server, connection, live, workers) if live else None,
        extensions=inside.extensions if inside else None,
        free_bytes=free_bytes(connection, live, shutil.disk_usage) if live else None,
        estimates=_estimates(connection, gathered, live, inside.files if inside else None) if live else (),
        locks=inside.locks if inside else None,
        online_refused=inside.online_refused if inside else None,
        clock_difference=gathered.facts.now - here,
        leftovers=[entry for entry in entries if is_leftover(entry)],
        entries=entries,
        dependents=kept_by_entries_alone(connection, [entry.database.oid for entry in gathered.inventory.entries]),
        left_open=[e for e in entries if e.opened is not None and not is_taken(connection, e.database.oid)],
        not_trusted=[entry for entry in gathered.inventory.distrusted if entry.source == source],
    )


@dataclass(frozen=True, slots=True)
class _Inside:
    """What is read from inside the source."""

    extensions: list[str]
    files: int
    locks: LockTable
    online_refused: UsageError | None
    """Why it could not be copied while clients work."""


def _look_inside(server: Server, facts: server_facts.ServerFacts) -> _Inside | None:
    try:
        with server.enter(server.source, facts.quiet) as connection, server_errors(NOTHING_CHANGED):
            return _Inside(
                databases.extensions(connection),
                file_count(connection),
                lock_table(connection),
                _why_not_online(connection, facts),
            )
    except ConnectionFailedError:
        return None


def _why_not_online(inside: Connection, facts: server_facts.ServerFacts) -> UsageError | None:
    try:
        find_programs(facts.version)
        check_copying(inside, facts)
    except UsageError as error:
        return error
    return None


def _estimates(connection: Connection, gathered: ServerState, live: Database, files: int | None) -> list[Estimate]:
    size = databases.sizes(connection, [live.oid]).get(live.oid)
    method = method_for(connection, gathered, live)
    others = [each for each in (Strategy.FILE_COPY, Strategy.ONLINE) if each is not method.strategy]
    estimates = []
    for each in (method.strategy, *others):
        shares = each is Strategy.CLONE and bool(method.share_blocks)
        extent = Extent(size, files, shares)
        estimates.append(Estimate(each, extent, foretell(gathered.inventory.entries, live.name, each, extent)))
    return estimates


@dataclass(frozen=True, slots=True)
class Diagnosis(Outcome):
    """How every check came out."""

    checks: tuple[Check, ...]

    @property
    def problems(self) -> int:
        return sum(check.status is Status.PROBLEM for check in self.checks)

    @property
    def shortfall(self) -> SnapkitError | None:
        if not self.problems:
            return None
        return SnapkitError(
            f"{self.problems} check{'' if self.problems == 1 else 's'} found a problem.",
            hint="See the hint of each check in data.checks.",
        )

    @property
    def complaints(self) -> tuple[SnapkitError, ...]:
        return ()
