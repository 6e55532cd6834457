"""Where PgBouncer's consoles are, and the pauses of a plan."""

from __future__ import annotations

import os
from datetime import timedelta

import pytest

from snapkit.core.outage.pooled_databases import PoolerReceipt
from snapkit.core.plans.statements import WrittenStep
from snapkit.errors import UsageError
from snapkit.services.outage.pause import Pause
from snapkit.services.outage.pool_checks import bracketed, poolers_of


@pytest.fixture(autouse=True)
def no_libpq_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("PG")]:
        monkeypatch.delenv(name)


def test_the_pause_in_a_plan() -> None:
    clone, swap = WrittenStep("clone", ("CREATE",), False), WrittenStep("swap", ("ALTER",), True)
    receipts = (PoolerReceipt("one", 6432, ("app", "A b")), PoolerReceipt("two", 6432, ("app",)))
    assert bracketed((clone, swap), (), -1) == (clone, swap)
    steps = bracketed((clone, swap), receipts, -1)
    assert [step.sql for step in steps] == [
        ("CREATE",),
        ("PAUSE app", 'PAUSE "A b"'),
        ("PAUSE app",),
        ("ALTER",),
        ("RESUME app", 'RESUME "A b"'),
        ("RESUME app",),
    ]
    assert [step.title for step in bracketed((clone, swap), receipts[:1], 0)] == [
        "Pause on the console of the PgBouncer one:6432",
        "clone",
        "Resume on the console of the PgBouncer one:6432",
        "swap",
    ]


def test_the_outage_counts_from_the_first_pause_to_the_last_resume() -> None:
    door = timedelta(seconds=1)
    assert Pause().outage(door) == door
    assert Pause(began=10.0, ended=10.5).outage(door) == door
    assert Pause(began=10.0, ended=13.0).outage(door) == timedelta(seconds=3)


@pytest.mark.parametrize(
    ("url", "database", "place", "shown"),
    [
        ("postgresql://a:s3cret@one:6432", "pgbouncer", "one:6432", "postgresql://a@one:6432/pgbouncer"),
        ("postgresql://a%40b:s3cret@one:6432/x", "x", "one:6432", "postgresql://a%40b@one:6432/x"),
        ("postgresql://one", "pgbouncer", "one:5432", "postgresql://one:5432/pgbouncer"),
        (
            "postgresql://a:s3cret@/?host=/run/pgb&port=6432",
            "pgbouncer",
            "/run/pgb:6432",
            "postgresql://a@/pgbouncer?host=/run/pgb&port=6432",
        ),
    ],
)
def test_where_a_console_is(url: str, database: str, place: str, shown: str) -> None:
    (pooler,) = poolers_of([url])
    assert (pooler.parameters["dbname"], pooler.place, pooler.url()) == (database, place, shown)
    assert "s3cret" not in repr(pooler)


def test_pgdatabase_is_not_the_console_s(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGDATABASE", "app")
    (pooler,) = poolers_of(["postgresql://one"])
    assert pooler.parameters["dbname"] == "pgbouncer"


@pytest.mark.parametrize(("url", "words"), [("postgresql://one,two", "several hosts"), ("mysql://one", "begin with")])
def test_a_wrong_url_says_which_it_is(url: str, words: str) -> None:
    with pytest.raises(UsageError) as caught:
        poolers_of(["postgresql://one", url])
    assert caught.value.message.startswith("PgBouncer URL 2 of 2: ")
    assert words in caught.value.message
