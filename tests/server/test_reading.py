"""A command that reads an entry has sessions inside, nobody else gets in, and it gives way to who needs the entry."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from psycopg import sql
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from snapkit.core.inventory.entry import Entry
from snapkit.core.inventory.kinds import State
from snapkit.core.plans.properties import compare
from snapkit.errors import BusyError, ConnectionFailedError, NotFoundError, SnapkitError, UsageError
from snapkit.postgres.catalog import databases
from snapkit.postgres.catalog.sessions import waits_for_its_client
from snapkit.postgres.connection.conninfo import target_of
from snapkit.postgres.connection.driver import driver_connection
from snapkit.postgres.connection.server import Connection, Server
from snapkit.postgres.sql import stall_watch
from snapkit.postgres.sql.entry_locks import Use, is_taken
from snapkit.services.entries.reading import SESSIONS, Reading, reading_entries
from tests.sandbox import LOCK_WAIT, Ran, Sandbox, command_environment, wait_until

pytestmark = pytest.mark.any_version


def reading(box: Sandbox, *wanted: str | None, server: Server | None = None) -> Any:
    return reading_entries(server or box.server(), wanted or (None,), LOCK_WAIT, command="diff")


def looks(box: Sandbox, name: str) -> dict[str, Any]:
    """Everything about an entry that is to be the same before and after, but its access list."""
    row = box.row(name)
    del row["acl"]
    return row


def properties(box: Sandbox, name: str) -> Any:
    with box.server().connect() as connection:
        return databases.read_properties(connection, box.row(name)["oid"])


def count(connection: Connection) -> int:
    return int(connection.execute(text("SELECT count(*) FROM public.item")).scalar_one())


def is_read(box: Sandbox, name: str) -> bool:
    with box.server().connect() as connection:
        return is_taken(connection, box.row(name)["oid"], Use.READ)


def the_entry(box: Sandbox, name: str) -> Entry:
    return next(each for each in box.entries() if each.name == name)


def test_it_is_sealed_while_it_is_read_and_afterwards_what_it_was(sandbox: Sandbox) -> None:
    name = sandbox.back_up().backup.name
    before, had = looks(sandbox, name), properties(sandbox, name)
    sandbox.ruin()
    with reading(sandbox, None, name) as opened:
        assert [entry.name for entry in opened.entries] == [name, name]
        with opened.enter(opened.entries[0]) as inside, opened.enter_live() as live:
            assert (count(inside), count(live)) == (100, 10)
            for each in (inside, live):
                with pytest.raises(DBAPIError, match="read-only transaction"):
                    each.execute(text("DELETE FROM public.item"))
        opened.check()
        assert looks(sandbox, name) == before
        with pytest.raises(psycopg.OperationalError, match="not currently accepting connections"):
            sandbox.connect(name)
    assert (looks(sandbox, name), compare(had, properties(sandbox, name))) == (before, ())
    assert (the_entry(sandbox, name).state, sandbox.sessions(name)) == (State.READY, 0)


def test_a_session_that_is_used_again_is_as_new_and_more_are_let_in_where_they_are_needed(sandbox: Sandbox) -> None:
    name = sandbox.back_up().backup.name
    before = looks(sandbox, name)
    with reading(sandbox) as opened:
        (entry,) = opened.entries
        with opened.enter(entry) as inside:
            driver = driver_connection(inside)
            driver.isolation_level, driver.autocommit = psycopg.IsolationLevel.REPEATABLE_READ, False
            driver.execute("SET search_path TO public")
            driver.execute("SELECT * FROM item")
        pids = set[int]()
        with opened.enter(entry) as one, opened.enter(entry) as two, opened.enter(entry) as three:
            for each in (one, two, three):
                assert count(each) == 100
                settings = "SHOW search_path", "SHOW transaction_isolation", "SHOW row_security"
                found = [each.execute(text(each_setting)).scalar_one() for each_setting in settings]
                assert found == ["pg_catalog", "read committed", "off"]
                pids.add(driver_connection(each).info.backend_pid)
        assert sandbox.sessions(name) == len(pids) == SESSIONS + 1
    assert looks(sandbox, name) == before


def test_several_may_read_one_entry(sandbox: Sandbox) -> None:
    name = sandbox.back_up().backup.name
    before = looks(sandbox, name)
    with reading(sandbox) as first, first.enter(first.entries[0]) as one:
        with reading(sandbox, name) as second, second.enter(second.entries[0]) as two:
            assert (count(one), count(two)) == (100, 100)
        assert count(one) == 100
        assert sandbox.sessions(name) == SESSIONS
    assert (looks(sandbox, name), sandbox.sessions(name)) == (before, 0)


def test_two_entries_are_read_at_once(sandbox: Sandbox) -> None:
    first = sandbox.back_up().backup.name
    sandbox.ruin()
    second = sandbox.back_up().backup.name
    both = reading(sandbox, first, second)
    with both as opened, opened.enter(opened.entries[0]) as one, opened.enter(opened.entries[1]) as two:
        assert (count(one), count(two)) == (100, 10)


def test_what_is_read_is_not_dropped_nor_opened_in_a_shell(sandbox: Sandbox) -> None:
    sandbox.back_up()
    name = sandbox.back_up().backup.name
    with reading(sandbox) as opened:
        for words in (["delete", name], ["delete", name, "--dry-run"], ["shell", name, "--", "true"]):
            ran = sandbox.run(*words)
            assert ran.code == (0 if "--dry-run" in words else 11), ran
            assert f"{name}' is being read by another command (pid " in ran.out + ran.err, ran
            assert "snapkit diff" in ran.out + ran.err
        sandbox.run("prune", "--keep", "0", "--yes", "--allow-last")
        assert sandbox.run("pin", name).code == 0
        assert sandbox.run("recover").code == 0
        assert sandbox.back_up().backup.name
        with opened.enter(opened.entries[0]) as inside:
            assert count(inside) == 100
    assert sandbox.run("unpin", name).code == 0
    assert sandbox.run("delete", name).code == 0


def test_what_a_shell_has_open_is_not_read(sandbox: Sandbox) -> None:
    name = sandbox.back_up().backup.name
    script = "echo there; read answer"
    shell = subprocess.Popen(
        [sys.executable, "-m", "snapkit", "shell", name, "--", "sh", "-c", script],
        env=command_environment(sandbox.url),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert shell.stdout is not None
    assert shell.stdout.readline() == "there\n"
    with pytest.raises(BusyError, match="open in a snapkit shell"), reading(sandbox):
        pass
    shell.communicate("\n", timeout=60)
    with reading(sandbox) as opened, opened.enter(opened.entries[0]) as inside:
        assert count(inside) == 100


def test_one_that_was_altered_can_be_read_and_is_altered_still(sandbox: Sandbox) -> None:
    name = sandbox.back_up().backup.name
    for allowed in ("true", "false"):
        sandbox.execute(
            sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS {}").format(sql.Identifier(name), sql.SQL(allowed))
        )
    assert the_entry(sandbox, name).state is State.ALTERED
    with reading(sandbox, name) as opened, opened.enter(opened.entries[0]) as inside:
        assert count(inside) == 100
    assert the_entry(sandbox, name).state is State.ALTERED
    assert sandbox.row(name)["datallowconn"] is False


@pytest.mark.parametrize(("wanted", "error"), [("no such backup", NotFoundError), (None, NotFoundError)])
def test_what_is_not_there_is_not_read(sandbox: Sandbox, wanted: str | None, error: type[SnapkitError]) -> None:
    with pytest.raises(error), reading(sandbox, wanted):
        pass


def test_a_failure_of_the_command_is_its_own(sandbox: Sandbox) -> None:
    name = sandbox.back_up().backup.name
    before = looks(sandbox, name)
    for failure in (UsageError("no"), ZeroDivisionError(), KeyboardInterrupt()):
        with pytest.raises(type(failure)), reading(sandbox):
            raise failure
    fails = pytest.raises(DBAPIError, match="does not exist")
    with fails, reading(sandbox) as opened, opened.enter(opened.entries[0]) as inside:
        inside.execute(text("SELECT * FROM nothing"))
    assert (looks(sandbox, name), sandbox.sessions(name)) == (before, 0)


def test_one_that_was_left_open_is_sealed_first(sandbox: Sandbox) -> None:
    name = sandbox.back_up().backup.name
    before = looks(sandbox, name)
    assert sandbox.run("recover", "--open-for-upgrade").code == 0
    with reading(sandbox) as opened:
        assert [each.code for each in opened.cautions] == ["sealed"]
    assert looks(sandbox, name) == before


def test_statistics_that_are_gathered_meanwhile_do_not_alter_what_is_read(sandbox: Sandbox) -> None:
    name = sandbox.back_up().backup.name
    with reading(sandbox, name) as opened, opened.enter(opened.entries[0]) as inside:
        inside.execute(text("SET default_transaction_read_only = off"))
        inside.execute(text("ANALYZE public.item"))
        assert inside.execute(text("SELECT count(*) FROM pg_stats WHERE tablename = 'item'")).scalar_one()
    assert the_entry(sandbox, name).state is State.READY
    assert sandbox.run("rollback", "--latest", "--yes").code == 0


@pytest.mark.long
def test_statistics_that_autovacuum_writes_do_not_alter_what_is_read(sandbox: Sandbox) -> None:
    """A displaced database was written to, and so is analyzed: it is while commands read it, too."""
    with sandbox.connect() as connection:
        connection.execute("ALTER SYSTEM SET autovacuum_naptime = 1")
        connection.execute("SELECT pg_reload_conf()")
    try:
        sandbox.back_up()
        with sandbox.connect() as connection:
            connection.execute("INSERT INTO item SELECT n, 'more' FROM generate_series(1000, 20000) AS n")
        displaced = sandbox.roll_back().displaced
        assert displaced is not None
        with reading(sandbox, displaced.name) as opened, opened.enter(opened.entries[0]) as inside:
            analyzed = text("SELECT autoanalyze_count FROM pg_stat_all_tables WHERE relname = 'item'")
            wait_until(lambda: bool(inside.execute(analyzed).scalar_one()))
        assert the_entry(sandbox, displaced.name).state is State.READY
        sandbox.undo()
    finally:
        sandbox.execute("ALTER SYSTEM RESET autovacuum_naptime")
        sandbox.execute("SELECT pg_reload_conf()")


# --- giving way -----------------------------------------------------------------------------------------------------


def assert_gives_way(
    box: Sandbox, words: list[str], at_work: Callable[[Reading, Connection], None], *, wanted: str | None = None
) -> BusyError:
    ran: list[Ran] = []
    other = threading.Thread(target=lambda: ran.append(box.run(*words)))
    fails = pytest.raises(BusyError)
    with fails as raised, reading(box, wanted) as opened, opened.enter(opened.entries[0]) as inside:
        previewed = box.run(*words, "--dry-run")
        assert previewed.code == 0, previewed
        count(inside)
        other.start()
        at_work(opened, inside)
    other.join(60)
    assert ran[0].code == 0, ran
    assert "this one gave way" in raised.value.message, raised.value.message
    assert words[0] in raised.value.message or "made it the live" in raised.value.message, raised.value.message
    return raised.value


def queries(opened: Reading, inside: Connection) -> None:
    while True:
        count(inside)


def sleeps(opened: Reading, inside: Connection) -> None:
    inside.execute(text("SELECT pg_sleep(600)"))


def computes(opened: Reading, inside: Connection) -> None:
    while True:
        opened.check()


@pytest.mark.parametrize("at_work", [queries, sleeps, computes])
@pytest.mark.parametrize("words", [["rollback", "--latest"], ["rollback", "--latest", "--keep-backup"]])
def test_who_rolls_back_takes_the_entry_from_those_who_read_it(
    sandbox: Sandbox, words: list[str], at_work: Callable[[Reading, Connection], None]
) -> None:
    sandbox.back_up()
    sandbox.ruin()
    assert_gives_way(sandbox, words, at_work)
    assert len(sandbox.items()) == 100
    assert all(entry.state is State.READY for entry in sandbox.entries())


def test_no_disconnecting_is_for_clients_and_not_for_those_who_read_the_entry(sandbox: Sandbox) -> None:
    sandbox.back_up()
    sandbox.ruin()
    assert_gives_way(sandbox, ["rollback", "--latest", "--no-disconnect"], sleeps)
    assert len(sandbox.items()) == 100


def test_an_undo_takes_what_is_read(sandbox: Sandbox) -> None:
    sandbox.back_up()
    sandbox.ruin()
    displaced = sandbox.roll_back().displaced
    assert displaced is not None
    assert_gives_way(sandbox, ["undo"], sleeps, wanted=displaced.name)
    assert len(sandbox.items()) == 10


def test_a_guard_takes_its_backup_from_those_who_read_it(sandbox: Sandbox) -> None:
    guard = subprocess.Popen(
        [sys.executable, "-m", "snapkit", "guard", "--", "sh", "-c", "echo there >&2; read answer; exit 1"],
        env=command_environment(sandbox.url),
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert guard.stderr is not None
    assert guard.stdin is not None
    while guard.stderr.readline() != "there\n":
        assert guard.poll() is None
    sandbox.ruin()
    fails = pytest.raises(BusyError, match="this one gave way")
    with fails, reading(sandbox) as opened, opened.enter(opened.entries[0]) as inside:
        count(inside)
        guard.stdin.write("\n")
        guard.stdin.flush()
        sleeps(opened, inside)
    guard.communicate(timeout=60)
    assert guard.returncode == 20
    assert len(sandbox.items()) == 100


def test_one_that_is_suspended_stands_in_nobodys_way(sandbox: Sandbox) -> None:
    name = sandbox.back_up().backup.name
    with _reader(sandbox, name) as reader:
        os.kill(reader.pid, signal.SIGSTOP)
        assert sandbox.run("rollback", "--latest").code == 0
        os.kill(reader.pid, signal.SIGCONT)
        assert reader.wait(60) == 11


def test_one_that_is_killed_leaves_nothing(sandbox: Sandbox) -> None:
    name = sandbox.back_up().backup.name
    before = looks(sandbox, name)
    with _reader(sandbox, name) as reader:
        reader.kill()
        reader.wait(60)
    wait_until(lambda: sandbox.sessions(name) == 0 and not is_read(sandbox, name))
    assert looks(sandbox, name) == before
    assert sandbox.run("delete", name).code == 0


_READER = """
import sys
from datetime import timedelta
from sqlalchemy import text
from snapkit.errors import BusyError
from snapkit.postgres.connection.conninfo import target_of
from snapkit.postgres.connection.server import Server
from snapkit.postgres.sql import stall_watch
from snapkit.postgres.sql.entry_locks import Use, is_taken
from snapkit.services.entries.reading import reading_entries

