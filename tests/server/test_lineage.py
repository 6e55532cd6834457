"""Where databases come from: for any two of a source, the latest moment at which they were surely the same files."""

from __future__ import annotations

import json
from itertools import combinations

import pytest
from psycopg import sql

from snapkit.core.comparison.lineage import Kinship
from snapkit.core.inventory.database import Database
from snapkit.core.inventory.kinds import State, Strategy
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


def test_what_the_dropped_ones_told_of_the_live_database_goes_from_one_to_the_next(sandbox: Sandbox) -> None:
    first = sandbox.back_up().backup.name
    write(sandbox, "after the first backup")
    sandbox.roll_back(sandbox.back_up().backup.name)
    write(sandbox, "after the rollback")
    for _ in range(3):  # they come from what is live, and so tell of it
        sandbox.back_up()
    before = kin(sandbox, present(sandbox)[first], present(sandbox)[sandbox.name])
    assert before.boundary is not None
    names = [name for name in present(sandbox) if name not in (first, sandbox.name)]
    assert len(names) == 4
    ran = sandbox.run("delete", *names, "--yes")
    assert (ran.code, set(present(sandbox))) == (0, {first, sandbox.name}), ran
    assert kin(sandbox, present(sandbox)[first], present(sandbox)[sandbox.name]) == before
    assert assert_true(sandbox) == 1
    assert sandbox.run("rollback", first).code == 0


@pytest.mark.parametrize("keep", [False, True])
def test_what_goes_live_in_place_of_none_is_known_by_another(sandbox: Sandbox, keep: bool) -> None:
    first = sandbox.back_up().backup.name
    write(sandbox, "after the first backup")
    second = sandbox.back_up().backup.name
    sandbox.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(sandbox.name)))
    sandbox.roll_back(second, keep_backup=keep)
    write(sandbox, "after the rollback")
    number = len(present(sandbox))
    assert number == 3 if keep else 2
    assert assert_true(sandbox) == number * (number - 1) // 2
    assert all(entry.state is State.READY for entry in sandbox.entries())
    assert first in present(sandbox)


def test_what_is_not_the_files_of_its_source_has_no_kin(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SNAPKIT_PG_BIN", str(sandbox.cluster.binaries))
    first = sandbox.back_up().backup.name
    online = sandbox.back_up(strategy=Strategy.ONLINE).backup.name
    there = present(sandbox)
    assert [kin(sandbox, there[online], there[name]).proved for name in (first, sandbox.name)] == [False, False]
    sandbox.roll_back(online, keep_backup=True)
    there = present(sandbox)
    found = kin(sandbox, there[online], there[sandbox.name])
    assert (found.proved, found.databases) == (True, (there[online].oid, there[sandbox.name].oid))


def test_a_document_that_was_carried_elsewhere_proves_nothing(sandbox: Sandbox) -> None:
    name = sandbox.back_up().backup.name
    document = sandbox.row(name)["comment"]
    copy = sql.Identifier(name.replace("_backup_", "_backup_copied_"))
    sandbox.execute(sql.SQL("CREATE DATABASE {} ALLOW_CONNECTIONS false").format(copy))
    sandbox.execute(sql.SQL("COMMENT ON DATABASE {} IS {}").format(copy, sql.Literal(document)))
    there = present(sandbox)
    assert len(there) == 3
    assert kin(sandbox, there[name], there[sandbox.name]).proved
    assert not kin(sandbox, there[copy.as_string(None)[1:-1]], there[sandbox.name]).proved
    elsewhere = json.loads(document)
    elsewhere["lineage"]["system"] += 1
    sandbox.execute(
        sql.SQL("COMMENT ON DATABASE {} IS {}").format(sql.Identifier(name), sql.Literal(json.dumps(elsewhere)))
    )
    assert not kin(sandbox, present(sandbox)[name], present(sandbox)[sandbox.name]).proved


def test_a_label_a_pin_and_a_shell_leave_it_and_so_does_an_undo_that_gives_a_backup_back(sandbox: Sandbox) -> None:
    name = sandbox.back_up().backup.name
    before = kin(sandbox, present(sandbox)[name], present(sandbox)[sandbox.name])
    assert before.boundary is not None
    for words in (["label", name, "x"], ["pin", name], ["unpin", name]):
        assert sandbox.run(*words).code == 0
    versions(sandbox, name)
    assert kin(sandbox, present(sandbox)[name], present(sandbox)[sandbox.name]) == before
    sandbox.roll_back(name)
    sandbox.undo()
    assert kin(sandbox, present(sandbox)[name], present(sandbox)[sandbox.name]) == before
    write(sandbox, "after the undo")
    assert assert_true(sandbox) == 1
