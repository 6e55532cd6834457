"""Undo, on a real server: which database it swaps back, and which it does not."""

from __future__ import annotations

import pytest
from psycopg import sql

from snapkit.errors import NotFoundError
from snapkit.services.rollback import SwapRequest, preview_swap
from tests.sandbox import Sandbox, entry_names


@pytest.mark.command("undo")
@pytest.mark.promise("an undo can be undone")
def test_undo_and_undo_of_the_undo(sandbox: Sandbox) -> None:
    before = sandbox.items()
    sandbox.back_up()
    sandbox.ruin()
    ruined = sandbox.items()
    sandbox.roll_back()
    for expected in (ruined, before, ruined):
        receipt = sandbox.undo()
        assert sandbox.items() == expected
        assert receipt.displaced is not None
        assert entry_names(sandbox.entries()) == [receipt.displaced.name]


def test_undo_takes_the_newest_of_several_displaced_databases(sandbox: Sandbox) -> None:
    for _ in range(3):
        sandbox.back_up()
        sandbox.roll_back()
    newest = sandbox.entries()[0]
    assert sandbox.undo().restored.name == newest.name


@pytest.mark.parametrize("keep_backup", [False, True])
def test_undo_does_not_take_what_an_earlier_rollback_put_aside(sandbox: Sandbox, keep_backup: bool) -> None:
    sandbox.back_up()
    earlier = sandbox.roll_back(keep_backup=keep_backup).displaced
    sandbox.back_up()
    last = sandbox.roll_back(keep_backup=keep_backup).displaced
    assert earlier is not None
    assert last is not None
    assert sandbox.run("delete", last.name).code == 0
    names = sandbox.databases()
    ran = sandbox.run("undo")
    assert ran.code == 10
    assert "has been replaced again since" in ran.err
    assert sandbox.databases() == names
    assert f"snapkit rollback {earlier.name}" in ran.err
    assert sandbox.roll_back(earlier.name).restored.name == earlier.name
    assert sandbox.undo().restored.name != earlier.name


def test_undo_does_not_take_what_was_put_aside_before_the_live_database_was_made_anew(sandbox: Sandbox) -> None:
    sandbox.back_up()
    sandbox.back_up()
    sandbox.roll_back()
    sandbox.execute(sql.SQL("DROP DATABASE {}").format(sql.Identifier(sandbox.name)))
    assert preview_swap(sandbox.server(), SwapRequest(undo=True)).plan.live is None
    sandbox.roll_back()
    with pytest.raises(NotFoundError, match="has been replaced again"):
        sandbox.undo()
