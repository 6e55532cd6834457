"""Roll back and undo: swap an entry, or a clone of it, with the live database in one transaction."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING

from snapkit.core.client_session import ClientSession
from snapkit.core.comparison.writes import Written
from snapkit.core.deploy.deploy import Checkout, MigrationState, other_code
from snapkit.core.inventory.database import Database
from snapkit.core.inventory.entry import Entry
from snapkit.core.inventory.kinds import Kind, State
from snapkit.core.inventory.naming import sequence_of
from snapkit.core.inventory.selection import latest_displaced, ready_backups
from snapkit.core.outage.hold_rules import Phase
from snapkit.core.outage.pooled_databases import PoolerReceipt
from snapkit.core.outage.standbys import ReplicaReceipt, Standby
from snapkit.core.outcome import Outcome
from snapkit.core.plans.clone import CopyMethod, Template, plan_clone
from snapkit.core.plans.reinstatement import Returning, was_backup
from snapkit.core.plans.statements import WrittenStep
from snapkit.core.plans.swap import SwapPlan, check_confirmed, is_to_be_kept, plan_swap
from snapkit.core.reporting import Caution, Observe
from snapkit.core.server.replication import stranded
from snapkit.core.values import dataclass
from snapkit.errors import NOTHING_CHANGED
from snapkit.postgres.catalog import databases
from snapkit.postgres.catalog.replication import replication_of
from snapkit.postgres.connection.server import Connection, Server
from snapkit.postgres.connection.sqlstates import server_errors
from snapkit.postgres.sql.entry_locks import Use, is_taken
from snapkit.postgres.sql.swap_script import swap_script
from snapkit.services.copying.collation import collation_cautions, with_collation
from snapkit.services.copying.estimate import method_for
from snapkit.services.copying.login_rehearsal import rehearse
from snapkit.services.copying.restore_properties import foretell_lack
from snapkit.services.entries.kept_clone import clone_to_swap_in, with_roles_as_named
from snapkit.services.entries.leftovers import discarded_on_failure, sweep_afterwards
from snapkit.services.entries.reinstatement import give_back_what_it_was
from snapkit.services.entries.seal import check_not_open, check_sealed, take_from_readers
from snapkit.services.entries.swap import swap_databases, unswapped
from snapkit.services.outage.clients import Clients
from snapkit.services.outage.pool_checks import bracketed
from snapkit.services.outage.standbys import Change, untold_standbys
from snapkit.services.outage.workers import await_workers, check_workers
from snapkit.services.run.interruption import interruptions
from snapkit.services.run.lineage import lineages
from snapkit.services.run.preconditions import check_empty_enough, check_rights, check_server
from snapkit.services.run.probe import look_at_live
from snapkit.services.run.retry import Persistence
from snapkit.services.run.source_lock import locked
from snapkit.services.run.stopwatch import Stopwatch
from snapkit.services.run.survey import RunContext, ServerState, chosen, entry_cautions, gather, need_known, written

if TYPE_CHECKING:
    from snapkit.core.carrying.carried import Carried
    from snapkit.services.carrying.carry import Carrying


@dataclass(frozen=True, slots=True)
class SwapRequest:
    """What is to be live. ``wanted`` None is the newest backup or, with ``undo``, what the last rollback put aside."""

    wanted: str | None = None
    undo: bool = False
    keep_backup: bool = False
    clients: Clients = Clients()
    code: Checkout | None = None
    """What is checked out where the command runs."""
    stop_workers: bool = False
    """Whether background workers are ended that will not come back by themselves."""
    own: int | None = None
    """The OID of a backup that this very run has made: it is wanted whatever owner the database has by now."""
    carry: Carrying | None = None
    """How late writes go along; None: they do not."""

    @property
    def keeps_backup(self) -> bool:
        """Whether a clone is swapped in. Late writes are told apart by what the backup has."""
        return self.keep_backup or self.carry is not None

    @property
    def command(self) -> str:
        """The command that asks for it."""
        return "guard" if self.own is not None else "undo" if self.undo else "rollback"


def decide_swap(server: Server, request: SwapRequest) -> SwapPlan:
    """Return the plan of what ``swap`` would do now; raises as it does, and changes nothing."""
    with server.connect() as connection:
        check_server(connection)
        plan, _ = _decide(connection, gather(connection, server.source), server.source, request)
        _check(connection, plan, disconnect=request.clients.will_leave)
        return plan


def preview_swap(server: Server, request: SwapRequest) -> SwapPreview:
    """Return what ``swap`` would do now, and who is connected; nothing is changed."""
    with server.connect() as connection:
        check_server(connection)
        gathered = gather(connection, server.source)
        plan, _ = _decide(connection, gathered, server.source, request)
        with server_errors(NOTHING_CHANGED):
            left = look_at_live(server, connection, gathered.facts, plan.live, plan.entry, migrations=True)
        check_workers(server, connection, plan.live, stop=request.stop_workers)
        sessions = _check(connection, plan, disconnect=request.clients.will_leave)
        replicas = request.clients.look_at_standbys(connection, plan.live)
        poolers = request.clients.look_at_poolers(connection, server.source)
        standbys = untold_standbys(connection, request.clients.standbys) if plan.live else ()
        with server_errors(NOTHING_CHANGED):
            lack = foretell_lack(connection, plan.entry, plan.live.oid if plan.live else None, plan.source)
            stranding = _stranded(connection, plan)
        lack += _rehearse(server, connection, plan, request)
        lack += collation_cautions(connection, plan.entry.database.oid, plan.source, is_live=True)
        steps = bracketed(written(plan.steps), poolers, -1)
        if request.carry is not None and plan.clone is not None:
            steps = request.carry.among(steps, plan.clone)
        return SwapPreview(
            plan=plan,
            backups_left=_backups_left(gathered, plan),
            steps=steps,
            now=gathered.facts.now,
            sessions=sessions,
            replicas=replicas,
            standbys=standbys,
            poolers=poolers,
            written_since=left.written_since,
            migrations_now=left.migrations,
            cautions=_entry_cautions(gathered, plan) + other_code(plan.entry.deploy, request.code) + lack + stranding,
        )


def script_of_swap(server: Server, request: SwapRequest) -> str:
    """Return a script with which psql does what ``swap`` would do now.

    Raises BusyError for an entry that is open: ``swap`` would seal it first, and a script cannot.
    """
    with server.connect() as connection:
        plan, _ = _decide(connection, gather(connection, server.source), server.source, request, check_sealed)
        return swap_script(plan)


def _decide(
    connection: Connection,
    gathered: ServerState,
    source: str,
    request: SwapRequest,
    ready: Callable[[Connection, Entry], Entry] = check_not_open,
) -> tuple[SwapPlan, CopyMethod | None]:
    """Choose the entry and make the plan; ``ready`` is given the entry, and raises if a shell has it open."""
    with server_errors(NOTHING_CHANGED):
        entry = ready(connection, _choose(gathered, source, request))
    facts, live = gathered.facts, gathered.live
    with server_errors(NOTHING_CHANGED):
        comment = databases.comment_of(connection, live.oid) if live else None
        clone = method = None
        if is_to_be_kept(entry, asked=request.keeps_backup):
            method = method_for(connection, gathered, entry.database)
            properties = databases.read_properties(connection, entry.database.oid)
            clone = plan_clone(Template(entry.database, properties), source, method, gathered.free_names)
            clone = with_collation(connection, clone)
        known = lineages(connection, gathered)
    plan = plan_swap(
        source, live, entry, clone, gathered.free_names, comment=comment, order=facts.order, lineages=known
    )
    return plan if request.carry is None else plan.noting_late(request.carry.boundary), method


def _backups_left(gathered: ServerState, plan: SwapPlan) -> int:
    """Return how many backups the source has when the plan was carried out."""
    used_up = plan.entry if plan.clone is None else None
    return ready_backups(gathered.inventory.of_source(plan.source), without=used_up)


def _choose(gathered: ServerState, source: str, request: SwapRequest) -> Entry:
    inventory = gathered.inventory
    entries = inventory.of_source(source)
    if request.own is None:
        need_known(gathered, source)
    if request.undo:
        return latest_displaced(entries, source, gathered.live)
    if request.own is not None:
        own = inventory.made_here(request.own, source)
        # It was promised as the way back, and is so still where somebody has altered it: told, but not refused.
        return replace(own, state=State.READY) if own.state is State.ALTERED else own
    if request.wanted is not None and (orphan := inventory.orphan(request.wanted, source)) is not None:
        return orphan
    return chosen(gathered, source, request.wanted)


def swap(
    server: Server,
    request: SwapRequest,
    lock_wait: timedelta,
    observe: Observe,
    *,
    confirmed: SwapPlan | None = None,
    persistence: Persistence | None = None,
) -> SwapReceipt:
    """Make an entry the live database, and put the live one aside.

    ``confirmed`` is the plan that the user agreed to: BusyError is raised if the databases are others by now. With
    ``persistence`` the server is asked for that long what became of a COMMIT that it did not answer.
    """
    watch = Stopwatch()
    clients = request.clients.ready_to_swap(server, observe)
    with locked(server, lock_wait, observe) as ddl:
        gathered = gather(ddl, server.source)
        context = RunContext(server, ddl, gathered, observe)
        plan, method = _decide(
            ddl, gathered, server.source, request, partial(take_from_readers, command=request.command)
        )
        if confirmed is not None:
            check_confirmed(plan, confirmed)
        with server_errors(NOTHING_CHANGED):
            left = look_at_live(server, ddl, gathered.facts, plan.live, plan.entry, migrations=False)
            stranding = _stranded(ddl, plan)
        workers = check_workers(server, ddl, plan.live, stop=request.stop_workers)
        _check(ddl, plan, disconnect=request.clients.will_leave)
        clients = clients.noting_unnamed(ddl) if plan.live else clients
        rehearsed = _rehearse(server, ddl, plan, request)
        if request.carry is not None:
            request.carry.begin(context)
        watch.lap("checks")
        with interruptions(unswapped(plan)) as standing, discarded_on_failure(server, ddl, plan.clone):
            restored_oid, cloned = plan.entry.database.oid, None
            cautions = rehearsed + collation_cautions(ddl, restored_oid, plan.source, is_live=True)
            if plan.clone is not None and method is not None:
                plan, cloned = clone_to_swap_in(context, plan, method, clients.rules)
                restored_oid = cloned.oid
                cautions += cloned.cautions
                watch.lap("clone")
                if request.carry is not None:
                    plan = request.carry.prepare(context, plan, restored_oid)
                    watch.lap("sequences")
            if plan.live is not None and clients.let_transactions_end(ddl, plan.live.oid, observe, unswapped(plan)):
                watch.lap("grace")
            plan = with_roles_as_named(ddl, plan, cloned)
            clients = clients.look_again(ddl, unswapped(plan))
            with clients.held(ddl, server.source, observe) as holding:
                swapped = swap_databases(context, plan, restored_oid, holding.hold, standing, persistence=persistence)
            watch.lap("swap", holds=True, leaving=holding.leaving + swapped.leaving)
        plan = swapped.plan
        returned = give_back_what_it_was(server, ddl, plan, swapped.nudges, gathered.names)
    displaced_oid = plan.live.oid if plan.live else None
    change = Change("the swap", restored_oid, plan.source, displaced_oid, disconnect=clients.rules.disconnect)
    replicas, more = clients.follow(change, observe)
    held = holding.ended(swapped.outage, swapped.disconnected)
    cautions += swapped.cautions + clients.rules.exceeded(held.outage) + held.cautions + more
    cautions += _entry_cautions(gathered, plan) + other_code(plan.entry.deploy, request.code)
    cautions += await_workers(server, workers, held.disconnected, restored_oid, observe, moved=True)
    cautions += stranding + sweep_afterwards(server, gathered.inventory, observe)
    watch.lap("afterwards")
    carried = None
    if request.carry is not None:
        carried = request.carry.bring(server, plan, restored_oid, lock_wait, observe)
        cautions += request.carry.cautions
        watch.lap("late writes")
    return SwapReceipt(
        source=plan.source,
        restored=plan.entry,
        restored_kept=plan.clone is not None,
        backups_left=_backups_left(gathered, plan) + (returned is not None and returned.metadata.kind is Kind.BACKUP),
        displaced=_displaced(plan, returned),
        was_backup=was_backup(plan),
        outage=held.outage,
        phases=watch.phases,
        duration=watch.elapsed,
        disconnected=held.disconnected,
        replicas=replicas,
        poolers=held.poolers,
        written_since=left.written_since,
        carried=carried,
        cautions=cautions,
    )


def _stranded(connection: Connection, plan: SwapPlan) -> tuple[Caution, ...]:
    """Warn of replication slots and subscriptions that stay with the displaced database, by its new name."""
    if plan.live is None or plan.displaced_name is None:
        return ()
    return stranded(replication_of(connection, [plan.live.oid]).renamed(plan.displaced_name), plan.source)


def _entry_cautions(gathered: ServerState, plan: SwapPlan) -> tuple[Caution, ...]:
    """Warn of wrong dates and of altered entries; an altered one that is swapped in is told as such."""
    others = [each for each in gathered.inventory.of_source(plan.source) if each.name != plan.entry.name]
    entry = plan.entry
    taken = Caution("altered", f"{entry.name} is not as it was sealed: it {entry.altered}. It was used anyway.")
    return entry_cautions([*others, entry], gathered.facts.now) + ((taken,) if entry.altered else ())


def _check(connection: Connection, plan: SwapPlan, *, disconnect: bool) -> tuple[ClientSession, ...]:
    """Check rights and sessions before anything is changed; return who is connected.

    Commands that read the entry do not count: they give way.
    """
    involved = [database for database in (plan.live, plan.entry.database) if database is not None]
    for database in involved:
        check_rights(connection, database)
    with server_errors(NOTHING_CHANGED):
        if is_taken(connection, plan.entry.database.oid, Use.READ):
            involved.remove(plan.entry.database)
    return check_empty_enough(connection, involved, disconnect=disconnect)


def _rehearse(server: Server, ddl: Connection, plan: SwapPlan, request: SwapRequest) -> tuple[Caution, ...]:
    """Prove that sessions can begin with the entry's settings; a guard did so when it made its backup."""
    if request.own is not None:
        return ()
    with server_errors(NOTHING_CHANGED):
        settings = databases.read_properties(ddl, plan.entry.database.oid).settings
        return rehearse(server, ddl, settings, plan.entry.name, NOTHING_CHANGED)


