"""What a backup and a rollback need, judged from facts that were gathered on the server. ``doctor`` shows all of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from enum import StrEnum

from snapkit.core.comparison.definitions import LockTable
from snapkit.core.copying.estimates import Extent, Forecast, many_files
from snapkit.core.durations import duration_text
from snapkit.core.inventory.entry import ClientSession, Database, Entry, Standby, Strategy
from snapkit.core.outage.workers import Refusal, Worker
from snapkit.core.server.dependents import Dependents
from snapkit.core.values import dataclass

CLOCK_TOLERANCE = timedelta(seconds=5)

CAREFUL_EXTENSIONS: Mapping[str, str] = {
    "citus": "its distributed tables live on other nodes and are not cloned",
    "pg_cron": "its jobs would run in the restored state; up to 1.5 its scheduler does not come back once ended",
    "pglogical": "its workers stay connected, and its slots belong to the displaced database after a swap",
    "timescaledb": "its background workers come back by themselves while the door is held",
}


class Status(StrEnum):
    """How a check came out; a problem makes a backup or a rollback fail, a warning may surprise."""

    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at, and what to do if it is not as it should be."""

    name: str
    status: Status
    message: str
    hint: str | None = None


@dataclass(frozen=True, slots=True)
class Estimate:
    """How a backup can be made, of what, and how long it would take as far as that can be told."""

    strategy: Strategy
    extent: Extent
    forecast: Forecast | None


@dataclass(frozen=True, slots=True)
class PoolerLook:
    """A PgBouncer that is named, and what of it a run would pause; or why that cannot be done at this moment."""

    place: str
    databases: tuple[str, ...] = ()
    at_work: bool = False
    """Whether a run that is at work has paused it."""
    problem: str | None = None
    hint: str | None = None


@dataclass(frozen=True, slots=True)
class Facts:
    """What ``judge`` looks at. None means that it could not be learnt."""

    source: str
    live: Database | None
    stale_collation: bool
    is_standby: bool
    is_read_only: bool
    behind_pooler: bool
    grants: Mapping[str, str]
    """The rights that the role lacks, with the statement that grants each."""
    signal_grant: str
    """The statement by which the role may end the sessions of others."""
    sessions: Sequence[ClientSession]
    prepared: Sequence[str]
    slots: Sequence[str]
    subscriptions: Sequence[str]
    standbys: Sequence[Standby]
    workers: Sequence[Worker]
    workers_refused: Refusal | None
    """Why a run would not end them."""
    extensions: Sequence[str] | None
    free_bytes: int | None
    estimates: Sequence[Estimate]
    """Of each way that this server knows; the first is the one that would be taken."""
    locks: LockTable | None
    """What a copy while clients work would lock, and the room for that."""
    clock_difference: timedelta
    remains: Sequence[Entry]
    entries: Sequence[Entry]
    """Those of the source."""
    dependents: Dependents
    left_open: Sequence[Entry]
    """Those that a shell has left open which is no more."""
    not_trusted: Sequence[Entry]
    poolers: Sequence[PoolerLook] = ()


def judge(facts: Facts) -> tuple[Check, ...]:
    """Return every check: problems first, then warnings, each in the order in which they matter."""
    checks = (
        _server(facts),
        _connection(facts),
        _database(facts),
        _rights(facts),
        _sessions(facts),
        _prepared(facts),
        *_stranded(facts),
        _standbys(facts),
        _poolers(facts),
        _workers(facts),
        _extensions(facts),
        _method(facts),
        _files(facts),
        _locks(facts),
        _room(facts),
        _clock(facts),
        _remains(facts),
        _dependents(facts),
        _upgrade(facts),
    )
    return tuple(
        check for status in (Status.PROBLEM, Status.WARNING, Status.OK) for check in checks if check.status is status
    )


