"""Back up: clone the source to a partial name, then make the clone a backup in one transaction."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from datetime import timedelta
from enum import Enum
from time import monotonic

from snapkit.core.client_session import ClientSession
from snapkit.core.connection.endpoint import Address
from snapkit.core.copying.estimates import Forecast, many_files
from snapkit.core.copying.moment import Moment
from snapkit.core.deploy.deploy import Deploy
from snapkit.core.durations import duration_text
from snapkit.core.inventory.database import Database, check_live
from snapkit.core.inventory.entry import Entry
from snapkit.core.inventory.kinds import Kind, State, Strategy
from snapkit.core.inventory.naming import sequence_of
from snapkit.core.inventory.selection import lenders
from snapkit.core.outage.hold_rules import DEFAULT_RULES, HoldRules, Phase
from snapkit.core.outage.pooled_databases import PoolerReceipt
from snapkit.core.outage.standbys import ReplicaReceipt
from snapkit.core.outage.workers import Worker
from snapkit.core.outcome import Outcome
from snapkit.core.plans.backup import BackupPlan, plan_backup
from snapkit.core.plans.clone import CopyMethod
from snapkit.core.plans.identity import AlteredMeanwhileError
from snapkit.core.plans.statements import WrittenStep
from snapkit.core.reporting import Caution, Observe, Progress
from snapkit.core.server.replication import not_in_a_backup
from snapkit.core.values import dataclass
from snapkit.errors import NOTHING_CHANGED, ConnectionFailedError, OutageLimitError, SnapkitError, UsageError
from snapkit.postgres.catalog import databases, server_facts
from snapkit.postgres.catalog.databases import locale_of
from snapkit.postgres.catalog.replication import replication_of
from snapkit.postgres.connection.server import Connection, Server
from snapkit.postgres.connection.sqlstates import server_errors
from snapkit.postgres.copying.gate import another_database
from snapkit.postgres.copying.moment import read_moment
from snapkit.postgres.copying.programs import Programs, find_programs
from snapkit.postgres.copying.progress import Cloning
from snapkit.postgres.outage.door import await_transactions
from snapkit.postgres.sql.execution import run
from snapkit.postgres.sql.stall_watch import overseen
from snapkit.services.copying.clone import (
    CloneAbandonedError,
    Cloned,
    CloneGivenUpError,
    altered_meanwhile,
    make_clone,
    untouched,
)
from snapkit.services.copying.collation import collation_cautions, with_collation
from snapkit.services.copying.estimate import estimate, estimate_by_files, method_cautions, method_for
from snapkit.services.copying.extension_settings import set_from_inside
from snapkit.services.copying.login_rehearsal import rehearse
from snapkit.services.copying.online.code_check import check_code
from snapkit.services.copying.online.run import check_locks, copy_online
from snapkit.services.entries.finish import ATTEMPTS, finish_backup
from snapkit.services.entries.leftovers import discarded_on_failure, sweep
from snapkit.services.outage.pause import Pause
from snapkit.services.outage.pool_checks import Pooler, bracketed, check_poolers
from snapkit.services.outage.pools import paused
from snapkit.services.outage.standbys import Change, Replica, check_replicas, follow
from snapkit.services.outage.workers import await_workers, check_workers
from snapkit.services.run.disk_room import room_cautions
from snapkit.services.run.interruption import InterruptionState, interruptions
from snapkit.services.run.preconditions import check_empty_enough, check_rights, check_server
from snapkit.services.run.probe import Noted, count_files, note_source
from snapkit.services.run.source_lock import lock_on
from snapkit.services.run.stopwatch import Stopwatch
from snapkit.services.run.survey import ServerState, address_of, entry_cautions, gather, need_live, written


@dataclass(frozen=True, slots=True)
class BackupRequest:
    """What the user asked for; ``strategy`` None is auto. ``deploy`` is what is known of it without the source."""

    label: str | None = None
    pinned: bool = False
    strategy: Strategy | None = None
    tablespace: str | None = None
    hold: HoldRules = DEFAULT_RULES
    replicas: tuple[Replica, ...] = ()
    poolers: tuple[Pooler, ...] = ()
    deploy: Deploy | None = None
    claim: Callable[[Entry], None] | None = None
    """Called with the backup before any other run can get at it."""
    stop_workers: bool = False
    """Whether background workers are ended that will not come back by themselves."""


def preview_backup(server: Server, request: BackupRequest) -> BackupPreview:
    """Return what ``back_up`` would do at this moment; nothing is changed and no lock is taken."""
    with server.connect() as connection:
        check_server(connection)
        gathered = gather(connection, server.source)
        decided = _decide(server, connection, gathered, request)
        check_replicas(connection, request.replicas, None, disconnect=request.hold.disconnect)
        if isinstance(decided.way, Cloning):
            files = count_files(server, connection, gathered.facts, decided.plan.clone.template)
            decided = _decide_by_files(server, connection, gathered, request, decided, files)
        steps = written(decided.plan.steps)
        if isinstance(decided.way, Programs):
            return BackupPreview(steps, is_held=False)
        poolers = check_poolers(connection, request.poolers, server.source)
        forecast, cautions = decided.way.forecast, tuple[Caution, ...]()
        if forecast is not None and not forecast.is_own:
            said = f"clients would be held for {forecast.text}"
            cautions = many_files(server.source, decided.way.extent, forecast.duration, said)
        return BackupPreview(
            bracketed(steps, poolers, len(steps) - 2), is_held=True, forecast=forecast, cautions=cautions
        )


@dataclass(frozen=True, slots=True)
class _Decision:
    """What is to be done, and what is needed for it: programs for a copy while clients work, else what is foreseen."""

    plan: BackupPlan
    moment: Moment
    """What the source was when this was decided."""
    way: Programs | Cloning
    choice: Choice
    workers: tuple[Worker, ...] = ()
    """The background workers that are inside."""

    def noting(self, noted: Noted) -> _Decision:
        """Return it with what a look into the source has found, for the backup's document."""
        return replace(self, plan=self.plan.noting(noted.deploy, noted.activity))


