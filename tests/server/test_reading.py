"""A command that reads an entry has it open to its owner alone, and gives way to who needs it."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from sqlalchemy import text

from snapkit.core.inventory.entry import Entry
from snapkit.core.inventory.kinds import State
from snapkit.core.plans.properties import compare
from snapkit.errors import BusyError
from snapkit.postgres.catalog import databases
from snapkit.postgres.connection.server import Connection
from snapkit.services.entries.reading import reading_entries
from tests.sandbox import LOCK_WAIT, Ran, Sandbox

pytestmark = pytest.mark.any_version


def reading(box: Sandbox, *wanted: str | None, command: str = "diff") -> Any:
    return reading_entries(box.server(), wanted or (None,), LOCK_WAIT, command=command)


def looks(box: Sandbox, name: str) -> dict[str, Any]:
    """Everything about an entry that is to be the same before and after, but the order of its access list."""
    row = box.row(name)
    del row["acl"]
    return row


def properties(box: Sandbox, name: str) -> Any:
    with box.server().connect() as connection:
        return databases.read_properties(connection, box.row(name)["oid"])


def count(connection: Connection) -> int:
    return int(connection.execute(text("SELECT count(*) FROM public.item")).scalar_one())


def the_entry(box: Sandbox, name: str) -> Entry:
    return next(each for each in box.entries() if each.name == name)


def test_it_is_what_it_was_when_it_has_been_read(sandbox: Sandbox) -> None:
    name = sandbox.back_up().backup.name
    before, had = looks(sandbox, name), properties(sandbox, name)
    sandbox.ruin()
    with reading(sandbox, None, name) as opened:
        assert [entry.name for entry in opened.entries] == [name, name]
        with opened.enter(opened.entries[0]) as inside, opened.enter_live() as live:
            assert (count(inside), count(live)) == (100, 10)
            for each in (inside, live):
                with pytest.raises(Exception, match="read-only transaction"):
                    each.execute(text("DELETE FROM public.item"))
        opened.check()
        assert the_entry(sandbox, name).opened is not None
    assert (looks(sandbox, name), compare(had, properties(sandbox, name))) == (before, ())
    assert the_entry(sandbox, name).state is State.READY


def test_two_may_read_one_entry_and_the_last_one_seals_it(sandbox: Sandbox) -> None:
    name = sandbox.back_up().backup.name
    before = looks(sandbox, name)
    with reading(sandbox) as first:
        with reading(sandbox, name) as second, second.enter(second.entries[0]) as inside:
            assert second.entries[0].opened is None
            assert count(inside) == 100
        assert the_entry(sandbox, name).opened is not None
        with first.enter(first.entries[0]) as inside:
            assert count(inside) == 100
    assert looks(sandbox, name) == before


def test_the_first_may_leave_first(sandbox: Sandbox) -> None:
    name = sandbox.back_up().backup.name
    before = looks(sandbox, name)
    with reading(sandbox) as first:
        leaving = threading.Event()
        ended = threading.Event()

        def read() -> None:
            with reading(sandbox) as second:
                leaving.set()
                ended.wait(60)
                with second.enter(second.entries[0]) as inside:
                    assert count(inside) == 100

        other = threading.Thread(target=read)
        other.start()
        assert leaving.wait(60)
        with first.enter(first.entries[0]) as inside:
            assert count(inside) == 100
    assert the_entry(sandbox, name).opened is not None
    ended.set()
    other.join(60)
    assert looks(sandbox, name) == before


def test_while_it_is_read_it_is_not_dropped_nor_changed_nor_opened_in_a_shell(sandbox: Sandbox) -> None:
    sandbox.back_up()
    name = sandbox.back_up().backup.name
    with reading(sandbox):
        for words in (
            ["delete", name, "--yes"],
            ["pin", name],
            ["shell", name, "--", "true"],
            ["rollback", name, "--sql"],
        ):
            ran = sandbox.run(*words)
            assert (ran.code, f"{name}' is being read by snapkit diff" in ran.err) == (11, True), ran
        ran = sandbox.run("prune", "--keep", "0", "--yes", "--allow-last")
        assert name in sandbox.databases(), ran
        assert sandbox.run("doctor").out.count("There are no leftovers of interrupted runs") == 1
        assert "read by snapkit diff: " in sandbox.run("show", name).out
        assert sandbox.run("recover").code == 0
        assert the_entry(sandbox, name).opened is not None


@pytest.mark.parametrize("words", [["rollback", "{}"], ["rollback", "{}", "--keep-backup"]])
def test_who_rolls_back_takes_the_entry_from_those_who_read_it(sandbox: Sandbox, words: list[str]) -> None:
    name = sandbox.back_up().backup.name
    ran: list[Ran] = []
    asked = [word.format(name) for word in words]
    assert_taken(sandbox, asked, ran, "rollback")
    assert ran[0].code == 0, ran
    assert len(sandbox.items()) == 100


def assert_taken(box: Sandbox, words: list[str], ran: list[Ran], command: str) -> None:
    other = threading.Thread(target=lambda: ran.append(box.run(*words)))
    with pytest.raises(BusyError) as raised, reading(box) as opened, opened.enter(opened.entries[0]) as inside:
        assert box.run(*words, "--dry-run").code == 0
        other.start()
        while True:
            count(inside)
    other.join(60)
    assert "this one gave way" in raised.value.message, raised.value
    assert command in raised.value.message or "made it the live" in raised.value.message, raised.value
