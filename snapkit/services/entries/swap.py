"""The transaction of a rollback: it puts the live database aside, and gives its name to the one that is swapped in."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from threading import Lock
from time import monotonic

from snapkit.core.client_session import ClientSession
from snapkit.core.inventory.database import Unsealed
from snapkit.core.plans.identity import ROLLED_BACK, Facts
from snapkit.core.plans.statements import FreezeDatabase
from snapkit.core.plans.swap import SwapPlan
from snapkit.core.reporting import Caution
from snapkit.core.values import dataclass
from snapkit.errors import NOTHING_CHANGED, SnapkitError, Unchanged
from snapkit.postgres.catalog import databases
from snapkit.postgres.connection.server import Connection, beside
from snapkit.postgres.connection.sqlstates import SERVER_ERRORS, is_connection_loss, server_errors
from snapkit.postgres.outage.door import hold_door
from snapkit.postgres.sql.execution import commit, run
from snapkit.postgres.sql.identity import check_names, read_facts
from snapkit.services.copying.restore_properties import give_back, restore_properties
from snapkit.services.outage.hold import Hold, door_error
from snapkit.services.run.commit_outcome import bears_names
from snapkit.services.run.interruption import InterruptionState
from snapkit.services.run.lineage import note_heir
from snapkit.services.run.retry import Persistence
from snapkit.services.run.standby_confirmation import telling, unconfirmed
from snapkit.services.run.survey import RunContext


@dataclass(frozen=True, slots=True)
class Swapped:
    """What the transaction did, and the plan as it was followed in the end."""

    plan: SwapPlan
    outage: timedelta
    leaving: timedelta
    """How much of it went by before the last session inside had left."""
    disconnected: tuple[ClientSession, ...]
    nudges: int
    """Notifications that were sent meanwhile, a transaction each."""
    cautions: tuple[Caution, ...]


def swap_databases(
    context: RunContext,
    plan: SwapPlan,
    restored_oid: int,
    hold: Hold,
    standing: InterruptionState,
    *,
    persistence: Persistence | None,
) -> Swapped:
    """Run the transaction, while new clients wait at the server."""
    server, ddl, observe = context.server, context.ddl, context.observe
    state = unswapped(plan)
    names = {restored_oid: plan.source}
    if plan.live is not None and plan.displaced_name is not None:
        names[plan.live.oid] = plan.displaced_name
    if plan.live is None:  # else what is put aside notes it
        with server_errors(state):
            used_up = None if plan.clone else plan.entry.database.oid
            note_heir(ddl, plan.source, plan.displaced_metadata.heir, used_up)
    doors = [plan.entry.database.oid, *names]
    cautions: list[Caution] = []
    closed_at = 0.0
    turn = Lock()

    def work() -> None:
        nonlocal closed_at, plan
        if plan.clone is not None:
            properties, name = plan.clone.properties, plan.clone.name
            run(ddl, FreezeDatabase(name), left=hold.left)
            check_names(ddl, {restored_oid: name})
            cautions.extend(
                restore_properties(
                    ddl,
                    properties,
                    restored_oid,
                    name=name,
                    final_name=plan.source,
                    present=plan.clone.fenced,
                    left=hold.left,
                ).cautions
            )
        run(ddl, *plan.prepare, left=hold.left)
        with turn:
            found = _seen_from_beside(ddl, watcher, [*plan.assumed, *([plan.live.oid] if plan.live else [])])
        before, plan = plan, plan.held_against(found, ROLLED_BACK)
        if plan.seal != before.seal:
            run(ddl, *plan.seal, left=hold.left)
        live_oid = plan.live.oid if plan.live else None
        lacked = give_back(
            ddl,
            plan.entry,
            live_oid,
            oid=restored_oid,
            name=plan.passing_name,
            final_name=plan.source,
            left=hold.left,
        )
        cautions.extend(lacked)
        _verify(databases.unsealed_state(ddl, restored_oid), plan)
        closed_at = monotonic()
        hold.begin()
        run(ddl, *plan.swap, left=hold.left)
        standing.perhaps_done()

    failure: Exception | None = None
    is_done = False
    outage = timedelta(0)
    with ExitStack() as stack:
        watcher = stack.enter_context(server.connect())
        stack.enter_context(_unless(lambda: is_done))
        with server_errors(state):
            record = stack.enter_context(hold_door(ddl, watcher, doors, hold.rest(), turn=turn))
        try:
            committed = commit(
                ddl,
                work,
                lambda pid: bears_names(server, pid, names, "the swap", persistence=persistence, observe=observe),
                standing.undone,
                hold.left,
                waits=telling(observe, "the swap"),
            )
            is_done, outage = True, hold.held
            cautions.extend(unconfirmed("the swap", committed.unconfirmed))
        except SERVER_ERRORS as error:
            failure, outage = error, hold.held
    if failure is not None:
        raise door_error(
            failure, record, hold.rules, held=outage, state=state, role=context.state.facts.role
        ) from failure
    disconnected = tuple(record.disconnected.values())
    return Swapped(plan, outage, record.leaving(closed_at), disconnected, record.nudges, tuple(cautions))


def _seen_from_beside(ddl: Connection, watcher: Connection, oids: list[int]) -> Mapping[int, Facts]:
    """Read the databases as other sessions see them; if the watching session was lost, another one is asked."""
    try:
        return read_facts(watcher, oids)
    except SERVER_ERRORS as error:
        if not is_connection_loss(error):
            raise
    with beside(ddl) as another:
        return read_facts(another, oids)


@contextmanager
def _unless(is_done: Callable[[], bool]) -> Iterator[None]:
    """Ignore Ctrl-C once it ``is_done``: what is committed is reported as done."""
    try:
        yield
    except KeyboardInterrupt:
        if not is_done():
            raise


def _verify(found: Unsealed | None, plan: SwapPlan) -> None:
    """Raise if the database that will be live has not the name, flags and comment that the plan wants."""
    if found != plan.unsealed:
        raise SnapkitError(
            f"The new live database is {found}, not {plan.unsealed}.",
            state=unswapped(plan),
            hint="Please report this, with the output of: snapkit rollback --latest --dry-run",
        )


def unswapped(plan: SwapPlan) -> str:
    return Unchanged(f"Nothing was changed; {plan.source!r} is as it was.") if plan.live else NOTHING_CHANGED
