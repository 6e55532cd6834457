"""Back up: copy the source under a temporary name, then make the copy a backup in one transaction."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from datetime import timedelta

from snapkit.core.client_session import ClientSession
from snapkit.core.comparison.lineage import Lineage
from snapkit.core.connection.endpoint import Address
from snapkit.core.copying.estimates import Forecast, many_files
from snapkit.core.deploy.deploy import Deploy
from snapkit.core.inventory.database import Database
from snapkit.core.inventory.entry import Entry
from snapkit.core.inventory.kinds import Kind, State, Strategy
from snapkit.core.inventory.naming import sequence_of
from snapkit.core.outage.hold_rules import Phase
from snapkit.core.outage.pooled_databases import PoolerReceipt
from snapkit.core.outage.standbys import ReplicaReceipt
from snapkit.core.outcome import Outcome
from snapkit.core.plans.backup import BackupPlan
from snapkit.core.plans.identity import AlteredMeanwhileError
from snapkit.core.plans.statements import WrittenStep
from snapkit.core.reporting import Caution, Observe
from snapkit.core.server.replication import not_in_a_backup
from snapkit.core.values import dataclass
from snapkit.errors import NOTHING_CHANGED, ConnectionFailedError, SnapkitError
from snapkit.postgres.catalog import databases
from snapkit.postgres.catalog.replication import replication_of
from snapkit.postgres.connection.server import Connection, Server
from snapkit.postgres.connection.sqlstates import server_errors
from snapkit.postgres.copying.gate import another_database
from snapkit.postgres.copying.programs import Programs
from snapkit.postgres.copying.progress import Cloning
from snapkit.postgres.sql.stall_watch import watching_for_stalls
from snapkit.services.copying.clone import CloneAbandonedError, Cloned, untouched
from snapkit.services.copying.collation import collation_cautions
from snapkit.services.copying.copy import Copied, copy_source
from snapkit.services.copying.decision import Choice, CopyRequest, Decision, decide, decide_by_files
from snapkit.services.copying.estimate import method_cautions
from snapkit.services.copying.extension_settings import set_from_inside
from snapkit.services.copying.login_rehearsal import rehearse
from snapkit.services.entries.finish import ATTEMPTS, finish_backup
from snapkit.services.entries.leftovers import discarded_on_failure, sweep
from snapkit.services.outage.clients import Clients, HeldClients, ReadyClients
from snapkit.services.outage.pool_checks import bracketed
from snapkit.services.outage.standbys import Change
from snapkit.services.outage.workers import await_workers
from snapkit.services.run.disk_room import room_cautions
from snapkit.services.run.interruption import InterruptionState, interruptions
from snapkit.services.run.lineage import lineages
from snapkit.services.run.preconditions import check_server
from snapkit.services.run.probe import count_files
from snapkit.services.run.source_lock import lock_on
from snapkit.services.run.stopwatch import Stopwatch
from snapkit.services.run.survey import RunContext, address_of, entry_cautions, gather, written


@dataclass(frozen=True, slots=True)
class BackupRequest:
    """What the user asked for.

    ``strategy`` None lets snapkit choose. ``deploy`` is what is known of the deploy without looking into the source.
    """

    label: str | None = None
    pinned: bool = False
    strategy: Strategy | None = None
    tablespace: str | None = None
    clients: Clients = Clients()
    deploy: Deploy | None = None
    claim: Callable[[Entry], None] | None = None
    """Called with the backup before any other run can get at it."""
    stop_workers: bool = False
    """Whether background workers are ended that will not come back by themselves."""

    @property
    def copy(self) -> CopyRequest:
        """How the source is to be copied, and what is to be noted of it."""
        return CopyRequest(
            self.clients, self.strategy, self.tablespace, self.stop_workers, self.label, self.pinned, self.deploy
        )


def preview_backup(server: Server, request: BackupRequest) -> BackupPreview:
    """Return what ``back_up`` would do at this moment; nothing is changed and no lock is taken."""
    with server.connect() as connection:
        check_server(connection)
        context = RunContext(server, connection, gather(connection, server.source))
        decided = decide(context, request.copy)
        request.clients.look_at_standbys(connection, None)
        if isinstance(decided.way, Cloning):
            files = count_files(server, connection, context.state.facts, decided.plan.clone.template)
            decided = decide_by_files(context, request.copy, decided, files)
        steps = written(decided.plan.steps)
        if isinstance(decided.way, Programs):
            return BackupPreview(steps, is_held=False)
        poolers = request.clients.look_at_poolers(connection, server.source)
        forecast, cautions = decided.way.forecast, tuple[Caution, ...]()
        if forecast is not None and not forecast.is_own:
            said = f"clients would be held for {forecast.text}"
            cautions = many_files(server.source, decided.way.extent, forecast.duration, said)
        return BackupPreview(
            bracketed(steps, poolers, len(steps) - 2), is_held=True, forecast=forecast, cautions=cautions
        )


def back_up(server: Server, request: BackupRequest, lock_wait: timedelta, observe: Observe) -> BackupReceipt:
    """Make a backup of the server's source database; ``observe`` is told how far it is."""
    watch = Stopwatch()
    clients = request.clients.ready_to_copy(server)
    with server.connect() as ddl:
        with lock_on(ddl, server.source, lock_wait, observe):
            address = address_of(ddl)
            context = RunContext(server, ddl, gather(ddl, server.source), observe)
            decided = decide(context, request.copy)
            with interruptions(untouched(decided.plan.clone)) as standing:
                state = context.state
                present = state.inventory.of_source(server.source)
                cautions = method_cautions(request.strategy) + entry_cautions(present, state.facts.now)
                cautions += collation_cautions(ddl, decided.plan.clone.template.oid, server.source, is_live=False)
                with server_errors(NOTHING_CHANGED):
                    cautions += not_in_a_backup(replication_of(ddl, [decided.plan.clone.template.oid]))
                cautions += _rehearse(server, ddl, decided, request)
                cautions += sweep(ddl, state.inventory, server.source)
                watch.lap("checks")
                copied = _make(context, decided, request.copy, clients, standing, watch=watch)
            plan, cloned, held, cautions = copied.plan, copied.cloned, copied.held, cautions + copied.cautions
            if request.claim is not None:
                request.claim(_entry(plan, cloned.oid, None))
        size, more = _measure(server, ddl, cloned.oid, plan.clone.template)
    replicas, behind = clients.follow(Change("the backup", cloned.oid, plan.name), observe)
    gone = await_workers(server, decided.workers, held.disconnected, plan.clone.template.oid, observe)
    watch.lap("afterwards")
    return BackupReceipt(
        backup=_entry(plan, cloned.oid, size),
        source_oid=plan.clone.template.oid,
        choice=copied.choice,
        address=address,
        copy=Copying(cloned.source_bytes, cloned.duration, cloned.blocks_shared, cloned.were_copied),
        outage=held.outage,
        phases=watch.phases,
        duration=watch.elapsed,
        disconnected=held.disconnected,
        replicas=replicas,
        poolers=held.poolers,
        interrupted=copied.interrupted,
        cautions=cautions + more + behind + gone,
    )


