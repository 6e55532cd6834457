"""Slots and subscriptions stay with the database that they belong to: that is said, with what to do about it."""

from __future__ import annotations

import os
import re
import shlex

import pytest
from psycopg import sql

from tests.sandbox import Ran, Sandbox


@pytest.fixture(autouse=True)
def psql_of_the_server(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", f"{sandbox.cluster.binaries}{os.pathsep}{os.environ['PATH']}")


def _warned(ran: Ran) -> dict[str, str]:
    assert ran.code == 0, (ran.out, ran.err)
    codes = ("replication_slots", "subscriptions")
    return {each["code"]: each["message"] for each in ran.document["warnings"] if each["code"] in codes}


def _subscribe(box: Sandbox, name: str) -> None:
    with box.connect() as connection:
        subscription = sql.SQL(
            "CREATE SUBSCRIPTION {} CONNECTION 'host=nowhere.invalid' PUBLICATION p, q WITH (connect = false)"
        )
        connection.execute(subscription.format(sql.Identifier(name)))


def test_slots_are_told_of_and_the_statements_do(sandbox: Sandbox) -> None:
    slot = f"{sandbox.prefix}_slot"
    with sandbox.connect() as connection:
        connection.execute("SELECT pg_create_logical_replication_slot(%s, 'pgoutput')", (slot,))
        connection.execute("SELECT pg_create_logical_replication_slot('passing', 'pgoutput', true)")
        backup = sandbox.run("backup", "--json")
        assert slot in _warned(backup)["replication_slots"]
        assert "passing" not in _warned(backup)["replication_slots"]
    assert slot in sandbox.run("rollback", "--latest", "--dry-run").err
    rolled = sandbox.run("rollback", "--latest", "--yes", "--json")
    displaced = rolled.data["displaced"]["name"]
    message = _warned(rolled)["replication_slots"]
    assert f"{slot} of {displaced}" in message
    assert slot in _warned(sandbox.run("status", "--json"))["replication_slots"]
    drop, create = re.findall(r"SELECT pg_\w+\(.*?\);", message)
    with sandbox.connect() as connection:
        connection.execute(drop)
        connection.execute(create)
    found = sandbox.execute("SELECT database FROM pg_replication_slots WHERE slot_name = %s", slot)
    assert found == [(sandbox.name,)]
    assert _warned(sandbox.run("status", "--json")) == {}
    sandbox.execute("SELECT pg_drop_replication_slot(%s)", slot)


@pytest.mark.parametrize("name", ["news", "it\"s $odd's"])
def test_subscriptions_are_told_of_and_the_command_drops_them(sandbox: Sandbox, name: str) -> None:
    _subscribe(sandbox, name)
    assert name in _warned(sandbox.run("backup", "--json"))["subscriptions"]
    assert name in sandbox.run("rollback", "--latest", "--dry-run").err
    rolled = sandbox.run("rollback", "--latest", "--yes", "--json")
    displaced = rolled.data["displaced"]["name"]
    assert f"{name} of {displaced}" in _warned(rolled)["subscriptions"]
    assert 'PUBLICATION "p", "q";' in _warned(rolled)["subscriptions"]
    assert name in _warned(sandbox.run("status", "--json"))["subscriptions"]
    for words in (("delete", displaced, "--yes"), ("prune", "--keep-old", "0", "--yes")):
        refused = sandbox.run(*words, "--json")
        assert refused.code in (3, 11), refused.out
        assert displaced in sandbox.databases()
    hint = sandbox.run("delete", displaced, "--yes", "--json").document["error"]["hint"]
    command = hint.removeprefix("Drop it with: ").partition("; and on the publisher")[0]
    ran = sandbox.run(*shlex.split(command)[1:])
    assert ran.code == 0, ran.err
    assert sandbox.run("delete", displaced, "--yes").code == 0
    assert displaced not in sandbox.databases()


def test_nothing_is_said_where_there_is_nothing(sandbox: Sandbox) -> None:
    assert _warned(sandbox.run("backup", "--json")) == {}
    assert _warned(sandbox.run("rollback", "--latest", "--yes", "--json")) == {}
    assert _warned(sandbox.run("status", "--json")) == {}
