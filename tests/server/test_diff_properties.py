"""Whatever is done to two databases that were once the same files, what is found to differ is what does differ.

The truth is found the slow way: all rows of both are read, and compared here. SNAPKIT_DIFF_EXAMPLES says how many
examples are tried.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import psycopg
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from psycopg import sql

from snapkit.core.comparison.lineage import Boundary, Kinship
from snapkit.core.comparison.pairing import pair_tables
from snapkit.core.comparison.row_changes import Change, Method, Pair
from snapkit.core.comparison.row_versions.wal_summaries import Written
from snapkit.postgres.comparison.relations import relations
from snapkit.services.comparison import rows as comparing
from snapkit.services.comparison.methods import by_versions, by_wal_summaries
from snapkit.services.comparison.methods.by_wal_summaries import NOTHING_KNOWN, ChangedBlocks, in_best_order
from snapkit.services.comparison.rows import compare_rows
from snapkit.services.comparison.sides import Sides
from snapkit.services.comparison.values import values_of
from tests.sandbox import Sandbox, wait_until
from tests.server.test_row_versions import both

pytestmark = pytest.mark.long

EXAMPLES = int(os.environ.get("SNAPKIT_DIFF_EXAMPLES", "30"))

KEYS = {
    "plain": "id int PRIMARY KEY, grp text NOT NULL",
    "words": "id int NOT NULL, grp text NOT NULL, PRIMARY KEY (grp, id)",
    "late_key": "id int NOT NULL UNIQUE, grp text NOT NULL",
    "no_key": "id int, grp text NOT NULL",
    "parts": "id int, grp text NOT NULL, PRIMARY KEY (id)",
    "Odd \"name'": "id bigint PRIMARY KEY, grp text NOT NULL",
}
"""The tables, and how each begins."""

REST = ", val int, big text, mood mood DEFAULT 'fair', made int GENERATED ALWAYS AS (id % 7) STORED"


class Step(NamedTuple):
    """Something that is done to one table of a database. ``{t}`` is the table, ``{n}`` a number."""

    table: str
    statements: tuple[str, ...]
    number: int


INSERT = (
    "INSERT INTO {t} (id, grp, val, big) SELECT g, 'g' || g % 3, g, repeat(md5(g::text), g % 100)"
    " FROM generate_series({n} * 10 + 1, {n} * 10 + 25) AS g ON CONFLICT DO NOTHING"
)
CHANGES: tuple[tuple[str, ...], ...] = (
    (INSERT,),
    ("UPDATE {t} SET val = coalesce(val, 0) + 1 WHERE id % 9 = {n} % 9",),
    ("UPDATE {t} SET big = repeat(md5(id::text || {n}), 200) WHERE id % 11 = {n} % 11",),
    ("UPDATE {t} SET val = val WHERE id % 5 = {n} % 5",),
    ("UPDATE {t} SET val = val + 1 WHERE id % 5 = {n} % 5", "UPDATE {t} SET val = val - 1 WHERE id % 5 = {n} % 5"),
    ("UPDATE {t} SET val = NULL WHERE id = {n}",),
    ("UPDATE {t} SET id = id + 1000 WHERE id % 13 = {n} % 13",),
    ("UPDATE {t} SET grp = grp || 'x' WHERE id % 17 = {n} % 17",),
    ("UPDATE {t} SET mood = 'good' WHERE id % 6 = {n} % 6",),
    ("DELETE FROM {t} WHERE id % 7 = {n} % 7",),
    ("DELETE FROM {t} WHERE id > {n} * 20",),
    ("DELETE FROM {t} WHERE id = {n}", "INSERT INTO {t} (id, grp, val) VALUES ({n}, 'again', 1)"),
    ("BEGIN", INSERT, "DELETE FROM {t} WHERE id % 2 = 0", "ROLLBACK"),
    (
        "BEGIN", "UPDATE {t} SET val = 77 WHERE id % 8 = 1", "SAVEPOINT s", "DELETE FROM {t} WHERE id % 4 = 1",
        "ROLLBACK TO s", "SAVEPOINT s2", INSERT, "RELEASE s2", "COMMIT",
    ),
    ("BEGIN", "SELECT * FROM {t} FOR UPDATE", "SAVEPOINT s", "SELECT * FROM {t} FOR SHARE", "COMMIT"),
    ("TRUNCATE {t}",),
    ("BEGIN", "TRUNCATE {t}", "ROLLBACK"),
    ("TRUNCATE {t}", INSERT),
    ("VACUUM {t}",),
    ("DELETE FROM {t} WHERE id % 3 = 0", "VACUUM {t}", INSERT),
    ("VACUUM (FREEZE, INDEX_CLEANUP on) {t}",),
    ("VACUUM FULL {t}",),
    ("CLUSTER {t} USING {pkey}",),
    ("SELECT txid_current() FROM generate_series(1, 3)",),
    ("ALTER TABLE {t} ALTER val TYPE bigint",),
    ("ALTER TABLE {t} ADD more int DEFAULT 5",),
    ("ALTER TABLE {t} ADD more int DEFAULT 6", "UPDATE {t} SET more = 7 WHERE id % 4 = 2"),
    ("ALTER TABLE {t} ADD chance float DEFAULT random()",),
    ("ALTER TABLE {t} DROP big",),
    ("ALTER TABLE {t} DROP big", "ALTER TABLE {t} ADD big text DEFAULT 'anew'"),
    ("ALTER TABLE {t} RENAME val TO worth",),
    ("ALTER TABLE {t} RENAME TO renamed_{n}",),
    ("ALTER TABLE {t} SET UNLOGGED",),
    ("ALTER TYPE mood RENAME VALUE 'good' TO 'grand'",),
    ("ALTER TABLE parts DETACH PARTITION parts_2",),
    ("CREATE TABLE parts_3 PARTITION OF parts FOR VALUES FROM (500) TO (900)",),
    ("CREATE TABLE made_{n} AS SELECT id, grp FROM {t}",),
    ("DROP TABLE {t}",),
    ("REINDEX TABLE {t}", "ANALYZE {t}"),
)  # fmt: skip

steps = st.lists(
    st.builds(Step, st.sampled_from(sorted(KEYS)), st.sampled_from(CHANGES), st.integers(0, 20)), max_size=8
)


def lay_out(connection: psycopg.Connection[Any]) -> None:
    connection.execute("CREATE TYPE mood AS ENUM ('bad', 'fair', 'good')")
    for name, columns in KEYS.items():
        is_root = name == "parts"
        end = sql.SQL(" PARTITION BY RANGE (id)" if is_root else " WITH (autovacuum_enabled = off)")
        body = sql.SQL("CREATE TABLE {} ({})").format(sql.Identifier(name), sql.SQL(columns + REST))
        connection.execute(body + end)
    for name, first, last in (("parts_1", 0, 40), ("parts_2", 40, 500), ("parts_9", 900, 10000)):
        connection.execute(f"CREATE TABLE {name} PARTITION OF parts FOR VALUES FROM ({first}) TO ({last})")
    connection.execute("CREATE TABLE spare (LIKE parts INCLUDING ALL, odd int)")
    connection.execute("ALTER TABLE spare DROP odd")
    for number in (0, 3, 5):
        for name in KEYS:
            carry_out(connection, Step(name, (INSERT,), number))


def carry_out(connection: psycopg.Connection[Any], step: Step) -> None:
    """Do it, or nothing where it makes no sense by now."""
    table = sql.Identifier(step.table)
    key = sql.Identifier(step.table + ("_id_key" if step.table == "late_key" else "_pkey"))
    for statement in step.statements:
        query = sql.SQL(statement).format(t=table, n=sql.SQL(str(step.number)), pkey=key)
        try:
            connection.execute(query)
        except psycopg.Error:
            connection.execute("ROLLBACK") if connection.info.transaction_status.name != "IDLE" else None
            return


# --- the truth ------------------------------------------------------------------------------------------------------


class Read(NamedTuple):
    """All that is in a table: the names of its columns by attnum, its rows as text."""

    name: str
    columns: dict[int, str]
    rows: list[dict[str, str | None]]


def read_all(connection: psycopg.Connection[Any]) -> dict[int, Read]:
    """Return the tables by OID; partitions are part of their root."""
    found = {}
    tables = connection.execute(
        "SELECT oid, relname FROM pg_class WHERE relkind IN ('r', 'p') AND relnamespace = 'public'::regnamespace"
        " AND NOT relispartition"
    )
    for oid, name in tables.fetchall():
        columns = dict(
            connection.execute(
                "SELECT attnum, attname FROM pg_attribute WHERE attrelid = %s AND attnum > 0 AND NOT attisdropped",
                [oid],
            ).fetchall()
        )
        wanted = sql.SQL(", ").join(sql.SQL("{}::text").format(sql.Identifier(each)) for each in columns.values())
        rows = connection.execute(sql.SQL("SELECT {} FROM {}").format(wanted, sql.Identifier(name))).fetchall()
        found[oid] = Read(name, columns, [dict(zip(columns.values(), row, strict=True)) for row in rows])
    return found


Row = tuple[str | None, ...]
Truth = dict[str, Counter[tuple[Change, Row | None, Row | None]]]
"""What has changed, with all values before and after, by the table's newest name."""


