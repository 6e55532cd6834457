"""Rows compared by key or by whole value, and what comes out told by row: against the truth, found the slow way."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from snapkit.core.comparison.writes import Rows
from snapkit.services.comparison.methods import by_keys as module
from tests.sandbox import Sandbox
from tests.server.comparing import TwoDatabases, truth, two_databases


def test_what_was_inserted_updated_and_deleted(sandbox: Sandbox) -> None:
    with two_databases(sandbox) as both:
        both.run(
            both.after,
            "DELETE FROM item WHERE id % 10 = 0",
            "UPDATE item SET name = 'new' WHERE id % 7 = 0",
            "UPDATE item SET name = name WHERE id % 3 = 0",
            "INSERT INTO item VALUES (1000, NULL)",
            "VACUUM FULL item",
        )
        found = both.compared("item")
        assert found.rows == truth(both, "public.item", ["id", "name"], {"id": "id"})
        assert (found.counts, found.method) == (Rows(1, 13, 10), "keys")


KEYS: dict[str, tuple[Sequence[str], str]] = {
    "int": (["-1", "0", "7"], "k"),
    "numeric": (["1.0", "'NaN'", "'Infinity'", "2.50", "0"], "trim_scale(k)"),
    "float8": (["0", "'NaN'", "0.1", "1e300", "'-Infinity'"], "k + 0"),
    "float4": (["'-0'", "0.1", "1e30"], "k + 0"),
    "text": (["''", "'a'", "'A'", "E'\\n\\t\\\\ '", "'ü\"''%s,()'", "'NULL'"], "k"),
    'text COLLATE "C"': (["'a'", "'ä'"], "k"),
    "varchar(9)": (["'a'", "'a '"], "k"),
    "bpchar": (["'a '", "'b'", "''"], "rtrim(k::text)"),
    "char(3)": (["'a'", "'abc'"], "k"),
    "name": (["'a'", "'b'"], "k"),
    "uuid": (["'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'", "'00000000-0000-0000-0000-000000000000'"], "k"),
    "timestamptz": (["'2026-01-01 00:00+05'", "'infinity'", "'0001-01-01 BC'"], "k"),
    "timestamp": (["'2026-01-01 00:00:00.000001'", "'-infinity'"], "k"),
    "date": (["'2026-01-01'", "'4713-01-01 BC'"], "k"),
    "interval": (["'1 month'", "'1 year'", "'3 days'"], "extract(epoch from justify_interval(k))"),
    "bytea": (["'\\x'", "'\\x00ff'"], "k"),
    "bool": (["true", "false"], "k"),
    "inet": (["'10.0.0.1'", "'10.0.0.0/8'"], "k"),
    "varbit": (["'101'", "''"], "k"),
    "bit(3)": (["'101'", "'000'"], "k"),
    "money": (["'1.5'", "'-2'"], "k"),
    "jsonb": (["'{\"a\": 1.0}'", "'[1, 2]'", "'null'"], "replace(k::text, '.00', '.0')"),
    "int[]": (["'{}'", "'{1,NULL}'", "'{{1,2}}'"], "k"),
    "numeric[]": (["'{1.0}'", "'{2}'"], "replace(k::text, '.00', '.0')"),
    "int4range": (["'empty'", "'[1,3)'", "'(,)'"], "k"),
    "numrange": (["'[1.0,2)'", "'(,3]'"], "replace(k::text, '.00', '.0')"),
    "color": (["'red'", "'blue'"], "k"),
    "shade": (["'red'", "'blue'"], "k"),
    "amount": (["1.0", "2.0"], "trim_scale(k)"),
    "duo": (["ROW(1.0, 'x')", "ROW(2.0, NULL)"], "replace(k::text, '.00', '.0')"),
    "oid": (["0", "4294967295"], "k"),
    "regclass": (["'item'", "'pg_class'"], "k::oid"),
}
"""Types of keys, with some values, and what prints the same for equal ones."""

RESPELLED = {
    "numeric": "1.00",
    "float8": "'-0'",
    "float4": "0",
    "bpchar": "'a    '",
    "interval": "'30 days'",
    "jsonb": "'{\"a\": 1.00}'",
    "numeric[]": "'{1.00}'",
    "numrange": "'[1.00,2)'",
    "amount": "1.00",
    "duo": "ROW(1.00, 'x')",
}
"""The first value of some types, written in another way: for the key, it is the same."""

TYPES = (
    "CREATE TYPE color AS ENUM ('red', 'blue', 'green')",
    "CREATE DOMAIN shade AS color",
    "CREATE DOMAIN amount AS numeric",
    "CREATE TYPE duo AS (a numeric, b text)",
)


@pytest.mark.parametrize("related", [True, False])
def test_keys_of_all_types(sandbox: Sandbox, related: bool) -> None:
    tables = {each: f"keyed_{number}" for number, each in enumerate(KEYS)}
    before = list(TYPES)
    after: list[str] = []
    for each, name in tables.items():
        values = KEYS[each][0]
        before.append(f"CREATE TABLE {name} (v text, k {each}, w int DEFAULT 0, PRIMARY KEY (w, k))")
        before += [f"INSERT INTO {name} VALUES ('{at}', {value})" for at, value in enumerate(values)]
        after.append(f"UPDATE {name} SET v = 'changed', k = {RESPELLED.get(each, 'k')} WHERE v = '0'")
        after.append(f"DELETE FROM {name} WHERE v = '1'")
        after.append(f"INSERT INTO {name} SELECT v, k, 1 FROM {name}")
    with two_databases(sandbox, *before) as both:
        both.run(both.after, *after)
        for each, name in tables.items():
            found = both.compared(name, related=related)
            values, same = KEYS[each]
            expected = truth(both, f"public.{name}", ["v", "k", "w"], {"w": "w", "k": same})
            assert found.rows == expected, each
            assert found.counts == Rows(len(values) - 1, 1, 1), each


def test_rows_without_a_key_go_by_value_and_duplicates_count_singly(sandbox: Sandbox) -> None:
    with two_databases(
        sandbox,
        "CREATE TABLE loose (a int, b json, c xml, d point)",
        "INSERT INTO loose SELECT n % 3, '{\"a\": 1}', NULL, '(1,2)' FROM generate_series(1, 30) AS n",
        "CREATE TABLE nothing ()",
        "INSERT INTO nothing DEFAULT VALUES",
        "INSERT INTO nothing SELECT FROM nothing",
    ) as both:
        both.run(
            both.after,
            "DELETE FROM loose WHERE ctid IN (SELECT ctid FROM loose WHERE a = 1 LIMIT 4)",
            "UPDATE loose SET b = '{\"a\":1}' WHERE ctid IN (SELECT ctid FROM loose WHERE a = 2 LIMIT 2)",
            "INSERT INTO loose VALUES (0, '{\"a\": 1}', NULL, '(1,2)'), (NULL, NULL, NULL, NULL)",
            "INSERT INTO nothing SELECT FROM nothing",
        )
        found = both.compared("loose")
        assert found.rows == truth(both, "public.loose", ["a", "b", "c", "d"], {})
        assert (found.counts, found.method) == (Rows(4, 0, 6), "values")
        assert both.compared("nothing").counts == Rows(2, 0, 0)


def test_null_is_no_text_and_no_text_is_another(sandbox: Sandbox) -> None:
    with two_databases(
        sandbox,
        "CREATE TABLE t (id int PRIMARY KEY, a text, b text)",
        "INSERT INTO t VALUES (1, NULL, ''), (2, 'a,', 'b'), (3, 'NULL', NULL), (4, NULL, NULL), (5, 'x', 'y')",
    ) as both:
        both.run(
            both.after,
            "UPDATE t SET a = '', b = NULL WHERE id = 1",
            "UPDATE t SET a = 'a', b = ',b' WHERE id = 2",
            "UPDATE t SET a = NULL, b = 'NULL' WHERE id = 3",
        )
        found = both.compared("t")
        assert found.rows == truth(both, "public.t", ["id", "a", "b"], {"id": "id"})
        assert found.counts == Rows(0, 3, 0)


def test_awkward_names(sandbox: Sandbox) -> None:
    table = '"Sche""ma % é"."T \'x\' %(a)s"'
    first, second = '"K %s"', '"k"" ü"'
    with two_databases(
        sandbox,
        'CREATE SCHEMA "Sche""ma % é"',
        f'CREATE TABLE {table} ({first} int, {second} text, "ctid " text, "t" text, PRIMARY KEY ({second}, {first}))',
        f"INSERT INTO {table} SELECT n, n, n FROM generate_series(1, 10) AS n",
    ) as both:
        both.run(both.after, f"UPDATE {table} SET t = 'y' WHERE {first} = 4", f"VACUUM FULL {table}")
        found = both.compared("T 'x' %(a)s")
        columns = [first, second, '"ctid "', '"t"']
        assert found.rows == truth(both, table, columns, {second: second, first: first})
        assert found.counts.updated == 1


def test_columns_that_were_renamed_added_dropped_or_computed(sandbox: Sandbox) -> None:
    virtual = ", v int GENERATED ALWAYS AS (1 / (a - 3)) VIRTUAL" if sandbox.version >= 18 else ""
    with two_databases(
        sandbox,
        "CREATE TABLE t (id int PRIMARY KEY, gone text, a int, again text,"
        f" s int GENERATED ALWAYS AS (a * 2) STORED{virtual})",
        "INSERT INTO t SELECT n, 'gone', n, 'kept' FROM generate_series(1, 5) AS n",
    ) as both:
        both.run(
            both.after,
            "ALTER TABLE t DROP COLUMN gone, DROP COLUMN again",
            "ALTER TABLE t ADD COLUMN again text DEFAULT 'kept', ADD COLUMN more int DEFAULT 7",
            "ALTER TABLE t RENAME COLUMN a TO b",
            "ALTER TABLE t RENAME TO t2",
            "UPDATE t2 SET b = 10 WHERE id = 2",
            "UPDATE t2 SET again = 'lost' WHERE id = 4",
            "UPDATE t2 SET more = 8 WHERE id = 5",
        )
        assert both.compared("t2").rows == [
            ("updated", ("2",), ("2", "2", "4", "kept"), ("2", "10", "20", "kept")),
            ("updated", ("4",), ("4", "4", "8", "kept"), ("4", "4", "8", "lost")),
        ]


def test_labels_of_enums_and_attributes_of_types_that_changed(sandbox: Sandbox) -> None:
    with two_databases(
        sandbox,
        *TYPES,
        "CREATE TABLE t (id int PRIMARY KEY, c color, d duo)",
        "INSERT INTO t VALUES (1, 'red', (1, 'x')), (2, 'blue', NULL), (3, NULL, NULL)",
    ) as both:
        both.run(both.after, "ALTER TYPE color RENAME VALUE 'red' TO 'crimson'", "ALTER TYPE duo ADD ATTRIBUTE e int")
        assert both.compared("t").rows == [("updated", ("1",), ("1", "red", "(1,x)"), ("1", "crimson", "(1,x,)"))]


def test_names_of_what_was_renamed_are_no_difference(sandbox: Sandbox) -> None:
    with two_databases(
        sandbox,
        "CREATE TABLE old_name (a int)",
        "CREATE DOMAIN ref AS regclass",
        "CREATE TABLE t (id int PRIMARY KEY, r regclass, a regclass[], d ref, f regprocedure)",
        "INSERT INTO t VALUES (1, 'old_name', '{old_name,NULL}', 'old_name', 'lower(text)')",
    ) as both:
        both.run(both.after, "ALTER TABLE old_name RENAME TO new_name", "UPDATE t SET id = id", "VACUUM FULL t")
        assert both.compared("t").counts == Rows()
        assert both.compared("t", related=False).counts == Rows(0, 1, 0)


def test_partitions_are_one_table(sandbox: Sandbox) -> None:
    with two_databases(
        sandbox,
        "CREATE TABLE root (id int, part text, v int, PRIMARY KEY (part, id)) PARTITION BY LIST (part)",
        "CREATE TABLE a PARTITION OF root FOR VALUES IN ('a')",
        "CREATE TABLE b (v int, part text NOT NULL, id int NOT NULL)",
        "ALTER TABLE root ATTACH PARTITION b FOR VALUES IN ('b')",
        "CREATE TABLE c PARTITION OF root FOR VALUES IN ('c')",
        "INSERT INTO root SELECT n, chr(97 + n % 3), 0 FROM generate_series(1, 12) AS n",
        "CREATE TABLE d (id int NOT NULL, part text NOT NULL, v int)",
        "INSERT INTO d VALUES (1, 'd', 1)",
    ) as both:
        both.run(
            both.after,
            "UPDATE root SET v = 1 WHERE id = 4",
            "ALTER TABLE root DETACH PARTITION c",
            "ALTER TABLE root ATTACH PARTITION d FOR VALUES IN ('d')",
            "VACUUM FULL root",
        )
        found = both.compared("root")
        assert found.rows == truth(both, "public.root", ["id", "part", "v"], {"part": "part", "id": "id"})
        assert found.counts == Rows(1, 1, 4)
        assert both.compared("c").counts == Rows(4, 0, 0)
        assert both.compared("d").counts == Rows(0, 0, 1)


def test_children_are_tables_of_their_own(sandbox: Sandbox) -> None:
    with two_databases(
        sandbox,
        "CREATE TABLE parent (id int PRIMARY KEY)",
        "CREATE TABLE child (PRIMARY KEY (id)) INHERITS (parent)",
        "INSERT INTO parent VALUES (1)",
        "INSERT INTO child VALUES (1), (2)",
    ) as both:
        both.run(both.after, "DELETE FROM child WHERE id = 1")
        assert both.compared("parent").counts == Rows()
        assert both.compared("child").rows == [("deleted", ("1",), ("1",), None)]


def test_materialised_views_have_rows_too(sandbox: Sandbox) -> None:
    with two_databases(sandbox, "CREATE MATERIALIZED VIEW seen AS SELECT id, name FROM item WHERE id < 5") as both:
        both.run(both.after, "DELETE FROM item WHERE id = 3", "REFRESH MATERIALIZED VIEW seen")
        assert both.compared("seen").rows == [("deleted", None, ("3", "item 3"), None)]


def test_a_table_of_one_side_only(sandbox: Sandbox) -> None:
    with two_databases(sandbox, "CREATE TABLE gone AS SELECT 1 AS a") as both:
        both.run(both.after, "DROP TABLE gone", "CREATE TABLE new (id int PRIMARY KEY)", "INSERT INTO new VALUES (7)")
        assert both.compared("gone").rows == [("deleted", None, ("1",), None)]
        assert both.compared("new").rows == [("inserted", ("7",), None, ("7",))]


def test_databases_of_another_encoding(sandbox: Sandbox) -> None:
    before = f"{sandbox.prefix}_before"
    sandbox.execute(f"CREATE DATABASE {before} TEMPLATE template0 ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C'")
    both = TwoDatabases(sandbox, before, sandbox.name)
    for name in (both.before, both.after):
        both.run(
            name,
            "CREATE TABLE t (k text, n numeric, v text, PRIMARY KEY (k, n))",
            "INSERT INTO t VALUES ('ü', 1, 'é'), ('ö', 2, 'ê')",
        )
    both.run(both.after, "UPDATE t SET v = '€' WHERE k = 'ö'")
    assert both.compared("t", related=False).rows == [("updated", ("ö", "2"), ("ö", "2", "ê"), ("ö", "2", "€"))]


def test_long_values(sandbox: Sandbox) -> None:
    with two_databases(
        sandbox,
        "CREATE TABLE docs (id int PRIMARY KEY, body text, data bytea)",
        "INSERT INTO docs SELECT n, repeat(md5(n::text), 20000), decode(repeat(md5(n::text), 3000), 'hex')"
        " FROM generate_series(1, 20) AS n",
    ) as both:
        both.run(both.after, "UPDATE docs SET body = body || '.' WHERE id = 3", "VACUUM FULL docs")
        found = both.compared("docs")
        assert found.rows == truth(both, "public.docs", ["id", "body", "data"], {"id": "id"})


@pytest.mark.parametrize("key", [{"id": "id"}, {}], ids=["key", "value"])
def test_a_large_table_is_divided_into_buckets(
    sandbox: Sandbox, key: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With smaller pieces than usual, so that a table of some megabytes goes all ways."""
    monkeypatch.setattr(module, "_SMALL", 16)
    monkeypatch.setattr(module, "_LISTING", 32)
    monkeypatch.setattr(module, "_SUMMING", 64)
    primary = ", PRIMARY KEY (id)" if key else ""
    with two_databases(
        sandbox,
        f"CREATE TABLE big (id int NOT NULL, v text{primary})",
        "INSERT INTO big SELECT n, md5((n % 10000)::text) FROM generate_series(1, 30000) AS n",
        "CREATE TABLE same AS SELECT * FROM big",
    ) as both:
        both.run(
            both.after,
            "DELETE FROM big WHERE id % 1000 = 1",
            "UPDATE big SET v = 'x' WHERE id % 700 = 2",
            "INSERT INTO big SELECT 30000 + n, n FROM generate_series(1, 15) AS n",
            "CREATE TABLE other AS SELECT * FROM big ORDER BY v",
            "TRUNCATE big",
            "INSERT INTO big SELECT * FROM other",
            "CREATE TABLE again AS SELECT * FROM same ORDER BY v",
            "DROP TABLE same",
            "ALTER TABLE again RENAME TO same",
        )
        found = both.compared("big")
        expected = truth(both, "public.big", ["id", "v"], key)
        assert found.rows == expected
        assert both.compared("same").counts == Rows()


