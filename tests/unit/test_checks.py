"""Each check of doctor, from facts to its verdict."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from snapkit.core.checks.doctor import judge
from snapkit.core.checks.facts import Check, Estimate, Facts, PoolerLook, Status
from snapkit.core.client_session import ClientSession
from snapkit.core.copying.estimates import Extent, Forecast
from snapkit.core.copying.lock_room import LockTable
from snapkit.core.inventory.kinds import Strategy
from snapkit.core.outage.standbys import Standby
from snapkit.core.outage.workers import Worker
from snapkit.core.server.dependents import Dependents, in_the_way
from snapkit.core.server.replication import Replication, Slot, Subscription
from snapkit.errors import BusyError, UsageError
from tests.unit.builders import make_database, make_entry

SESSION = ClientSession(42, "bob", "billing", "10.0.0.1", "idle", None, None, may_terminate=True)
SLOT = Slot("s1", "pgoutput", "app")
SUBSCRIPTION = Subscription("sub", "app", True, None, ())
CRON = Worker(42, "pg_cron launcher")
MANY_FILES = [
    Estimate(
        Strategy.CLONE,
        Extent(500 << 20, 88_000, shares=True),
        Forecast(timedelta(seconds=22), at_least=True),
    )
]
HEALTHY = Facts(
    source="app",
    quoted_source="app",
    live=make_database("app"),
    stale_collation=None,
    is_standby=False,
    is_read_only=False,
    behind_pooler=False,
    grants={},
    role="x",
    sessions=(SESSION,),
    prepared=(),
    replication=Replication(),
    standbys=(),
    workers=(),
    workers_refused=None,
    extensions=("plpgsql",),
    free_bytes=10 * 2**20,
    estimates=[Estimate(Strategy.FILE_COPY, Extent(5 * 2**20), Forecast(timedelta(seconds=2)))],
    locks=LockTable(64, 100, 10, 10),
    online_refused=None,
    clock_difference=timedelta(seconds=1),
    leftovers=(),
    entries=(),
    dependents=Dependents(),
    left_open=(),
    not_trusted=(),
)


def _check(name: str, **changes: Any) -> Check:
    (check,) = [check for check in judge(replace(HEALTHY, **changes)) if check.name == name]
    return check


def test_problems_come_first_and_then_warnings() -> None:
    checks = judge(
        replace(
            HEALTHY, workers=(CRON,), prepared=("tx1",), replication=Replication((SLOT,)), sessions=(), leftovers=()
        )
    )
    assert [(check.name, check.status) for check in checks if check.status is not Status.OK] == [
        ("prepared_transactions", Status.PROBLEM),
        ("replication_slots", Status.WARNING),
        ("background_workers", Status.WARNING),
    ]
    assert all(check.status is Status.OK for check in checks[3:])
    assert len({check.name for check in checks}) == len(judge(HEALTHY))


def test_a_healthy_database_has_nothing_but_ok() -> None:
    assert {check.status for check in judge(HEALTHY)} == {Status.OK}
    assert len({check.name for check in judge(HEALTHY)}) == len(judge(HEALTHY)) == 20


@pytest.mark.parametrize(
    ("name", "changes", "status", "words"),
    [
        ("server", {"is_standby": True}, Status.PROBLEM, "standby"),
        ("server", {"is_read_only": True}, Status.PROBLEM, "read-only"),
        ("connection", {"behind_pooler": True}, Status.PROBLEM, "pooler"),
        ("database", {"live": None}, Status.PROBLEM, "no database 'app'"),
        ("database", {"live": make_database("app", connection_limit=-2)}, Status.PROBLEM, "invalid"),
        ("database", {"stale_collation": "2.36"}, Status.WARNING, "collation"),
        ("rights", {"grants": {"CREATEDB": "ALTER ROLE x CREATEDB;"}}, Status.PROBLEM, "CREATEDB"),
        (
            "sessions",
            {"sessions": (replace(SESSION, may_terminate=False),)},
            Status.PROBLEM,
            "pid 42, user bob, billing",
        ),
        ("sessions", {"sessions": ()}, Status.OK, "Nobody"),
        ("sessions", {}, Status.OK, "The session that is there now can be disconnected."),
        ("sessions", {"sessions": (SESSION, SESSION)}, Status.OK, "Each of the 2 sessions that are there now"),
        ("prepared_transactions", {"prepared": ("tx1",)}, Status.PROBLEM, "tx1"),
        ("replication_slots", {"replication": Replication((SLOT,))}, Status.WARNING, "s1"),
        ("subscriptions", {"replication": Replication((), (SUBSCRIPTION,))}, Status.WARNING, "sub"),
        ("standbys", {"standbys": (Standby("a", None),)}, Status.WARNING, "1 standby streams from this server (a)."),
        (
            "standbys",
            {"standbys": (Standby("a", "10.0.0.2"), Standby(None, None))},
            Status.WARNING,
            "2 standbys stream from this server (a at 10.0.0.2, name unknown).",
        ),
        ("background_workers", {"workers": (CRON,)}, Status.WARNING, "pg_cron launcher"),
        (
            "background_workers",
            {"workers_refused": BusyError("It stays away.", hint="Wait.")},
            Status.PROBLEM,
            "It stays away.",
        ),
        (
            "dependents",
            {"dependents": Dependents(("r",), ("t", "u"))},
            Status.WARNING,
            "role 'r' and the tablespaces",
        ),
        ("upgrade", {"entries": (make_entry(),)}, Status.OK, "recover --open-for-upgrade"),
        ("extensions", {"extensions": None}, Status.WARNING, "could not be read"),
        ("extensions", {"extensions": ("citus", "hstore")}, Status.WARNING, "citus"),
        ("method", {"estimates": ()}, Status.WARNING, "cannot tell"),
        ("method", {}, Status.OK, "about 2.0 s"),
        (
            "method",
            {"estimates": [Estimate(Strategy.CLONE, Extent(1), None)]},
            Status.OK,
            "how long is not known",
        ),
        (
            "method",
            {
                "estimates": [
                    Estimate(Strategy.CLONE, Extent(1), None),
                    Estimate(Strategy.ONLINE, Extent(1), Forecast(timedelta(seconds=9))),
                ]
            },
            Status.OK,
            "Other strategies: online (takes about 9.0 s, and holds nobody).",
        ),
        (
            "method",
            {"estimates": [Estimate(Strategy.CLONE, Extent(1), Forecast(timedelta(milliseconds=18)))]},
            Status.OK,
            "(would hold clients for about 18 ms)",
        ),
        (
            "method",
            {
                "estimates": [
                    Estimate(Strategy.CLONE, Extent(1), None),
                    Estimate(Strategy.ONLINE, Extent(1), Forecast(timedelta(seconds=9))),
                ],
                "online_refused": UsageError("There would run:\n  one\n  two."),
            },
            Status.OK,
            "Other strategies: online (not possible: There would run: one; two).",
        ),
        ("method", {"estimates": MANY_FILES}, Status.OK, "22.0 s or more"),
        ("files", {"estimates": MANY_FILES}, Status.WARNING, "clients would be held for 22.0 s or more"),
        ("files", {"estimates": ()}, Status.OK, "does not slow"),
        ("locks", {"locks": LockTable(64, 100, 22_000, 63_000)}, Status.WARNING, "has room for about 6400 locks"),
        ("locks", {"locks": None}, Status.OK, "cannot see"),
        ("disk", {"free_bytes": None}, Status.OK, "cannot see"),
        ("disk", {"estimates": ()}, Status.OK, "cannot see"),
        ("disk", {}, Status.OK, "A backup takes 5.0 MB, and 10 MB are free"),
        (
            "disk",
            {"free_bytes": 1},
            Status.PROBLEM,
            "1 bytes are free on the server's disk. A backup of app takes 5.0 MB",
        ),
        (
            "disk",
            {"free_bytes": 1, "estimates": [Estimate(Strategy.CLONE, Extent(5 * 2**20), None)]},
            Status.WARNING,
            "unless the file system shares blocks",
        ),
        ("clock", {"clock_difference": timedelta(minutes=1)}, Status.WARNING, "60 s ahead of"),
        ("clock", {"clock_difference": timedelta(minutes=-1)}, Status.WARNING, "60 s behind"),
        ("inventory", {"leftovers": (make_entry("app_backup_20260110_103045"),)}, Status.WARNING, "interrupted"),
        ("inventory", {"left_open": (make_entry("app_backup_20260110_103045"),)}, Status.WARNING, "Still open"),
        ("inventory", {"not_trusted": (make_entry("app_backup_20260110_103045"),)}, Status.WARNING, "owner"),
    ],
)
def test_each_check(name: str, changes: dict[str, Any], status: Status, words: str) -> None:
    check = _check(name, **changes)
    assert check.status is status
    assert words in check.message
    if status is Status.PROBLEM:
        assert check.hint


@pytest.mark.parametrize(
    ("looks", "status", "words"),
    [
        ((), Status.OK, "No PgBouncer is named"),
        ((PoolerLook("db:6432", ("app", "b")),), Status.OK, "db:6432 (app, b)."),
        ((PoolerLook("db:6432", at_work=True),), Status.OK, "db:6432 (paused by a running snapkit)."),
        ((PoolerLook("one", ("app",)), PoolerLook("two", problem="It is away.")), Status.PROBLEM, "It is away."),
    ],
)
def test_poolers(looks: tuple[PoolerLook, ...], status: Status, words: str) -> None:
    (check,) = (each for each in judge(replace(HEALTHY, poolers=looks)) if each.name == "poolers")
    assert check.status is status
    assert words in check.message


def test_what_a_guard_says_of_what_is_in_the_way() -> None:
    assert in_the_way(Dependents(), "app_backup") == ()
    (caution,) = in_the_way(Dependents(("r", "s"), ()), "app_backup")
    assert caution.code == "backup_in_the_way"
    assert "a database needs the roles 'r', 's'" in caution.message
    assert "because of the backup app_backup" in caution.message


def test_who_may_not_be_disconnected_is_told_with_the_statement() -> None:
    check = _check("sessions", sessions=(replace(SESSION, may_terminate=False),))
    assert "A superuser can allow it: GRANT pg_signal_backend TO x; (" in str(check.hint)
