"""A sealed database is empty when it is said to be, whoever was on the way in, and whoever holds a lock on it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from psycopg import sql

from snapkit.errors import BusyError
from snapkit.postgres.catalog import sessions
from snapkit.postgres.outage import eviction
from snapkit.services.outage import emptying
from snapkit.services.outage.emptying import empty_sealed
from tests.cluster import PASSWORD
from tests.sandbox import Sandbox, wait_until


class _Entering:
    """A session that starts up in a database, and cannot get on for what ``held_up_by`` locks, until ``let_in``."""

    def __init__(self, box: Sandbox, name: str, held_up_by: sql.Composed) -> None:
        self._box, self._name = box, name
        oid = box.row(name)["oid"]
        self._inside: psycopg.Connection[Any] | None = None
        self._locker = box.connect("postgres")
        self._locker.autocommit = False
        self._locker.execute(held_up_by)
        self._thread = threading.Thread(target=self._enter, daemon=True)
        self._thread.start()
        wait_until(lambda: bool(box.execute(_LOCKED, oid, "RowExclusiveLock") and box.execute(_WAITING, oid)))

    def _enter(self) -> None:
        try:
            url = self._box.cluster.url(self._name)
            self._inside = psycopg.connect(url, autocommit=True, options="-c default_tablespace=pg_default")
        except psycopg.Error:
            return

    def let_in(self) -> None:
        self._locker.rollback()
        self._thread.join(30)

    def is_connected(self) -> bool:
        assert self._inside is not None
        try:
            self._inside.execute("SELECT 1")
        except psycopg.Error:
            return False
        return True

    def close(self) -> None:
        self.let_in()
        self._locker.close()
        if self._inside is not None:
            self._inside.close()


_LOCKED = """
SELECT 1 FROM pg_locks WHERE locktype = 'object' AND classid = 'pg_database'::regclass AND objid = %s AND mode = %s
"""

_WAITING = """
SELECT 1 FROM pg_locks AS wanted JOIN pg_locks AS own USING (pid)
WHERE NOT wanted.granted AND own.locktype = 'object' AND own.classid = 'pg_database'::regclass AND own.objid = %s
"""


@contextmanager
def _entering(box: Sandbox, name: str, held_up_by: sql.Composed) -> Iterator[_Entering]:
    entering = _Entering(box, name, held_up_by)
    try:
        yield entering
    finally:
        entering.close()


def _allow(box: Sandbox, name: str, allowed: bool) -> None:
    alter = sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS {}")
    box.execute(alter.format(sql.Identifier(name), sql.Literal(allowed)))


def test_who_comes_in_between_the_two_looks_is_seen(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    backup = sandbox.back_up().backup
    name, oid = backup.name, backup.database.oid
    _allow(sandbox, name, True)
    # It has its own lock on the database by the time that it looks up the tablespace of its options.
    catalog_lock = sql.SQL("LOCK TABLE pg_catalog.pg_tablespace IN ACCESS EXCLUSIVE MODE").format()
    with sandbox.server().connect() as connection, _entering(sandbox, name, catalog_lock) as entering:
        _allow(sandbox, name, False)
        looks = 0

        def then_let_in(look: Callable[..., Any]) -> Callable[..., Any]:
            def wrapped(*arguments: Any) -> Any:
                nonlocal looks
                found = look(*arguments)
                looks += 1
                if looks == 1:
                    entering.let_in()
                    assert entering.is_connected()
                return found

            return wrapped

        monkeypatch.setattr(sessions, "sessions_entering", then_let_in(sessions.sessions_entering))
        monkeypatch.setattr(eviction, "disconnect_sealed", then_let_in(eviction.disconnect_sealed))
        empty_sealed(connection, oid, name, "")
        assert not entering.is_connected()
    assert sandbox.sessions(name) == 0


def test_who_does_not_get_on_with_starting_up_is_named(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(emptying, "PATIENCE", timedelta(milliseconds=200))
    backup = sandbox.back_up().backup
    name, oid = backup.name, backup.database.oid
    rename = sql.SQL("ALTER DATABASE {} RENAME TO {}").format(sql.Identifier(name), sql.Identifier(name + "_x"))
    with sandbox.server().connect() as connection, _entering(sandbox, name, rename):
        [pid] = sessions.sessions_entering(connection, oid)
        with pytest.raises(BusyError, match=f"pid {pid}, which is starting up") as caught:
            empty_sealed(connection, oid, name, "It lets nobody in.")
        assert caught.value.state == "It lets nobody in."


def test_a_lock_that_every_role_may_take_does_not_keep_it_from_being_emptied(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(emptying, "PATIENCE", timedelta(0))
    backup = sandbox.back_up().backup
    name, oid = backup.name, backup.database.oid
    stranger = sandbox.role("stranger", f"LOGIN PASSWORD '{PASSWORD}'")
    with psycopg.connect(sandbox.cluster.url("postgres", user=stranger)) as other:
        setting = sql.SQL("ALTER ROLE CURRENT_USER IN DATABASE {} SET work_mem = '5MB'")
        other.execute(setting.format(sql.Identifier(name)))
        assert sandbox.execute(_LOCKED, oid, "AccessShareLock")
        with sandbox.server().connect() as connection:
            empty_sealed(connection, oid, name, "")
        assert sandbox.run("shell", name, "--", "true").code == 0
        other.rollback()
    assert sandbox.entries()[0].opened is None
