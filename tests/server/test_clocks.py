"""A server whose clock was wrong when entries were made: their order is the server's, and not the clock's."""

from __future__ import annotations

import pytest
from psycopg import sql

from snapkit.core.inventory.retention import Policy
from snapkit.services.prune import choose_by_policy, remove
from tests.sandbox import LOCK_WAIT, Sandbox


@pytest.fixture
def ahead(sandbox: Sandbox) -> str:
    """A backup that was made while the clock was a year ahead."""
    name = sandbox.back_up().backup.name
    sandbox.date(name, "2099-01-01T00:00:00Z")
    return name


def test_a_guard_keeps_what_it_has_made_and_not_what_the_clock_says(sandbox: Sandbox, ahead: str) -> None:
    ran = sandbox.run("guard", "--json", "--keep", "1", "--", "true")
    own = ran.data["backup"]["name"]
    assert [each["name"] for each in ran.data["prune"]["removed"]] == [ahead]
    assert sandbox.databases() == [sandbox.name, own]
    assert "dated_ahead" in [each["code"] for each in ran.document["warnings"]]


@pytest.mark.promise("the newest backup is the one that the server made last")
def test_the_newest_is_what_the_server_made_last(sandbox: Sandbox, ahead: str) -> None:
    newest = sandbox.back_up().backup.name
    assert [entry.name for entry in sandbox.entries()] == [newest, ahead]
    receipt = sandbox.roll_back()
    assert receipt.restored.name == newest
    assert [each.code for each in receipt.cautions] == ["dated_ahead"]


def test_a_date_still_to_come_satisfies_no_monitor_and_is_told_everywhere(sandbox: Sandbox, ahead: str) -> None:
    status = sandbox.run("status", "--json", "--max-age", "1h")
    assert (status.code, status.document["error"]["code"]) == (1, "failed")
    assert status.document["data"]["sources"][0]["age_ms"] is None
    for words in (("list",), ("status",), ("prune", "--keep", "1", "--dry-run"), ("rollback", "--latest", "--dry-run")):
        ran = sandbox.run(*words, "--json")
        assert [each["code"] for each in ran.document["warnings"]] == ["dated_ahead"], words
    sandbox.back_up()
    assert sandbox.run("status", "--max-age", "1h").code == 0


def test_what_was_renamed_by_hand_uses_up_no_place(sandbox: Sandbox) -> None:
    usable, renamed = sandbox.back_up().backup.name, sandbox.back_up().backup.name
    by_hand = f"{sandbox.name}_precious"
    sandbox.execute(sql.SQL("ALTER DATABASE {} RENAME TO {}").format(*map(sql.Identifier, (renamed, by_hand))))
    removal = remove(sandbox.server(), choose_by_policy(Policy(last=1), sandbox.name), LOCK_WAIT)
    assert removal.removed == ()
    assert {each.entry.name: each.reasons[0] for each in removal.kept} == {
        usable: "last 1",
        by_hand: "renamed by hand",
    }