def truth(before: dict[int, Read], after: dict[int, Read], pairs: Sequence[Pair]) -> Truth:
    """Compare what was read. The pairs say which table and column is which, and the key: pairing has its own tests."""
    found: Truth = {}
    for pair in pairs:
        old = before[pair.before.oid].rows if pair.before else []
        new = after[pair.after.oid].rows if pair.after else []
        left = [tuple(row[one.name] for one, _ in pair.columns) for row in old]
        right = [tuple(row[other.name] for _, other in pair.columns) for row in new]
        found[pair.shown.name] = Counter(changed(left, right, pair))
    return found


def changed(old: list[Row], new: list[Row], pair: Pair) -> Iterator[tuple[Change, Row | None, Row | None]]:
    if pair.key is None:
        yield from ((Change.DELETED, row, None) for row in (Counter(old) - Counter(new)).elements())
        yield from ((Change.INSERTED, None, row) for row in (Counter(new) - Counter(old)).elements())
        return
    places = [pair.columns.index(each) for each in pair.key]
    one, other = ({tuple(row[at] for at in places): row for row in side} for side in (old, new))
    for key in one.keys() | other.keys():
        if key not in other:
            yield Change.DELETED, one[key], None
        elif key not in one:
            yield Change.INSERTED, None, other[key]
        elif one[key] != other[key]:
            yield Change.UPDATED, one[key], other[key]