def no_writes(*, is_standby: bool, is_read_only: bool) -> tuple[str, str] | None:
    """Return why the server takes no writes and what to do about it; None if it takes them."""
    if is_standby:
        return "This server is a standby, or recovering: it takes no writes.", "Connect to the primary."
    if is_read_only:
        remedy = (
            "Managed services do so when the disk is full: make room first, in the service's own way. Where an "
            "administrator set it: ALTER SYSTEM RESET default_transaction_read_only; SELECT pg_reload_conf();"
        )
        return "This server is read-only: its configuration sets default_transaction_read_only.", remedy
    return None


def _server(facts: Facts) -> Check:
    refusal = no_writes(is_standby=facts.is_standby, is_read_only=facts.is_read_only)
    if refusal is not None:
        return Check("server", Status.PROBLEM, *refusal)
    return Check("server", Status.OK, "The server takes writes.")


def _connection(facts: Facts) -> Check:
    if facts.behind_pooler:
        return Check(
            "connection",
            Status.PROBLEM,
            "The connection runs through a pooler, where locks of a session do not hold.",
            "Name the server itself with DIRECT_URL or --direct-url.",
        )
    return Check("connection", Status.OK, "The connection goes to the server itself.")


def _database(facts: Facts) -> Check:
    if facts.live is None:
        return Check(
            "database",
            Status.PROBLEM,
            f"There is no database {facts.source!r} on this server.",
            "Check the name in the connection URL. The newest backup comes back with snapkit rollback --latest, "
            "one of another owner with its whole name.",
        )
    if facts.live.is_invalid:
        return Check(
            "database",
            Status.PROBLEM,
            f"The database {facts.source!r} is invalid: dropping it was interrupted, and it can only be dropped.",
            "Drop it with DROP DATABASE, then: snapkit rollback --latest",
        )
    if facts.stale_collation:
        return Check(
            "database",
            Status.WARNING,
            f"The collation version of {facts.source!r} is not the system's any more: its indexes may be out of order.",
            "Rebuild what depends on it (REINDEX DATABASE), then ALTER DATABASE ... REFRESH COLLATION VERSION.",
        )
    return Check("database", Status.OK, f"The database {facts.source!r} can be cloned and renamed.")


def _rights(facts: Facts) -> Check:
    if facts.grants:
        return Check(
            "rights",
            Status.PROBLEM,
            f"The role lacks {' and '.join(facts.grants)}.",
            "An administrator grants it with: " + " ".join(facts.grants.values()),
        )
    return Check("rights", Status.OK, "The role may clone and rename the database.")


def _sessions(facts: Facts) -> Check:
    protected = [session for session in facts.sessions if not session.may_terminate]
    if protected:
        return Check(
            "sessions",
            Status.PROBLEM,
            "Sessions are connected that this role may not disconnect: "
            + "; ".join(session.describe() for session in protected),
            f"A superuser can let it: {facts.signal_grant} (sessions of superusers can be ended by superusers only). "
            "Or stop these clients.",
        )
    if facts.sessions:
        number = len(facts.sessions)
        who = "The session that is" if number == 1 else f"Each of the {number} sessions that are"
        return Check("sessions", Status.OK, f"{who} there now can be disconnected.")
    return Check("sessions", Status.OK, "Nobody is connected to the database.")


def _prepared(facts: Facts) -> Check:
    if facts.prepared:
        return Check(
            "prepared_transactions",
            Status.PROBLEM,
            f"Prepared transactions are open: {', '.join(facts.prepared)}. Disconnecting does not end them.",
            "End each, connected to the database, with COMMIT PREPARED or ROLLBACK PREPARED.",
        )
    return Check("prepared_transactions", Status.OK, "No prepared transaction is open.")


def _stranded(facts: Facts) -> Iterator[Check]:
    """What belongs to a database as an object, and so would stay with the displaced one."""
    for name, what, held in (
        ("replication_slots", "Logical replication slots", facts.slots),
        ("subscriptions", "Subscriptions", facts.subscriptions),
    ):
        if held:
            yield Check(
                name,
                Status.WARNING,
                f"{what} would stay with the displaced database at a rollback: {', '.join(held)}.",
                "Plan to create them anew after a rollback.",
            )
        else:
            yield Check(name, Status.OK, f"{what} that a rollback would strand: none.")


