"""The way back of a guard is taken, though the server is in trouble; run as its users do, on a real server."""

from __future__ import annotations

import json
import shlex
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from snapkit.core.inventory.kinds import Kind
from snapkit.core.reporting import Progress, unobserved
from snapkit.errors import InterruptedRunError, RolledBackError
from snapkit.postgres.connection.conninfo import target_of
from snapkit.postgres.connection.server import Server
from snapkit.postgres.connection.spare_sessions import Reserve
from snapkit.postgres.sql.entry_locks import Use
from snapkit.postgres.sql.locks import others_hold
from snapkit.services.entries.guard_lock import keep_from_others
from snapkit.services.guard import account_of
from snapkit.services.rollback import SwapRequest, swap
from snapkit.services.run.retry import Persistence
from tests.cluster import PASSWORD, SUPERUSER, Cluster
from tests.process import Command
from tests.sandbox import LOCK_WAIT, Ran, Sandbox, command_environment, run_snapkit, wait_until

pytestmark = pytest.mark.any_version

Words = tuple[str, ...]


@pytest.fixture
def owner(sandbox: Sandbox) -> str:
    """An ordinary role that owns the source."""
    role = sandbox.role("owner", f"LOGIN CREATEDB PASSWORD '{PASSWORD}'")
    alter = sql.SQL("ALTER DATABASE {} OWNER TO {}").format(sql.Identifier(sandbox.name), sql.Identifier(role))
    sandbox.execute(alter)
    return role


def failing(sandbox: Sandbox, *statements: str) -> Words:
    """A migration that deletes rows, does what is said as a superuser, and fails."""
    code = (
        "import psycopg, sys\n"
        f"with psycopg.connect({sandbox.url!r}, autocommit=True) as c:\n"
        "    c.execute('DELETE FROM item WHERE id > 10')\n"
        f"with psycopg.connect({sandbox.cluster.url('postgres')!r}, autocommit=True) as c:\n"
        f"    for statement in {statements!r}:\n"
        "        c.execute(statement)\n"
        "sys.exit(3)"
    )
    return ("--", sys.executable, "-c", code)


@contextmanager
def guarding(url: str, *words: str) -> Iterator[tuple[Command, Callable[[], Ran]]]:
    """Run a guard beside the test; yields it, and what waits for its end."""
    command = Command(["guard", *words], command_environment(url))

    def ended() -> Ran:
        code = command.wait(120)
        assert code is not None, f"it has not ended, and says: {command.output()}"
        return Ran(code, *command.output())

    try:
        command.start()
        yield command, ended
    finally:
        command.end()


def says(command: Command, text: str) -> Callable[[], bool]:
    return lambda: text in said_by(command)


def said_by(command: Command) -> str:
    try:
        return command.output()[1]
    except FileNotFoundError:  # it has not begun
        return ""


@contextmanager
def held_up(command: Words, tmp_path: Path) -> Iterator[tuple[Words, Callable[[], bool], Callable[[], object]]]:
    """A command that waits, once it has done its work: it, whether it waits, and what lets it end."""
    waits, go = tmp_path / "waits", tmp_path / "go"
    script = f"{shlex.join(command[1:])}; code=$?; touch {waits}; while ! test -e {go}; do sleep 0.05; done; exit $code"
    yield ("--", "sh", "-c", script), waits.exists, go.touch


def check_rolled_back(sandbox: Sandbox, done: Ran) -> None:
    assert done.code == 20, done
    assert len(sandbox.items()) == 100
    assert [entry.kind for entry in sandbox.entries()] == [Kind.OLD]


@pytest.mark.promise("a way back needs no new connection")
def test_nobody_can_connect_any_more_and_what_was_kept_ready_rolls_back(sandbox: Sandbox, owner: str) -> None:
    """As when the new release has taken all slots: no session is to be had, and none is needed."""
    with guarding(
        sandbox.cluster.url(sandbox.name, user=owner), *failing(sandbox, f'ALTER ROLE "{owner}" CONNECTION LIMIT 0')
    ) as (_, ended):
        check_rolled_back(sandbox, ended())


def test_sessions_that_the_command_has_ended_are_replaced_as_soon_as_that_can_be(sandbox: Sandbox, owner: str) -> None:
    ended_all = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{owner}'"
    limit = f'ALTER ROLE "{owner}" CONNECTION LIMIT 0'
    with guarding(sandbox.cluster.url(sandbox.name, user=owner), *failing(sandbox, limit, ended_all)) as (command, end):
        wait_until(says(command, "Waiting to roll back: "))
        sandbox.execute(sql.SQL("ALTER ROLE {} CONNECTION LIMIT 20").format(sql.Identifier(owner)))
        check_rolled_back(sandbox, end())


