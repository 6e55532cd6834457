"""PgBouncer's own words, and where its URLs lead."""

from __future__ import annotations

import os
import shlex
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snapkit.core.outage.pooled_databases import (
    PooledDatabase,
    as_typed,
    clients_wait,
    command,
    leading_to,
    logins_put_off,
    logins_under_way,
    maybe_forgotten,
    not_served,
    outlasts,
    pooled_database,
    proven_to_lead,
)
from snapkit.core.outcome import PoolerReceipt, WrittenStep
from snapkit.errors import UsageError
from snapkit.services.outage.pool_checks import bracketed, poolers_of
from snapkit.services.outage.pools import Pause


@pytest.fixture(autouse=True)
def no_libpq_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("PG")]:
        monkeypatch.delenv(name)


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        (
            {"name": "a", "database": "app", "host": "db", "port": "5432", "paused": "1", "disabled": "0"},
            PooledDatabase("a", "app", "db", 5432, paused=True, disabled=False),
        ),
        (
            {"name": "a", "database": "app", "host": None, "port": None, "paused": "0", "disabled": "1"},
            PooledDatabase("a", "app", None, None, paused=False, disabled=True),
        ),
        ({}, PooledDatabase("", "", None, None, paused=False, disabled=False)),
    ],
)
def test_a_row_of_show_databases(row: dict[str, str | None], expected: PooledDatabase) -> None:
    assert pooled_database(row) == expected


def _database(
    name: str, database: str = "app", host: str | None = "db", port: int = 5432, *, paused: bool = False
) -> PooledDatabase:
    return PooledDatabase(name, database, host, port, paused=paused, disabled=False)


@pytest.mark.parametrize(
    ("databases", "expected"),
    [
        ([], []),
        ([_database("app"), _database("other", "other"), _database("alias")], ["app", "alias"]),
        ([_database("app", host="127.0.0.1", port=6000)], ["app"]),
        ([_database("app"), _database("app_ro", host="replica")], ["app"]),
        ([_database("app"), _database("elsewhere", port=5433)], ["app"]),
        ([_database("app", host="10.0.0.1"), _database("app_ro", host="replica")], ["app"]),
        ([_database("app", host="proxy"), _database("app_ro", host="replica")], ["app", "app_ro"]),
        ([_database("app", host=None)], ["app"]),
    ],
)
def test_which_lead_to_the_source(databases: list[PooledDatabase], expected: list[str]) -> None:
    found = leading_to(databases, "app", {"db", "10.0.0.1"}, 5432)
    assert [database.name for database in found] == expected


@pytest.mark.parametrize(
    ("databases", "expected"),
    [
        ([], ["app"]),
        ([_database("app")], []),
        ([_database("app", paused=True)], ["app"]),
        ([_database("alias", paused=True)], ["alias", "app"]),
        ([_database("alias"), _database("app", port=5433, paused=True)], []),
        ([_database("app", "other", paused=True)], []),
        ([_database("alias", paused=True), _database("app", host="replica", paused=True)], ["alias"]),
    ],
)
def test_which_may_have_been_left_paused(databases: list[PooledDatabase], expected: list[str]) -> None:
    assert list(maybe_forgotten(databases, "app", {"db", "10.0.0.1"}, 5432)) == expected


@pytest.mark.parametrize(
    ("pools", "expected"),
    [
        ([], False),
        ([{"database": "app", "sv_login": "0"}, {"database": "other", "sv_login": "1"}], False),
        ([{"database": "app", "sv_login": "0"}, {"database": "app", "sv_login": "2"}], True),
        ([{"database": "app"}], False),
    ],
)
def test_whether_a_login_is_under_way(pools: list[dict[str, str | None]], expected: bool) -> None:
    assert logins_under_way(pools, {"app"}) is expected


def test_whether_clients_wait() -> None:
    assert clients_wait([{"database": "app", "cl_waiting": "3"}], {"app"})
    assert not clients_wait([{"database": "app", "cl_waiting": "0"}, {"database": "x", "cl_waiting": "1"}], {"app"})


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("app", "PAUSE app"),
        ("App_2", "PAUSE App_2"),
        ("my app", 'PAUSE "my app"'),
        ('a"b', 'PAUSE "a""b"'),
        ("é", 'PAUSE "é"'),
        ("a" * 63, "PAUSE " + "a" * 63),
        ("-" * 61, f'PAUSE "{"-" * 61}"'),
        ("-" * 62, None),
        ("é" * 31, None),
    ],
)
def test_commands_of_the_console(name: str, expected: str | None) -> None:
    if expected is None:
        with pytest.raises(ValueError, match="too long for PgBouncer's console"):
            command("PAUSE", name)
    else:
        assert command("PAUSE", name) == expected


@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=12))
def test_what_is_to_be_typed_survives_the_shell(name: str) -> None:
    words = shlex.split(as_typed("postgresql://it's@host/pgbouncer", [name]))
    assert words == ["psql", "postgresql://it's@host/pgbouncer", "-c", command("RESUME", name) + ";"]


@pytest.mark.parametrize(
    ("seconds", "wait_timeout", "expected"),
    [(121, "120", True), (119, "120", False), (500, "0", False), (500, None, False), (500, "never", False)],
)
def test_whether_clients_were_refused(seconds: int, wait_timeout: str | None, expected: bool) -> None:
    assert outlasts(timedelta(seconds=seconds), wait_timeout) is expected


def test_what_is_proven_to_lead_here_is_taken_too() -> None:
    one, two, far = _database("one"), _database("two", host="other"), _database("far", host="far")
    assert leading_to([one, two, far], "app", ["db"], 5432) == (one,)
    assert leading_to([one, two, far], "app", ["db"], 5432, {"two", "elsewhere"}) == (one, two)
    assert leading_to([two, far], "app", ["db"], 5432) == (two, far)


def test_where_connections_lead_is_seen_by_process_and_user() -> None:
    def server(database: str, pid: str | None, user: str = "app") -> dict[str, str | None]:
        return {"database": database, "remote_pid": pid, "user": user}

    servers = [
        server("one", "10"), server("one", "11"), server("one", "99"),
        server("two", "10", "other"), server("three", "10"), server("three", "98"), server("four", None), {},
    ]  # fmt: skip
    assert proven_to_lead(servers, {(10, "app"), (11, "app"), (12, None)}) == {"one"}


@pytest.mark.parametrize(
    ("row", "lacks", "put_off"),
    [
        ({}, False, False),
        ({"cl_waiting": "0", "sv_active": "0"}, False, False),
        ({"cl_waiting": "2", "sv_active": "0", "sv_login": "0", "sv_idle": None}, True, True),
        ({"cl_waiting": "2", "sv_login": "1"}, True, False),
        ({"cl_waiting": "2", "sv_active": "1", "sv_login": "0"}, False, False),
        ({"cl_waiting": "2", "sv_tested": "1", "sv_login": "1"}, False, False),
        ({"cl_waiting": "?", "sv_login": "0"}, False, False),
    ],
)
def test_who_is_served_after_a_pause(row: dict[str, str | None], lacks: bool, put_off: bool) -> None:
    others: dict[str, str | None] = {"database": "other", "cl_waiting": "1"}
    pools = [others, {"database": "app", **row}]
    assert not_served(pools, ["app"]) is lacks
    assert logins_put_off(pools, ["app"]) is put_off


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
