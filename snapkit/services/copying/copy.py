"""Copy the source as was decided. If a clone has to be cancelled, it is copied while clients work."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from time import monotonic

from snapkit.core.copying.estimates import many_files
from snapkit.core.copying.moment import Moment
from snapkit.core.durations import duration_text
from snapkit.core.inventory.selection import lenders
from snapkit.core.plans.backup import BackupPlan
from snapkit.core.reporting import Caution, Progress
from snapkit.core.values import dataclass
from snapkit.postgres.connection.sqlstates import server_errors
from snapkit.postgres.copying.programs import Programs
from snapkit.postgres.copying.progress import Cloning
from snapkit.postgres.sql.execution import run
from snapkit.services.copying.clone import (
    Cloned,
    CloneGivenUpError,
    TemplateState,
    altered_meanwhile,
    make_clone,
    untouched,
)
from snapkit.services.copying.decision import Choice, CopyRequest, Decision, decide_by_files, decide_online
from snapkit.services.outage.clients import HeldClients, Holding, ReadyClients
from snapkit.services.run.probe import Noted, note_source
from snapkit.services.run.stopwatch import Stopwatch
from snapkit.services.run.survey import RunContext


@dataclass(frozen=True, slots=True)
class Copied:
    """A copy that was made, the plan that was followed in the end, and how clients were held for it."""

    plan: BackupPlan
    choice: Choice
    cloned: Cloned
    held: HeldClients = HeldClients()
    interrupted: bool = False
    cautions: tuple[Caution, ...] = ()


def copy_source(
    context: RunContext, decided: Decision, request: CopyRequest, clients: ReadyClients, watch: Stopwatch
) -> Copied:
    """Copy the source as was decided; if a clone has to be cancelled, copy it while clients work."""
    plan, way = decided.plan, decided.way
    if isinstance(way, Programs):
        return _copy_online(context, decided.noting(_note(context, plan, request)), way, watch)
    _write_checkpoint(context, plan, watch)
    noted = _note(context, plan, request)
    decided = decide_by_files(context, request, decided, noted.files).noting(noted)
    plan, way = decided.plan, decided.way
    if isinstance(way, Programs):
        return _copy_online(context, decided, way, watch)
    state = untouched(plan.clone)
    if clients.let_transactions_end(context.ddl, plan.clone.template.oid, context.observe, state):
        watch.lap("grace")
    template = TemplateState(
        decided.moment,
        lambda moment: _check_moment(plan, moment),
        lenders(context.state.inventory.of_source(context.source)),
    )
    holding = Holding(clients.rules)
    try:
        with clients.held(context.ddl, context.source, context.observe) as holding:
            cloned = make_clone(context, plan.clone, way, template, holding.hold, state=state)
    except CloneGivenUpError as error:
        watch.lap("clone", holds=True)
        other = decide_online(context, request, error)
        if not isinstance(other.way, Programs):
            raise
        copied = _copy_online(context, other.noting(noted), other.way, watch)
        held = holding.ended(error.held, error.disconnected)
        given_up = Caution(
            "clone_given_up",
            f"A clone was given up after it had held clients for {duration_text(held.outage)}. The database was "
            "then copied while clients worked.",
        )
        cautions = (*held.cautions, given_up, *copied.cautions)
        return replace(copied, choice=Choice.OUTAGE_REACHED, held=held, cautions=cautions)
    watch.lap("clone", holds=True, leaving=holding.leaving + cloned.leaving)
    held = holding.ended(cloned.outage, cloned.disconnected)
    cautions = clients.rules.exceeded(held.outage) + held.cautions + cloned.cautions
    cautions += _files_told(context.source, way, cloned)
    if cloned.was_refused:
        plan = plan.not_sharing()
    return Copied(plan, decided.choice, cloned, held, cautions=cautions)


def _files_told(source: str, way: Cloning, cloned: Cloned) -> tuple[Caution, ...]:
    """Warn if a clone took long because of its many files, and no earlier backup could have told that."""
    if way.forecast is not None and way.forecast.is_own:
        return ()
    extent = replace(way.extent, shares=way.extent.shares and cloned.blocks_shared is not False)
    return many_files(source, extent, cloned.duration, f"clients were held for {duration_text(cloned.duration)}")


def _check_moment(plan: BackupPlan, moment: Moment) -> None:
    """Raise if the source has another owner than was planned for: rights and plan depend on the owner.

    Raises too if its comment is too long to be kept.
    """
    plan.as_of(moment)
    if moment.properties.owner != plan.clone.properties.owner:
        raise altered_meanwhile(plan.clone.template.name, untouched(plan.clone))


def _copy_online(context: RunContext, decided: Decision, programs: Programs, watch: Stopwatch) -> Copied:
    from snapkit.services.copying.online.run import copy_online  # which a clone has no use for

    plan = decided.plan
    cloned = copy_online(context, plan.clone, programs, lambda moment: _check_moment(plan, moment))
    watch.lap("copy")
    return Copied(plan, decided.choice, cloned, cautions=cloned.cautions)


_SHORT = timedelta(seconds=1)


def _note(context: RunContext, plan: BackupPlan, request: CopyRequest) -> Noted:
    """Look into the source as late as possible before clients are held; our session inside is gone afterwards."""
    with server_errors(untouched(plan.clone)):
        return note_source(context.server, context.ddl, context.state.facts, plan.clone.template, request.deploy)


def _write_checkpoint(context: RunContext, plan: BackupPlan, watch: Stopwatch) -> None:
    """Write a checkpoint now, so that the one with which PostgreSQL begins a clone is short."""
    if not plan.before:
        return
    with server_errors(untouched(plan.clone)):
        began = monotonic()
        context.observe(Progress("Writing a checkpoint", timedelta(0)))
        run(context.ddl, *plan.before)
        if monotonic() - began > _SHORT.total_seconds():
            run(context.ddl, *plan.before)  # what was written to meanwhile
        watch.lap("checkpoint")