@pytest.mark.promise("a way back that is blocked is waited for")
def test_a_session_that_may_not_be_ended_is_waited_for_and_named(sandbox: Sandbox, owner: str, tmp_path: Path) -> None:
    url = sandbox.cluster.url(sandbox.name, user=owner)
    with (
        held_up(failing(sandbox), tmp_path) as (words, waits, go),
        guarding(url, *words) as (command, ended),
    ):
        wait_until(waits)
        with sandbox.connect(application_name="monitoring") as session:
            go()
            named = f"pid {session.info.backend_pid}, user {SUPERUSER}, monitoring"
            wait_until(lambda: "Waiting to roll back: " in said_by(command) and named in said_by(command))
        check_rolled_back(sandbox, ended())


def test_an_open_grant_is_waited_for_and_its_session_is_named(sandbox: Sandbox, tmp_path: Path) -> None:
    with (
        held_up(failing(sandbox), tmp_path) as (words, waits, go),
        guarding(sandbox.url, *words) as (command, ended),
    ):
        wait_until(waits)
        with sandbox.connect("postgres", application_name="deploy") as other:
            other.execute("BEGIN")
            other.execute(sql.SQL("GRANT TEMPORARY ON DATABASE {} TO PUBLIC").format(sql.Identifier(sandbox.name)))
            go()
            named = f"pid {other.info.backend_pid}, user {SUPERUSER}, deploy"
            wait_until(lambda: "Waiting to roll back: " in said_by(command) and named in said_by(command))
            other.execute("COMMIT")
        check_rolled_back(sandbox, ended())


def test_after_the_wait_it_says_what_was_tried_and_what_to_type(sandbox: Sandbox, owner: str, tmp_path: Path) -> None:
    url = sandbox.cluster.url(sandbox.name, user=owner)
    with (
        held_up(failing(sandbox), tmp_path) as (words, waits, go),
        guarding(url, "--rollback-wait", "7s", *words) as (_, ended),
    ):
        wait_until(waits)
        with sandbox.connect(application_name="monitoring") as session:
            go()
            done = ended()
            assert done.code == 21, done
            assert f"pid {session.info.backend_pid}, user {SUPERUSER}, monitoring" in done.err
            assert "It was tried 2 times in " in done.err
            (backup,) = sandbox.entries()
            assert f"snapkit rollback {backup.name}" in done.err


@pytest.mark.parametrize("missing", ["right", "backup"])
def test_what_does_not_pass_is_not_waited_for(sandbox: Sandbox, owner: str, missing: str) -> None:
    if missing == "right":
        words = failing(sandbox, f'ALTER ROLE "{owner}" NOCREATEDB')
    else:
        words = (
            "--",
            "sh",
            "-c",
            f'psql "{sandbox.cluster.url("postgres")}" -c "DROP DATABASE $SNAPKIT_BACKUP"; exit 3',
        )
    with guarding(sandbox.cluster.url(sandbox.name, user=owner), *words) as (_, ended):
        done = ended()
    assert done.code == 21, done
    assert "Waiting" not in done.err
    assert (f'ALTER ROLE "{owner}" CREATEDB; Then: snapkit rollback ' in done.err) is (missing == "right")


def test_a_command_is_not_run_without_the_sessions_for_its_way_back(
    sandbox: Sandbox, owner: str, tmp_path: Path
) -> None:
    marker = tmp_path / "ran"
    limit = f'ALTER ROLE "{owner}" CONNECTION LIMIT 1'
    hook = ["psql", sandbox.cluster.url("postgres"), "-c", limit]
    (tmp_path / "snapkit.toml").write_text(f"[hooks]\nafter-backup = {json.dumps(hook)}\n")
    url = sandbox.cluster.url(sandbox.name, user=owner)
    done = run_snapkit("guard", "--", "touch", str(marker), url=url, cwd=tmp_path)
    assert done.code == 12, done
    assert "Waiting for the sessions of a rollback: " in done.err
    assert "The command was not run" in done.err
    assert not marker.exists()
    assert [entry.kind for entry in sandbox.entries()] == [Kind.BACKUP]


# --- sessions that are kept ready -----------------------------------------------------------------------------------


def of_snapkit(sandbox: Sandbox) -> list[int]:
    mine = "SELECT pid FROM pg_stat_activity WHERE application_name = 'snapkit' ORDER BY pid"
    return [pid for (pid,) in sandbox.execute(mine)]


