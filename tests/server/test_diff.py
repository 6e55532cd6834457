"""``snapkit diff`` on a server: what differs is found exactly, and the entry stays sealed as it was."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg
import pytest
from psycopg import sql

from snapkit.core.inventory.kinds import Strategy
from snapkit.core.plans.properties import Properties, compare
from snapkit.postgres.catalog import databases
from tests.cluster import PASSWORD
from tests.crash.stage import url_through
from tests.disks import NoDiskError, SmallDisk
from tests.gate import Action, Gate, Link, Phase, Point
from tests.process import Command
from tests.sandbox import Ran, Sandbox, command_environment, run_snapkit, wait_until

pytestmark = pytest.mark.any_version

Found = dict[str, tuple[int, int, int]]


def _run(box: Sandbox, *statements: str, database: str | None = None) -> None:
    with box.connect(database) as connection:
        for statement in statements:
            connection.execute(statement)


def _diff(box: Sandbox, *words: str, url: str | None = None) -> dict[str, Any]:
    return box.run("diff", *words, "--json", url=url).data


def _rows(data: dict[str, Any]) -> Found:
    """Return how many rows were inserted, updated and deleted of each table."""
    return {
        f"{each['schema']}.{each['table']}": (each["rows_inserted"], each["rows_updated"], each["rows_deleted"])
        for each in data["tables"]
    }


def _schema(data: dict[str, Any]) -> set[tuple[str, str, str]]:
    return {(each["object"], each["name"], each["change"]) for each in data["schema"]}


def _looks(box: Sandbox, name: str) -> tuple[dict[str, Any], Properties]:
    """Return all of a database that is to be the same afterwards."""
    row = box.row(name)
    with box.server().connect() as connection:
        return row, databases.read_properties(connection, row["oid"])


def _is_as_before(box: Sandbox, name: str, before: tuple[dict[str, Any], Properties]) -> bool:
    """Whether it is the same; its access list has the default one spelt out, perhaps, which is no change."""
    after = _looks(box, name)
    rows = [{key: value for key, value in row.items() if key != "acl"} for row, _ in (before, after)]
    return rows[0] == rows[1] and compare(before[1], after[1]) == ()


def _owner(box: Sandbox) -> str:
    """Give the database, and what is in it, to a role that is no superuser; return that role's URL."""
    role = box.role("owner", f"LOGIN CREATEDB PASSWORD '{PASSWORD}'")
    box.execute(sql.SQL("ALTER DATABASE {} OWNER TO {}").format(sql.Identifier(box.name), sql.Identifier(role)))
    _run(box, f'ALTER TABLE item OWNER TO "{role}"', f'GRANT ALL ON SCHEMA public TO "{role}"')
    return f"postgresql://{quote(role)}:{quote(PASSWORD, safe='')}@127.0.0.1:{box.cluster.port}/{box.name}"


# --- what it finds --------------------------------------------------------------------------------------------------


@pytest.mark.command("diff")
@pytest.mark.promise("diff names exactly the rows that differ")
def test_rows_that_differ_are_named_with_their_values_before_and_after(sandbox: Sandbox) -> None:
    name = sandbox.back_up(label="before v42").backup.name
    _run(
        sandbox,
        "UPDATE item SET name = 'new' WHERE id = 1",
        "UPDATE item SET name = name WHERE id < 20 AND id > 1",
        "DELETE FROM item WHERE id = 50",
        "INSERT INTO item VALUES (101, NULL)",
    )
    data = _diff(sandbox, "--rows", "10")
    assert (data["from"]["name"], data["to"], data["identical"], data["schema"]) == (name, None, False, [])
    (table,) = data["tables"]
    assert (table["schema"], table["table"]) == ("public", "item")
    assert (table["rows_inserted"], table["rows_updated"], table["rows_deleted"]) == (1, 1, 1)
    assert table["method"] in ("versions", "summaries")
    assert "reason" not in table
    assert table["as_of"].endswith("Z")
    rows = {row["change"]: row for row in table["rows"]}
    assert rows["updated"] == {
        "change": "updated",
        "key": {"id": "1"},
        "before": {"id": "1", "name": "item 1"},
        "after": {"id": "1", "name": "new"},
    }
    assert rows["deleted"] == {
        "change": "deleted",
        "key": {"id": "50"},
        "before": {"id": "50", "name": "item 50"},
        "after": None,
    }
    assert rows["inserted"] == {
        "change": "inserted",
        "key": {"id": "101"},
        "before": None,
        "after": {"id": "101", "name": None},
    }
    assert data["tables_compared"] == 1


