"""What is connected to the database: sessions, prepared transactions, standbys, poolers, background workers."""

from __future__ import annotations

from snapkit.core.checks.facts import Check, Facts, Status, problem
from snapkit.core.checks.in_the_way import prepared_transactions_open, sessions_protected
from snapkit.core.outage.standbys import listed_standbys
from snapkit.errors import NOTHING_CHANGED


def check_sessions(facts: Facts) -> Check:
    protected = sessions_protected(facts.sessions, NOTHING_CHANGED, facts.role)
    if protected is not None:
        return problem("sessions", protected)
    if facts.sessions:
        number = len(facts.sessions)
        who = "The session that is" if number == 1 else f"Each of the {number} sessions that are"
        return Check("sessions", Status.OK, f"{who} there now can be disconnected.")
    return Check("sessions", Status.OK, "Nobody is connected to the database.")


def check_prepared(facts: Facts) -> Check:
    if (opened := prepared_transactions_open({facts.source: facts.prepared})) is not None:
        return problem("prepared_transactions", opened)
    return Check("prepared_transactions", Status.OK, "No prepared transaction is open.")


def check_standbys(facts: Facts) -> Check:
    if facts.standbys:
        return Check(
            "standbys",
            Status.WARNING,
            f"{listed_standbys(facts.standbys)}. After a rollback, sessions there go on reading the displaced "
            "database until they reconnect. A clone of files costs two checkpoints here. Each standby copies the "
            "files, too, and replays nothing else meanwhile.",
            "Name each with --replica-url. Then a rollback ends those sessions, and a backup waits until the "
            "standby has it.",
        )
    return Check("standbys", Status.OK, "No standby streams from this server.")


def check_poolers(facts: Facts) -> Check:
    failing = [each for each in facts.poolers if each.problem is not None]
    if failing:
        hints = dict.fromkeys(each.hint for each in failing if each.hint)
        return Check(
            "poolers", Status.PROBLEM, " ".join(each.problem or "" for each in failing), " ".join(hints) or None
        )
    if not facts.poolers:
        return Check("poolers", Status.OK, "No PgBouncer is named (--pgbouncer-url).")
    said = (
        f"{each.place} ({'paused by a running snapkit' if each.at_work else ', '.join(each.databases)})"
        for each in facts.poolers
    )
    return Check("poolers", Status.OK, f"PgBouncer can be paused: {'; '.join(said)}.")


def check_workers(facts: Facts) -> Check:
    if facts.workers_refused is not None:
        return problem("background_workers", facts.workers_refused)
    if facts.workers:
        listed = ", ".join(sorted({worker.kind for worker in facts.workers}))
        return Check(
            "background_workers",
            Status.WARNING,
            f"Background workers are in the database: {listed}. A backup and a rollback end them, and warn if one "
            "does not come back by itself within some seconds.",
            "If they must not be ended, or do not come back, stop them before you start.",
        )
    return Check("background_workers", Status.OK, "No background worker is in the database.")