def test_what_dies_is_replaced_and_the_backup_is_kept_again(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("snapkit.postgres.connection.spare_sessions._BEAT", 0.05)
    backup = sandbox.back_up().backup
    key = Use.GUARD.key(backup.database.oid)
    with ExitStack() as until, sandbox.server().connect() as other:
        (mine,) = of_snapkit(sandbox)
        keep_from_others(Server(target_of(sandbox.url)), backup, until).make_ready(unobserved)
        first = [pid for pid in of_snapkit(sandbox) if pid != mine]
        assert len(first) == 2
        for pid in first:
            sandbox.execute("SELECT pg_terminate_backend(%s, 10000)", pid)
        wait_until(lambda: len(set(of_snapkit(sandbox)) - {mine, *first}) == 2)
        wait_until(lambda: others_hold(other, key))
    wait_until(lambda: of_snapkit(sandbox) == [])


def test_a_session_comes_back_as_it_was(sandbox: Sandbox) -> None:
    server = Server(target_of(sandbox.url))

    def nothing(session: object) -> None:
        pass

    def settings(reserve: Reserve) -> list[tuple[str, str]]:
        session = reserve.take()
        assert session is not None
        rows = session.exec_driver_sql("SELECT name, setting FROM pg_settings ORDER BY name").all()
        session.exec_driver_sql("SET work_mem = '5MB'")
        session.exec_driver_sql("SET synchronous_commit = off")
        session.exec_driver_sql("SET statement_timeout = '1h'")
        session.exec_driver_sql("LISTEN x")
        reserve.give_back(session)
        return [(name, setting) for name, setting in rows]

    with server.in_reserve(nothing, nothing) as reserve:
        assert settings(reserve) == settings(reserve)
        lent = reserve.take()
        assert lent is not None
        assert lent.exec_driver_sql("SELECT pg_listening_channels()").all() == []
        lent.exec_driver_sql("BEGIN")
        reserve.give_back(lent)
        assert reserve.take() is None, "one that is amid a transaction was kept"


def test_the_command_may_restart_the_server(sandbox: Sandbox, tmp_path: Path) -> None:
    own = Cluster(sandbox.cluster.binaries)
    try:
        own.start()
        with psycopg.connect(own.url("postgres"), autocommit=True) as admin:
            box = Sandbox(own, admin, "r")
            box.create()
        with (
            held_up(("--", "true"), tmp_path) as (words, waits, go),
            guarding(own.url(box.name), *words[:-1], words[-1].replace("exit $code", "exit 3")) as (command, ended),
        ):
            wait_until(waits)
            with psycopg.connect(own.url(box.name), autocommit=True) as connection:
                connection.execute("DELETE FROM item WHERE id > 10")
            own.stop("immediate")
            go()
            wait_until(says(command, "Waiting to roll back: "))
            own.launch()
            done = ended()
        assert done.code == 20, done
        with psycopg.connect(own.url(box.name)) as connection:
            assert connection.execute("SELECT count(*) FROM item").fetchone() == (100,)
    finally:
        own.remove()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_one_signal_ends_the_wait_and_says_what_was_waited_for(
    sandbox: Sandbox, tmp_path: Path, number: signal.Signals
) -> None:
    with (
        held_up(failing(sandbox), tmp_path) as (words, waits, go),
        guarding(sandbox.url, "--json", *words) as (command, ended),
    ):
        wait_until(waits)
        with sandbox.connect("postgres", application_name="deploy") as other:
            other.execute("BEGIN")
            other.execute(sql.SQL("GRANT TEMPORARY ON DATABASE {} TO PUBLIC").format(sql.Identifier(sandbox.name)))
            go()
            wait_until(says(command, "Waiting to roll back: "))
            command.send(number)
            done = ended()
    assert (done.code, done.document["error"]["code"]) == (21, "rollback_failed"), done
    message = done.document["error"]["message"]
    assert "Interrupted. " in message and "deploy" in message and "is as the command left it" in message
    assert len(sandbox.items()) == 10


def test_a_server_that_is_long_away_is_asked_what_became_of_the_swap(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It dies while a standby's word on COMMIT is waited for, and is away for longer than anybody else would ask."""
    own = Cluster(sandbox.cluster.binaries)
    heard: list[str] = []
    try:
        own.start()
        with psycopg.connect(own.url("postgres"), autocommit=True) as admin:
            box = Sandbox(own, admin, "r")
            box.create()
            box.back_up()
            box.ruin()
            own.configure("synchronous_standby_names = 'nowhere'")
            admin.execute("SELECT pg_reload_conf()")
            wait_until(lambda: admin.execute("SHOW synchronous_standby_names").fetchall() == [("nowhere",)])

        def observe(progress: Progress) -> None:
            if progress.phase in heard:
                return
            heard.append(progress.phase)
            if progress.phase == "Waiting for a synchronous standby to confirm the swap":
                own.stop("immediate")
                own.configure("synchronous_standby_names = ''")
            elif progress.phase.startswith("Waiting to learn what became of the swap: "):
                own.launch()

        monkeypatch.setattr("snapkit.services.run.commit_outcome.PATIENCE", timedelta(0))
        receipt = swap(
            Server(target_of(own.url(box.name))),
            SwapRequest(),
            LOCK_WAIT,
            observe,
            persistence=Persistence(10 * LOCK_WAIT),
        )
        assert receipt.displaced is not None
        assert [each for each in heard if each.startswith("Waiting to learn")]
        with psycopg.connect(own.url(box.name)) as connection:
            assert connection.execute("SELECT count(*) FROM item").fetchone() == (100,)
    finally:
        own.remove()


def test_what_was_interrupted_when_it_was_done_is_told_as_done(sandbox: Sandbox) -> None:
    receipt = sandbox.back_up()
    interrupted = InterruptedRunError("Interrupted.")
    assert account_of(sandbox.server(), receipt, interrupted) is interrupted
    sandbox.roll_back()
    assert isinstance(account_of(sandbox.server(), receipt, interrupted), RolledBackError)
