"""Databases that rollbacks put aside are told of where they pile up, and a disk is said to be low before it is full."""

from __future__ import annotations

import shutil
from types import SimpleNamespace

import pytest

from snapkit.services.list import list_entries
from snapkit.services.status import report_status
from tests.sandbox import Sandbox


def _codes(sandbox: Sandbox, *words: str) -> list[str]:
    return [each["code"] for each in sandbox.run(*words, "--json").document["warnings"]]


def test_failed_guards_leave_what_is_told_of_everywhere(sandbox: Sandbox) -> None:
    write = f"psql '{sandbox.url}' -c 'DELETE FROM item WHERE id = 1'; exit 3"
    told = []
    for _ in range(2):
        ran = sandbox.run("guard", "--json", "--", "sh", "-c", write)
        assert ran.code == 20
        told.append([each["code"] for each in ran.document["warnings"]])
    assert [("displaced_pile_up" in codes) for codes in told] == [False, True]
    sandbox.back_up()
    for words in (("prune", "--keep", "1"), ("prune", "--keep", "1", "--dry-run"), ("status",), ("list", "--sizes")):
        assert _codes(sandbox, *words) == ["displaced_pile_up"], words
    assert _codes(sandbox, "list") == []
    said = sandbox.run("prune", "--keep", "1").err
    assert "have left 2 displaced databases" in said
    assert "snapkit prune --keep-old 1" in said
    assert _codes(sandbox, "prune", "--keep", "1", "--keep-old", "1") == []
    assert _codes(sandbox, "status") == []


def test_the_room_that_is_left_is_told_where_it_can_be_seen(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    sandbox.back_up()
    sized = sandbox.run("list", "--sizes", "--json").data
    assert sized["free_bytes"] > 0
    assert "are free on the server's disk" in sandbox.run("list", "--sizes").out
    assert "free_bytes" not in sandbox.run("list", "--json").data
    # A disk that is nearly full cannot be had without filling one.
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=1000))
    for found in (
        list_entries(sandbox.server(), sizes=True, all_sources=False).cautions,
        report_status(sandbox.server(), max_age=None, sizes=True, all_sources=False).cautions,
        sandbox.back_up().cautions,
    ):
        assert [each.code for each in found] == ["disk_low"]
