"""Rows are compared by their versions: what differs is found without reading a value."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
from psycopg import sql

from snapkit.core.comparison.lineage import STRANGERS, Kinship
from snapkit.core.comparison.pairing import pair_tables
from snapkit.core.comparison.row_changes import Change, Method
from snapkit.core.comparison.writes import Rows
from snapkit.postgres.comparison.relations import relations
from snapkit.postgres.connection.conninfo import target_of
from snapkit.postgres.connection.server import Server
from snapkit.services.comparison.changed_rows import ChangedRows
from snapkit.services.comparison.giving_way import GiveWayError, giving_way
from snapkit.services.comparison.rows import compare_rows
from snapkit.services.comparison.sides import Sides
from tests.sandbox import Sandbox, wait_until

KIN = Kinship(proved=True)


@pytest.fixture
def clone(sandbox: Sandbox) -> str:
    """A clone of the source, by files."""
    return clone_of(sandbox, "clone")


def clone_of(sandbox: Sandbox, name: str) -> str:
    full = f"{sandbox.prefix}_{name}"
    strategy = " STRATEGY file_copy" if sandbox.version >= 15 else ""
    query = f"CREATE DATABASE {{}} TEMPLATE {{}}{strategy}"
    sandbox.execute(sql.SQL(query).format(sql.Identifier(full), sql.Identifier(sandbox.name)))
    return full


@contextmanager
def both(sandbox: Sandbox, before: str, after: str) -> Iterator[Sides]:
    with (
        Server(target_of(sandbox.cluster.url("postgres")), None).enter(before, {}) as one,
        Server(target_of(sandbox.cluster.url("postgres")), None).enter(after, {}) as other,
    ):
        sides = Sides(one, other)
        try:
            yield sides
        finally:
            sides.close()


Told = tuple[Method, Rows, list[tuple[Change, tuple[str, ...] | None]]]


def told(changes: ChangedRows) -> Told:
    return changes.method, changes.counts, sorted((row.change, row.key) for row in changes)


def compare(sandbox: Sandbox, before: str, kinship: Kinship = KIN, after: str | None = None) -> dict[str, Told]:
    """Return what differs, by the table's name."""
    found: dict[str, Told] = {}
    with both(sandbox, before, after or sandbox.name) as sides:
        for pair in pair_tables(*sides.both(relations), related=kinship.proved):
            with sides.snapshot(pair.before, pair.after) as as_of:
                found[pair.shown.name] = told(compare_rows(sides, pair, kinship, lambda _: None, as_of))
    return found


def test_nothing_has_changed(sandbox: Sandbox, clone: str) -> None:
    assert compare(sandbox, clone) == {"item": (Method.VERSIONS, Rows(), [])}


def test_all_kinds_of_changes(sandbox: Sandbox, clone: str) -> None:
    with sandbox.connect() as connection:
        connection.execute("DELETE FROM item WHERE id <= 2")
        connection.execute("INSERT INTO item VALUES (101, 'new')")
        connection.execute("UPDATE item SET name = 'changed' WHERE id = 3")
        connection.execute("UPDATE item SET name = name WHERE id = 4")
    assert compare(sandbox, clone)["item"] == (
        Method.VERSIONS,
        Rows(1, 1, 2),
        sorted([
            (Change.DELETED, ("1",)), (Change.DELETED, ("2",)), (Change.INSERTED, ("101",)), (Change.UPDATED, ("3",))
        ]),
    )  # fmt: skip
    assert compare(sandbox, clone, STRANGERS)["item"] == (Method.KEYS, *compare(sandbox, clone)["item"][1:])


def test_a_column_that_both_have_added_with_another_default(sandbox: Sandbox, clone: str) -> None:
    for name, default in ((clone, "1"), (sandbox.name, "2")):
        with sandbox.connect(name) as connection:
            connection.execute(f"ALTER TABLE item ADD COLUMN more int DEFAULT {default}")
    assert compare(sandbox, clone)["item"][:2] == (Method.KEYS, Rows(0, 100, 0))


def test_a_column_that_one_side_has_added_is_left_out(sandbox: Sandbox, clone: str) -> None:
    with sandbox.connect() as connection:
        connection.execute("ALTER TABLE item ADD COLUMN more int DEFAULT 5")
        connection.execute("UPDATE item SET more = 6 WHERE id = 7")
    assert compare(sandbox, clone)["item"] == (Method.VERSIONS, Rows(), [])


def test_a_table_is_given_up_to_who_waits_to_change_it(sandbox: Sandbox, clone: str) -> None:
    def alter() -> None:
        with sandbox.connect() as connection:
            connection.execute("ALTER TABLE item ADD COLUMN more int")

    with both(sandbox, clone, sandbox.name) as sides:
        (pair,) = pair_tables(*sides.both(relations), related=True)
        steps: list[int] = []
        with ThreadPoolExecutor() as others:
            with sides.snapshot(pair.before, pair.after):
                polite = giving_way(sides, steps.append)
                polite(1)
                altering = others.submit(alter)
                with pytest.raises(GiveWayError):
                    wait_until(lambda: bool(polite(2)))
            altering.result(60)
    assert steps[:2] == [1, 2]
