"""Back up: clone the source to a partial name, then make the clone a backup in one transaction."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from time import monotonic

from snapkit.core.model import Caution, Entry, Kind, Observe, State, Strategy
from snapkit.core.naming import sequence_of
from snapkit.core.planning import (
    NOTHING_CHANGED,
    BackupPlan,
    ClonePlan,
    CopyMethod,
    check_live,
    choose_method,
    plan_backup,
)
from snapkit.core.results import BackupReceipt, ReplicaReceipt, WrittenStep
from snapkit.errors import SnapkitError
from snapkit.postgres import catalog
from snapkit.postgres.contents import locale_of
from snapkit.postgres.errors import server_errors
from snapkit.postgres.execution import commit, run
from snapkit.postgres.programs import Programs, find_programs
from snapkit.postgres.server import Connection, Server
from snapkit.services.cloning import (
    Cloned,
    discarded_on_failure,
    give_properties,
    make_clone,
    method_cautions,
    untouched,
)
from snapkit.services.common import (
    Gathered,
    Standing,
    address_of,
    check_empty_enough,
    check_rights,
    check_server,
    gather,
    interruptions,
    locked,
    need_live,
    written,
)
from snapkit.services.online import copy_online
from snapkit.services.outcome import bears_names
from snapkit.services.remains import sweep
from snapkit.services.replicas import Change, Replica, check_replicas, follow


@dataclass(frozen=True, slots=True)
class BackupRequest:
    """What the user asked for; ``strategy`` None is auto."""

    label: str | None = None
    pinned: bool = False
    strategy: Strategy | None = None
    tablespace: str | None = None
    disconnect: bool = True
    replicas: tuple[Replica, ...] = ()


def preview_backup(server: Server, request: BackupRequest) -> tuple[WrittenStep, ...]:
    """Return the steps that ``back_up`` would apply at this moment; nothing is changed and no lock is taken."""
    with server.connect() as connection:
        check_server(connection)
        gathered = gather(connection, server.source)
        plan, _ = _decide(connection, gathered, server.source, request)
        check_rights(connection, plan.clone.template)
        _check_way(connection, plan.clone, gathered, request)
        check_replicas(connection, request.replicas, None, disconnect=request.disconnect)
        return written(plan.steps)


def _decide(
    connection: Connection, gathered: Gathered, source: str, request: BackupRequest
) -> tuple[BackupPlan, CopyMethod]:
    live = need_live(gathered, source)
    check_live(live)
    method = choose_method(
        request.strategy,
        gathered.facts.version,
        gathered.facts.can_share_blocks,
        moves=request.tablespace not in (None, live.tablespace),
    )
    with server_errors(NOTHING_CHANGED):
        comment = catalog.comment_of(connection, live.oid)
        properties = catalog.read_properties(connection, live.oid)
        locale = locale_of(connection, live.oid) if method.strategy is Strategy.ONLINE else None
    plan = plan_backup(
        live,
        comment,
        properties,
        method,
        request.tablespace,
        request.label,
        request.pinned,
        gathered.facts.now,
        gathered.names,
        locale,
    )
    return plan, method


def back_up(server: Server, request: BackupRequest, lock_wait: timedelta, observe: Observe) -> BackupReceipt:
    """Make a backup of the server's source database; ``observe`` is told how far it is."""
    began = monotonic()
    replicas = _check_replicas(server, request)
    with locked(server, lock_wait, observe) as ddl:
        address = address_of(ddl)
        gathered = gather(ddl, server.source)
        plan, method = _decide(ddl, gathered, server.source, request)
        check_rights(ddl, plan.clone.template)
        programs = _check_way(ddl, plan.clone, gathered, request)
        with interruptions(untouched(plan.clone)) as standing, discarded_on_failure(server, plan.clone):
            cautions = method_cautions(request.strategy) + sweep(ddl, gathered.inventory, server.source)
            if programs is not None:
                cloned = copy_online(server, ddl, plan.clone, programs, observe)
            else:
                cloned = make_clone(
                    server, ddl, plan.clone, method, gathered, disconnect=request.disconnect, observe=observe
                )
            plan = plan.measured(cloned.source_bytes, cloned.duration)
            cautions += _finish(server, ddl, plan, cloned, standing)
    size, more = _measure(server, cloned.oid)
    replicas, behind = follow(request.replicas, replicas, Change("the backup", cloned.oid, plan.name), observe)
    return BackupReceipt(
        backup=_entry(plan, cloned.oid, size),
        address=address,
        outage=cloned.outage,
        duration=timedelta(seconds=monotonic() - began),
        disconnected=cloned.disconnected,
        replicas=replicas,
        cautions=cautions + more + behind,
    )


def _check_way(connection: Connection, clone: ClonePlan, gathered: Gathered, request: BackupRequest) -> Programs | None:
    """Raise, before anything is touched, if the copy cannot be made in its way; return the programs that it takes."""
    if clone.is_online:
        return find_programs(gathered.facts.version)
    check_empty_enough(connection, [clone.template], disconnect=request.disconnect)
    return None


def _finish(
    server: Server, ddl: Connection, plan: BackupPlan, cloned: Cloned, standing: Standing
) -> tuple[Caution, ...]:
    cautions: list[Caution] = []
    clone = plan.clone

    def work() -> None:
        cautions.extend(give_properties(ddl, clone.properties, cloned.oid, clone.name, plan.name, clone.fenced))
        run(ddl, *plan.finish)
        standing.perhaps_done()

    with server_errors(untouched(clone)):
        commit(
            ddl,
            work,
            lambda pid: bears_names(server, pid, {cloned.oid: plan.name}, "the backup"),
            standing.undone,
        )
    return tuple(cautions)


def _check_replicas(server: Server, request: BackupRequest) -> tuple[ReplicaReceipt, ...]:
    """Check the replicas, which may take long, before others have to wait for us."""
    if not request.replicas:
        return ()
    with server.connect() as connection:
        return check_replicas(connection, request.replicas, None, disconnect=request.disconnect)


def _measure(server: Server, oid: int) -> tuple[int | None, tuple[Caution, ...]]:
    """The size of the backup. It stands already: that it cannot be read is a caution, not a failure."""
    try:
        with server.connect() as connection, server_errors(""):
            return catalog.sizes(connection, [oid]).get(oid), ()
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
