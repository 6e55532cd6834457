"""Fixtures for tests that need more than a server."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator

import psycopg
import pytest

from tests.cluster import Cluster
from tests.sandbox import Sandbox, wait_until


@pytest.fixture
def small_tablespace(sandbox: Sandbox) -> Iterator[str]:
    """A tablespace on a disk that has no room for a database; it takes root, loop devices and mkfs.ext4."""
    if os.geteuid() != 0 or shutil.which("mkfs.ext4") is None:
        pytest.skip("needs root and mkfs.ext4 to make a small disk")
    image, place = sandbox.cluster.root / f"{sandbox.prefix}.img", sandbox.cluster.root / f"{sandbox.prefix}_disk"
    place.mkdir()
    with image.open("wb") as file:
        file.truncate(6 * 1024 * 1024)
    subprocess.run(["mkfs.ext4", "-q", "-F", image], check=True)
    mounted = subprocess.run(["mount", "-o", "loop", image, place], check=False, capture_output=True, text=True)
    if mounted.returncode != 0:
        pytest.skip(f"no loop device to be had: {mounted.stderr.strip()}")
    try:
        location = place / "space"
        location.mkdir()
        if sandbox.cluster.user is not None:
            shutil.chown(location, sandbox.cluster.user)
        name = f"{sandbox.prefix}_small"
        sandbox.execute(f"CREATE TABLESPACE {name} LOCATION '{location}'")
        yield name
        sandbox.execute(f"DROP TABLESPACE {name}")
    finally:
        subprocess.run(["umount", place], check=True)
        image.unlink()


@pytest.fixture(scope="module")
def standby_server(cluster: Cluster) -> Iterator[Cluster]:
    copy = Cluster(cluster.binaries)
    where = ("-h", str(cluster.root), "-p", str(cluster.port), "-U", "postgres")
    try:
        if copy.user is not None:
            shutil.chown(copy.root, copy.user)
        copy.run("pg_basebackup", *where, "-D", str(copy.data), "-R", "-c", "fast")
        with (copy.data / "postgresql.conf").open("a") as file:
            file.write(f"\nport = {copy.port}\nunix_socket_directories = '{copy.root}'\nhot_standby_feedback = on\n")
        # Not what -R has written: the server may find another libpq, which does not know all of its options.
        with (copy.data / "postgresql.auto.conf").open("w") as file:
            file.write(f"primary_conninfo = 'host={cluster.root} port={cluster.port} user=postgres'\n")
        copy.launch()
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
