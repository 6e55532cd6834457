"""Make a clone with CREATE DATABASE: nobody can connect to it, and clients of its template wait briefly."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from datetime import timedelta
from time import monotonic

from snapkit.core.client_session import ClientSession
from snapkit.core.comparison.lineage import Boundary
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
from snapkit.postgres.catalog.boundary import present_boundary
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
    """A clone that was made, and is no backup yet. ``outage`` is how long clients of the template waited for it."""

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
    were_copied: bool = False
    """Whether snapkit had PostgreSQL copy the files, since blocks could not be shared."""
    cautions: tuple[Caution, ...] = ()
    was_refused: bool = False
    """Whether PostgreSQL was not let share blocks, and files were copied instead."""
    source_files: int | None = None
    """Of how many files the template was, where that is known."""
    boundary: Boundary | None = None
    """A moment shortly before the files were copied; None if they were not."""


class CloneGivenUpError(OutageLimitError):
    """A clone was cancelled, because clients had been held as long as they may be.

    ``held`` is for how long, ``disconnected`` are the sessions that had been ended by then.
    """

    def __init__(self, error: OutageLimitError, held: timedelta, disconnected: tuple[ClientSession, ...]) -> None:
        super().__init__(error.message, state=error.state, hint=error.hint)
        self.held = held
        self.disconnected = disconnected


class CloneAbandonedError(AlteredMeanwhileError):
    """A clone was cancelled or dropped, because its template was altered meanwhile; you may plan and make another.

    ``held`` and ``disconnected`` are as for CloneGivenUpError.
    """

    def __init__(self, error: SnapkitError, held: timedelta, disconnected: tuple[ClientSession, ...]) -> None:
        super().__init__(error.message, state=error.state, hint=error.hint)
        self.held = held
        self.disconnected = disconnected


class _SharingRefusedError(SnapkitError):
    """PostgreSQL could not share blocks. Clients had been ``held`` for that in vain, and sessions ``disconnected``."""

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

    ``moment`` is what it was when the clone was planned. It is read again when nobody is connected, and given to
    ``check``, which raises AlteredMeanwhileError if it does not fit the plan. ``lenders`` are backups whose names may
    be used for a gate (``postgres/copying/gate.py``). Without a gate, and if the copying ends before the template could
    be read, the template must not have been altered at all.
    """

    moment: Moment
    check: Check
    lenders: tuple[Database, ...] = ()


def make_clone(
    context: RunContext, plan: ClonePlan, cloning: Cloning, template: TemplateState, hold: Hold, *, state: str
) -> Cloned:
    """Run CREATE DATABASE while new clients of the template wait; ``cloning`` is what ``estimate`` returned.

    ``state`` says in errors how things stand until there is a clone. Raises CloneGivenUpError if clients were held as
    long as they may be, CloneAbandonedError if the clone has to be planned anew, else the error that fits. Then nothing
    is left behind, unless the connection was lost.

    If PostgreSQL cannot share blocks and the plan allows it (``instead``), files are copied: clients wait a second
    time.
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
        boundary = present_boundary(ddl)  # an earlier moment is safe, a later one is not
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
        were_copied=cloning.copies,
        source_files=cloning.files,
        boundary=boundary,
    )


def _problem(
    failure: Exception, plan: ClonePlan, record: DoorRecord, rules: HoldRules, *, held: timedelta, state: str, role: str
) -> SnapkitError:
    """Return the error for a CREATE DATABASE that failed while clients waited."""
    disconnected = tuple(record.disconnected.values())
    if sqlstate_of(failure) == UNDEFINED_OBJECT:  # the owner was given another name, or a tablespace
        return CloneAbandonedError(altered_meanwhile(plan.template.name, state), held, disconnected)
    problem = door_error(failure, record, rules, held=held, state=state, role=role)
    return CloneGivenUpError(problem, held, disconnected) if isinstance(problem, OutageLimitError) else problem


def _as_it_is_now(connection: Connection, template: TemplateState, state: str) -> Moment:
    """Read the template again, to leave little time in which it could be altered unseen."""
    database = template.moment.database
    if versions_of(connection, database.oid) == template.moment.versions:
        return template.moment
    now = read_moment(connection, database.oid, state)
    if now is None or now.database.name != database.name:
        raise another_database(database.name, state)
    template.check(now)
    return now


def altered_meanwhile(name: str, state: str) -> AlteredMeanwhileError:
    return AlteredMeanwhileError(f"Somebody has changed {name!r} meanwhile.", state=state, hint=LOOK_AGAIN)


def untouched(plan: ClonePlan) -> str:
    """How things stand when a clone of the live database has failed."""
    return f"{plan.template.name!r} is untouched and open to its clients. No backup was made."


def as_roles_are_named(connection: Connection, moment: Moment) -> Properties:
    """Return the properties with the present names of roles, and without those of roles that were dropped."""
    return moment.properties_now(names_of_roles(connection, moment.roles.values()))