try:
    with reading_entries(Server(target_of(sys.argv[1])), [sys.argv[2]], timedelta(60), command="diff") as opened:
        with opened.enter(opened.entries[0]) as inside:
            print("there", flush=True)
            while True:
                inside.execute(text("SELECT count(*) FROM public.item"))
except BusyError:
    sys.exit(11)
"""


@contextmanager
def _reader(box: Sandbox, name: str) -> Iterator[subprocess.Popen[str]]:
    """Read an entry in a process of its own, until it is taken."""
    reader = subprocess.Popen([sys.executable, "-c", _READER, box.url, name], stdout=subprocess.PIPE, text=True)
    try:
        assert reader.stdout is not None
        assert reader.stdout.readline() == "there\n"
        yield reader
    finally:
        reader.kill()
        reader.communicate()


def test_a_run_that_disconnects_it_from_the_live_database_is_named(sandbox: Sandbox) -> None:
    """A backup does, since nobody may be inside what it clones."""
    first = sandbox.back_up().backup.name
    receipts: list[Any] = []
    other = threading.Thread(target=lambda: receipts.append(sandbox.run("backup")))
    with pytest.raises(SnapkitError) as raised, reading(sandbox, first) as opened, opened.enter_live() as live:
        count(live)
        other.start()
        live.execute(text("SELECT pg_sleep(600)"))
    other.join(60)
    assert receipts[0].code == 0
    assert isinstance(raised.value, BusyError | ConnectionFailedError), raised.value


def test_a_session_whose_reader_computes_for_long_is_not_taken_for_lost(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server waits for its client then, as it does when its answer was lost on the way."""
    silence = timedelta(milliseconds=20)
    monkeypatch.setattr(stall_watch, "SILENCE", silence)
    asked: list[int] = []

    def asking(watcher: Connection, pid: int) -> bool:
        asked.append(pid)
        return waits_for_its_client(watcher, pid)

    monkeypatch.setattr(stall_watch, "waits_for_its_client", asking)
    sandbox.back_up()
    with reading(sandbox) as opened, opened.enter(opened.entries[0]) as inside:
        assert count(inside) == 100
        threading.Event().wait(20 * silence.total_seconds())
        assert not asked
        inside.execute(text("SELECT pg_sleep(0.5)"))  # the entry lets nobody in: another database is asked from
        assert asked
        assert count(inside) == 100


def test_one_in_another_maintenance_database_is_seen(sandbox: Sandbox) -> None:
    name = sandbox.back_up().backup.name
    elsewhere = Server(target_of(sandbox.url), "template1")
    with reading(sandbox, server=elsewhere) as opened, opened.enter(opened.entries[0]) as inside:
        assert sandbox.run("delete", name).code == 11
        assert count(inside) == 100
