"""The tables of a database, as they are compared: on a real server, with everything that can lie in one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from snapkit.core.comparison.row_changes import Relation
from snapkit.postgres.comparison.relations import relations
from snapkit.postgres.connection.server import Connection
from tests.sandbox import Sandbox


@contextmanager
def inside(sandbox: Sandbox, url: str | None = None) -> Iterator[Connection]:
    server = sandbox.server(url)
    with server.enter(sandbox.name, {}) as connection:
        yield connection


def found(sandbox: Sandbox, *statements: str, url: str | None = None) -> dict[str, Relation]:
    with sandbox.connect() as connection:
        for statement in statements:
            connection.execute(statement)
    with inside(sandbox, url) as connection:
        return {each.name: each for each in relations(connection)}


def test_tables_with_their_columns_and_files(sandbox: Sandbox) -> None:
    tables = found(
        sandbox,
        'CREATE SCHEMA "Sche""ma é"',
        """CREATE TABLE "Sche""ma é"."T 'x' %" (gone int, "Ü %s" numeric(10,2) NOT NULL,
           i int GENERATED ALWAYS AS IDENTITY, g int GENERATED ALWAYS AS (1 + 1) STORED)""",
        """ALTER TABLE "Sche""ma é"."T 'x' %" DROP COLUMN gone""",
        "CREATE UNLOGGED TABLE empty ()",
        "CREATE TEMPORARY TABLE passing (a int)",
        "CREATE SCHEMA snapkit_undo CREATE TABLE kept (a int)",
        "CREATE VIEW shown AS SELECT 1 AS a",
        "CREATE MATERIALIZED VIEW seen AS SELECT * FROM item",
        "CREATE MATERIALIZED VIEW unseen AS SELECT * FROM item WITH NO DATA",
    )
    assert set(tables) == {"item", "T 'x' %", "empty", "seen", "unseen"}
    odd = tables["T 'x' %"]
    assert odd.schema == 'Sche"ma é'
    assert [(each.number, each.name, each.type) for each in odd.columns] == [
        (2, "Ü %s", "numeric(10,2)"),
        (3, "i", "integer"),
        (4, "g", "integer"),
    ]
    assert [(each.not_null, each.identity, each.generated) for each in odd.columns] == [
        (True, "", ""),
        (True, "a", ""),
        (False, "", "s"),
    ]
    assert odd.leaves[0].numbers == (2, 3, 4)
    item = tables["item"]
    assert (item.keys, item.kind, item.reason) == ((("id",),), "r", None)
    (leaf,) = item.leaves
    assert leaf.blocks == 1
    assert leaf.file > 0
    assert tables["empty"].columns == ()
    assert tables["empty"].leaves[0].persistence == "u"
    assert (tables["seen"].kind, tables["seen"].reason, tables["seen"].leaves[0].blocks) == ("m", None, 1)
    assert tables["unseen"].reason == "it is not populated (WITH NO DATA)"


def test_some_of_the_tables_may_be_read_again(sandbox: Sandbox) -> None:
    everything = found(sandbox, "CREATE TABLE other (a int)")
    with inside(sandbox) as connection:
        assert relations(connection, [everything["other"].oid]) == [everything["other"]]


def test_partitions_stand_under_their_root_and_children_for_themselves(sandbox: Sandbox) -> None:
    tables = found(
        sandbox,
        "CREATE TABLE root (id int, part text, extra int, PRIMARY KEY (part, id)) PARTITION BY LIST (part)",
        "CREATE TABLE a PARTITION OF root FOR VALUES IN ('a')",
        "CREATE TABLE b PARTITION OF root FOR VALUES IN ('b') PARTITION BY RANGE (id)",
        "CREATE TABLE b1 (gone int, extra int, part text NOT NULL, id int NOT NULL)",
        "ALTER TABLE b1 DROP COLUMN gone",
        "ALTER TABLE b ATTACH PARTITION b1 FOR VALUES FROM (1) TO (10)",
        "CREATE TABLE parent (id int PRIMARY KEY)",
        "CREATE TABLE child (more int) INHERITS (parent)",
    )
    assert set(tables) == {"item", "root", "parent", "child"}
    root = tables["root"]
    assert (root.partitioned, root.kind, root.keys) == (True, "p", (("part", "id"),))
    assert [(leaf.name, leaf.numbers) for leaf in root.leaves] == [("a", (1, 2, 3)), ("b1", (4, 3, 2))]
    assert [each.name for each in tables["child"].columns] == ["id", "more"]
    assert tables["child"].keys == ()


def test_which_keys_count(sandbox: Sandbox) -> None:
    tables = found(
        sandbox,
        "CREATE TABLE k (a int NOT NULL, b int NOT NULL, c int, d int NOT NULL UNIQUE DEFERRABLE, e int NOT NULL,"
        ' f text NOT NULL, "G ""%" int NOT NULL)',
        "CREATE UNIQUE INDEX ON k (a) WHERE b > 0",
        "CREATE UNIQUE INDEX ON k ((a + 1))",
        "CREATE UNIQUE INDEX ON k (c)",
        'CREATE UNIQUE INDEX ON k ("G ""%", b) INCLUDE (c)',
        'CREATE UNIQUE INDEX ON k (f COLLATE "POSIX")',
        "CREATE UNIQUE INDEX ON k (e)",
        "CREATE UNIQUE INDEX ON k (f text_pattern_ops)",
        "ALTER TABLE k ADD PRIMARY KEY (b, a)",
    )
    assert tables["k"].keys == (("b", "a"), ("e",), ("f",), ('G "%', "b"))


def test_an_index_that_is_not_valid_is_no_key(sandbox: Sandbox) -> None:
    with sandbox.connect() as connection:
        connection.execute("CREATE TABLE twice AS SELECT 1 AS a FROM generate_series(1, 2)")
        connection.execute("ALTER TABLE twice ALTER a SET NOT NULL")
        with pytest.raises(Exception, match="could not create unique index"):
            connection.execute("CREATE UNIQUE INDEX CONCURRENTLY ON twice (a)")
    assert found(sandbox)["twice"].keys == ()


def test_a_not_null_that_is_not_validated_makes_no_key(sandbox: Sandbox) -> None:
    if sandbox.version < 18:
        pytest.skip("NOT NULL NOT VALID came with PostgreSQL 18")
    tables = found(
        sandbox,
        "CREATE TABLE nulls AS SELECT NULL::int AS a FROM generate_series(1, 2)",
        "CREATE UNIQUE INDEX ON nulls (a)",
        "ALTER TABLE nulls ADD NOT NULL a NOT VALID",
    )
    assert tables["nulls"].keys == ()


def test_what_the_text_of_values_depends_on(sandbox: Sandbox) -> None:
    tables = found(
        sandbox,
        "CREATE TYPE color AS ENUM ('red', 'blue')",
        "CREATE DOMAIN shade AS color",
        "CREATE TYPE pair AS (a numeric, b shade[])",
        "CREATE DOMAIN many AS regclass[]",
        "CREATE TABLE t (a int, b numeric, c pair, d shade, e regclass, f many, g text, h numrange[],"
        " i float8[], j jsonb, k bpchar, l varbit, m bit(3), n text, o uuid)",
    )
    columns = {each.name: each for each in tables["t"].columns}
    assert {name: each.loose for name, each in columns.items() if each.loose} == {
        "b": "numeric",
        "c": "numeric",
        "h": "numeric",
        "i": "float8",
        "j": "jsonb",
        "k": "bpchar",
    }
    assert [label for _, label in columns["d"].shapes] == ["red", "blue"]
    assert [label for _, label in columns["c"].shapes] in (["red", "blue", "1 2"], ["1 2", "red", "blue"])
    assert {name: each.stored_as for name, each in columns.items() if each.stored_as} == {"e": "oid", "f": "oid[]"}


def test_a_collation_that_takes_two_texts_for_one(sandbox: Sandbox) -> None:
    if not sandbox.execute("SELECT FROM pg_collation WHERE collprovider = 'i'"):
        pytest.skip("this server is built without ICU")
    tables = found(
        sandbox,
        "CREATE COLLATION loose (provider = icu, locale = 'und-u-ks-level2', deterministic = false)",
        "CREATE TABLE t (a text COLLATE loose PRIMARY KEY, b text NOT NULL)",
        "CREATE UNIQUE INDEX ON t (b COLLATE loose)",
    )
    assert tables["t"].columns[0].loose == "loose"
    assert tables["t"].keys == (("a",),)


def test_what_this_role_may_not_read(sandbox: Sandbox) -> None:
    role = sandbox.role("reader", "LOGIN PASSWORD 'x'")
    tables = found(
        sandbox,
        "CREATE TABLE closed (a int)",
        f"CREATE TABLE policed (a int); GRANT SELECT ON policed TO {role}",
        "ALTER TABLE policed ENABLE ROW LEVEL SECURITY",
        f"CREATE TABLE root (a int) PARTITION BY LIST (a); GRANT SELECT ON root TO {role}",
        "CREATE TABLE leaf PARTITION OF root FOR VALUES IN (1)",
        f"CREATE SCHEMA hidden; CREATE TABLE hidden.h (a int); GRANT SELECT ON hidden.h TO {role}",
        f"GRANT SELECT ON item TO {role}",
        url=sandbox.cluster.url(sandbox.name, user=role),
    )
    assert {name: each.reason for name, each in tables.items()} == {
        "item": None,
        "closed": "this role has no SELECT privilege",
        "policed": "row-level security hides rows from this role",
        "root": "this role has no SELECT privilege (partition public.leaf)",
        "h": "this role has no USAGE privilege on the schema hidden",
    }


def test_foreign_tables_are_not_compared(sandbox: Sandbox) -> None:
    tables = found(
        sandbox,
        "CREATE FOREIGN DATA WRAPPER nothing",
        "CREATE SERVER nowhere FOREIGN DATA WRAPPER nothing",
        "CREATE FOREIGN TABLE away (a int) SERVER nowhere",
        "CREATE TABLE root (a int) PARTITION BY LIST (a)",
        "CREATE FOREIGN TABLE far PARTITION OF root FOR VALUES IN (1) SERVER nowhere",
    )
    assert tables["away"].reason == "its rows lie elsewhere: a foreign table"
    assert tables["root"].reason == "its rows lie elsewhere: a foreign table (partition public.far)"
    assert tables["away"].leaves == tables["root"].leaves == ()