COLUMNS = {
    "int": st.integers(-3, 3).map(str),
    "text": st.sampled_from(["''", "'a'", "'A,'", "'\"x\"'", "'NULL'"]),
    "float8": st.sampled_from(["0", "'-0'", "'NaN'", "1.5"]),
    "json": st.sampled_from(["'{}'", "'{ }'", "'[1]'"]),
    "text[]": st.sampled_from(["'{}'", "'{a,NULL}'", "'{\"NULL\"}'"]),
    "bytea": st.sampled_from(["'\\x'", "'\\x00'"]),
}
"""Types of columns, with values of each. NULL is one of any."""


@st.composite
def tables(draw: st.DrawFn) -> tuple[list[str], dict[str, str], list[list[str]], list[list[str]]]:
    """Types of columns; what is their key; the rows of both sides, which mostly are the same."""
    types = draw(st.lists(st.sampled_from(sorted(COLUMNS)), min_size=1, max_size=4))
    value = {each: st.one_of(st.just("NULL"), COLUMNS[each]) for each in COLUMNS}
    keyed = draw(st.booleans())
    key = {"c0": "c0 + 0" if types[0] == "float8" else "c0"} if keyed and types[0] != "json" else {}
    before = draw(st.lists(st.tuples(*(value[each] for each in types)).map(list), max_size=8))
    after = [list(row) for row in before]
    for _ in range(draw(st.integers(0, 4))):
        if bool(after) and draw(st.booleans()):
            at = draw(st.integers(0, len(after) - 1))
            column = draw(st.integers(0, len(types) - 1))
            after[at][column] = draw(value[types[column]])
        elif bool(after) and draw(st.booleans()):
            del after[draw(st.integers(0, len(after) - 1))]
        else:
            after.append(list(draw(st.tuples(*(value[each] for each in types)))))
    return types, key, before, draw(st.permutations(after))


