"""Check the standbys that the user named, before anything is changed; and wait for them after a swap.

A swap does not disturb a session on a streaming standby: the session goes on reading the displaced database, under its
new name, until it is ended. https://www.postgresql.org/docs/current/hot-standby.html
"""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from time import monotonic

from snapkit.core.checks.in_the_way import sessions_busy
from snapkit.core.client_session import ClientSession
from snapkit.core.inventory.database import Database
from snapkit.core.outage.standbys import ReplicaReceipt, Standby, listed_standbys
from snapkit.core.reporting import Caution, Observe, Progress
from snapkit.core.values import dataclass
from snapkit.errors import NOTHING_CHANGED, BusyError, ConnectionFailedError, SnapkitError, UsageError
from snapkit.postgres.catalog import databases, server_facts
from snapkit.postgres.catalog import sessions as catalog_sessions
from snapkit.postgres.connection.conninfo import target_of_replica
from snapkit.postgres.connection.server import Connection, Server
from snapkit.postgres.connection.sqlstates import SERVER_ERRORS, server_errors
from snapkit.postgres.outage import eviction
from snapkit.processes.deadline import Deadline
from snapkit.services.run.preconditions import check_may_end
from snapkit.services.run.survey import address_of

PATIENCE = timedelta(seconds=30)
"""How long a standby may take to replay a change."""

ENDING = timedelta(seconds=10)
"""How long the sessions there may take to be gone."""

_CONNECT_TIMEOUT = "5"
_PAUSE = 0.05
_ATTEMPTS = 3
_BETWEEN_ATTEMPTS = 1.0


@dataclass(frozen=True, slots=True)
class Replica:
    """A standby that the user named; ``place`` is where it is, for messages."""

    place: str
    server: Server
    cautions: tuple[Caution, ...] = ()


@dataclass(frozen=True, slots=True)
class Change:
    """What a standby replays: the database ``oid`` gets ``name``; ``displaced_oid``, if there is one, is sealed."""

    what: str
    oid: int
    name: str
    displaced_oid: int | None = None
    disconnect: bool = True


def replicas_of(urls: Sequence[str], source: str, maintenance_db: str | None) -> tuple[Replica, ...]:
    """Return the standbys of the URLs; nothing is connected yet. Raises UsageError, as ``target_of`` does."""
    replicas = []
    for number, url in enumerate(urls, 1):
        try:
            target = target_of_replica(url, source)
        except UsageError as error:
            error.message = f"Replica URL {number} of {len(urls)}: {error.message}"
            raise
        if "connect_timeout" not in target.parameters:  # libpq's own is over two minutes, and clients may be waiting
            target = dataclasses.replace(target, parameters={**target.parameters, "connect_timeout": _CONNECT_TIMEOUT})
        replicas.append(Replica(target.place, Server(target, maintenance_db), target.cautions))
    return tuple(replicas)


def untold_standbys(connection: Connection, replicas: Sequence[Replica]) -> tuple[Standby, ...]:
    """Return the server's standbys, if it has more than the user named. Which of them were named cannot be told."""
    with server_errors(NOTHING_CHANGED):
        standbys = server_facts.standbys(connection)
    return tuple(standbys) if len(standbys) > len(replicas) else ()


def untold_caution(standbys: Sequence[Standby], told: int, displaced_oid: int | None) -> tuple[Caution, ...]:
    """Warn, after a swap, of sessions on standbys that the user has not named."""
    if not standbys or displaced_oid is None:
        return ()
    told_of = f"; --replica-url named {told} of them" if told else ""
    return (
        Caution(
            "standbys_not_told",
            f"{listed_standbys(standbys)}{told_of}. Sessions there go on reading the displaced database until "
            f"they reconnect. To end them, run there: {_statement(displaced_oid)} Next time, name each standby "
            "with --replica-url.",
        ),
    )


# --- before -----------------------------------------------------------------------------------------------------------


def check_replicas(
    connection: Connection, replicas: Sequence[Replica], occupied: Database | None, *, disconnect: bool
) -> tuple[ReplicaReceipt, ...]:
    """Return where each standby is, and who is inside ``occupied`` there.

    Raises UsageError for a server that is no standby, or another server's; ConnectionFailedError for one that cannot be
    reached; BusyError and PrivilegeError for sessions there, as ``check_empty_enough`` does on the primary.
    """
    if not replicas:
        return ()
    with server_errors(NOTHING_CHANGED):
        identifier = server_facts.system_identifier(connection)
    return tuple(_check(replica, identifier, occupied, disconnect=disconnect) for replica in replicas)


