"""A PAUSE that meets a login of PgBouncer's: who waits is served when it is over, and who was refused is told of."""

from __future__ import annotations

import threading
from collections.abc import Callable
from time import monotonic
from typing import Any

import psycopg
import pytest

from snapkit.core.reporting import unobserved
from snapkit.postgres.outage.watchdog import Post, Watchdog
from snapkit.services.outage import pools, resume
from snapkit.services.outage.pool_checks import poolers_of
from snapkit.services.outage.pools import paused
from tests.pgbouncer import PgBouncer
from tests.sandbox import Sandbox, wait_until
from tests.server.conftest import MakeBouncer

pytestmark = pytest.mark.any_version

RETRY = "600"
"""Seconds that PgBouncer waits after a failed login: longer than any test waits."""


@pytest.fixture
def bouncer(sandbox: Sandbox, make_bouncer: MakeBouncer) -> PgBouncer:
    return make_bouncer(databases={sandbox.name: ""}, more=f"server_login_retry = {RETRY}")


class Client:
    """One that connects, asks once, and goes: in a thread, since it may have to wait."""

    def __init__(self, bouncer: PgBouncer, name: str) -> None:
        self.answer: Any = None
        self._thread = threading.Thread(target=self._ask, args=(bouncer.url(name),), daemon=True)
        self._thread.start()

    def _ask(self, url: str) -> None:
        try:
            with psycopg.connect(url, autocommit=True, prepare_threshold=None) as connection:
                self.answer = connection.execute("SELECT 1").fetchone()
        except psycopg.Error as error:
            self.answer = error

    @property
    def is_served(self) -> bool:
        return bool(self.answer == (1,))


def _waits(bouncer: PgBouncer, number: int = 1) -> Callable[[], bool]:
    return lambda: sum(row["cl_waiting"] for row in bouncer.ask("SHOW POOLS")) >= number


def _retry(bouncer: PgBouncer) -> str:
    (value,) = (row["value"] for row in bouncer.ask("SHOW CONFIG") if row["key"] == "server_login_retry")
    return str(value)


def _logins_take(sandbox: Sandbox, seconds: int) -> None:
    """Let each new session of the server take so long to begin."""
    sandbox.execute(f"ALTER SYSTEM SET post_auth_delay = {seconds}")
    sandbox.execute("SELECT pg_reload_conf()")

    def is_so() -> bool:
        with sandbox.connect("postgres") as connection:
            return connection.execute("SELECT setting FROM pg_settings WHERE name = 'post_auth_delay'").fetchone() == (
                str(seconds),
            )

    wait_until(is_so)


@pytest.mark.promise("a client that comes during a pause is served")
def test_a_pool_s_first_client_comes_during_the_pause(sandbox: Sandbox, bouncer: PgBouncer) -> None:
    poolers = poolers_of([bouncer.console_url()])
    with sandbox.server().connect() as connection:
        with paused(poolers, connection, sandbox.name, unobserved) as pause:
            clients = [Client(bouncer, sandbox.name), Client(bouncer, sandbox.name)]
            wait_until(_waits(bouncer, 2))
        assert [caution.code for caution in pause.cautions] == ["pool_login_failed"]
        assert "08P01" in pause.cautions[0].message
        assert _retry(bouncer) == RETRY
        wait_until(lambda: all(client.is_served for client in clients))
        with paused(poolers, connection, sandbox.name, unobserved) as pause:
            client = Client(bouncer, sandbox.name)
            wait_until(_waits(bouncer))
        assert pause.cautions == ()
        wait_until(lambda: client.is_served)


def test_a_login_is_cut_short_by_the_pause(
    sandbox: Sandbox, bouncer: PgBouncer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pools, "_LOGIN_PATIENCE", 0)
    poolers = poolers_of([bouncer.console_url()])
    with psycopg.connect(bouncer.url(sandbox.name), autocommit=True, prepare_threshold=None) as connected:
        connected.execute("SELECT 1")
        bouncer.ask(f"RECONNECT {sandbox.name}")
        with sandbox.server().connect() as connection:
            _logins_take(sandbox, 3)
            try:
                client = Client(bouncer, sandbox.name)
                wait_until(_waits(bouncer))
                with paused(poolers, connection, sandbox.name, unobserved) as pause:
                    assert not client.is_served
                    _logins_take(sandbox, 0)
            finally:
                _logins_take(sandbox, 0)
        assert [caution.code for caution in pause.cautions] == ["pool_login_failed"]
        assert _retry(bouncer) == RETRY
        wait_until(lambda: client.is_served)
        connected.execute("SELECT 1")


def test_it_is_waited_for_a_login_before_the_pause(sandbox: Sandbox, bouncer: PgBouncer) -> None:
    poolers = poolers_of([bouncer.console_url()])
    with sandbox.server().connect() as connection:
        _logins_take(sandbox, 1)
        try:
            client = Client(bouncer, sandbox.name)
            wait_until(_waits(bouncer))
            with paused(poolers, connection, sandbox.name, unobserved) as pause:
                wait_until(lambda: client.is_served)
        finally:
            _logins_take(sandbox, 0)
    assert pause.cautions == ()


def test_how_long_clients_were_held_is_until_they_are_served(
    sandbox: Sandbox, bouncer: PgBouncer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server takes its time to let PgBouncer in again."""
    poolers = poolers_of([bouncer.console_url()])
    with sandbox.server().connect() as connection:
        try:
            with paused(poolers, connection, sandbox.name, unobserved) as pause:
                _logins_take(sandbox, 2)
                client = Client(bouncer, sandbox.name)
                wait_until(_waits(bouncer))
                ready = monotonic()
            assert pause.ended is not None
            assert pause.ended - ready > 1.5
            wait_until(lambda: client.is_served)
        finally:
            _logins_take(sandbox, 0)


def test_the_time_until_a_pgbouncer_that_is_gone_is_given_up_is_not_told_as_an_outage(
    sandbox: Sandbox, bouncer: PgBouncer
) -> None:
    poolers = poolers_of([bouncer.console_url()])
    with sandbox.server().connect() as connection:
        with paused(poolers, connection, sandbox.name, unobserved) as pause:
            bouncer.stop()
            done = monotonic()
        given_up = monotonic()
    assert [caution.code for caution in pause.cautions] == ["pool_not_resumed"]
    assert given_up - done > resume._RESUME_PATIENCE
    assert pause.ended is not None
    assert pause.ended - done < resume._RESUME_PATIENCE


def test_the_watchdog_has_clients_served_as_well(sandbox: Sandbox, bouncer: PgBouncer) -> None:
    dog = _watchdog(sandbox, bouncer)
    bouncer.ask(f"PAUSE {sandbox.name}")
    client = Client(bouncer, sandbox.name)
    wait_until(_waits(bouncer))
    dog.close()  # as if snapkit had died
    wait_until(lambda: client.is_served)
    wait_until(lambda: _retry(bouncer) == RETRY)


def test_the_watchdog_puts_back_what_snapkit_had_set_when_it_died(sandbox: Sandbox, bouncer: PgBouncer) -> None:
    dog = _watchdog(sandbox, bouncer)
    bouncer.ask("SET server_login_retry = 0")
    dog.close()
    wait_until(lambda: _retry(bouncer) == RETRY)


def _watchdog(sandbox: Sandbox, bouncer: PgBouncer) -> Watchdog:
    (pooler,) = poolers_of([bouncer.console_url()])
    dog = Watchdog([Post(pooler.parameters, (sandbox.name,), RETRY)], 600)
    dog.wait_until_ready()
    dog.arm()
    return dog
