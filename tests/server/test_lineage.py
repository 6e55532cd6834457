"""Where databases come from: for any two of a source, the latest moment at which they were surely the same files."""

from __future__ import annotations

from itertools import combinations

import pytest

from snapkit.core.comparison.lineage import Kinship
from snapkit.core.inventory.database import Database
from snapkit.services.comparison.kinship import kinship_of
from snapkit.services.entries.reading import reading_entries
from snapkit.services.run.survey import gather
from tests.sandbox import LOCK_WAIT, Sandbox

pytestmark = pytest.mark.any_version


def present(box: Sandbox) -> dict[str, Database]:
    """Return the live database and all entries, by name."""
    with box.server().connect() as connection:
        state = gather(connection, box.name)
        assert state.live is not None
        return {each.name: each for each in (state.live, *(e.database for e in state.inventory.of_source(box.name)))}


def kin(box: Sandbox, one: Database, other: Database) -> Kinship:
    with box.server().connect() as connection:
        return kinship_of(connection, gather(connection, box.name), one, other)


def write(box: Sandbox, note: str, name: str | None = None) -> None:
    """Write something in every way: rows come, go and change, some in a subtransaction, some are frozen."""
    with box.connect(name) as connection:
        connection.execute("INSERT INTO item SELECT max(id) + 1, %s FROM item", (note,))
        connection.execute("UPDATE item SET name = %s WHERE id = (SELECT min(id) FROM item)", (note,))
        connection.execute("DELETE FROM item WHERE id = (SELECT id FROM item ORDER BY id OFFSET 5 LIMIT 1)")
        with connection.transaction(), connection.transaction():
            connection.execute("INSERT INTO item SELECT max(id) + 1, %s FROM item", (note + ", in a savepoint",))


Version = tuple[str, int, int | None, str]


def versions(box: Sandbox, name: str) -> set[Version]:
    """Return the versions of the rows of a database: where each is, who wrote it, and what it holds."""
    query = "SELECT ctid::text, xmin::text::bigint, id, name FROM public.item"
    if name == box.name:
        with box.connect() as connection:
            return set(connection.execute(query).fetchall())
    opened = reading_entries(box.server(), [name], LOCK_WAIT, command="diff")
    with opened as reading, reading.enter(reading.entries[0]) as inside:
        return {tuple(row) for row in inside.exec_driver_sql(query)}


def assert_true(box: Sandbox) -> int:
    """Hold what is said of each pair against the rows: return how many pairs have a boundary."""
    there = {database.name: (database, versions(box, database.name)) for database in present(box).values()}
    proved = 0
    for (one, mine), (other, theirs) in combinations(there.values(), 2):
        found = kin(box, one, other)
        if found.boundary is None:
            continue
        proved += 1
        assert found.proved
        assert {one.oid, other.oid} <= set(found.databases)
        assert len(set(found.databases)) == len(found.databases)
        for version in mine ^ theirs:  # of one side only: written, or gone, since
            present_there = version in mine
            ours, others = (mine, theirs) if present_there else (theirs, mine)
            at = {each[0]: each for each in others}
            is_new = version[1] >= found.boundary.xmin
            is_gone = version[0] not in at or at[version[0]][1] >= found.boundary.xmin
            assert is_new or is_gone, (one.name, other.name, version, found)
            assert version in ours
        old = {(each[0], each[1]): each for each in mine if each[1] < found.boundary.xmin}
        for each in theirs:  # the same version is the same row
            assert old.get((each[0], each[1]), each) == each
    return proved


def test_all_pairs_of_backups_rollbacks_and_an_undo(sandbox: Sandbox) -> None:
    write(sandbox, "before all")
    sandbox.back_up(label="first")
    write(sandbox, "after the first backup")
    assert assert_true(sandbox) == 1
    second = sandbox.back_up(label="second").backup.name
    write(sandbox, "after the second backup")
    sandbox.roll_back(second)
    write(sandbox, "after the first rollback")
    assert assert_true(sandbox) == 3
    third = sandbox.back_up(label="third").backup.name
    write(sandbox, "after the third backup")
    sandbox.undo()
    write(sandbox, "after the undo")
    sandbox.roll_back(third, keep_backup=True)
    write(sandbox, "after a rollback that kept its backup")
    number = len(present(sandbox))
    assert assert_true(sandbox) == number * (number - 1) // 2


@pytest.mark.parametrize("keep", [False, True])
def test_all_pairs_with_the_oldest_pruned(sandbox: Sandbox, keep: bool) -> None:
    first = sandbox.back_up().backup.name
    write(sandbox, "after the first backup")
    second = sandbox.back_up().backup.name
    write(sandbox, "after the second backup")
    displaced = sandbox.roll_back(second, keep_backup=keep).displaced
    assert displaced is not None
    write(sandbox, "after the rollback")
    assert sandbox.run("delete", displaced.name, "--yes").code == 0
    live = present(sandbox)[sandbox.name]
    found = kin(sandbox, present(sandbox)[first], live)
    assert (found.proved, found.boundary is not None) == (True, True)
    third = sandbox.back_up().backup.name
    write(sandbox, "after the third backup")
    sandbox.roll_back(third)
    write(sandbox, "after the second rollback")
    assert sandbox.run("prune", "--keep", "1", "--keep-old", "0", "--yes").code == 0
    number = len(present(sandbox))
    assert number > 1
    assert assert_true(sandbox) == number * (number - 1) // 2
