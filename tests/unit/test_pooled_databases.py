"""PgBouncer's own words."""

from __future__ import annotations

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