def _displaced(plan: SwapPlan, returned: Returning | None) -> Entry | None:
    if plan.live is None or plan.displaced_name is None:
        return None
    name, metadata = plan.displaced_name, plan.displaced_metadata
    if returned is not None:
        name, metadata = returned.name, returned.metadata
    database: Database = replace(plan.live, name=name, allow_connections=False, is_template=False, has_comment=True)
    return Entry(
        database=database,
        source=plan.source,
        kind=metadata.kind,
        state=State.READY,
        created_at=metadata.created_at,
        sequence=sequence_of(name),
        metadata=metadata,
    )


@dataclass(frozen=True, slots=True)
class SwapReceipt(Outcome):
    """A rollback or an undo that was made. ``restored`` is as it was before; ``displaced`` None if nothing was live.

    ``restored_kept``: a clone was swapped in, and the entry is still there. ``backups_left``: how many the source has
    now.
    """

    source: str
    restored: Entry
    restored_kept: bool
    backups_left: int
    displaced: Entry | None
    outage: timedelta
    phases: tuple[Phase, ...]
    duration: timedelta
    disconnected: tuple[ClientSession, ...]
    replicas: tuple[ReplicaReceipt, ...] = ()
    poolers: tuple[PoolerReceipt, ...] = ()
    written_since: Written | None = None
    was_backup: str | None = None
    """The name of the backup that was live until now, if the rollback to it was taken back."""
    carried: Carried | None = None
    """The late writes that went along; None if that was not asked for, or failed."""
    cautions: tuple[Caution, ...] = ()

    @property
    def changed(self) -> tuple[str, ...]:
        return (self.restored.name, *((self.displaced.name,) if self.displaced else ()))


@dataclass(frozen=True, slots=True)
class SwapPreview:
    """What a rollback or an undo would do, and on whom, at the moment of asking.

    ``backups_left`` is how many backups the source would have then. ``standbys`` are those whose sessions would go on
    reading the displaced database.
    """

    plan: SwapPlan
    backups_left: int
    steps: tuple[WrittenStep, ...]
    now: datetime
    sessions: tuple[ClientSession, ...]
    replicas: tuple[ReplicaReceipt, ...] = ()
    standbys: tuple[Standby, ...] = ()
    poolers: tuple[PoolerReceipt, ...] = ()
    written_since: Written | None = None
    """What the live database has that the backup has not; None where that is no question."""
    migrations_now: tuple[MigrationState, ...] = ()
    """How far migrations have come in the live database, as far as that could be read."""
    cautions: tuple[Caution, ...] = ()