def no_summaries(_sides: Sides, pairs: Sequence[Pair], _kinship: Kinship) -> Iterator[tuple[Pair, ChangedBlocks]]:
    return ((pair, NOTHING_KNOWN) for pair in pairs)


def found_by(sides: Sides, kinship: Kinship, order: Any = no_summaries) -> tuple[Truth, set[Method], list[Pair]]:
    found: Truth = {}
    methods = set()
    pairs = pair_tables(*sides.both(relations), related=kinship.proved)
    for pair, known in order(sides, pairs, kinship):
        with sides.snapshot(pair.before, pair.after) as as_of:
            changes = compare_rows(sides, pair, kinship, lambda _: None, as_of, known=known)
            told = [(each.row.change, each.before, each.after) for each in values_of(sides, pair, changes)]
        methods.add(changes.method)
        found[pair.shown.name] = Counter(told)
        kinds = Counter(change for change, _, _ in told)
        numbers = changes.counts
        assert [numbers.inserted, numbers.updated, numbers.deleted] == [
            kinds[each] for each in (Change.INSERTED, Change.UPDATED, Change.DELETED)
        ]
    return found, methods, pairs


# --- the test -------------------------------------------------------------------------------------------------------

_number = iter(range(10**6))


@contextmanager
def once_the_same(sandbox: Sandbox, strategy: str) -> Iterator[tuple[str, str, Kinship]]:
    """A database with tables, a clone of it, and their kinship."""
    names = [f"{sandbox.prefix}_{which}{next(_number)}" for which in ("live", "clone")]
    live, clone = map(sql.Identifier, names)
    try:
        sandbox.execute(sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(live))
        with sandbox.connect(names[0]) as connection:
            lay_out(connection)
        sandbox.execute("CHECKPOINT")  # a summary tells from the one before on
        ((xmin, xmax, lsn),) = sandbox.execute(
            "SELECT pg_snapshot_xmin(s)::text::int8, pg_snapshot_xmax(s)::text::int8,"
            " pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::int8 FROM pg_current_snapshot() AS s"
        )
        by = sql.SQL(f" STRATEGY {strategy}" if sandbox.version >= 15 else "")
        sandbox.execute(sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(clone, live) + by)
        oids = [sandbox.row(name)["oid"] for name in names]
        yield names[0], names[1], Kinship(True, Boundary(xmin, xmax, (), lsn), tuple(oids))
    finally:
        for name in (live, clone):
            sandbox.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(name))