def _standbys(facts: Facts) -> Check:
    if facts.standbys:
        return Check(
            "standbys",
            Status.WARNING,
            f"{listed_standbys(facts.standbys)}. After a rollback, sessions there go on reading the displaced database "
            "until they reconnect. And a clone that copies files costs two checkpoints here, and each standby copies "
            "the files once more, during which it replays nothing else.",
            "Give the URL of each with --replica-url: then a rollback ends those sessions, and a backup waits for it.",
        )
    return Check("standbys", Status.OK, "No standby streams from this server.")


def _poolers(facts: Facts) -> Check:
    failing = [each for each in facts.poolers if each.problem is not None]
    if failing:
        hints = dict.fromkeys(each.hint for each in failing if each.hint)
        return Check(
            "poolers", Status.PROBLEM, " ".join(each.problem or "" for each in failing), " ".join(hints) or None
        )
    if not facts.poolers:
        return Check("poolers", Status.OK, "No PgBouncer is named (--pgbouncer-url).")
    said = (
        f"{each.place} ({'paused by the run that is at work' if each.at_work else ', '.join(each.databases)})"
        for each in facts.poolers
    )
    return Check("poolers", Status.OK, f"PgBouncer can be paused: {'; '.join(said)}.")


def listed_standbys(standbys: Sequence[Standby]) -> str:
    """Return, as the beginning of a sentence, how many standbys stream from the server, and which."""
    number = "1 standby streams" if len(standbys) == 1 else f"{len(standbys)} standbys stream"
    return f"{number} from this server ({', '.join(standby.describe() for standby in standbys)})"


def _workers(facts: Facts) -> Check:
    if facts.workers_refused is not None:
        return Check("background_workers", Status.PROBLEM, facts.workers_refused.message, facts.workers_refused.hint)
    if facts.workers:
        listed = ", ".join(sorted({worker.kind for worker in facts.workers}))
        return Check(
            "background_workers",
            Status.WARNING,
            f"Background workers are in the database: {listed}. A backup and a rollback end them, and say so if one "
            "has not come back by itself some seconds later.",
            "If that fails for them, or they are not to be ended, stop them for its duration.",
        )
    return Check("background_workers", Status.OK, "No background worker is in the database.")


def _extensions(facts: Facts) -> Check:
    if facts.extensions is None:
        return Check("extensions", Status.WARNING, "The database's extensions could not be read: no connection to it.")
    careful = [f"{name} ({CAREFUL_EXTENSIONS[name]})" for name in facts.extensions if name in CAREFUL_EXTENSIONS]
    if careful:
        return Check("extensions", Status.WARNING, f"Extensions that need care: {'; '.join(careful)}.")
    return Check("extensions", Status.OK, "No extension is known to need care.")


def _method(facts: Facts) -> Check:
    if not facts.estimates:
        return Check("method", Status.WARNING, "How a clone would be made cannot be told without the database.")
    chosen, *others = facts.estimates
    besides = f" Besides: {'; '.join(map(_outlook, others))}." if others else ""
    return Check("method", Status.OK, f"A backup would use {_outlook(chosen)}.{besides}")


def _outlook(estimate: Estimate) -> str:
    """Say what a method would cost those who work on the database."""
    forecast = estimate.forecast
    if forecast is None:
        return f"{estimate.strategy} (the first such backup will tell how long that takes)"
    time = duration_text(forecast.duration)
    if forecast.at_least:
        return f"{estimate.strategy} (would hold clients for {time} or more, by the number and the size of its files)"
    if estimate.strategy is Strategy.ONLINE:
        return f"{estimate.strategy} (takes about {time}, and holds nobody)"
    return f"{estimate.strategy} (would hold clients for about {time})"


