"""Sequences and large objects of two databases."""

from __future__ import annotations

import pytest

from snapkit.core.comparison.writes import Rows
from snapkit.postgres.comparison import other_data as reading
from snapkit.services.comparison import other_data
from snapkit.services.comparison.other_data import compare_large_objects, compare_sequences
from snapkit.services.comparison.sides import Sides
from tests.sandbox import Sandbox
from tests.server.comparing import two_databases


def test_sequences_that_stand_elsewhere(sandbox: Sandbox) -> None:
    with two_databases(
        sandbox,
        'CREATE SCHEMA "Sche""ma %"',
        'CREATE SEQUENCE "Sche""ma %"."Seq ü"',
        "CREATE TABLE t (id serial, i int GENERATED ALWAYS AS IDENTITY)",
        "CREATE SEQUENCE unused",
        "CREATE SEQUENCE moved",
        "CREATE SEQUENCE gone",
        "CREATE SEQUENCE same",
        "INSERT INTO t DEFAULT VALUES",
    ) as both:
        both.run(
            both.after,
            """SELECT setval('"Sche""ma %"."Seq ü"', 5, false)""",
            "INSERT INTO t DEFAULT VALUES",
            "SELECT nextval('moved')",
            "ALTER SEQUENCE moved RENAME TO away",
            "DROP SEQUENCE gone",
            "CREATE SEQUENCE new",
            "CREATE TEMPORARY SEQUENCE passing",
        )
        with both.sides() as sides:
            changed, unread = compare_sequences(sides, related=True)
            assert {each.name: (each.before, each.after) for each in changed} == {
                "Seq ü": ("next value 1", "next value 5"),
                "t_id_seq": ("last value 1", "last value 2"),
                "t_i_seq": ("last value 1", "last value 2"),
                "away": ("next value 1", "last value 1"),
            }
            assert unread == ()
            changed, _ = compare_sequences(sides, related=False, chosen={("public", "t")})
            assert [each.name for each in changed] == ["t_id_seq", "t_i_seq"]


def test_many_sequences_are_read_some_at_a_time(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "_AT_ONCE", 2)
    with two_databases(sandbox, *(f"CREATE SEQUENCE s{number}" for number in range(5))) as both:
        both.run(both.after, "SELECT nextval('s3')")
        with both.sides() as sides:
            changed, _ = compare_sequences(sides, related=True)
            assert [each.name for each in changed] == ["s3"]


def test_large_objects(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(other_data, "_AT_ONCE", 2)
    monkeypatch.setattr(reading, "_PIECE", 1000)
    with two_databases(
        sandbox,
        "SELECT lo_from_bytea(n, convert_to(repeat(n::text, 1000), 'UTF8')) FROM generate_series(101, 110) AS n",
        "SELECT lo_create(50)",
    ) as both:
        with both.sides() as sides:
            assert compare_large_objects(sides) == ()
        both.run(
            both.after,
            "SELECT lo_unlink(n) FROM generate_series(101, 103) AS n",
            "SELECT lo_put(105, 2500, 'x')",
            "SELECT lo_put(106, 0, '1')",
            "SELECT lo_put(50, 0, 'x')",
            "SELECT lo_create(4294967295)",
            "SELECT lo_create(4294967294)",
            "SELECT lo_create(1)",
        )
        with both.sides() as sides:
            (found,) = compare_large_objects(sides)
            assert (found.schema, found.table, found.rows) == ("pg_catalog", "pg_largeobject", Rows(3, 2, 3))


def test_what_this_role_may_not_read(sandbox: Sandbox) -> None:
    role = sandbox.role("reader")
    with two_databases(
        sandbox,
        "CREATE SEQUENCE s",
        "SELECT lo_create(n) FROM generate_series(1, 3) AS n",
        f"GRANT SELECT ON LARGE OBJECT 1 TO {role}",
        "GRANT SELECT ON LARGE OBJECT 2 TO PUBLIC",
    ) as both:
        server = sandbox.server(sandbox.cluster.url(sandbox.name, user=role))
        with server.enter(both.before, {}) as before, server.enter(both.after, {}) as after:
            sides = Sides(before, after)
            try:
                changed, unread = compare_sequences(sides, related=True)
                assert (changed, [(each.table, each.reason) for each in unread]) == (
                    (),
                    [("s", "this role has no SELECT privilege")],
                )
                (found,) = compare_large_objects(sides)
                assert found.reason == "this role may not read 1 of 3 large objects"
            finally:
                sides.close()


def test_diff_tells_them(sandbox: Sandbox) -> None:
    with sandbox.connect() as connection:
        connection.execute("CREATE TABLE t (id serial PRIMARY KEY)")
        connection.execute("CREATE SEQUENCE other")
    sandbox.back_up()
    with sandbox.connect() as connection:
        connection.execute("SELECT nextval('other'), lo_create(7)")
        connection.execute("INSERT INTO t DEFAULT VALUES")
    found = sandbox.run("diff", "--json").data
    assert [(each["object"], each["name"], each["after"]) for each in found["schema"]] == [
        ("sequence", "t_id_seq", "last value 1"),
        ("sequence", "other", "last value 1"),
    ]
    assert {each["table"]: each["rows_inserted"] for each in found["tables"]} == {"t": 1, "pg_largeobject": 1}
    assert sandbox.run("diff", "--schema-only", "--json").data["schema"] == []
    some = sandbox.run("diff", "--table", "t", "--json").data
    assert [each["name"] for each in some["schema"]] == ["t_id_seq"]
