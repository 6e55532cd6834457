"""Row versions that only one side has become changed rows: by lookup where one side has few, else joined on disk."""

from __future__ import annotations

import pytest

from snapkit.core.comparison.row_changes import Method
from snapkit.core.comparison.tids import of_array, unpack
from snapkit.core.comparison.writes import Rows
from snapkit.postgres.comparison.rows import LISTED
from snapkit.postgres.connection.driver import driver_connection
from snapkit.postgres.connection.server import Connection
from snapkit.services.comparison import collecting, spool
from snapkit.services.comparison.collecting import AFTER, BEFORE, Collector
from snapkit.services.comparison.methods import joining
from tests.sandbox import Sandbox
from tests.server.comparing import Compared, TwoDatabases, truth, two_databases


def versions(connection: Connection, table: str) -> set[tuple[int, str, str]]:
    query = f"SELECT tableoid, ctid::text, xmin::text FROM {table}"
    return {(leaf, ctid, xmin) for leaf, ctid, xmin in driver_connection(connection).execute(query)}


def tids(connection: Connection, places: list[str]) -> bytes:
    cursor = driver_connection(connection).cursor(binary=True)
    result = cursor.execute("SELECT %s::tid[]", ["{" + ",".join(f'"{each}"' for each in places) + "}"]).pgresult
    assert result is not None
    return of_array(result.get_value(0, 0))


def collected(both: TwoDatabases, name: str, table: str) -> Compared:
    """Feed the versions that only one side has, found the slow way."""
    with both.sides() as sides:
        pair = both.pairs(sides, related=True)[name]
        with sides.snapshot(pair.before, pair.after):
            before, after = versions(sides.before, table), versions(sides.after, table)
            collector = Collector(sides, pair)
            for side, connection, only in (
                (BEFORE, sides.before, before - after),
                (AFTER, sides.after, after - before),
            ):
                for leaf in {each[0] for each in only}:
                    places = [ctid for oid, ctid, _ in sorted(only) if oid == leaf]
                    collector.put(side, leaf, tids(connection, places))
            return Compared.of(sides, collector.finish(Method.VERSIONS))


