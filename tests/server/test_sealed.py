"""Nobody gets into a backup or a displaced database, and nobody copies it, from its first moment until it is live."""

from __future__ import annotations

import threading
from collections.abc import Callable

import psycopg
import pytest
from psycopg import sql
from sqlalchemy import func, select

from snapkit.services.list import list_entries
from snapkit.services.prune import choose_by_name, remove
from tests.sandbox import LOCK_WAIT, Sandbox, wait_until

pytestmark = pytest.mark.any_version


class Intruders:
    """Roles that try, without a pause, to get into every database of a sandbox, or to copy it."""

    def __init__(self, sandbox: Sandbox, spy: str) -> None:
        self.successes: list[str] = []
        self.attempts = 0
        self._sandbox = sandbox
        self._spy = spy
        self._stopped = threading.Event()
        works = (self._connect_as_spy, self._connect_as_superuser, self._copy_as_spy)
        self._threads = [threading.Thread(target=self._repeat, args=(work,), daemon=True) for work in works]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._stopped.set()
        for thread in self._threads:
            thread.join(timeout=30)

    def _repeat(self, attempt: Callable[[psycopg.Connection[tuple[object, ...]], str], None]) -> None:
        with psycopg.connect(self._sandbox.cluster.url("postgres", user=self._spy), autocommit=True) as own:
            while not self._stopped.is_set():
                for (name,) in own.execute("SELECT datname FROM pg_database").fetchall():
                    if str(name).startswith(self._sandbox.prefix + "_"):
                        self.attempts += 1
                        attempt(own, str(name))

    def _connect_as_spy(self, _: object, name: str) -> None:
        self._enter(name, self._spy, allowed=None)

    def _connect_as_superuser(self, _: object, name: str) -> None:
        self._enter(name, "postgres", allowed=self._sandbox.name)

    def _enter(self, name: str, user: str, allowed: str | None) -> None:
        try:
            with psycopg.connect(self._sandbox.cluster.url(name, user=user), autocommit=True) as inside:
                row = inside.execute("SELECT current_database()").fetchone()
        except psycopg.Error:
            return
        # A backup may have become live while the connection was being made.
        if row is not None and row[0] != allowed:
            self.successes.append(f"{user} got into {name} ({row[0]})")

    def _copy_as_spy(self, own: psycopg.Connection[tuple[object, ...]], name: str) -> None:
        copy = f"{self._sandbox.prefix}_copy"
        try:
            own.execute(sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(copy), sql.Identifier(name)))
        except psycopg.Error:
            return
        self.successes.append(f"{self._spy} copied {name}")


@pytest.mark.parametrize(
    "rounds", [pytest.param(1, marks=pytest.mark.promise("nobody gets into a copy while it is made or swapped")), 5]
)
def test_nobody_gets_in_while_backups_rollbacks_and_undos_run(sandbox: Sandbox, rounds: int) -> None:
    spy = sandbox.role("spy", "LOGIN CREATEDB")
    revoke = sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(sql.Identifier(sandbox.name))
    sandbox.execute(revoke)
    intruders = Intruders(sandbox, spy)
    try:
        for _ in range(rounds):
            sandbox.back_up()
            kept = sandbox.back_up().backup.name
            sandbox.roll_back()
            sandbox.roll_back(keep_backup=True) if kept not in sandbox.databases() else sandbox.undo()
            sandbox.undo()
        attempts = intruders.attempts
        wait_until(lambda: intruders.attempts > attempts + 50)
    finally:
        intruders.stop()
    assert intruders.successes == []


@pytest.mark.promise("a forged comment proves nothing")
def test_a_stranger_s_document_never_makes_us_drop_a_stranger_s_database(sandbox: Sandbox) -> None:
    """Consistent in all but the owner; also where the source that it names does not exist."""
    stranger = sandbox.role("stranger", "LOGIN CREATEDB")
    sandbox.back_up()
    strangers = []
    for number, source in enumerate((sandbox.name, f"{sandbox.prefix}_no_such_source")):
        name = f"{sandbox.prefix}_his_{number}"
        sandbox.execute(sql.SQL("CREATE DATABASE {} OWNER {}").format(sql.Identifier(name), sql.Identifier(stranger)))
        document = f'{{"snapkit":1,"kind":"backup","source":"{source}","created_at":"2020-01-01T00:00:00Z"}}'
        with psycopg.connect(sandbox.cluster.url("postgres", user=stranger), autocommit=True) as his:
            his.execute(sql.SQL("COMMENT ON DATABASE {} IS {}").format(sql.Identifier(name), sql.Literal(document)))
        strangers.append(name)
    assert sandbox.run("prune", "--keep", "1", "--all").code == 0
    for name in strangers:
        assert sandbox.run("delete", name).code == 10
        assert name in sandbox.databases()


def test_hostile_comments_break_neither_list_nor_terminal(sandbox: Sandbox) -> None:
    ours = sandbox.back_up().backup.name
    comments = [
        '{"snapkit":1' + " " * 100_000,
        '{"snapkit":1,"kind":' + "[" * 50_000,
        '{"snapkit":' + "9" * 5_000 + "}",
        '{"snapkit":1,"kind":"backup","source":"\\u0000","created_at":"2020-01-01T00:00:00Z"}',
        '{"snapkit":1,"kind":"backup","source":"\\ud800","created_at":"2020-01-01T00:00:00Z"}',
        '{"snapkit":1,"kind":"backup","source":"x","created_at":"99999-99-99T00:00:00Z"}',
        '{"snapkit":1,"kind":"backup","source":"x","created_at":"2020-01-01T00:00:00Z","label":"\\u001b]0;owned\\u0007"}',
        '{"snapkit":2,"anything":"goes"}',
        '{"snapkit":true}',
        '{"snapkit":1}' + "x" * 20_000_000,
    ]
    for number, comment in enumerate(comments):
        name = f"{sandbox.prefix}_hostile_{number}"
        sandbox.execute(sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(sql.Identifier(name)))
        sandbox.execute(sql.SQL("COMMENT ON DATABASE {} IS {}").format(sql.Identifier(name), sql.Literal(comment)))
    assert [entry.name for entry in list_entries(sandbox.server(), sizes=True, all_sources=False).entries] == [ours]
    for words in (["list", "--all", "--sizes"], ["list", "--all", "--json"]):
        ran = sandbox.run(*words)
        assert ran.code == 0, ran.err
        assert "\x1b" not in ran.out + ran.err
    removal = remove(sandbox.server(), choose_by_name([ours], sandbox.name), LOCK_WAIT)
    assert [entry.name for entry in removal.removed] == [ours]


def test_the_source_s_own_functions_do_not_answer_for_postgresql_s(sandbox: Sandbox) -> None:
    """Its owner sets the search_path, and whoever looks into it may be a superuser."""
    with sandbox.connect() as owner:
        owner.execute("CREATE SCHEMA evil")
        owner.execute(
            "CREATE FUNCTION evil.set_config(text, text, boolean) RETURNS text LANGUAGE plpgsql"
            " AS 'BEGIN RAISE EXCEPTION $$fooled$$; END'"
        )
    sandbox.execute(f'ALTER DATABASE "{sandbox.name}" SET search_path TO evil, pg_catalog')
    with sandbox.server().enter(sandbox.name, {}) as connection:
        assert connection.execute(select(func.current_setting("search_path"))).scalar_one() == "pg_catalog"
