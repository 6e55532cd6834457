"""What a backup and a rollback need, judged from facts that were gathered on the server. ``doctor`` shows all of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import timedelta

from snapkit.core.checks.backup_method import check_files, check_locks, check_method, check_room
from snapkit.core.checks.connected import check_poolers, check_prepared, check_sessions, check_standbys, check_workers
from snapkit.core.checks.facts import Check, Facts, Status, problem
from snapkit.core.checks.preconditions import lacks_rights, no_live_database, runs_through_pooler, takes_no_writes
from snapkit.core.copying.collation import rebuild_indexes, stale_collation
from snapkit.core.inventory.database import unusable
from snapkit.core.inventory.recognition import distrusted
from snapkit.core.server.replication import not_in_a_backup

CLOCK_TOLERANCE = timedelta(seconds=5)

CAREFUL_EXTENSIONS: Mapping[str, str] = {
    "citus": "its distributed tables live on other nodes and are not cloned",
    "pg_cron": "its jobs would run in the restored database; up to 1.5 its scheduler does not come back once ended",
    "pglogical": "its workers stay connected, and its slots belong to the displaced database after a swap",
    "timescaledb": "its background workers come back by themselves while clients are held",
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
        _leftovers(facts),
        _dependents(facts),
        _upgrade(facts),
    )
    return tuple(
        check for status in (Status.PROBLEM, Status.WARNING, Status.OK) for check in checks if check.status is status
    )


def _server(facts: Facts) -> Check:
    refused = takes_no_writes(is_standby=facts.is_standby, is_read_only=facts.is_read_only)
    return problem("server", refused) if refused else Check("server", Status.OK, "The server accepts writes.")


def _connection(facts: Facts) -> Check:
    if (refused := runs_through_pooler(behind_pooler=facts.behind_pooler)) is not None:
        return problem("connection", refused)
    return Check("connection", Status.OK, "The connection goes to the server itself.")


def _database(facts: Facts) -> Check:
    if facts.live is None:
        has_backups, has_distrusted = bool(facts.entries), bool(facts.not_trusted)
        missing = no_live_database(facts.source, has_backups=has_backups, has_distrusted=has_distrusted)
        return problem("database", missing)
    if (refused := unusable(facts.live)) is not None:
        return problem("database", refused)
    if facts.stale_collation is not None:
        said = stale_collation(facts.source, facts.stale_collation)
        return Check("database", Status.WARNING, said, rebuild_indexes(facts.quoted_source))
    return Check("database", Status.OK, f"The database {facts.source!r} can be cloned and renamed.")


def _rights(facts: Facts) -> Check:
    if (refused := lacks_rights(facts.source, facts.grants)) is not None:
        return problem("rights", refused)
    return Check("rights", Status.OK, "The role may clone and rename the database.")


def _stranded(facts: Facts) -> Iterator[Check]:
    """What belongs to a database as an object, and so would stay with the displaced one."""
    found = {caution.code: caution.message for caution in not_in_a_backup(facts.replication)}
    for name, what in (("replication_slots", "Logical replication slots"), ("subscriptions", "Subscriptions")):
        if name in found:
            yield Check(name, Status.WARNING, found[name], "After a rollback, create them again.")
        else:
            yield Check(name, Status.OK, f"A rollback would leave no {what.lower()} behind.")


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
            f"Only snapkit's databases still need {needed}. As long as one of them does, PostgreSQL refuses DROP "
            "ROLE, DROP OWNED and DROP TABLESPACE.",
            "First drop the entries that you no longer need: snapkit delete, snapkit prune.",
        )
    return Check("dependents", Status.OK, "No role and no tablespace is needed by snapkit's databases only.")


def _upgrade(facts: Facts) -> Check:
    sealed = [entry for entry in facts.entries if not entry.database.allow_connections]
    if not sealed:
        return Check("upgrade", Status.OK, "No sealed database blocks pg_upgrade.")
    return Check(
        "upgrade",
        Status.OK,
        "pg_upgrade refuses a server with databases that nobody can connect to, and backups are such. Before the "
        "upgrade: snapkit recover --open-for-upgrade --all. Afterwards: snapkit recover --all",
    )


def _leftovers(facts: Facts) -> Check:
    found = []
    if facts.not_trusted:
        found += [distrusted(entry).message for entry in facts.not_trusted]
    if facts.leftovers:
        found.append(f"Leftovers of interrupted runs: {', '.join(entry.name for entry in facts.leftovers)}.")
    if facts.left_open:
        names = ", ".join(entry.name for entry in facts.left_open)
        found.append(f"Still open to their owners since a snapkit command was interrupted: {names}.")
    if found:
        hint = (
            "snapkit recover drops and seals what interrupted runs have left. It does not touch what has another owner."
        )
        return Check("inventory", Status.WARNING, " ".join(found), hint)
    return Check("inventory", Status.OK, "There are no leftovers of interrupted runs.")