@pytest.mark.long
@settings(
    max_examples=60,
    deadline=None,
    phases=[Phase.explicit, Phase.generate, Phase.shrink],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(example=tables(), small=st.booleans())
def test_any_two_tables(
    sandbox: Sandbox, example: tuple[list[str], dict[str, str], list[list[str]], list[list[str]]], small: bool
) -> None:
    types, key, *sides = example
    columns = [f"c{number}" for number in range(len(types))]
    before = f"{sandbox.prefix}_before"
    if before not in sandbox.databases():
        sandbox.execute(f"CREATE DATABASE {before}")
    both = TwoDatabases(sandbox, before, sandbox.name)
    for name, rows in zip((both.before, both.after), sides, strict=True):
        definition = ", ".join(f"{column} {each}" for column, each in zip(columns, types, strict=True))
        both.run(name, "DROP TABLE IF EXISTS t", f"CREATE TABLE t ({definition})")
        if key:
            both.run(name, "ALTER TABLE t ADD PRIMARY KEY (c0)")
        for row in rows:
            if not key or row[0] != "NULL":
                both.run(name, f"INSERT INTO t VALUES ({', '.join(row)}) ON CONFLICT DO NOTHING")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_SMALL", 512 if small else -1)  # listed at once, or by buckets
        found = both.compared("t", related=False)
    assert found.rows == truth(both, "public.t", columns, key)
    assert found.counts.total == len(found.rows)