def _check(replica: Replica, identifier: int | None, occupied: Database | None, *, disconnect: bool) -> ReplicaReceipt:
    with _reached(replica) as connection, server_errors(NOTHING_CHANGED):
        _check_kinship(connection, identifier)
        sessions = catalog_sessions.sessions_inside(connection, [occupied.oid]) if occupied else []
        if sessions and not disconnect:
            raise sessions_busy(sessions, NOTHING_CHANGED)
        check_may_end(connection, sessions, NOTHING_CHANGED)
        address = address_of(connection)
        return ReplicaReceipt(address.host, address.port, tuple(sessions))


@contextmanager
def _reached(replica: Replica) -> Iterator[Connection]:
    """Connect to a standby; errors name it."""
    try:
        with replica.server.connect() as connection:
            yield connection
    except SnapkitError as error:
        error.message = f"Standby {replica.place}: {error.message}"
        if isinstance(error, ConnectionFailedError):
            error.hint = " ".join(filter(None, (error.hint, "To go on without it, leave out its --replica-url.")))
        raise


def _check_kinship(connection: Connection, identifier: int | None) -> None:
    """Raise UsageError if this is not a standby of the server with this system identifier.

    If a role may not read the identifier, nothing is compared. That does no harm: on a standby nothing is done before
    it has replayed this very swap.
    """
    footing = server_facts.footing(connection)
    if footing.behind_pooler:
        raise UsageError(
            "the connection goes through a pooler, behind which there may be several servers.",
            state=NOTHING_CHANGED,
            hint="Name the standby itself with --replica-url.",
        )
    if not footing.is_standby:
        raise UsageError(
            "this server is not a standby: it accepts writes.",
            state=NOTHING_CHANGED,
            hint="--replica-url names a streaming standby of the server that DATABASE_URL or --url names.",
        )
    own = server_facts.system_identifier(connection)
    if None not in (own, identifier) and own != identifier:
        raise UsageError(
            f"this is a standby of another server: its system identifier is {own}, not {identifier}.",
            state=NOTHING_CHANGED,
            hint="--replica-url names a streaming standby of the server that DATABASE_URL or --url names.",
        )


def check_still_standby(connection: Connection, replica: Replica, state: str) -> None:
    """Raise BusyError if a standby was promoted since it was checked, and ConnectionFailedError if it cannot be asked.

    ``connection`` is the working one, which is kept awake.
    """
    with server_errors(state):
        catalog_sessions.keep_awake(connection)
    try:
        with _reached(replica) as there, server_errors(state):
            is_standby = server_facts.footing(there).is_standby
    except SnapkitError as error:
        error.state = state
        raise
    if not is_standby:
        raise BusyError(
            f"Standby {replica.place} has just been promoted: it accepts writes of its own, and would not get "
            "the rollback.",
            state=state,
            hint="Decide which server your clients should use. If it is this one, leave out that --replica-url. "
            "If it is the other one, name it with DATABASE_URL or --url.",
        )


def left_out_replica(replica: Replica, error: SnapkitError, displaced_oid: int | None) -> Caution:
    """Warn that a swap went without a standby."""
    text = error.message.removeprefix(f"Standby {replica.place}: ").rstrip(".")
    return Caution(
        "replica_left_out",
        f"Standby {replica.place} was left out, because the rollback does not wait for it any longer: {text}. "
        "Sessions there may go on reading the displaced database until they "
        f"reconnect.{_remedy_of(displaced_oid)}",
    )


# --- after ------------------------------------------------------------------------------------------------------------


@dataclasses.dataclass
class _Log:
    """How far a standby is; written by the thread that follows it."""

    arrived: bool = False
    promoted: bool = False
    done: bool = False
    paused: bool = False
    disconnected: dict[int, ClientSession] = dataclasses.field(default_factory=dict)
    remaining: tuple[ClientSession, ...] = ()
    problem: Exception | None = None


