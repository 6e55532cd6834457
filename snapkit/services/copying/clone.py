"""Make a clone, sealed from birth, and give it its properties in the transaction that gives it its purpose."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from datetime import timedelta
from time import monotonic

from snapkit.core.client_session import ClientSession
from snapkit.core.copying.estimates import blocks_were_shared, is_brief
from snapkit.core.copying.moment import Moment
from snapkit.core.copying.wal_log import with_danger
from snapkit.core.inventory.database import Database
from snapkit.core.outage.hold_rules import HoldRules
from snapkit.core.plans.clone import ClonePlan
from snapkit.core.plans.identity import LOOK_AGAIN, AlteredMeanwhileError
from snapkit.core.plans.properties import Properties
from snapkit.core.reporting import Caution
from snapkit.core.values import dataclass
from snapkit.errors import BusyError, OutageLimitError, PrivilegeError, SnapkitError, UsageError
from snapkit.postgres.connection.server import Connection
from snapkit.postgres.connection.sqlstates import (
    SERVER_ERRORS,
    UNDEFINED_OBJECT,
    is_connection_loss,
    is_sharing_refused,
    server_errors,
    sqlstate_of,
    translate,
)
from snapkit.postgres.copying.gate import Check, Gate, another_database, created_by, kept
from snapkit.postgres.copying.moment import names_of_roles, read_moment, versions_of
from snapkit.postgres.copying.progress import CloneGauge, Cloning
from snapkit.postgres.outage.door import DoorRecord, hold_door
from snapkit.postgres.sql.execution import committing_locally, run
from snapkit.services.outage.hold import Hold, door_error
from snapkit.services.run.survey import RunContext


@dataclass(frozen=True, slots=True)
class Cloned:
    """A clone that stands, not yet of any use. ``outage`` is how long clients of the template waited meanwhile."""

    oid: int
    moment: Moment
    """What the template was when it was copied."""
    source_bytes: int | None
    outage: timedelta
    disconnected: tuple[ClientSession, ...]
    duration: timedelta
    """How long it took once nobody was inside; the next one is judged by that, not by who happened to be there."""
    leaving: timedelta = timedelta(0)
    """How much of the outage went by before the last session inside had left."""
    blocks_shared: bool | None = None
    """Whether the file system shared blocks, as far as it is known or the time tells."""
    cautions: tuple[Caution, ...] = ()
    was_refused: bool = False
    """Whether PostgreSQL was not let share blocks, and files were copied instead."""
    source_files: int | None = None
    """Of how many files the template was, where that is known."""


class CloneGivenUpError(OutageLimitError):
    """A clone was cancelled, since clients had been held as long as they may be.

    They had been ``held`` in all, and ``disconnected`` are those who had been sent out by then.
    """

    def __init__(self, error: OutageLimitError, held: timedelta, disconnected: tuple[ClientSession, ...]) -> None:
        super().__init__(error.message, state=error.state, hint=error.hint)
        self.held = held
        self.disconnected = disconnected


class CloneAbandonedError(AlteredMeanwhileError):
    """A clone was given up, or thrown away, since its template was altered meanwhile: another one may be made.

    ``held`` and ``disconnected`` as for CloneGivenUpError.
    """

    def __init__(self, error: SnapkitError, held: timedelta, disconnected: tuple[ClientSession, ...]) -> None:
        super().__init__(error.message, state=error.state, hint=error.hint)
        self.held = held
        self.disconnected = disconnected


class _SharingRefusedError(SnapkitError):
    """PostgreSQL was not let share blocks; clients had been ``held``, and ``disconnected``, for that in vain."""

    def __init__(self, error: SnapkitError, held: timedelta, disconnected: tuple[ClientSession, ...]) -> None:
        super().__init__(error.message, state=error.state)
        self.held = held
        self.disconnected = disconnected

    @property
    def caution(self) -> Caution:
        return Caution(
            "blocks_not_shared",
            f"The server is not allowed to share blocks here, so the files were copied. {self.message} The next "
            "backup copies at once. If you change the server's disks, try again with: --strategy clone",
        )


@dataclass(frozen=True, slots=True)
class TemplateState:
    """What a template has to be when it is cloned.

    ``moment`` is what it was when the plan was made. What it is when nobody is inside is given to ``check``, which
    raises AlteredMeanwhileError for what does not go with the plan. ``lenders`` are databases of ours that may lend
    themselves for a gate (``postgres/copying/gate.py``). Where there is none, and the copying is over too soon, the
    template must not have been altered at all.
    """

    moment: Moment
    check: Check
    lenders: tuple[Database, ...] = ()


def make_clone(
    context: RunContext, plan: ClonePlan, cloning: Cloning, template: TemplateState, hold: Hold, *, state: str
) -> Cloned:
    """Run CREATE DATABASE while the door of the template is held; ``cloning`` is what ``estimate`` returned.

    ``state`` is how things stand for as long as there is no clone, for the errors to say. Raises the error of ours that
    fits, CloneGivenUpError where clients had been held as long as they may be, CloneAbandonedError where it is to be
    planned anew; then nothing is left behind, but where the connection was lost.

    Where PostgreSQL is not let share blocks, files are copied ``instead``, if the plan says so: the door is held anew.
    """
    try:
        return _clone(context, plan, cloning, template, hold, state=state)
    except _SharingRefusedError as refused:
        plan, cloning = replace(plan, settings=plan.instead, instead=()), replace(cloning, copies=True)
        cloned = _clone(context, plan, cloning, template, hold, state=state)
        return replace(
            cloned,
            outage=refused.held + cloned.outage,
            disconnected=(*refused.disconnected, *cloned.disconnected),
            cautions=(refused.caution,),
            was_refused=True,
        )


def _clone(
    context: RunContext, plan: ClonePlan, cloning: Cloning, template: TemplateState, hold: Hold, *, state: str
) -> Cloned:
    server, ddl, facts = context.server, context.ddl, context.state.facts
    with server_errors(state):
        run(ddl, *plan.settings)
    failure: Exception | None = None
    with ExitStack() as stack:
        # Opened only now: the server ends a session that has long been idle.
        gate = Gate(stack.enter_context(server.connect()))
        watcher = stack.enter_context(server.connect())
        with server_errors(state):
            moment = _as_it_is_now(gate.session, template, state)
            gauge = CloneGauge(watcher, cloning, facts.is_superuser, context.observe)
            nudge = is_brief(cloning.forecast, cloning.total_bytes)
            gate.shut(template.lenders, plan.name)
            record = stack.enter_context(
                hold_door(ddl, watcher, [plan.template.oid], hold.rest(), gauge.look, nudge=nudge)
            )
        keeper = stack.enter_context(kept(gate, ddl, moment, template.check, state))
        began = monotonic()
        outage = held = timedelta(0)
        try:
            with committing_locally(ddl):
                began = monotonic()
                hold.begin()
                run(ddl, plan.create, left=hold.left)
                outage = timedelta(seconds=monotonic() - began)
        except SERVER_ERRORS as error:
            held = hold.held
            if is_connection_loss(error):
                state += f" If the server still finishes the clone {plan.name!r}, the next run drops it."
            failure = error
    disconnected = tuple(record.disconnected.values())
    record.blockers.pop(gate.pid, None)
    if keeper.refusal is not None:
        if isinstance(keeper.refusal, AlteredMeanwhileError):
            raise CloneAbandonedError(keeper.refusal, hold.held, disconnected) from failure
        raise keeper.refusal from failure
    if failure is not None:
        if plan.instead and is_sharing_refused(failure):
            lasted = timedelta(seconds=monotonic() - began)
            raise _SharingRefusedError(translate(failure, state), lasted, disconnected) from failure
        problem = _problem(failure, plan, record, hold.rules, held=held, state=state, role=facts.role)
        if not isinstance(problem, (BusyError, OutageLimitError, PrivilegeError, UsageError)):
            problem = with_danger(problem, cloning.strategy, sqlstate_of(failure))
        raise problem from failure
    with server_errors(state):
        oid = created_by(ddl, plan.name, keeper.transaction)
        if oid is None:
            raise BusyError(f"The clone {plan.name!r} was dropped or renamed by somebody else.", state=state)
        if keeper.moment is None and versions_of(ddl, plan.template.oid) != moment.versions:
            altered = altered_meanwhile(plan.template.name, state)
            raise CloneAbandonedError(altered, hold.held, disconnected)
    leaving = record.leaving(began)
    copying = outage - leaving - gauge.checkpointing
    shared = blocks_were_shared(cloning.strategy, cloning.total_bytes, cloning.files, copying)
    return Cloned(
        oid=oid,
        moment=keeper.moment or moment,
        source_bytes=cloning.total_bytes,
        outage=outage,
        disconnected=disconnected,
        duration=outage - leaving,
        leaving=leaving,
        blocks_shared=False if cloning.copies else shared,
        source_files=cloning.files,
    )


def _problem(
    failure: Exception, plan: ClonePlan, record: DoorRecord, rules: HoldRules, *, held: timedelta, state: str, role: str
) -> SnapkitError:
    """Return the error for a CREATE DATABASE that failed behind a held door."""
    disconnected = tuple(record.disconnected.values())
    if sqlstate_of(failure) == UNDEFINED_OBJECT:  # the owner was given another name, or a tablespace
        return CloneAbandonedError(altered_meanwhile(plan.template.name, state), held, disconnected)
    problem = door_error(failure, record, rules, held=held, state=state, role=role)
    return CloneGivenUpError(problem, held, disconnected) if isinstance(problem, OutageLimitError) else problem


def _as_it_is_now(connection: Connection, template: TemplateState, state: str) -> Moment:
    """Return what the template is now, so that little time is left in which it may be altered unseen."""
    database = template.moment.database
    if versions_of(connection, database.oid) == template.moment.versions:
        return template.moment
    now = read_moment(connection, database.oid, state)
    if now is None or now.database.name != database.name:
        raise another_database(database.name, state)
    template.check(now)
    return now


def altered_meanwhile(name: str, state: str) -> AlteredMeanwhileError:
    return AlteredMeanwhileError(f"{name!r} was altered by somebody else meanwhile.", state=state, hint=LOOK_AGAIN)


def untouched(plan: ClonePlan) -> str:
    """The state of things when a clone of the live database has failed."""
    return f"{plan.template.name!r} is untouched and open to its clients. No backup was made."


def as_roles_are_named(connection: Connection, moment: Moment) -> Properties:
    """Return the properties of a moment by the names that roles have now; without those of roles that are gone."""
    return moment.properties_now(names_of_roles(connection, moment.roles.values()))