def _decide(server: Server, connection: Connection, gathered: ServerState, request: BackupRequest) -> _Decision:
    """Plan, and raise, before anything is touched, if it cannot be done.

    Where nobody said how, and a clone would hold clients longer than they may be, it is copied while they work.
    """
    plan, moment, method = _plan(connection, gathered, server.source, request)
    check_rights(connection, plan.clone.template)
    choice = Choice.FASTEST if request.strategy is None else Choice.ASKED
    if plan.clone.is_online:
        programs = find_programs(gathered.facts.version)
        with server.look_into_source(gathered.facts.quiet) as inside, server_errors(NOTHING_CHANGED):
            check_locks(inside, NOTHING_CHANGED)
            if gathered.facts.is_superuser:
                check_code(inside, NOTHING_CHANGED)
        return _Decision(plan, moment, programs, choice)
    try:
        way = estimate(connection, plan.clone, server.source, method, gathered, request.hold)
    except OutageLimitError as error:
        online = _decide_online(server, connection, gathered, request, error)
        return replace(online, choice=Choice.OUTAGE_EXPECTED)
    workers = check_workers(server, connection, plan.clone.template, stop=request.stop_workers)
    sends_away = request.hold.disconnect or bool(request.poolers)  # what comes through a pool leaves with its pause
    check_empty_enough(connection, [plan.clone.template], disconnect=sends_away)
    return _Decision(plan, moment, way, choice, workers)


def _decide_by_files(
    server: Server,
    connection: Connection,
    gathered: ServerState,
    request: BackupRequest,
    decided: _Decision,
    files: int | None,
) -> _Decision:
    """Decide again, as ``_decide`` does, now that the number of the source's files is known."""
    if isinstance(decided.way, Programs):
        return decided
    try:
        way = estimate_by_files(decided.way, server.source, gathered, request.hold, files)
    except OutageLimitError as error:
        online = _decide_online(server, connection, gathered, request, error)
        return replace(online, choice=Choice.OUTAGE_EXPECTED)
    return replace(decided, way=way)