def _rehearse(server: Server, ddl: Connection, decided: Decision, request: BackupRequest) -> tuple[Caution, ...]:
    """Prove that sessions can begin with the settings that the backup will have.

    If they cannot, a guard makes no backup, since it could not be rolled back to. For all others that is a warning.
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
    context: RunContext,
    decided: Decision,
    request: CopyRequest,
    clients: ReadyClients,
    standing: InterruptionState,
    *,
    watch: Stopwatch,
) -> Copied:
    """Make the backup; if somebody alters the source meanwhile, plan anew, so that the backup is of one moment."""
    before = HeldClients()
    attempts_left = ATTEMPTS
    while True:
        rules = clients.rules
        if before.outage:
            rules = replace(rules, limit=rules.left(before.outage))
        try:
            copied = _make_once(context, decided, request, clients.under(rules), standing, watch=watch)
        except AlteredMeanwhileError as altered:
            attempts_left -= 1
            if not attempts_left:
                raise
            if isinstance(altered, CloneAbandonedError):
                watch.lap("clone", holds=True)
                before = HeldClients(altered.held, altered.disconnected).after(before)
            context = replace(context, state=gather(context.ddl, context.source))
            former, decided = decided, decide(context, request)
            if decided.moment.database.oid != former.moment.database.oid:
                raise another_database(context.source, untouched(decided.plan.clone)) from altered
        else:
            return replace(copied, held=copied.held.after(before))


def _make_once(
    context: RunContext,
    decided: Decision,
    request: CopyRequest,
    clients: ReadyClients,
    standing: InterruptionState,
    *,
    watch: Stopwatch,
) -> Copied:
    with discarded_on_failure(context.server, context.ddl, decided.plan.clone):
        copied = copy_source(context, decided, replace(request, clients=clients.asked), clients, watch)
        cloned = copied.cloned
        plan = copied.plan.as_of(cloned.moment).measured(cloned.source_bytes, cloned.duration, cloned.source_files)
        plan = plan.descending(_lineage(context, cloned))
        set_from_inside(context, context.source, plan.clone.properties, oid=cloned.oid, name=plan.clone.name)
        done = finish_backup(context, plan, cloned, standing)
        watch.lap("finish")
        cautions = copied.cautions + done.cautions
        return replace(copied, plan=done.plan, interrupted=done.interrupted, cautions=cautions)


def _lineage(context: RunContext, cloned: Cloned) -> Lineage | None:
    """Return where the copy comes from; None for one that is not the files of its source."""
    if cloned.boundary is None:
        return None
    source = lineages(context.ddl, context.state).of(cloned.moment.database.oid)
    return source.cloned(cloned.oid, cloned.boundary) if source is not None else None


def _measure(server: Server, ddl: Connection, oid: int, live: Database) -> tuple[int | None, tuple[Caution, ...]]:
    """Return the size of the backup, and a warning if another one would not fit.

    The backup is complete already: if its size cannot be read, that is a warning, not a failure. ``ddl`` is asked; if
    it was lost at the COMMIT, a new connection is.
    """
    try:
        with ExitStack() as stack:
            connection = stack.enter_context(server.connect()) if ddl.invalidated else ddl
            with watching_for_stalls(connection), server_errors(""):
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
    were_copied: bool = False
    """Whether snapkit had PostgreSQL copy the files, since blocks could not be shared."""

    @property
    def rate(self) -> float | None:
        """Bytes a second."""
        seconds = self.duration.total_seconds()
        return self.size / seconds if self.size is not None and seconds > 0 else None


@dataclass(frozen=True, slots=True)
class BackupPreview:
    """What a backup would do now.

    ``forecast`` is how long clients would be held; None if that cannot be estimated, or if nobody would be held.
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
