"""A rollback that keeps its entry clones the entry first, and swaps the clone in."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from snapkit.core.copying.moment import Moment
from snapkit.core.inventory.entry import Entry
from snapkit.core.outage.hold_rules import HoldRules
from snapkit.core.plans.clone import ClonePlan, CopyMethod
from snapkit.core.plans.identity import check_facts_found, facts_of
from snapkit.core.plans.swap import SwapPlan
from snapkit.errors import DiskFullError
from snapkit.postgres.connection.server import Connection
from snapkit.postgres.connection.sqlstates import server_errors
from snapkit.postgres.copying.gate import another_database
from snapkit.postgres.copying.moment import read_moment
from snapkit.postgres.copying.progress import Cloning
from snapkit.postgres.sql.identity import read_facts
from snapkit.services.copying.clone import Cloned, TemplateState, altered_meanwhile, as_roles_are_named, make_clone
from snapkit.services.copying.estimate import estimate
from snapkit.services.copying.extension_settings import set_from_inside
from snapkit.services.entries.swap import unswapped
from snapkit.services.outage.hold import Hold
from snapkit.services.run.survey import RunContext


def clone_to_swap_in(
    context: RunContext, plan: SwapPlan, method: CopyMethod, rules: HoldRules
) -> tuple[SwapPlan, Cloned]:
    """Make the clone of the plan; return the plan that knows it."""
    assert plan.clone is not None  # noqa: S101 - the caller has looked
    rules = replace(rules, limit=None)  # its template is sealed: nobody is held
    files = plan.entry.metadata.clone_files if plan.entry.metadata else None
    cloning = estimate(context, plan.clone, method, rules, files)
    with room_for(plan.entry):
        cloned = clone_entry(context, plan, plan.clone, cloning, Hold(rules))
    inside, wanted = plan.live.name if plan.live else None, cloned.moment.properties
    set_from_inside(context, inside, wanted, oid=cloned.oid, name=plan.clone.name)
    return plan.cloned(cloned.oid, cloned.boundary), cloned


def clone_entry(context: RunContext, plan: SwapPlan, clone: ClonePlan, cloning: Cloning, hold: Hold) -> Cloned:
    """Clone the entry; raise if it is not what it was when the plan was made, or is altered while it is cloned."""
    ddl, state, database = context.ddl, unswapped(plan), plan.entry.database
    with server_errors(state):
        moment = read_moment(ddl, database.oid, state)
        check_facts_found({database.oid: facts_of(database, database.document)}, read_facts(ddl, [database.oid]), state)
    if moment is None:
        raise another_database(database.name, state)
    if moment.properties != clone.properties:
        raise altered_meanwhile(database.name, state)

    def check(now: Moment) -> None:
        if now.versions != moment.versions:
            raise altered_meanwhile(database.name, state)

    return make_clone(context, clone, cloning, TemplateState(moment, check), hold, state=state)


def with_roles_as_named(ddl: Connection, plan: SwapPlan, cloned: Cloned | None) -> SwapPlan:
    """Return the plan with the present names of roles in the properties of its clone, if there is one."""
    if plan.clone is None or cloned is None:
        return plan
    with server_errors(unswapped(plan)):
        properties = as_roles_are_named(ddl, cloned.moment)
    return replace(plan, clone=replace(plan.clone, properties=properties))


@contextmanager
def room_for(entry: Entry) -> Iterator[None]:
    """If the disk is full and the entry is pinned, add to the hint that unpinning it makes the clone needless."""
    try:
        yield
    except DiskFullError as error:
        if entry.pinned:
            without = f"Or use {entry.name} up, which takes no room: snapkit unpin {entry.name}, then the same again."
            error.hint = " ".join(filter(None, (error.hint, without)))
        raise