def test_what_was_only_written_again_is_no_difference(sandbox: Sandbox) -> None:
    sandbox.back_up()
    _run(
        sandbox,
        "UPDATE item SET name = name",
        "SELECT id FROM item FOR UPDATE",
        "BEGIN; DELETE FROM item; ROLLBACK",
        "VACUUM FREEZE item",
    )
    data = _diff(sandbox)
    assert (data["identical"], data["tables"], data["schema"]) == (True, [], [])


PARTED = (
    "CREATE TABLE parted (id int, at date, PRIMARY KEY (id, at)) PARTITION BY RANGE (at)",
    "CREATE TABLE parted_1 PARTITION OF parted FOR VALUES FROM ('2026-01-01') TO ('2027-01-01')",
    "CREATE TABLE parted_2 PARTITION OF parted FOR VALUES FROM ('2027-01-01') TO ('2028-01-01')",
    "INSERT INTO parted SELECT n, '2026-06-01'::date + n FROM generate_series(1, 400) AS n",
)
BARE = ("CREATE TABLE bare (v int, t text)", "INSERT INTO bare SELECT n % 3, 'x' FROM generate_series(1, 9) AS n")
MOOD = (
    "CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy')",
    "CREATE TABLE felt (id int PRIMARY KEY, mood mood)",
    "INSERT INTO felt SELECT n, CASE WHEN n % 4 = 0 THEN 'sad' ELSE 'ok' END::mood FROM generate_series(1, 20) AS n",
)
CASES: dict[str, tuple[Sequence[str], Sequence[str], Found]] = {
    "a renamed table": ((), ("ALTER TABLE item RENAME TO thing",), {}),
    "a renamed table that was written to": (
        (),
        ("ALTER TABLE item RENAME TO thing", "DELETE FROM thing WHERE id = 3"),
        {"public.thing": (0, 0, 1)},
    ),
    "a table in another schema": (
        (),
        ("CREATE SCHEMA shop", "ALTER TABLE item SET SCHEMA shop", "DELETE FROM shop.item WHERE id = 3"),
        {"shop.item": (0, 0, 1)},
    ),
    "a renamed column": (
        (),
        ("ALTER TABLE item RENAME name TO title", "UPDATE item SET title = 'x' WHERE id = 5"),
        {"public.item": (0, 1, 0)},
    ),
    "a column with a default": ((), ("ALTER TABLE item ADD ruined bool DEFAULT true",), {}),
    "a column less": (
        (),
        ("UPDATE item SET name = 'x' WHERE id < 4", "ALTER TABLE item DROP name", "DELETE FROM item WHERE id = 9"),
        {"public.item": (0, 0, 1)},
    ),
    "a renamed label of an enum": (
        MOOD,
        ("ALTER TYPE mood RENAME VALUE 'sad' TO 'low'",),
        {"public.felt": (0, 5, 0)},
    ),
    "vacuum full": ((), ("VACUUM FULL item", "DELETE FROM item WHERE id = 3"), {"public.item": (0, 0, 1)}),
    "cluster": (
        (),
        ("CLUSTER item USING item_pkey", "UPDATE item SET name = '' WHERE id = 3"),
        {"public.item": (0, 1, 0)},
    ),
    "another type": (
        (),
        ("ALTER TABLE item ALTER id TYPE bigint", "DELETE FROM item WHERE id = 3"),
        {"public.item": (0, 0, 1)},
    ),
    "truncate": ((), ("TRUNCATE item",), {"public.item": (0, 0, 100)}),
    "truncated and filled again": (
        (),
        ("CREATE TEMP TABLE kept AS SELECT * FROM item", "TRUNCATE item", "INSERT INTO item SELECT * FROM kept"),
        {},
    ),
    "a dropped table": (
        ("CREATE TABLE t AS SELECT 1 AS x UNION ALL SELECT 1",),
        ("DROP TABLE t",),
        {"public.t": (0, 0, 2)},
    ),
    "a new table": ((), ("CREATE TABLE t AS SELECT 1 AS x",), {"public.t": (1, 0, 0)}),
    "partitions": (
        PARTED,
        ("DELETE FROM parted WHERE id IN (1, 399)", "UPDATE parted SET at = '2027-03-03' WHERE id = 2"),
        {"public.parted": (1, 0, 3)},
    ),
    "a detached partition": (
        PARTED,
        ("ALTER TABLE parted DETACH PARTITION parted_2",),
        {"public.parted": (0, 0, 187), "public.parted_2": (187, 0, 0)},
    ),
    "no key": (
        BARE,
        ("DELETE FROM bare WHERE ctid = (SELECT min(ctid) FROM bare)", "UPDATE bare SET t = 'y' WHERE v = 2"),
        {"public.bare": (3, 0, 4)},
    ),
    "unlogged": (
        ("CREATE UNLOGGED TABLE loose (id int PRIMARY KEY, t text)", "INSERT INTO loose VALUES (1, 'a'), (2, 'b')"),
        ("UPDATE loose SET t = 'c' WHERE id = 2", "INSERT INTO loose VALUES (3, 'd')"),
        {"public.loose": (1, 1, 0)},
    ),
    "a materialised view": (
        ("CREATE MATERIALIZED VIEW few AS SELECT * FROM item WHERE id < 5",),
        ("DELETE FROM item WHERE id = 2", "REFRESH MATERIALIZED VIEW few"),
        {"public.item": (0, 0, 1), "public.few": (0, 0, 1)},
    ),
    "names with quotes": (
        (
            'CREATE TABLE "a ""b"" %s" ("k ""1""" int PRIMARY KEY, "V:x" text)',
            """INSERT INTO "a ""b"" %s" VALUES (1, 'x')""",
        ),
        ("""UPDATE "a ""b"" %s" SET "V:x" = 'y'""",),
        {'public.a "b" %s': (0, 1, 0)},
    ),
    "subtransactions": (
        (),
        (
            "BEGIN; SAVEPOINT a; DELETE FROM item WHERE id = 1; SAVEPOINT b; DELETE FROM item WHERE id = 2",
            "ROLLBACK TO b; UPDATE item SET name = '' WHERE id = 3; COMMIT",
        ),
        {"public.item": (0, 1, 1)},
    ),
    "large objects": (
        ("SELECT lo_from_bytea(n, 'abc') FROM generate_series(1, 5) AS n",),
        ("SELECT lo_put(1, 1, 'x'), lo_put(2, 0, 'abc')", "SELECT lo_unlink(3)", "SELECT lo_from_bytea(77, '')"),
        {"pg_catalog.pg_largeobject": (1, 1, 1)},
    ),
    "long values": (
        (),
        ("UPDATE item SET name = repeat('x', 1000000) || id WHERE id = 7",),
        {"public.item": (0, 1, 0)},
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_each_kind_of_change(sandbox: Sandbox, case: str) -> None:
    prepare, change, expected = CASES[case]
    _run(sandbox, *prepare)
    sandbox.back_up()
    _run(sandbox, *change)
    data = _diff(sandbox)
    assert _rows(data) == expected
    assert all(each["method"] != "not_compared" for each in data["tables"])


def test_definitions_are_told_before_and_after(sandbox: Sandbox) -> None:
    sandbox.back_up()
    _run(sandbox, "ALTER TABLE item ADD ruined bool DEFAULT true", "CREATE INDEX by_name ON item (name)")
    data = _diff(sandbox)
    assert data["tables"] == []
    assert _schema(data) == {("column", "item.ruined", "added"), ("index", "item.by_name", "added")}
    assert all(each["before"] is None and each["after"] for each in data["schema"])
    assert data["identical"] is False
    only = _diff(sandbox, "--data-only")
    assert (only["schema"], only["tables"], only["identical"]) == ([], [], True)


def test_a_sequence_that_stands_elsewhere_is_told(sandbox: Sandbox) -> None:
    _run(sandbox, "CREATE SEQUENCE counter", "CREATE TABLE counted (id int GENERATED ALWAYS AS IDENTITY)")
    sandbox.back_up()
    assert _diff(sandbox)["identical"] is True
    _run(sandbox, "SELECT nextval('counter'), nextval('counter')", "INSERT INTO counted DEFAULT VALUES")
    data = _diff(sandbox)
    assert _schema(data) == {("sequence", "counter", "changed"), ("sequence", "counted_id_seq", "changed")}
    assert _schema(_diff(sandbox, "--table", "counted")) == {("sequence", "counted_id_seq", "changed")}
    assert (_diff(sandbox, "--schema-only")["schema"], data["tables_compared"]) == ([], 2)


def test_only_definitions_or_only_rows(sandbox: Sandbox) -> None:
    sandbox.back_up()
    sandbox.ruin()
    only = _diff(sandbox, "--schema-only")
    assert (_schema(only), only["tables"], only["tables_compared"]) == ({("column", "item.ruined", "added")}, [], 0)
    only = _diff(sandbox, "--data-only")
    assert (only["schema"], _rows(only)) == ([], {"public.item": (0, 0, 90)})


def test_only_some_tables(sandbox: Sandbox) -> None:
    _run(sandbox, "CREATE SCHEMA shop", 'CREATE TABLE shop."Order" (id int PRIMARY KEY)')
    sandbox.back_up()
    _run(sandbox, 'INSERT INTO shop."Order" VALUES (1)', 'ALTER TABLE shop."Order" ADD x int', "CREATE TABLE t ()")
    sandbox.ruin()
    assert sandbox.run("diff", "--table", '"O*"').code == 10  # between quotes a star is a star
    for pattern in ("shop.*", '"Order"', '*."O"*'):
        data = _diff(sandbox, "--table", pattern)
        assert _rows(data) == {"shop.Order": (1, 0, 0)}
        assert _schema(data) == {("column", "Order.x", "added")}
        assert data["tables_compared"] == 1
    both = _diff(sandbox, "--table", "ITEM", "--table", "public.t")
    assert (_rows(both), both["tables_compared"]) == ({"public.item": (0, 0, 90)}, 2)


def test_a_pattern_that_fits_no_table_names_those_that_are_close(sandbox: Sandbox) -> None:
    name = sandbox.back_up().backup.name
    ran = sandbox.run("diff", "--table", "itm")
    assert (ran.code, ran.out) == (10, "")
    assert "No table fits 'itm'" in ran.err
    assert "Did you mean public.item?" in ran.err
    assert sandbox.row(name)["datallowconn"] is False


@pytest.mark.parametrize(
    "words",
    [
        ["--table", '"item'],
        ["--table", "a.b.c"],
        ["--schema-only", "--data-only"],
        ["--rows", "0"],
        ["--rows", "x"],
        ["--schema-only", "--rows", "3"],
        ["x", "--latest"],
        [""],
        ["--with", ""],
        ["--html", "/"],
        ["--html", "/nowhere/at/all.html"],
    ],
)
def test_what_is_no_use_is_refused_before_anything_is_done(sandbox: Sandbox, words: list[str]) -> None:
    ran = sandbox.run("diff", *words)
    assert (ran.code, ran.out) == (2, "")
    assert "Nothing was changed" in ran.err


def test_what_is_not_there_is_said(sandbox: Sandbox) -> None:
    assert sandbox.run("diff").code == 10
    sandbox.back_up()
    assert sandbox.run("diff", "no such entry").code == 10
    assert sandbox.run("diff", "--with", "no such entry").code == 10


def test_no_more_rows_are_shown_than_asked_for(sandbox: Sandbox) -> None:
    sandbox.back_up()
    sandbox.ruin()
    assert _diff(sandbox)["tables"][0]["rows"] is None
    (table,) = _diff(sandbox, "--rows", "7")["tables"]
    assert (len(table["rows"]), table["rows_deleted"]) == (7, 90)


def test_values_that_are_hard_to_write_are_shown_as_they_are(sandbox: Sandbox) -> None:
    sandbox.back_up()
    _run(sandbox, r"UPDATE item SET name = E'tab\there, line\nend, \\, \"q\", {x}, ''s'', ä, \x1b[1m' WHERE id = 1")
    (row,) = _diff(sandbox, "--rows", "1")["tables"][0]["rows"]
    assert row["after"]["name"] == "tab\there, line\nend, \\, \"q\", {x}, 's', ä, \x1b[1m"
    ran = sandbox.run("diff", "--rows", "1")
    assert (ran.code, "\x1b" in ran.out) == (0, False)


# --- exit codes -----------------------------------------------------------------------------------------------------


@pytest.mark.promise("exit code 26")
def test_with_exit_code_a_difference_is_one(sandbox: Sandbox) -> None:
    sandbox.back_up()
    ran = sandbox.run("diff", "--exit-code", "--json")
    assert (ran.code, ran.data["identical"]) == (0, True)
    sandbox.ruin()
    ran = sandbox.run("diff", "--exit-code", "--json")
    document = ran.document
    assert (ran.code, document["status"], document["error"]["code"]) == (26, "error", "differs")
    assert _rows(document["data"]) == {"public.item": (0, 0, 90)}
    told = sandbox.run("diff", "--exit-code")
    assert (told.code, "item" in told.out, "Error" in told.err) == (26, True, False)
    assert sandbox.run("diff").code == 0


def test_what_cannot_be_read_is_named_and_nothing_is_called_identical(sandbox: Sandbox) -> None:
    url = _owner(sandbox)
    _run(sandbox, "CREATE TABLE secret (id int PRIMARY KEY)", "CREATE TABLE partly (id int PRIMARY KEY, t text)")
    role = f"{sandbox.prefix}_owner"
    _run(
        sandbox,
        f'ALTER TABLE partly OWNER TO "{role}"',
        "ALTER TABLE partly ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY",
        "CREATE POLICY odd ON partly USING (id % 2 = 1)",
    )
    sandbox.back_up()
    ran = sandbox.run("diff", "--exit-code", "--json", url=url)
    document = ran.document
    assert (ran.code, document["status"], document["data"]["identical"]) == (3, "partial", None)
    found = {each["table"]: each for each in document["data"]["tables"]}
    assert set(found) == {"secret", "partly"}
    for each in found.values():
        assert (each["method"], each["rows_inserted"], each["rows"]) == ("not_compared", None, None)
        assert each["reason"]
    assert document["data"]["tables_compared"] == 1
    _run(sandbox, "DELETE FROM item WHERE id = 1")
    ran = sandbox.run("diff", "--exit-code", "--json", url=url)
    assert (ran.code, ran.document["data"]["identical"]) == (26, False)
    assert sandbox.run("diff", "--table", "item", url=url).code == 0


def test_what_was_found_has_no_room_on_this_machine(sandbox: Sandbox, tmp_path: Path) -> None:
    try:
        disk = SmallDisk(tmp_path / "disk", 6, None)
    except NoDiskError as reason:
        pytest.skip(str(reason))
    try:
        name = sandbox.back_up().backup.name
        _run(sandbox, "CREATE TABLE large AS SELECT n FROM generate_series(1, 1000000) AS n")
        ran = run_snapkit("diff", url=sandbox.url, TMPDIR=str(disk.directory))
        assert (ran.code, str(disk.directory) in ran.err, "TMPDIR" in ran.err) == (1, True, True)
        assert "unexpected" not in ran.err
        assert _is_sealed(sandbox, name)
        assert _rows(_diff(sandbox)) == {"public.large": (1000000, 0, 0)}
    finally:
        disk.remove()


# --- which entries --------------------------------------------------------------------------------------------------


@pytest.mark.long
def test_every_pair_after_rollbacks_and_undos(sandbox: Sandbox) -> None:
    """The boundary of two databases is the last moment at which they were the same files, not the entry's own."""
    states: dict[str | None, set[int]] = {}

    def write(*gone: int) -> None:
        _run(sandbox, *(f"DELETE FROM item WHERE id = {each}" for each in gone))

    def ids(name: str | None = None) -> set[int]:
        return {row[0] for row in sandbox.items(name)}

    write(1)
    first = sandbox.back_up(label="first").backup.name
    states[first] = ids()
    write(2)
    second = sandbox.back_up(label="second").backup.name
    states[second] = ids()
    write(3)
    displaced = sandbox.roll_back(first, keep_backup=True).displaced
    assert displaced is not None
    states[displaced.name] = states[second] - {3}
    write(4)
    third = sandbox.back_up(label="third").backup.name
    states[third] = ids()
    write(5)
    undone = sandbox.undo()
    assert undone.displaced is not None
    states[undone.displaced.name] = states[third] - {5}
    del states[displaced.name]  # it is live again
    write(6)
    again = sandbox.roll_back(second, keep_backup=True).displaced
    assert again is not None
    states[again.name] = states[second] - {3, 6}
    write(7)
    states[None] = ids()
    assert states[None] == states[second] - {7}
    _check_pairs(sandbox, states)
    sandbox.run("delete", first, "--yes")
    del states[first]
    _check_pairs(sandbox, states)


def _check_pairs(box: Sandbox, states: dict[str | None, set[int]]) -> None:
    for before, had in states.items():
        for after, has in states.items():
            if before is None or before == after:
                continue
            data = _diff(box, before, *(["--with", after] if after else []))
            expected = (len(has - had), 0, len(had - has))
            assert _rows(data) == ({"public.item": expected} if any(expected) else {}), (before, after)
            assert (data["to"] or {"name": None})["name"] == after
            if data["tables"]:
                assert data["tables"][0]["method"] in ("versions", "summaries"), (before, after)


def test_an_entry_with_itself_is_refused(sandbox: Sandbox) -> None:
    name = sandbox.back_up(label="one").backup.name
    ran = sandbox.run("diff", name, "--with", "one")
    assert (ran.code, "itself" in ran.err) == (2, True)


def test_without_a_live_database_two_entries_can_still_be_compared(sandbox: Sandbox) -> None:
    first = sandbox.back_up().backup.name
    _run(sandbox, "DELETE FROM item WHERE id = 1")
    second = sandbox.back_up().backup.name
    away = sql.SQL("ALTER DATABASE {} RENAME TO {}")
    sandbox.execute(away.format(sql.Identifier(sandbox.name), sql.Identifier(f"{sandbox.prefix}_away")))
    ran = sandbox.run("diff", first)
    assert (ran.code, f"There is no database '{sandbox.name}'" in ran.err) == (10, True)
    assert _is_sealed(sandbox, first)
    assert _rows(_diff(sandbox, first, "--with", second)) == {"public.item": (0, 0, 1)}


def test_an_online_backup_is_compared_by_keys(sandbox: Sandbox, client_programs: None) -> None:
    _run(sandbox, *BARE)
    sandbox.back_up(strategy=Strategy.ONLINE)
    assert _diff(sandbox)["identical"] is True
    _run(sandbox, "UPDATE item SET name = 'x' WHERE id = 3", "DELETE FROM bare WHERE v = 1")
    data = _diff(sandbox)
    assert _rows(data) == {"public.item": (0, 1, 0), "public.bare": (0, 0, 3)}
    assert {each["table"]: each["method"] for each in data["tables"]} == {"item": "keys", "bare": "values"}


def test_an_altered_entry_can_be_compared(sandbox: Sandbox) -> None:
    name = sandbox.back_up().backup.name
    sandbox.execute(sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS true").format(sql.Identifier(name)))
    _run(sandbox, "DELETE FROM item WHERE id = 7", database=name)
    sandbox.execute(sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS false").format(sql.Identifier(name)))
    (entry,) = sandbox.entries()
    assert entry.state == "altered"
    assert _rows(_diff(sandbox, name)) == {"public.item": (1, 0, 0)}


# --- while others are at work ---------------------------------------------------------------------------------------


@pytest.mark.promise("a diff leaves the entry sealed as it was")
def test_the_entry_is_sealed_as_it_was(sandbox: Sandbox) -> None:
    name = sandbox.back_up().backup.name
    content = sandbox.items()
    sandbox.ruin()
    before = _looks(sandbox, name)
    assert _rows(_diff(sandbox, name)) == {"public.item": (0, 0, 90)}
    assert _is_as_before(sandbox, name, before)
    assert (sandbox.sessions(name), sandbox.entries()[0].state) == (0, "ready")
    assert sandbox.run("rollback", "--latest", "--yes").code == 0
    assert sandbox.items() == content


@contextmanager
def _held(box: Sandbox, *words: str) -> Iterator[tuple[Command, threading.Event]]:
    """A diff that has come to its first table, and goes on when the event is set."""
    go = threading.Event()

    def act(link: Link, point: Point) -> Action:
        go.wait(60)
        return Action.GO

    gate = Gate(box.cluster.port, lambda point: Phase.BEFORE if point.label.startswith("LOCK TABLE") else None, act)
    command = Command(["diff", "--data-only", "--json", *words], command_environment(url_through(gate, box.name)))
    try:
        command.start()
        wait_until(lambda: gate.reached.is_set() or command.wait(0) is not None)
        assert command.wait(0) is None, command.output()
        yield command, go
    finally:
        go.set()
        gate.close()
        command.end()


def _is_sealed(box: Sandbox, name: str) -> bool:
    return box.row(name)["datallowconn"] is False and box.sessions(name) == 0


@pytest.mark.promise("a rollback ends a diff that reads its entry")
def test_a_rollback_ends_a_diff_that_reads_its_entry(sandbox: Sandbox) -> None:
    content = sandbox.items()
    sandbox.back_up()
    with _held(sandbox) as (command, go):
        ran = sandbox.run("rollback", "--latest", "--yes", "--json")
        assert ran.code == 0, ran.out
        go.set()
        assert command.wait(30) == 11
        assert command.document()["error"]["code"] == "busy"
    assert sandbox.items() == content
    (entry,) = sandbox.entries()
    assert (entry.kind, entry.state) == ("old", "ready")


def test_a_table_that_stays_locked_is_named(sandbox: Sandbox) -> None:
    _run(sandbox, "CREATE TABLE free (id int PRIMARY KEY)")
    sandbox.back_up()
    _run(sandbox, "INSERT INTO free VALUES (1)", "DELETE FROM item")
    with sandbox.connect() as other, _held(sandbox) as (command, go):
        other.execute("BEGIN; LOCK TABLE item IN ACCESS EXCLUSIVE MODE")
        go.set()
        assert command.wait(60) == 0
        (free, item) = command.document()["data"]["tables"]
    assert (free["table"], free["rows_inserted"]) == ("free", 1)
    assert (item["table"], item["method"], item["reason"]) == ("item", "not_compared", "another session has locked it")


def test_a_table_that_is_locked_from_the_beginning_is_told(sandbox: Sandbox) -> None:
    name = sandbox.back_up().backup.name
    with sandbox.connect() as other:
        other.execute("BEGIN; LOCK TABLE item IN ACCESS EXCLUSIVE MODE")
        ran = sandbox.run("diff")
    assert (ran.code, "has locked a table" in ran.err, "Nothing was changed" in ran.err) == (11, True, True)
    assert _is_sealed(sandbox, name)


def test_a_table_that_is_dropped_meanwhile_is_named(sandbox: Sandbox) -> None:
    sandbox.back_up()
    with _held(sandbox) as (command, go):
        _run(sandbox, "DROP TABLE item")
        go.set()
        assert command.wait(60) == 0
        (item,) = command.document()["data"]["tables"]
    assert (item["method"], item["reason"]) == ("not_compared", "it was renamed, moved or dropped meanwhile")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_ends_it_and_the_entry_is_sealed(sandbox: Sandbox, number: signal.Signals) -> None:
    name = sandbox.back_up().backup.name
    before = _looks(sandbox, name)
    with _held(sandbox) as (command, go):
        command.send(number)
        go.set()
        assert command.wait(30) == 130
        assert command.document()["error"]["code"] == "interrupted"
    assert _is_as_before(sandbox, name, before)
    assert _is_sealed(sandbox, name)


def test_one_that_is_killed_leaves_what_the_next_run_seals(sandbox: Sandbox) -> None:
    name = sandbox.back_up().backup.name
    before = _looks(sandbox, name)
    with _held(sandbox) as (command, _):
        command.send(signal.SIGKILL)
        assert command.wait(30) == -signal.SIGKILL
    wait_until(lambda: sandbox.run("recover", "--json").data["sealed"] != [] or _is_as_before(sandbox, name, before))
    assert _is_as_before(sandbox, name, before)
    assert sandbox.run("diff").code == 0


def test_a_session_that_is_ended_is_told(sandbox: Sandbox) -> None:
    name = sandbox.back_up().backup.name
    with _held(sandbox) as (command, go):
        ours = "FROM pg_stat_activity WHERE datname = %s AND application_name = 'snapkit'"
        sandbox.execute(f"SELECT pg_terminate_backend(pid, 10000) {ours}", sandbox.name)
        go.set()
        assert command.wait(30) == 12
    assert _is_sealed(sandbox, name)


def test_two_read_the_same_entry_at_once(sandbox: Sandbox) -> None:
    name = sandbox.back_up().backup.name
    sandbox.ruin()
    before = _looks(sandbox, name)
    results: list[Ran] = []

    def work() -> None:
        results.append(sandbox.run("diff", "--json"))

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [_rows(ran.data) for ran in results] == [{"public.item": (0, 0, 90)}] * 3
    assert _is_as_before(sandbox, name, before)


@pytest.mark.long
def test_while_others_write_each_table_is_exact_as_of_its_moment(sandbox: Sandbox) -> None:
    """Each of eight writers inserts three rows in a transaction, so that a snapshot shows a multiple of that."""
    _run(
        sandbox,
        "CREATE TABLE a (id bigserial PRIMARY KEY, w int, at timestamptz)",
        "CREATE TABLE b (id bigserial PRIMARY KEY, w int, at timestamptz)",
        "INSERT INTO a (w) SELECT 0 FROM generate_series(1, 2000)",
    )
    sandbox.back_up()
    stopped = threading.Event()

    def write(number: int) -> None:
        with sandbox.connect() as connection:
            while not stopped.is_set():
                with connection.transaction():
                    for table in ("a", "b"):
                        connection.execute(
                            f"INSERT INTO {table} (w, at) SELECT {number}, clock_timestamp() FROM generate_series(1, 3)"
                        )
                    connection.execute("UPDATE a SET w = w WHERE id = %s", (number,))

    threads = [threading.Thread(target=write, args=(number,)) for number in range(1, 9)]
    for thread in threads:
        thread.start()
    try:
        wait_until(lambda: _written_by(sandbox, "b", "infinity") > 0)  # it is written last
        found = [(_now(sandbox), _diff(sandbox)) for _ in range(3)]
    finally:
        stopped.set()
        for thread in threads:
            thread.join()
    for began, data in found:
        assert {table["table"] for table in data["tables"]} == {"a", "b"}
        for table in data["tables"]:
            assert (table["rows_updated"], table["rows_deleted"]) == (0, 0)
            assert table["rows_inserted"] % 3 == 0
            # Of each of the eight one transaction may have been under way when the diff began.
            least = _written_by(sandbox, table["table"], began) - 8 * 3
            assert least <= table["rows_inserted"] <= _written_by(sandbox, table["table"], table["as_of"])


def _now(box: Sandbox) -> datetime:
    """Return the time by the server's clock."""
    with box.connect() as connection:
        found = connection.execute("SELECT clock_timestamp()").fetchone()
    assert found is not None
    now: datetime = found[0]
    return now


def _written_by(box: Sandbox, table: str, at: datetime | str) -> int:
    """Return how many of a table's rows had been written at that moment, committed or not yet."""
    with box.connect() as connection:
        query = sql.SQL("SELECT count(*) FROM {} WHERE at <= %s").format(sql.Identifier(table))
        found = connection.execute(query, (at,)).fetchone()
    assert found is not None
    return int(found[0])


def test_progress_is_told_in_blocks(sandbox: Sandbox) -> None:
    from snapkit.core.reporting import Progress
    from snapkit.services.diff import DiffRequest, find_differences
    from tests.sandbox import LOCK_WAIT

    _run(sandbox, "INSERT INTO item SELECT n, repeat('x', 200) FROM generate_series(101, 20000) AS n")
    sandbox.back_up()
    seen: list[Progress] = []
    find_differences(sandbox.server(), DiffRequest(), LOCK_WAIT, seen.append)
    told = [each for each in seen if each.done is not None and each.total]
    assert told
    assert [each.done for each in told] == sorted(each.done or 0 for each in told)
    assert all((each.done or 0) <= (each.total or 0) for each in told)
    assert told[-1].done == told[-1].total


# --- the page -------------------------------------------------------------------------------------------------------


def test_a_page_is_written(sandbox: Sandbox, tmp_path: Path) -> None:
    sandbox.back_up()
    sandbox.ruin()
    path = tmp_path / "diff.html"
    ran = sandbox.run("diff", "--html", str(path))
    assert (ran.code, str(path) in ran.out) == (0, True)
    page = path.read_text(encoding="utf-8")
    assert page.startswith("<!DOCTYPE html>")
    assert "item" in page
    assert "http:" not in page
    assert "https:" not in page
    again = sandbox.run("diff", "--html", str(path), "--exit-code", "--json")
    assert (again.code, path.read_text(encoding="utf-8") != "") == (26, True)
    assert list(tmp_path.iterdir()) == [path]


def test_the_name_of_the_database_has_a_quote_in_it(sandbox: Sandbox) -> None:
    odd = f"{sandbox.prefix}_o\"dd 'x' %s"
    sandbox.execute(sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(odd), sql.Identifier(sandbox.name)))
    url = sandbox.cluster.url(odd)
    sandbox.run("backup", url=url)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("DELETE FROM item WHERE id = 1")
    assert _rows(_diff(sandbox, url=url)) == {"public.item": (0, 0, 1)}
