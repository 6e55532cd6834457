"""What a backup and a rollback need, judged from facts that were gathered on the server. ``doctor`` shows all of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import timedelta

from snapkit.core.checks.backup_method import check_files, check_locks, check_method, check_room
from snapkit.core.checks.connected import check_poolers, check_prepared, check_sessions, check_standbys, check_workers
from snapkit.core.checks.facts import Check, Facts, Status

CLOCK_TOLERANCE = timedelta(seconds=5)

CAREFUL_EXTENSIONS: Mapping[str, str] = {
    "citus": "its distributed tables live on other nodes and are not cloned",
    "pg_cron": "its jobs would run in the restored state; up to 1.5 its scheduler does not come back once ended",
    "pglogical": "its workers stay connected, and its slots belong to the displaced database after a swap",
    "timescaledb": "its background workers come back by themselves while the door is held",
}


def judge(facts: Facts) -> tuple[Check, ...]:
    """Return every check: problems first, then warnings, each in the order in which they matter."""
    checks = (
        _server(facts),
        _connection(facts),
        _database(facts),
        _rights(facts),
        check_sessions(facts),
        check_prepared(facts),
        *_stranded(facts),
        check_standbys(facts),
        check_poolers(facts),
        check_workers(facts),
        _extensions(facts),
        check_method(facts),
        check_files(facts),
        check_locks(facts),
        check_room(facts),
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


def _extensions(facts: Facts) -> Check:
    if facts.extensions is None:
        return Check("extensions", Status.WARNING, "The database's extensions could not be read: no connection to it.")
    careful = [f"{name} ({CAREFUL_EXTENSIONS[name]})" for name in facts.extensions if name in CAREFUL_EXTENSIONS]
    if careful:
        return Check("extensions", Status.WARNING, f"Extensions that need care: {'; '.join(careful)}.")
    return Check("extensions", Status.OK, "No extension is known to need care.")


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