def _files(facts: Facts) -> Check:
    chosen = next(iter(facts.estimates), None)
    if chosen is not None and chosen.forecast is not None:
        said = f"clients would be held for {chosen.forecast.text}"
        for caution in many_files(facts.source, chosen.extent, chosen.forecast.duration, said):
            return Check("files", Status.WARNING, f"{caution.message}.")
    return Check("files", Status.OK, "As far as is known, the number of files does not slow a clone down.")


def _locks(facts: Facts) -> Check:
    if facts.locks is None:
        return Check("locks", Status.OK, "The room for locks cannot be seen without a connection to the database.")
    if facts.locks.is_too_small:
        return Check(
            "locks", Status.WARNING, f"{facts.locks.room} --strategy online is refused.", f"{facts.locks.remedy}."
        )
    return Check("locks", Status.OK, "The server has room for the locks that --strategy online takes.")


def _room(facts: Facts) -> Check:
    chosen = next(iter(facts.estimates), None)
    size = chosen.extent.size if chosen else None
    if size is None or facts.free_bytes is None:
        return Check("disk", Status.OK, "The room on the server's disk cannot be seen from here.")
    room = f"A clone takes {_mebibytes(size)}, and {_mebibytes(facts.free_bytes)} are free on the disk"
    if facts.free_bytes >= size:
        return Check("disk", Status.OK, f"{room}.")
    hint = "Make room: snapkit prune --keep 1, or another disk with --tablespace."
    if chosen and chosen.strategy is Strategy.CLONE:
        return Check("disk", Status.WARNING, f"{room}; less is taken where the file system shares blocks.", hint)
    return Check("disk", Status.PROBLEM, f"{room}.", hint)


def _mebibytes(size: int) -> str:
    return f"{size / 2**20:.0f} MB"


def _clock(facts: Facts) -> Check:
    difference = facts.clock_difference.total_seconds()
    where = "ahead of" if difference > 0 else "behind"
    if abs(difference) > CLOCK_TOLERANCE.total_seconds():
        return Check(
            "clock",
            Status.WARNING,
            f"The server's clock is {abs(difference):.0f} s {where} this machine's.",
            "Backups are dated by the server's clock.",
        )
    return Check("clock", Status.OK, "The server's clock agrees with this machine's.")


def _dependents(facts: Facts) -> Check:
    needed = facts.dependents.describe()
    if needed:
        return Check(
            "dependents",
            Status.WARNING,
            f"Nothing but snapkit's databases needs {needed}: DROP ROLE, DROP OWNED and DROP TABLESPACE are refused as "
            "long as one of them does.",
            "Drop the entries first that are no longer needed: snapkit delete, snapkit prune.",
        )
    return Check("dependents", Status.OK, "No role and no tablespace is kept by snapkit's databases alone.")


def _upgrade(facts: Facts) -> Check:
    sealed = [entry for entry in facts.entries if not entry.database.allow_connections]
    if not sealed:
        return Check("upgrade", Status.OK, "No sealed database would keep pg_upgrade from its work.")
    return Check(
        "upgrade",
        Status.OK,
        "pg_upgrade refuses a server with databases that let nobody in, as backups do. Before it: snapkit recover "
        "--open-for-upgrade --all. Afterwards: snapkit recover --all",
    )


def _remains(facts: Facts) -> Check:
    found = []
    if facts.not_trusted:
        names = ", ".join(f"{entry.name} (owner {entry.database.owner})" for entry in facts.not_trusted)
        found.append(f"Not considered, since their owner is another: {names}.")
    if facts.remains:
        found.append(f"Left by interrupted runs: {', '.join(entry.name for entry in facts.remains)}.")
    if facts.left_open:
        names = ", ".join(entry.name for entry in facts.left_open)
        found.append(f"Left open to the owner by a shell that was interrupted: {names}.")
    if found:
        hint = (
            "snapkit recover drops what is left of runs that have ended, and seals what they left open; what has "
            "another owner is left alone."
        )
        return Check("inventory", Status.WARNING, " ".join(found), hint)
    return Check("inventory", Status.OK, "Nothing is left of interrupted runs.")