@pytest.fixture
def summarised(sandbox: Sandbox) -> Iterator[None]:
    """The server writes WAL summaries, if it can."""
    if sandbox.version < 17:
        yield
        return
    sandbox.execute("ALTER SYSTEM SET summarize_wal TO on")
    sandbox.execute("SELECT pg_reload_conf()")
    wait_until(lambda: sandbox.execute("SELECT summarizer_pid FROM pg_get_wal_summarizer_state()") != [(None,)])
    yield
    sandbox.execute("ALTER SYSTEM RESET summarize_wal")
    sandbox.execute("SELECT pg_reload_conf()")


@given(steps, steps, st.sampled_from(["file_copy", "wal_log"]), st.sampled_from([1, 2, by_versions.RANGE]))
@settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize="SNAPKIT_DIFF_EXAMPLES" not in os.environ,
    database=None,
    suppress_health_check=list(HealthCheck),
    phases=(Phase.generate, Phase.shrink),
)
def test_what_differs_is_what_the_slow_way_says(
    sandbox: Sandbox, summarised: None, before: list[Step], after: list[Step], strategy: str, blocks: int
) -> None:
    with once_the_same(sandbox, strategy) as (live, clone, kinship), pytest.MonkeyPatch.context() as ranges:
        ranges.setattr(by_versions, "RANGE", blocks)
        read: list[dict[int, Read]] = []
        for name, todo in ((clone, before), (live, after)):
            with sandbox.connect(name) as connection:
                for step in todo:
                    carry_out(connection, step)
                read.append(read_all(connection))
        with both(sandbox, clone, live) as sides:
            found, _, pairs = found_by(sides, kinship)
            wanted = truth(read[0], read[1], pairs)
            assert found == wanted
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(comparing, "_divided", lambda sides, pair, kinship: ([], pair))
                found, methods, _ = found_by(sides, kinship)
            assert found == wanted
            assert methods <= {Method.KEYS, Method.VALUES}
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(by_wal_summaries, "is_worth_it", lambda blocks: True)
                patch.setattr(by_wal_summaries, "may_ask_for_checkpoint", lambda wal, wanted: True)
                patch.setattr(Written, "is_sparse", lambda written, end: True)
                found, methods, _ = found_by(sides, kinship, in_best_order)
            assert found == wanted
            assert (Method.SUMMARIES in methods) == (sandbox.version >= 17) or not methods & {*VERSIONED}


VERSIONED = (Method.SUMMARIES, Method.VERSIONS)


def test_wal_summaries_tell_that_nothing_was_done(sandbox: Sandbox, summarised: None) -> None:
    with (
        once_the_same(sandbox, "file_copy") as (live, clone, kinship),
        both(sandbox, clone, live) as sides,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setattr(by_wal_summaries, "is_worth_it", lambda blocks: True)
        patch.setattr(by_wal_summaries, "may_ask_for_checkpoint", lambda wal, wanted: True)
        _, methods, _ = found_by(sides, kinship, in_best_order)
    assert methods == ({Method.SUMMARIES} if sandbox.version >= 17 else {Method.VERSIONS})
