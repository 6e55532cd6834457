"""Decide how a backup is made: plan it, and check it before anything is changed."""

from __future__ import annotations

from dataclasses import replace
from enum import Enum

from snapkit.core.copying.moment import Moment
from snapkit.core.deploy.deploy import Deploy
from snapkit.core.inventory.database import check_live
from snapkit.core.inventory.kinds import Strategy
from snapkit.core.outage.workers import Worker
from snapkit.core.plans.backup import BackupPlan, plan_backup
from snapkit.core.plans.clone import CopyMethod, Template
from snapkit.core.values import dataclass
from snapkit.errors import NOTHING_CHANGED, OutageLimitError, UsageError
from snapkit.postgres.catalog import server_facts
from snapkit.postgres.catalog.databases import locale_of
from snapkit.postgres.catalog.server_facts import ServerFacts
from snapkit.postgres.connection.server import Connection
from snapkit.postgres.connection.sqlstates import server_errors
from snapkit.postgres.copying.gate import another_database
from snapkit.postgres.copying.moment import read_moment
from snapkit.postgres.copying.programs import Programs, find_programs
from snapkit.postgres.copying.progress import Cloning
from snapkit.services.copying.collation import with_collation
from snapkit.services.copying.estimate import estimate, estimate_by_files, method_for
from snapkit.services.outage.clients import Clients
from snapkit.services.outage.workers import check_workers
from snapkit.services.run.preconditions import check_empty_enough, check_rights
from snapkit.services.run.probe import Noted
from snapkit.services.run.survey import RunContext, need_live


class Choice(Enum):
    """Why this way of copying was taken; the values are for programs."""

    ASKED = "asked"
    """It was asked for by name."""
    FASTEST = "fastest"
    """It is the fastest safe way to clone here."""
    OUTAGE_EXPECTED = "outage_expected"
    """Going by earlier backups, a clone would have held clients longer than they may be."""
    OUTAGE_REACHED = "outage_reached"
    """A clone had to be given up, since it held clients as long as they may be."""


@dataclass(frozen=True, slots=True)
class CopyRequest:
    """How the source is to be copied, and what the backup is to note; ``strategy`` None lets snapkit choose.

    With ``stop_workers`` background workers are ended even if they would not come back by themselves. ``deploy`` is
    what is known of the deploy without looking into the source.
    """

    clients: Clients
    strategy: Strategy | None = None
    tablespace: str | None = None
    stop_workers: bool = False
    label: str | None = None
    pinned: bool = False
    deploy: Deploy | None = None


@dataclass(frozen=True, slots=True)
class Decision:
    """What is to be done. The ``way`` is an estimate for a clone, or the programs for a copy while clients work."""

    plan: BackupPlan
    moment: Moment
    """What the source was when this was decided."""
    way: Programs | Cloning
    choice: Choice
    workers: tuple[Worker, ...] = ()
    """The background workers that are inside."""

    def noting(self, noted: Noted) -> Decision:
        """Return it with what was found in the source, for the backup's document."""
        return replace(self, plan=self.plan.noting(noted.deploy, noted.activity))


def decide(context: RunContext, request: CopyRequest) -> Decision:
    """Make the plan; raise, before anything is changed, if it cannot be carried out.

    If the user named no strategy, and a clone would hold clients longer than they may be, it is copied while they work.
    """
    server, connection, facts = context.server, context.ddl, context.state.facts
    plan, moment, method = _plan(context, request)
    check_rights(connection, plan.clone.template)
    choice = Choice.FASTEST if request.strategy is None else Choice.ASKED
    if plan.clone.is_online:
        programs = find_programs(facts.version)
        with server.enter(server.source, facts.quiet) as inside, server_errors(NOTHING_CHANGED):
            check_copying(inside, facts)
        return Decision(plan, moment, programs, choice)
    try:
        way = estimate(context, plan.clone, method, request.clients.hold)
    except OutageLimitError as error:
        online = decide_online(context, request, error)
        return replace(online, choice=Choice.OUTAGE_EXPECTED)
    workers = check_workers(server, connection, plan.clone.template, stop=request.stop_workers)
    check_empty_enough(connection, [plan.clone.template], disconnect=request.clients.will_leave)
    return Decision(plan, moment, way, choice, workers)


def check_copying(inside: Connection, facts: ServerFacts) -> None:
    """Raise UsageError if a copy while clients work cannot be made of the database that ``inside`` is connected to."""
    from snapkit.services.copying.online.code_check import check_code  # which a clone has no use for
    from snapkit.services.copying.online.run import check_locks

    check_locks(inside, NOTHING_CHANGED)
    if facts.is_superuser:
        check_code(inside, NOTHING_CHANGED)


def decide_by_files(context: RunContext, request: CopyRequest, decided: Decision, files: int | None) -> Decision:
    """Decide again, as ``decide`` does, now that it is known how many files the source has."""
    if isinstance(decided.way, Programs):
        return decided
    try:
        way = estimate_by_files(context, decided.way, request.clients.hold, files)
    except OutageLimitError as error:
        online = decide_online(context, request, error)
        return replace(online, choice=Choice.OUTAGE_EXPECTED)
    return replace(decided, way=way)


def decide_online(context: RunContext, request: CopyRequest, error: OutageLimitError) -> Decision:
    """Decide to copy while clients work, since a clone would hold them too long.

    Raises ``error`` if that is impossible.
    """
    if request.strategy is not None:
        raise error
    try:
        return decide(context, replace(request, strategy=Strategy.ONLINE))
    except UsageError as missing:
        error.hint = f"It could be copied while clients work, but: {missing.message} {missing.hint or ''}".rstrip()
        raise error from missing


def _plan(context: RunContext, request: CopyRequest) -> tuple[BackupPlan, Moment, CopyMethod]:
    connection, source, facts = context.ddl, context.source, context.state.facts
    live = need_live(context.state, source)
    check_live(live)
    _check_tablespace(connection, request.tablespace)
    moves = request.tablespace not in (None, live.tablespace)
    method = method_for(connection, context.state, live, request.strategy, moves=moves)
    with server_errors(NOTHING_CHANGED):
        moment = read_moment(connection, live.oid, NOTHING_CHANGED)
        if moment is None or moment.database.name != source:
            raise another_database(source, NOTHING_CHANGED)
        live = moment.database
        locale = locale_of(connection, live.oid) if method.strategy is Strategy.ONLINE else None
    is_owners = live.owner_is_superuser or not facts.is_superuser
    plan = plan_backup(
        Template(live, moment.properties, comment=moment.comment, locale=locale),
        method,
        context.state.free_names,
        tablespace=request.tablespace,
        label=request.label,
        pinned=request.pinned,
        keeper=None if locale is None or is_owners else facts.role,
        may_checkpoint=facts.may_checkpoint,
        order=facts.order,
    )
    plan = replace(plan, clone=with_collation(connection, plan.clone))
    return plan.noting(request.deploy, None), moment, method


def _check_tablespace(connection: Connection, name: str | None) -> None:
    if name is None:
        return
    with server_errors(NOTHING_CHANGED):
        names = server_facts.tablespaces(connection)
    if name not in names:
        raise UsageError(
            f"There is no tablespace {name!r} that a database could be put into.",
            state=NOTHING_CHANGED,
            hint=f"The server has: {', '.join(names)}. Name one of them with --tablespace, or leave it out.",
        )
