"""No wait is without end, and what waits is not in the way of what is decided."""

from __future__ import annotations

import os
import shutil
import signal
import threading
from datetime import timedelta

import pytest
from sqlalchemy import Connection, func, select

from snapkit.core.holding import HoldRules
from snapkit.core.model import Progress, Strategy
from snapkit.postgres import door
from snapkit.postgres.door import hold_door
from snapkit.postgres.errors import SERVER_ERRORS, is_connection_loss
from snapkit.postgres.progress import CloneGauge, Cloning
from snapkit.postgres.server import answers_within
from tests.sandbox import Sandbox


def test_an_answer_that_does_not_come_in_time_is_a_lost_connection(sandbox: Sandbox) -> None:
    with sandbox.server().connect() as connection:
        with answers_within(connection, timedelta(seconds=0.3)), pytest.raises(SERVER_ERRORS) as caught:
            connection.execute(select(func.pg_sleep(60)))
        assert is_connection_loss(caught.value)


def test_a_look_at_the_progress_that_takes_long_does_not_end_the_watch(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(door, "_LOOK_LIMIT", timedelta(milliseconds=50))
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