@pytest.fixture(params=["looked up", "joined", "joined on disk"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The way that is taken where one side has few rows and the other many: each gives the same."""
    if request.param == "looked up":
        monkeypatch.setattr(collecting, "_MANY_TIMES", 0)
    else:
        monkeypatch.setattr(collecting, "_FEW", -1)
    if request.param == "joined on disk":
        monkeypatch.setattr(joining, "_IN_MEMORY", 5 * LISTED)
        monkeypatch.setattr(joining, "_DEEPEST", 1)
        monkeypatch.setattr(spool, "_IN_MEMORY", 100)
        monkeypatch.setattr(spool, "_BATCH", 7)
    return str(request.param)


ORDERS = (
    "CREATE TABLE orders (part int, id numeric, name text, note text, PRIMARY KEY (id, part))",
    "INSERT INTO orders SELECT n % 3, n, 'name ' || n, repeat('x', 100) FROM generate_series(1, 3000) AS n",
)
CHANGES = {
    "few new": ["UPDATE orders SET name = 'x' WHERE id < 10", "DELETE FROM orders WHERE id > 2000"],
    "few gone": [
        "UPDATE orders SET name = 'x' WHERE id < 10",
        "INSERT INTO orders SELECT 7, n, n, n FROM generate_series(1, 900) AS n",
    ],
    "the same values": ["UPDATE orders SET name = name WHERE id % 3 = 1"],
    "written again": [
        "DELETE FROM orders WHERE id = 5",
        "INSERT INTO orders VALUES (2, 5.00, 'name 5', repeat('x', 100))",
        "INSERT INTO orders VALUES (0, 6, 'other', NULL) ON CONFLICT (id, part) DO UPDATE SET name = 'other'",
        "UPDATE orders SET id = id + 100000 WHERE id % 100 = 0",
    ],
}


@pytest.mark.parametrize("changes", CHANGES.values(), ids=CHANGES.keys())
def test_rows_with_a_key(sandbox: Sandbox, way: str, changes: list[str]) -> None:
    with two_databases(sandbox, *ORDERS) as both:
        both.run(both.after, *changes)
        columns = ["part", "id", "name", "note"]
        found = collected(both, "orders", "public.orders")
        assert found.rows == truth(both, "public.orders", columns, {"id": "trim_scale(id)", "part": "part"})
        changed = [change for change, *_ in found.rows]
        assert found.counts == Rows(*(changed.count(each) for each in ("inserted", "updated", "deleted")))


def test_rows_of_partitions_find_each_other(sandbox: Sandbox, way: str) -> None:
    with two_databases(
        sandbox,
        "CREATE TABLE root (id int, part text, v int, PRIMARY KEY (id, part)) PARTITION BY LIST (part)",
        "CREATE TABLE a PARTITION OF root FOR VALUES IN ('a')",
        "CREATE TABLE b PARTITION OF root FOR VALUES IN ('b') PARTITION BY RANGE (id)",
        "CREATE TABLE b1 PARTITION OF b FOR VALUES FROM (0) TO (1000)",
        "INSERT INTO root SELECT n, chr(97 + n % 2), 0 FROM generate_series(1, 100) AS n",
    ) as both:
        both.run(
            both.after,
            "UPDATE root SET v = 1 WHERE id < 7",
            "DELETE FROM root WHERE id = 50",
            "INSERT INTO root VALUES (1, 'a', 7)",
            "ALTER TABLE root DETACH PARTITION b",
            "ALTER TABLE b RENAME TO bb",
            "CREATE TABLE b PARTITION OF root FOR VALUES IN ('b')",
            "INSERT INTO root SELECT * FROM b1",
        )
        columns = ["id", "part", "v"]
        found = collected(both, "root", "public.root")
        assert found.rows == truth(both, "public.root", columns, {"id": "id", "part": "part"})


def test_rows_without_a_key(sandbox: Sandbox, way: str) -> None:
    with two_databases(
        sandbox,
        "CREATE TABLE loose (a int, b json)",
        "INSERT INTO loose SELECT n % 5, '{}' FROM generate_series(1, 100) AS n",
    ) as both:
        both.run(
            both.after,
            "UPDATE loose SET a = a WHERE a = 1",
            "UPDATE loose SET a = 2 WHERE a = 3",
            "INSERT INTO loose SELECT 4, '{}' FROM generate_series(1, 7)",
        )
        found = collected(both, "loose", "public.loose")
        assert found.rows == truth(both, "public.loose", ["a", "b"], {})
        assert found.counts == Rows(27, 0, 20)


def test_keys_that_cannot_be_looked_up(sandbox: Sandbox, way: str) -> None:
    with two_databases(
        sandbox,
        "CREATE TYPE color AS ENUM ('red', 'blue')",
        "CREATE TABLE t (c color, id int, v int, PRIMARY KEY (c, id))",
        "INSERT INTO t SELECT 'red', n, 1 FROM generate_series(1, 100) AS n",
    ) as both:
        both.run(both.after, "UPDATE t SET v = 2 WHERE id = 3", "DELETE FROM t WHERE id > 50")
        found = collected(both, "t", "public.t")
        assert found.rows == truth(both, "public.t", ["c", "id", "v"], {"c": "c", "id": "id"})


def test_what_one_side_has_only_is_not_read(sandbox: Sandbox) -> None:
    with two_databases(sandbox, *ORDERS) as both:
        both.run(both.after, "DELETE FROM orders WHERE id > 1000")
        with both.sides() as sides:
            pair = both.pairs(sides, related=True)["orders"]
            assert pair.before is not None
            (leaf,) = pair.before.leaves
            with sides.snapshot(pair.before, pair.after):
                places = versions(sides.before, "public.orders") - versions(sides.after, "public.orders")
                collector = Collector(sides, pair)
                collector.put(BEFORE, leaf.oid, tids(sides.before, [ctid for _, ctid, _ in sorted(places)]))
                found = collector.finish(Method.VERSIONS)
                assert found.counts == Rows(0, 0, 2000)
                assert sum(len(list(unpack(some))) for _, some in found.deleted) == 2000
                assert [row.key for row in found] == [row.key for row in found]
