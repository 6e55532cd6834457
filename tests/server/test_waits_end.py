"""No wait is without end, and what waits is not in the way of what is decided."""

from __future__ import annotations

import os
import shutil
import signal
import threading
from contextlib import ExitStack
from datetime import timedelta

import psycopg
import pytest
from sqlalchemy import Connection, func, select

from snapkit.core.inventory.kinds import Strategy
from snapkit.core.outage.hold_rules import HoldRules
from snapkit.core.plans.statements import RenameDatabase
from snapkit.core.reporting import Progress
from snapkit.postgres.connection.driver import answers_within, driver_connection
from snapkit.postgres.connection.sqlstates import SERVER_ERRORS, is_connection_loss
from snapkit.postgres.copying.progress import CloneGauge, Cloning
from snapkit.postgres.outage import door
from snapkit.postgres.outage.door import hold_door
from snapkit.postgres.sql.execution import commit, run, transaction
from tests.cluster import Cluster
from tests.sandbox import Sandbox, wait_until


def test_an_answer_that_does_not_come_in_time_is_a_lost_connection(sandbox: Sandbox) -> None:
    with sandbox.server().connect() as connection:
        with answers_within(connection, timedelta(seconds=0.3)), pytest.raises(SERVER_ERRORS) as caught:
            connection.execute(select(func.pg_sleep(60)))
        assert is_connection_loss(caught.value)


def test_where_the_server_ended_an_idle_session_before_its_commit_the_outcome_is_asked_for(sandbox: Sandbox) -> None:
    asked: list[int] = []

    def went_through(lost_pid: int) -> bool:
        asked.append(lost_pid)
        return False

    with sandbox.server().connect() as connection:
        pid = driver_connection(connection).info.backend_pid
        gone = "SELECT count(*) = 0 FROM pg_stat_activity WHERE pid = %s"
        connection.execute(select(func.set_config("idle_in_transaction_session_timeout", "1ms", False)))
        with pytest.raises(SERVER_ERRORS) as caught:
            commit(connection, lambda: wait_until(lambda: sandbox.execute(gone, pid) == [(True,)]), went_through)
    assert asked == [pid]
    assert is_connection_loss(caught.value)


def test_a_look_at_the_progress_that_takes_long_does_not_end_the_watch(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(door, "_SEE_LIMIT", timedelta(milliseconds=50))
    monkeypatch.setattr(door, "_CALM_INTERVAL", 0.0)
    looks = threading.Semaphore(0)

    def slow(connection: Connection) -> None:
        looks.release()
        connection.execute(select(func.pg_sleep(60)))

    oid = sandbox.row(sandbox.name)["oid"]
    with sandbox.server().connect() as ddl, sandbox.server().connect() as watcher:
        with hold_door(ddl, watcher, [oid], HoldRules(), slow) as record:
            for _ in range(3):
                assert looks.acquire(timeout=30)
        assert record.problem is None
        assert watcher.execute(select(1)).scalar_one() == 1


def test_a_session_listens_only_while_something_brief_is_done(sandbox: Sandbox) -> None:
    listening = select(func.pg_listening_channels())
    with sandbox.server().connect() as ddl, sandbox.server().connect() as watcher:
        with hold_door(ddl, watcher, [0], HoldRules(), nudge=False):
            assert ddl.execute(listening).all() == []
        with hold_door(ddl, watcher, [0], HoldRules()):
            assert len(ddl.execute(listening).all()) == 1
        assert ddl.execute(listening).all() == []


def test_a_notification_that_cannot_be_sent_does_not_end_the_watch(cluster: Cluster) -> None:
    """The server keeps them all while somebody who listens stays amid a transaction, until it has no more room."""
    if int(cluster.version.split(".")[0]) < 17:
        pytest.skip("until PostgreSQL 17 it has room for 8 GB of them")
    own = Cluster(cluster.binaries)
    try:
        own.start(configuration="max_notify_queue_pages = 64")
        with psycopg.connect(own.url("postgres"), autocommit=True) as admin, ExitStack() as stack:
            sandbox = Sandbox(own, admin, "full")
            sandbox.create()
            admin.execute("CREATE DATABASE second")
            listener = stack.enter_context(psycopg.connect(own.url("postgres"), autocommit=True))
            listener.execute("LISTEN anything")
            listener.execute("BEGIN")
            with pytest.raises(psycopg.errors.ProgramLimitExceeded):
                while True:
                    admin.execute("SELECT pg_notify('anything', repeat('x', 7900))")
            names = (sandbox.name, "second")
            inside = {stack.enter_context(sandbox.connect(name)).info.backend_pid for name in names}
            ddl, watcher = (stack.enter_context(sandbox.server().connect()) for _ in range(2))
            oids = [sandbox.row(name)["oid"] for name in names]
            with hold_door(ddl, watcher, oids, HoldRules()) as record, transaction(ddl):
                run(ddl, *(RenameDatabase(name, name + "_then") for name in names))
            assert set(record.disconnected) == inside
            assert record.problem is None
    finally:
        own.remove()


def test_ctrl_c_while_a_clone_comes_to_its_end_is_not_lost(sandbox: Sandbox) -> None:
    """The rollback that the clone was for must not go on as if nothing had been said."""
    looking, over = threading.Event(), threading.Event()

    def hold_up(connection: Connection) -> None:
        looking.set()
        over.wait(30)

    def press() -> None:
        os.kill(os.getpid(), signal.SIGINT)
        over.set()

    with sandbox.server().connect() as ddl, sandbox.server().connect() as watcher:
        with pytest.raises(KeyboardInterrupt), hold_door(ddl, watcher, [0], HoldRules(), hold_up):
            assert looking.wait(30)
            threading.Timer(0.2, press).start()  # the block is over by then, and the doorkeeper waited for
        assert over.wait(30)


def test_the_progress_of_a_clone_shows_while_no_catalog_knows_of_it(sandbox: Sandbox) -> None:
    seen: list[Progress] = []
    base = sandbox.cluster.data / "base"
    source = base / str(sandbox.row(sandbox.name)["oid"])
    copy = base / "4000000001"
    with sandbox.server().connect() as connection:
        gauge = CloneGauge(connection, Cloning(0, Strategy.FILE_COPY, 1 << 40), True, seen.append)
        shutil.copytree(source, copy)
        try:
            for path in (copy, *copy.iterdir()):
                if sandbox.cluster.user is not None:
                    shutil.chown(path, sandbox.cluster.user)
            gauge.look(connection)
        finally:
            shutil.rmtree(copy)
    assert seen[0].done == sum(path.stat().st_size for path in source.iterdir())
