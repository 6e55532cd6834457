"""Clients behind PgBouncer for minutes on end, while one backup and rollback follows the other."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from benchmarks.commands import run
from benchmarks.contenders import snapkit_script
from benchmarks.crowd import Crowd, crowd_of
from benchmarks.measures import told_by
from benchmarks.scenarios import Bench, Key
from benchmarks.servers import ROLE, SOURCE, BenchServer
from tests.cluster import free_port

PRUNE = "prune"
PAUSED, UNPAUSED = "paused by snapkit", "not paused"
_TOTALS = ("operations", "refused", "queries", "failed", "turned_away")
_UNPAUSED_PART = 0.2
"""Of the minutes: the same without --pgbouncer-url is only there to show the difference."""

_CONFIGURATION = """
[databases]
{database} = host=127.0.0.1 port={server_port} dbname={database}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = scram-sha-256
auth_file = {directory}/users.txt
admin_users = {role}
pool_mode = transaction
default_pool_size = 20
max_client_conn = 200
logfile = {directory}/pgbouncer.log
pidfile = {directory}/pgbouncer.pid
"""


class NoPoolerError(Exception):
    """Why there is no PgBouncer here."""


class Pooled:
    """Only on the smallest size: what is wanted is as many backups and rollbacks as fit."""

    name = "pgbouncer"
    once = True

    def run(self, bench: Bench) -> None:
        if bench.megabytes != min(bench.options.sizes):
            return
        wanted: dict[str, Key] = {
            mode: {"mode": mode, "minutes": bench.options.minutes, "clients": bench.options.clients, "row": "total"}
            for mode in (PAUSED, UNPAUSED)
        }
        if not bench.pending(self.name, list(wanted.values())):
            return
        try:
            with _pgbouncer(bench.server) as port:
                for mode, key in wanted.items():
                    if not bench.results.has(self.name, bench.key | key):
                        self._go_on(bench, key, mode, port)
        except NoPoolerError as reason:
            bench.say(f"skipped: {reason}")
            bench.add(self.name, {"row": "total"}, {"skipped": str(reason)})

    def _go_on(self, bench: Bench, key: Key, mode: str, port: int) -> None:
        server = bench.server
        options = []
        seconds = bench.options.minutes * 60 * _UNPAUSED_PART
        if mode == PAUSED:
            options = ["--pgbouncer-url", f"postgresql://{ROLE}:{ROLE}@127.0.0.1:{port}/pgbouncer"]
            seconds = bench.options.minutes * 60
        commands = {
            "backup": snapkit_script("backup", *options),
            "rollback": snapkit_script("rollback", "--latest", *options),
        }
        sweep = snapkit_script("prune", "--keep", "1", "--keep-old", "0")
        server.restore_source()
        url = f"postgresql://{ROLE}:{ROLE}@127.0.0.1:{port}/{SOURCE}"
        total: Counter[str] = Counter()
        with crowd_of(url, bench.options.clients, server.rows) as crowd:
            assert crowd is not None
            begun = time.monotonic()
            while time.monotonic() < begun + seconds:
                for operation, script in commands.items():
                    ran = run(script(server), server.environment())
                    told = told_by(ran)
                    if ran.code == 2:
                        bench.say(f"skipped: {told.get('said')}")
                        bench.add(self.name, key, {"skipped": told.get("said")})
                        return
                    self._count(bench, key, operation, crowd, total, ran.values() | told)
                ran = run(sweep(server), server.environment())
                self._count(bench, key, PRUNE, crowd, total, ran.values() | told_by(ran))
        bench.say(f"{mode}: {', '.join(f'{name} {total[name]:,}' for name in _TOTALS)}")
        bench.add(self.name, key, {name: total[name] for name in _TOTALS} | {"load_seconds": total["load_ms"] / 1000})
        server.restore_source()

    def _count(self, bench: Bench, key: Key, operation: str, crowd: Crowd, total: Counter[str], values: Key) -> None:
        lap = crowd.lap()
        total["queries"] += lap["queries"]
        total["load_ms"] += round(lap["load_seconds"] * 1000)
        total["failed"] += sum(lap["failed"].values())
        total["turned_away"] += sum(lap["turned_away"].values())
        if operation != PRUNE:
            total["operations"] += 1
            total["refused"] += values["exit_code"] != 0
        total["laps"] += 1
        bench.add(self.name, key | {"row": total["laps"]}, {"operation": operation} | values | lap)


@contextmanager
def _pgbouncer(server: BenchServer) -> Iterator[int]:
    """Run a PgBouncer in front of the server; yields its port."""
    program = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin:/usr/local/sbin")
    if program is None:
        raise NoPoolerError("pgbouncer is not installed")
    directory, port = server.cluster.root / "pgbouncer", free_port()
    directory.mkdir()
    (directory / "users.txt").write_text(f'"{ROLE}" "{ROLE}"\n')
    (directory / "pgbouncer.ini").write_text(
        _CONFIGURATION.format(
            database=SOURCE, server_port=server.cluster.port, port=port, directory=directory, role=ROLE
        )
    )
    user = server.cluster.user
    if user is not None:
        shutil.chown(directory, user)
    process = subprocess.Popen(
        [program, "--quiet", str(directory / "pgbouncer.ini")],
        user=user,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        _wait_for(process, port)
        yield port
    finally:
        process.terminate()
        process.wait()
        shutil.rmtree(directory, ignore_errors=True)


def _wait_for(process: subprocess.Popen[bytes], port: int) -> None:
    deadline = time.monotonic() + 30
    while process.poll() is None and time.monotonic() < deadline:
        try:
            psycopg.connect(f"postgresql://{ROLE}:{ROLE}@127.0.0.1:{port}/{SOURCE}").close()
        except psycopg.Error:
            time.sleep(0.05)
        else:
            return
    raise NoPoolerError("pgbouncer does not start")


def pgbouncer_version() -> str | None:
    program = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin:/usr/local/sbin")
    if program is None:
        return None
    return subprocess.check_output([program, "--version"], text=True).split("\n", 1)[0].removeprefix("PgBouncer ")
