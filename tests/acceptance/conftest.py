"""A bank of some 300 MB, with clients that write to it and come back to it at once."""

from __future__ import annotations

import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from tests.sandbox import Sandbox

SCALE = 20
"""About 300 MB."""

CHECKSUM = """
SELECT (SELECT count(*) || ' ' || coalesce(sum(hashtextextended(a::text, 0)), 0) FROM pgbench_accounts AS a),
       (SELECT count(*) || ' ' || coalesce(sum(hashtextextended(h::text, 0)), 0) FROM pgbench_history AS h),
       (SELECT sum(hashtextextended(t::text, 0)) FROM pgbench_tellers AS t),
       (SELECT sum(hashtextextended(b::text, 0)) FROM pgbench_branches AS b)
"""


class Clients:
    """Clients that write, and that reconnect at once whenever they are disconnected. Told to, they only reconnect."""

    def __init__(self, url: str, number: int) -> None:
        self.url = url
        self.transactions = 0
        self.reading = threading.Event()
        self._stopped = threading.Event()
        self._threads = [threading.Thread(target=self._work, args=(seed,), daemon=True) for seed in range(number)]
        for thread in self._threads:
            thread.start()

    def _work(self, seed: int) -> None:
        while not self._stopped.is_set():
            try:
                with psycopg.connect(self.url, autocommit=True) as connection:
                    while not self._stopped.is_set():
                        if self.reading.is_set():
                            connection.execute("SELECT 1")
                        else:
                            self._transfer(connection, seed)
                        self.transactions += 1
            except psycopg.Error:
                continue

    def _transfer(self, connection: psycopg.Connection[tuple[object, ...]], seed: int) -> None:
        account = self.transactions * 7919 % (SCALE * 100_000) + 1
        with connection.transaction():
            connection.execute("UPDATE pgbench_accounts SET abalance = abalance + 1 WHERE aid = %s", (account,))
            connection.execute(
                "INSERT INTO pgbench_history (tid, bid, aid, delta, mtime) VALUES (%s, 1, %s, 1, now())",
                (seed, account),
            )

    def stop(self) -> None:
        self._stopped.set()
        for thread in self._threads:
            thread.join(timeout=30)


@pytest.fixture
def bank(sandbox: Sandbox) -> Iterator[Clients]:
    pgbench = shutil.which("pgbench") or str(sandbox.cluster.binaries / "pgbench")
    if not Path(pgbench).exists():
        pytest.skip("needs pgbench")
    where = ["-h", str(sandbox.cluster.root), "-p", str(sandbox.cluster.port), "-U", "postgres"]
    subprocess.run([pgbench, *where, "-i", "-q", "-s", str(SCALE), sandbox.name], check=True, capture_output=True)
    clients = Clients(sandbox.url, 8)
    try:
        yield clients
    finally:
        clients.stop()


def checksum_of(sandbox: Sandbox, name: str) -> tuple[object, ...]:
    with sandbox.connect(name) as connection:
        row = connection.execute(CHECKSUM).fetchone()
    assert row is not None
    return tuple(row)
