"""What an undo gives back to the backup that a rollback used up, and what it does not."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from psycopg import sql

from snapkit.core.inventory.kinds import Kind, State
from snapkit.errors import NotFoundError
from snapkit.services.rollback import SwapRequest, swap
from tests.sandbox import LOCK_WAIT, Sandbox

pytestmark = pytest.mark.any_version


@pytest.fixture(autouse=True)
def no_autovacuum(sandbox: Sandbox) -> None:
    """What it writes would be taken for what somebody has written."""
    sandbox.execute("ALTER SYSTEM SET autovacuum = off")
    sandbox.execute("SELECT pg_reload_conf()")


def _url_of_owner(box: Sandbox) -> str:
    owner = box.role("owner", "LOGIN CREATEDB")
    box.execute(sql.SQL("ALTER DATABASE {} OWNER TO {}").format(sql.Identifier(box.name), sql.Identifier(owner)))
    return box.cluster.url(box.name, user=owner)


@pytest.mark.parametrize(
    "as_owner",
    [pytest.param(False, marks=pytest.mark.promise("an undo gives a backup back to which nothing was written")), True],
)
def test_an_undo_gives_a_backup_back_to_which_nothing_was_written(sandbox: Sandbox, as_owner: bool) -> None:
    url = _url_of_owner(sandbox) if as_owner else sandbox.url
    with sandbox.connect() as connection:
        connection.execute("CREATE SEQUENCE number; SELECT nextval('number')")
    sandbox.execute(sql.SQL("COMMENT ON DATABASE {} IS 'the shop'").format(sql.Identifier(sandbox.name)))
    assert sandbox.run("backup", "--label", "good", url=url).code == 0
    (backup,) = sandbox.entries()
    before = sandbox.items()
    sandbox.ruin()
    for _ in range(2):
        assert sandbox.run("rollback", "--latest", url=url).code == 0
        assert sandbox.items() == before
        ran = sandbox.run("undo", url=url)
        assert (ran.code, "it is a backup again" in ran.out) == (0, True), ran
        (entry,) = sandbox.entries()
        assert (entry.name, entry.kind, entry.state, entry.label) == (backup.name, Kind.BACKUP, State.READY, "good")
        assert (entry.created_at, entry.order) == (backup.created_at, backup.order)
        assert len(sandbox.items()) == 10
    assert sandbox.run("undo", url=url).code == 0, "the undo of the undo"
    assert sandbox.items() == before
    assert sandbox.row(sandbox.name)["comment"] == "the shop"
    ran = sandbox.run("undo", "--json", url=url)
    assert (ran.data["displaced"]["name"], ran.data["displaced"]["kind"]) == (backup.name, "backup")


WRITES: dict[str, Callable[[Sandbox], object]] = {
    "rows": lambda box: _inside(box, "DELETE FROM item WHERE id = 1"),
    "rolled back": lambda box: _inside(box, "BEGIN; DELETE FROM item WHERE id = 1; ROLLBACK"),
    "sequence": lambda box: _inside(box, "SELECT nextval('number')"),
    "comment": lambda box: _outside(box, "COMMENT ON DATABASE {} IS 'other'"),
    "privileges": lambda box: _outside(box, "GRANT CREATE ON DATABASE {} TO PUBLIC"),
    "settings": lambda box: _outside(box, "ALTER DATABASE {} SET work_mem = '5MB'"),
}


def _inside(box: Sandbox, statements: str) -> None:
    with box.connect() as connection:
        connection.execute(statements)


def _outside(box: Sandbox, statement: str) -> None:
    box.execute(sql.SQL(statement).format(sql.Identifier(box.name)))


@pytest.mark.parametrize("what", WRITES)
def test_what_may_have_been_written_to_is_no_backup_any_more_and_keeps_its_label(sandbox: Sandbox, what: str) -> None:
    with sandbox.connect() as connection:
        connection.execute("CREATE SEQUENCE number; SELECT nextval('number')")
    backup = sandbox.back_up(label="good").backup.name
    sandbox.ruin()
    sandbox.roll_back()
    WRITES[what](sandbox)
    comment = sandbox.row(sandbox.name)["comment"]
    ran = sandbox.run("undo")
    assert (ran.code, f"{backup} is no backup any more" in " ".join(ran.out.split())) == (0, True), ran
    (entry,) = sandbox.entries()
    assert (entry.kind, entry.state, entry.label) == (Kind.OLD, State.READY, "good")
    with pytest.raises(NotFoundError):
        sandbox.roll_back()
    sandbox.undo()
    assert sandbox.row(sandbox.name)["comment"] == comment
    assert len(sandbox.items()) >= 99
    (entry,) = sandbox.entries()
    assert sandbox.undo().restored.name == entry.name


def test_a_clone_that_was_swapped_in_takes_nothing_from_the_backup_that_was_kept(sandbox: Sandbox) -> None:
    backup = sandbox.back_up(label="good", pinned=True).backup
    sandbox.roll_back()
    receipt = sandbox.undo()
    assert receipt.was_backup is None
    assert {entry.kind: entry.label for entry in sandbox.entries()} == {Kind.OLD: None, Kind.BACKUP: "good"}
    assert sandbox.row(backup.name)["oid"] == backup.database.oid


def test_an_undo_takes_what_was_put_aside_last_also_if_that_is_a_backup_again(sandbox: Sandbox) -> None:
    first, second = (sandbox.back_up(label=label).backup for label in ("first", "second"))
    server = sandbox.server()
    for backup in (second, first):
        swap(server, SwapRequest(wanted=backup.name), LOCK_WAIT, lambda progress: None)
        sandbox.undo()
        assert {entry.name for entry in sandbox.entries()} == {first.name, second.name}
        assert sandbox.undo().restored.name == backup.name
        sandbox.undo()