def _decide_online(
    server: Server, connection: Connection, gathered: ServerState, request: BackupRequest, error: OutageLimitError
) -> _Decision:
    """Decide to copy while clients work, since a clone would hold them too long; raise ``error`` if that cannot be."""
    if request.strategy is not None:
        raise error
    try:
        return _decide(server, connection, gathered, replace(request, strategy=Strategy.ONLINE))
    except UsageError as missing:
        error.hint = f"It could be copied while clients work, but: {missing.message} {missing.hint or ''}".rstrip()
        raise error from missing


def _plan(
    connection: Connection, gathered: ServerState, source: str, request: BackupRequest
) -> tuple[BackupPlan, Moment, CopyMethod]:
    live = need_live(gathered, source)
    check_live(live)
    _check_tablespace(connection, request.tablespace)
    moves = request.tablespace not in (None, live.tablespace)
    method = method_for(connection, gathered, live, request.strategy, moves=moves)
    with server_errors(NOTHING_CHANGED):
        moment = read_moment(connection, live.oid, NOTHING_CHANGED)
        if moment is None or moment.database.name != source:
            raise another_database(source, NOTHING_CHANGED)
        live = moment.database
        locale = locale_of(connection, live.oid) if method.strategy is Strategy.ONLINE else None
    is_owners = live.owner_is_superuser or not gathered.facts.is_superuser
    plan = plan_backup(
        live,
        moment.comment,
        moment.properties,
        method,
        request.tablespace,
        request.label,
        request.pinned,
        gathered.facts.now,
        gathered.names,
        locale,
        None if locale is None or is_owners else gathered.facts.role,
        may_checkpoint=gathered.facts.may_checkpoint,
        order=gathered.facts.order,
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


def back_up(server: Server, request: BackupRequest, lock_wait: timedelta, observe: Observe) -> BackupReceipt:
    """Make a backup of the server's source database; ``observe`` is told how far it is."""
    watch = Stopwatch()
    replicas = _ready(server, request)
    with server.connect() as ddl:
        with lock_on(ddl, server.source, lock_wait, observe):
            address = address_of(ddl)
            gathered = gather(ddl, server.source)
            decided = _decide(server, ddl, gathered, request)
            with interruptions(untouched(decided.plan.clone)) as standing:
                present = gathered.inventory.of_source(server.source)
                cautions = method_cautions(request.strategy) + entry_cautions(present, gathered.facts.now)
                cautions += collation_cautions(ddl, decided.plan.clone.template.oid, server.source, is_live=False)
                with server_errors(NOTHING_CHANGED):
                    cautions += not_in_a_backup(replication_of(ddl, [decided.plan.clone.template.oid]))
                cautions += _rehearse(server, ddl, decided, request)
                cautions += sweep(ddl, gathered.inventory, server.source)
                watch.lap("checks")
                copied = _make(server, ddl, gathered, decided, request, watch, observe, standing)
            plan, cloned, cautions = copied.plan, copied.cloned, cautions + copied.cautions
            if request.claim is not None:
                request.claim(_entry(plan, cloned.oid, None))
        size, more = _measure(server, ddl, cloned.oid, plan.clone.template)
    replicas, behind = follow(request.replicas, replicas, Change("the backup", cloned.oid, plan.name), observe)
    gone = await_workers(server, decided.workers, cloned.disconnected, plan.clone.template.oid, observe)
    watch.lap("afterwards")
    return BackupReceipt(
        backup=_entry(plan, cloned.oid, size),
        source_oid=plan.clone.template.oid,
        choice=copied.choice,
        address=address,
        copy=Copying(cloned.source_bytes, cloned.duration, cloned.blocks_shared),
        outage=copied.outage,
        phases=watch.phases,
        duration=watch.elapsed,
        disconnected=cloned.disconnected,
        replicas=replicas,
        poolers=copied.poolers,
        interrupted=copied.interrupted,
        cautions=cautions + more + behind + gone,
    )


def _ready(server: Server, request: BackupRequest) -> tuple[ReplicaReceipt, ...]:
    """Look at replicas and poolers, which may take long, before others have to wait for us."""
    if not request.replicas and not request.poolers:
        return ()
    with server.connect() as connection:
        check_poolers(connection, request.poolers, server.source)
        return check_replicas(connection, request.replicas, None, disconnect=request.hold.disconnect)


@dataclass(frozen=True, slots=True)
class _Copied:
    """A copy that stands, by the plan that was followed in the end, and how long clients were held for it."""

    plan: BackupPlan
    choice: Choice
    cloned: Cloned
    outage: timedelta
    poolers: tuple[PoolerReceipt, ...] = ()
    interrupted: bool = False
    cautions: tuple[Caution, ...] = ()


def _rehearse(server: Server, ddl: Connection, decided: _Decision, request: BackupRequest) -> tuple[Caution, ...]:
    """Prove that sessions can begin with what the backup will have set.

    Where the backup is a guard's way back, it is not made if they cannot; else that is a warning.
    """
    clone = decided.plan.clone
    try:
        with server_errors(NOTHING_CHANGED):
            return rehearse(server, ddl, clone.properties.settings, clone.template.name, NOTHING_CHANGED)
    except ConnectionFailedError:
        raise
    except SnapkitError as error:
        if request.claim is not None:
            raise
        return (Caution("nobody_gets_in", f"{error.message} {error.hint}"),)


def _make(
    server: Server,
    ddl: Connection,
    gathered: ServerState,
    decided: _Decision,
    request: BackupRequest,
    watch: Stopwatch,
    observe: Observe,
    standing: InterruptionState,
) -> _Copied:
    """Make the backup; plan it anew where the source was altered so that it would not be one of one moment."""
    held, disconnected = timedelta(0), tuple[ClientSession, ...]()
    attempts_left = ATTEMPTS
    while True:
        rules = replace(request.hold, limit=request.hold.left(held)) if held else request.hold
        asked = replace(request, hold=rules)
        try:
            copied = _make_once(server, ddl, gathered, decided, asked, watch, observe, standing)
        except AlteredMeanwhileError as altered:
            attempts_left -= 1
            if not attempts_left:
                raise
            if isinstance(altered, CloneAbandonedError):
                watch.lap("clone", holds=True)
                held, disconnected = held + altered.held, (*disconnected, *altered.disconnected)
            gathered = gather(ddl, server.source)
            before, decided = decided, _decide(server, ddl, gathered, request)
            if decided.moment.database.oid != before.moment.database.oid:
                raise another_database(server.source, untouched(decided.plan.clone)) from altered
        else:
            cloned = replace(copied.cloned, disconnected=(*disconnected, *copied.cloned.disconnected))
            return replace(copied, cloned=cloned, outage=held + copied.outage)


def _make_once(
    server: Server,
    ddl: Connection,
    gathered: ServerState,
    decided: _Decision,
    request: BackupRequest,
    watch: Stopwatch,
    observe: Observe,
    standing: InterruptionState,
) -> _Copied:
    with discarded_on_failure(server, ddl, decided.plan.clone):
        copied = _copy(server, ddl, gathered, decided, request, watch, observe)
        cloned = copied.cloned
        plan = copied.plan.as_of(cloned.moment).measured(cloned.source_bytes, cloned.duration, cloned.source_files)
        properties, name = plan.clone.properties, plan.clone.name
        set_from_inside(server, ddl, gathered.facts, server.source, properties, cloned.oid, name)
        done = finish_backup(server, ddl, plan, cloned, standing, observe)
        watch.lap("finish")
        cautions = copied.cautions + done.cautions
        return replace(copied, plan=done.plan, interrupted=done.interrupted, cautions=cautions)


def _copy(
    server: Server,
    ddl: Connection,
    gathered: ServerState,
    decided: _Decision,
    request: BackupRequest,
    watch: Stopwatch,
    observe: Observe,
) -> _Copied:
    """Make the copy in the way that was decided on or, where a clone has to be given up, while clients work."""
    plan, way = decided.plan, decided.way
    if isinstance(way, Programs):
        noted = _note(server, ddl, gathered.facts, plan, request)
        return _copy_online(server, ddl, decided.noting(noted), way, watch, observe)
    _write_checkpoint(ddl, plan, watch, observe)
    noted = _note(server, ddl, gathered.facts, plan, request)
    decided = _decide_by_files(server, ddl, gathered, request, decided, noted.files).noting(noted)
    plan, way = decided.plan, decided.way
    if isinstance(way, Programs):
        return _copy_online(server, ddl, decided, way, watch, observe)
    _let_transactions_end(ddl, plan, request.hold, watch, observe)
    pause = Pause()
    try:
        with paused(request.poolers, ddl, server.source, observe, request.hold) as pause:
            hold, state = pause.hold(request.hold), untouched(plan.clone)
            cloned = make_clone(
                server,
                ddl,
                plan.clone,
                way,
                gathered,
                hold,
                observe,
                state,
                decided.moment,
                check=lambda moment: _check_moment(plan, moment),
                lenders=lenders(gathered.inventory.of_source(server.source)),
            )
    except CloneGivenUpError as error:
        watch.lap("clone", holds=True)
        other = _decide_online(server, ddl, gathered, request, error)
        if not isinstance(other.way, Programs):
            raise
        copied = _copy_online(server, ddl, other.noting(noted), other.way, watch, observe)
        held = pause.outage(error.held)
        given_up = Caution(
            "clone_given_up",
            f"A clone was given up after {duration_text(held)}, for which clients were held; the database was copied "
            "while they work.",
        )
        return replace(
            copied,
            choice=Choice.OUTAGE_REACHED,
            cloned=replace(copied.cloned, disconnected=error.disconnected),
            outage=held,
            poolers=pause.poolers,
            cautions=(*pause.cautions, given_up, *copied.cautions),
        )
    watch.lap("clone", holds=True, leaving=pause.leaving + cloned.leaving)
    outage = pause.outage(cloned.outage)
    cautions = request.hold.exceeded(outage) + pause.cautions + cloned.cautions
    cautions += _files_told(server.source, way, cloned)
    if cloned.was_refused:
        plan = plan.not_sharing()
    return _Copied(plan, decided.choice, cloned, outage, pause.poolers, cautions=cautions)


def _files_told(source: str, way: Cloning, cloned: Cloned) -> tuple[Caution, ...]:
    """Warn of a clone that took long by the number of files, where no earlier backup could have told that."""
    if way.forecast is not None and way.forecast.is_own:
        return ()
    extent = replace(way.extent, shares=way.extent.shares and cloned.blocks_shared is not False)
    return many_files(source, extent, cloned.duration, f"clients were held for {duration_text(cloned.duration)}")


def _check_moment(plan: BackupPlan, moment: Moment) -> None:
    """Raise for another owner than the one to whom the clone is to be given: rights and plan go by that.

    And for a comment that is too long to be kept.
    """
    plan.as_of(moment)
    if moment.properties.owner != plan.clone.properties.owner:
        raise altered_meanwhile(plan.clone.template.name, untouched(plan.clone))


def _copy_online(
    server: Server, ddl: Connection, decided: _Decision, programs: Programs, watch: Stopwatch, observe: Observe
) -> _Copied:
    plan = decided.plan
    cloned = copy_online(server, ddl, plan.clone, programs, observe, lambda moment: _check_moment(plan, moment))
    watch.lap("copy")
    return _Copied(plan, decided.choice, cloned, cloned.outage, cautions=cloned.cautions)


_SHORT = timedelta(seconds=1)


def _note(
    server: Server, ddl: Connection, facts: server_facts.ServerFacts, plan: BackupPlan, request: BackupRequest
) -> Noted:
    """Look at the source as late as that can be before clients are held, and with no session of ours left inside."""
    with server_errors(untouched(plan.clone)):
        return note_source(server, ddl, facts, plan.clone.template, request.deploy)


def _write_checkpoint(ddl: Connection, plan: BackupPlan, watch: Stopwatch, observe: Observe) -> None:
    """Make the checkpoint with which PostgreSQL begins a clone a short one."""
    if not plan.before:
        return
    with server_errors(untouched(plan.clone)):
        began = monotonic()
        observe(Progress("Writing a checkpoint", timedelta(0)))
        run(ddl, *plan.before)
        if monotonic() - began > _SHORT.total_seconds():
            run(ddl, *plan.before)  # what was written to meanwhile
        watch.lap("checkpoint")


def _let_transactions_end(
    ddl: Connection, plan: BackupPlan, rules: HoldRules, watch: Stopwatch, observe: Observe
) -> None:
    """Spend beforehand what PostgreSQL has no patience for while clients are held."""
    if not rules.grace_before:
        return
    with server_errors(untouched(plan.clone)):
        observe(Progress("Letting transactions end", timedelta(0)))
        await_transactions(ddl, [plan.clone.template.oid], rules)
        watch.lap("grace")


def _measure(server: Server, ddl: Connection, oid: int, live: Database) -> tuple[int | None, tuple[Caution, ...]]:
    """The size of the backup, and a warning where another one would have no room.

    The backup stands already: that its size cannot be read is a caution, not a failure.

    ``ddl`` is asked, or who takes its place where it was lost at the COMMIT.
    """
    try:
        with ExitStack() as stack:
            connection = stack.enter_context(server.connect()) if ddl.invalidated else ddl
            with overseen(connection), server_errors(""):
                size = databases.sizes(connection, [oid]).get(oid)
                return size, room_cautions(connection, live, size)
    except (SnapkitError, KeyboardInterrupt):
        return None, (Caution("size_unknown", "The backup is complete, but its size could not be read."),)


def _entry(plan: BackupPlan, oid: int, size: int | None) -> Entry:
    database = replace(
        plan.clone.template, oid=oid, name=plan.name, allow_connections=False, is_template=False, has_comment=True
    )
    return Entry(
        database=database,
        source=plan.metadata.source,
        kind=Kind.BACKUP,
        state=State.READY,
        created_at=plan.metadata.created_at,
        sequence=sequence_of(plan.name),
        metadata=plan.metadata,
        size_bytes=size,
    )


@dataclass(frozen=True, slots=True)
class Copying:
    """How much was copied, how long that took, and whether the file system shared blocks, as far as that tells."""

    size: int | None
    duration: timedelta
    blocks_shared: bool | None = None

    @property
    def rate(self) -> float | None:
        """Bytes a second."""
        seconds = self.duration.total_seconds()
        return self.size / seconds if self.size is not None and seconds > 0 else None


class Choice(Enum):
    """Why a copy was made in the way in which it was; the value is for programs."""

    ASKED = "asked"
    """It was asked for by name."""
    FASTEST = "fastest"
    """It is the fastest safe way to clone here."""
    OUTAGE_EXPECTED = "outage_expected"
    """Going by earlier backups, a clone would have held clients longer than they may be."""
    OUTAGE_REACHED = "outage_reached"
    """A clone had to be given up, since it held clients as long as they may be."""


@dataclass(frozen=True, slots=True)
class BackupPreview:
    """What a backup would do at the moment of asking.

    ``forecast`` is how long clients would be held, None where nothing tells that, and where nobody ``is_held``.
    """

    steps: tuple[WrittenStep, ...]
    is_held: bool
    forecast: Forecast | None = None
    cautions: tuple[Caution, ...] = ()


@dataclass(frozen=True, slots=True)
class BackupReceipt(Outcome):
    """A backup that was made. ``outage`` is how long new clients had to wait."""

    backup: Entry
    source_oid: int
    """Of the database that was backed up."""
    choice: Choice
    address: Address
    copy: Copying
    outage: timedelta
    phases: tuple[Phase, ...]
    duration: timedelta
    disconnected: tuple[ClientSession, ...]
    replicas: tuple[ReplicaReceipt, ...] = ()
    poolers: tuple[PoolerReceipt, ...] = ()
    interrupted: bool = False
    """Whether the run was told to end when the backup could no longer be undone."""
    cautions: tuple[Caution, ...] = ()

    @property
    def changed(self) -> tuple[str, ...]:
        return (self.backup.name,)