def follow(
    replicas: Sequence[Replica], receipts: Sequence[ReplicaReceipt], change: Change, observe: Observe
) -> tuple[tuple[ReplicaReceipt, ...], tuple[Caution, ...]]:
    """Wait until each standby has replayed a committed change, and end the sessions in the displaced database there.

    Returns the receipts, with the sessions that were ended. Nothing is raised, not even for Ctrl-C: the change is made,
    and what failed comes back as warnings. It takes at most ``PATIENCE`` and ``ENDING`` together.
    """
    if not replicas:
        return (), ()
    began = monotonic()
    stopped = threading.Event()
    logs = [_Log() for _ in replicas]
    # Each in a thread: one that is slow must not keep stale sessions alive on another.
    threads = [
        threading.Thread(target=_follow, args=(replica, change, log, stopped), daemon=True)
        for replica, log in zip(replicas, logs, strict=True)
    ]
    limit = Deadline(PATIENCE + ENDING)
    try:
        observe(Progress("Waiting for the standbys", timedelta(0)))
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(limit.left)
    except KeyboardInterrupt:
        pass  # too late: what has been committed must not be told as interrupted
    finally:
        stopped.set()
    elapsed = timedelta(seconds=monotonic() - began)
    cautions = [
        caution
        for replica, log in zip(replicas, logs, strict=True)
        if (caution := _caution(replica.place, log, change, elapsed)) is not None
    ]
    told = [
        dataclasses.replace(receipt, disconnected=tuple(log.disconnected.values()))
        for receipt, log in zip(receipts, logs, strict=True)
    ]
    return tuple(told), tuple(cautions)


def _follow(replica: Replica, change: Change, log: _Log, stopped: threading.Event) -> None:
    deadline = Deadline(PATIENCE)
    for _ in range(_ATTEMPTS):
        try:
            with replica.server.connect() as connection, server_errors(""):
                _wait(connection, change, log, stopped, deadline)
                if log.arrived:
                    _end_sessions(connection, change, log, stopped)
        except Exception as error:  # a thread has nobody to raise to; it becomes a caution
            log.problem = error
        else:
            log.problem = None
            return
        if stopped.wait(_BETWEEN_ATTEMPTS):
            return


def _wait(connection: Connection, change: Change, log: _Log, stopped: threading.Event, deadline: Deadline) -> None:
    while databases.name_of(connection, change.oid) != change.name:
        if log.promoted:  # which had been seen before the name was read: it has it now, or never
            return
        log.promoted = not server_facts.footing(connection).is_standby
        if log.promoted:
            continue
        if stopped.wait(_PAUSE) or deadline.is_over:
            with suppress(*SERVER_ERRORS):
                log.paused = server_facts.replay_is_paused(connection)
            return
    log.arrived = True


def _end_sessions(connection: Connection, change: Change, log: _Log, stopped: threading.Event) -> None:
    """End the sessions in the displaced database, which is sealed, until nobody is inside or on the way in."""
    oid = change.displaced_oid
    deadline = Deadline(ENDING)
    while oid is not None:
        entering = catalog_sessions.sessions_entering(connection, oid)
        if change.disconnect:
            found = eviction.disconnect_sealed(connection, oid)
            log.disconnected = log.disconnected | {each.session.pid: each.session for each in found if each.was_told}
            log.remaining = tuple(each.session for each in found)
        else:
            log.remaining = tuple(catalog_sessions.sessions_inside(connection, [oid]))
        if not entering:
            if not log.remaining:
                break
            if not change.disconnect or not any(session.may_terminate for session in log.remaining):
                return
        if stopped.wait(_PAUSE) or deadline.is_over:
            return
    log.done = True


def _caution(place: str, log: _Log, change: Change, elapsed: timedelta) -> Caution | None:
    """Warn of a standby on which something failed."""
    if log.done:
        return None
    seconds, remedy = f"{elapsed.total_seconds():.0f} s", _remedy_of(change.displaced_oid)
    if log.arrived and log.problem is None:
        left = "; ".join(session.describe() for session in log.remaining)
        return Caution(
            "replica_sessions_left",
            f"Standby {place}: some sessions are still connected to the displaced database, and go on reading it "
            f"until they reconnect{': ' + left if left else ''}.{remedy}",
        )
    if log.promoted and not log.arrived:
        return Caution(
            "replica_promoted",
            f"Standby {place} was promoted, and accepts writes of its own. It does not have {change.what}, and "
            "will never get it. Only this server has it. Decide which of the two servers your clients should "
            "use.",
        )
    if log.problem is not None:
        reason = log.problem.message if isinstance(log.problem, SnapkitError) else repr(log.problem)
        return Caution("replica_unreachable", f"Standby {place}, after {change.what}: {reason}{remedy}")
    paused = " (its replay is paused)" if log.paused else ""
    return Caution(
        "replica_behind",
        f"Standby {place} had not replayed {change.what} after {seconds}{paused}. On the primary it is done.{remedy}",
    )


def _remedy_of(displaced_oid: int | None) -> str:
    if displaced_oid is None:
        return ""
    return f" Once it has been replayed there, end stale sessions on it with: {_statement(displaced_oid)}"


def _statement(displaced_oid: int) -> str:
    return f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datid = {displaced_oid};"  # noqa: S608 - to be read, and an OID is a number
