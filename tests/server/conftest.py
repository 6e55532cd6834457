"""Fixtures for tests that need more than a server."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from snapkit.postgres.copying.programs import VARIABLE
from tests.cluster import Cluster
from tests.disks import NoDiskError, SmallDisk
from tests.pages import Desk
from tests.pgbouncer import PgBouncer, program
from tests.sandbox import Sandbox, wait_until

MakeBouncer = Callable[..., PgBouncer]


@pytest.fixture
def client_programs(monkeypatch: pytest.MonkeyPatch, cluster: Cluster) -> None:
    """The client programs that came with the server are those that an online copy uses."""
    if not (cluster.binaries / "pg_dump").exists():
        pytest.skip("this server came without pg_dump")
    monkeypatch.setenv(VARIABLE, str(cluster.binaries))


@pytest.fixture
def desk(sandbox: Sandbox, tmp_path: Path, client_programs: None) -> Desk:
    """A place to run what the documentation says, with psql and pg_dump on the PATH."""
    if not (sandbox.cluster.binaries / "psql").exists():
        pytest.skip("this server came without psql")
    return Desk(sandbox, tmp_path)


@pytest.fixture
def small_tablespace(sandbox: Sandbox) -> Iterator[str]:
    """A tablespace on a disk that has no room for a database; it takes root, loop devices and mkfs.ext4."""
    try:
        disk = SmallDisk(sandbox.cluster.root / f"{sandbox.prefix}_disk", 6, sandbox.cluster.user)
    except NoDiskError as reason:
        pytest.skip(str(reason))
    try:
        name = f"{sandbox.prefix}_small"
        sandbox.execute(f"CREATE TABLESPACE {name} LOCATION '{disk.directory}'")
        yield name
        sandbox.execute(f"DROP TABLESPACE {name}")
    finally:
        disk.remove()


@pytest.fixture(scope="module")
def standby_server(cluster: Cluster) -> Iterator[Cluster]:
    copy = Cluster(cluster.binaries)
    try:
        copy.copy_of(cluster, "hot_standby_feedback = on")
        yield copy
    finally:
        copy.remove()
        with psycopg.connect(cluster.url("postgres"), autocommit=True) as admin:
            wait_until(lambda: not admin.execute("SELECT 1 FROM pg_stat_replication").fetchall())


@pytest.fixture
def standby(sandbox: Sandbox, standby_server: Cluster) -> Cluster:
    """A server that streams from the sandbox's, and has caught up with it; a test that stops it starts it again."""
    caught_up = (
        "SELECT 1 FROM pg_stat_replication"
        " WHERE state = 'streaming' AND replay_lsn >= pg_current_wal_flush_lsn() AND application_name = 'walreceiver'"
    )
    wait_until(lambda: sandbox.execute(caught_up) == [(1,)])
    return standby_server


@pytest.fixture
def make_bouncer(sandbox: Sandbox) -> Iterator[MakeBouncer]:
    """Start PgBouncers in front of the sandbox's server."""
    if program() is None:
        pytest.skip("needs pgbouncer")
    made: list[PgBouncer] = []

    def make(**options: Any) -> PgBouncer:
        bouncer = PgBouncer(sandbox.cluster, sandbox.cluster.root / f"{sandbox.prefix}_bouncer{len(made)}", **options)
        made.append(bouncer)
        bouncer.start()
        return bouncer

    try:
        yield make
    finally:
        for bouncer in made:
            bouncer.stop()
