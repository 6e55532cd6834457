"""How a clone is made on this server, and how long it would hold clients."""

from __future__ import annotations

from dataclasses import replace

from snapkit.core.copying.estimates import foretell
from snapkit.core.durations import duration_text
from snapkit.core.inventory.database import Database
from snapkit.core.inventory.kinds import Strategy
from snapkit.core.outage.hold_rules import HoldRules
from snapkit.core.plans.clone import ClonePlan, CopyMethod, choose_method, sharing_failed_last
from snapkit.core.reporting import Caution
from snapkit.errors import NOTHING_CHANGED, OutageLimitError
from snapkit.postgres.catalog import databases
from snapkit.postgres.connection.driver import driver_connection
from snapkit.postgres.connection.server import Connection
from snapkit.postgres.connection.sqlstates import server_errors
from snapkit.postgres.copying.file_systems import data_shares_no_blocks
from snapkit.postgres.copying.progress import Cloning
from snapkit.services.run.survey import RunContext, ServerState


def method_for(
    connection: Connection,
    gathered: ServerState,
    template: Database,
    asked: Strategy | None = None,
    *,
    moves: bool = False,
) -> CopyMethod:
    """Return the fastest way to clone ``template`` here; ``asked`` and ``moves`` are as for ``choose_method``."""
    facts = gathered.facts
    method = choose_method(asked, facts.version, facts.can_share_blocks, moves=moves)
    if method.falls_back and sharing_failed_last(gathered.inventory.entries, template.tablespace):
        return replace(method.copying(), learnt=True)
    if not method.share_blocks or not facts.is_superuser or template.tablespace != "pg_default":
        return method
    with server_errors(NOTHING_CHANGED):
        return method.copying() if data_shares_no_blocks(connection) else method


def estimate(
    context: RunContext, plan: ClonePlan, method: CopyMethod, rules: HoldRules, files: int | None = None
) -> Cloning:
    """Estimate a clone; raise OutageLimitError if it would hold clients longer than they may be.

    ``files`` is how many files the template has, if that is known by now (else see ``estimate_by_files``).
    """
    with server_errors(NOTHING_CHANGED):
        total = databases.sizes(context.ddl, [plan.template.oid]).get(plan.template.oid)
    copies = method.strategy is Strategy.CLONE and not method.share_blocks
    cloning = Cloning(driver_connection(context.ddl).info.backend_pid, method.strategy, total, copies=copies)
    return estimate_by_files(context, cloning, rules, files)


def estimate_by_files(context: RunContext, cloning: Cloning, rules: HoldRules, files: int | None) -> Cloning:
    """Estimate again, now that the number of files is known; raises as ``estimate`` does."""
    cloning = replace(cloning, files=files)
    forecast = foretell(context.state.inventory.entries, context.source, cloning.strategy, cloning.extent)
    if forecast is not None and rules.limit is not None and forecast.duration > rules.limit:
        raise OutageLimitError(
            f"{forecast.grounds}, clients would be held for {forecast.text}, but --max-outage is "
            f"{duration_text(rules.limit)}.",
            state=NOTHING_CHANGED,
            hint="Leave out --strategy: then the database is copied while clients work. Or allow more time"
            + (" once: later estimates use the time that this backup took." if forecast.at_least else "."),
        )
    return replace(cloning, forecast=forecast)


def method_cautions(asked: Strategy | None) -> tuple[Caution, ...]:
    """Warn if the user named a method that is not safe."""
    if asked is not Strategy.WAL_LOG:
        return ()
    return (
        Caution(
            "wal_log_unsafe",
            "wal-log is dangerous on a nearly full disk: the server may be unable to start again. Prefer auto.",
        ),
    )
