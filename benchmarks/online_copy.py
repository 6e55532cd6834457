"""Ways to copy a database while clients work, side by side: python benchmarks/online_copy.py [SCALE [VERSION]]

On a server of its own, with a pgbench database of SCALE (20 makes some 400 MB) and a table of documents beside it. Each
way is run three times, in turns; the median counts. What snapkit does includes what the others do not: it compares.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import LiteralString

import psycopg
from psycopg import sql

sys.path.insert(0, str(Path(__file__).parent.parent))

from snapkit.postgres.copying.relay import relay
from tests.binaries import binaries_of
from tests.cluster import Cluster

ROUNDS = 3
TABLES = ("pgbench_accounts", "document", "pgbench_history", "pgbench_tellers", "pgbench_branches")


class Ways:
    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.source, self.copy = cluster.url("source"), cluster.url("copy")

    def program(self, name: str, *words: str) -> list[str]:
        return [str(self.cluster.binaries / name), *words]

    def piped(self, *words: str) -> None:
        """pg_dump | pg_restore"""
        dump = subprocess.Popen(self.program("pg_dump", "--format=custom", *words, self.source), stdout=subprocess.PIPE)
        subprocess.run(self.program("pg_restore", f"--dbname={self.copy}"), stdin=dump.stdout, check=True)
        assert dump.wait() == 0

    def directory(self, *words: str) -> None:
        """pg_dump in directory format, then pg_restore, both with two jobs"""
        with tempfile.TemporaryDirectory() as name:
            place = f"{name}/dump"
            subprocess.run(
                self.program("pg_dump", "--format=directory", "--jobs=2", *words, f"--file={place}", self.source),
                check=True,
            )
            subprocess.run(self.program("pg_restore", "--jobs=2", f"--dbname={self.copy}", place), check=True)

    def relayed(self, form: LiteralString, jobs: int) -> None:
        """Definitions by pg_dump and pg_restore, rows from session to session"""
        self.piped("--section=pre-data")
        waiting = list(TABLES)
        taking = threading.Lock()

        def work() -> None:
            with psycopg.connect(self.source) as source, psycopg.connect(self.copy) as copy:
                while True:
                    with taking:
                        if not waiting:
                            return
                        name = sql.Identifier(waiting.pop(0))
                    with copy.transaction():
                        copy.execute(sql.SQL("TRUNCATE {}").format(name))
                        out = sql.SQL("COPY {} TO STDOUT (FORMAT {})").format(name, sql.SQL(form))
                        into = sql.SQL("COPY {} FROM STDIN (FORMAT {}, FREEZE)").format(name, sql.SQL(form))
                        relay(source, copy, out, into, lambda: False)

        threads = [threading.Thread(target=work) for _ in range(jobs)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        with tempfile.NamedTemporaryFile() as file:
            words = ("--format=custom", "--section=post-data", f"--file={file.name}", self.source)
            subprocess.run(self.program("pg_dump", *words), check=True)
            subprocess.run(self.program("pg_restore", "--jobs=2", f"--dbname={self.copy}", file.name), check=True)

    def snapkit(self) -> None:
        """The command as a whole: it also compares, analyzes and seals"""
        subprocess.run(
            [sys.executable, "-m", "snapkit", "backup", "--strategy", "online", "--quiet"],
            env={**os.environ, "DATABASE_URL": self.source, "SNAPKIT_PG_BIN": str(self.cluster.binaries)},
            stdout=subprocess.DEVNULL,
            check=True,
        )


def prepare(ways: Ways, scale: int) -> None:
    subprocess.run(
        ways.program("pgbench", "-i", "-q", "-s", str(scale), ways.source), check=True, stderr=subprocess.DEVNULL
    )
    with psycopg.connect(ways.source, autocommit=True) as connection:
        connection.execute(
            "CREATE TABLE document AS SELECT n AS id, md5(n::text) AS title, now() + n * interval '1 s' AS at,"
            " n * 1.5::float8 AS weight, (n * 3.7)::numeric(12, 2) AS price FROM generate_series(1, %s::int) AS n",
            (scale * 30_000,),
        )
        connection.execute("CREATE INDEX ON document (title)")
        connection.execute("CREATE INDEX ON document (at)")


def measure(ways: Ways, admin: psycopg.Connection[tuple[object, ...]], way: Callable[[], None]) -> tuple[float, int]:
    """Return the seconds and the bytes of WAL that a way takes."""
    admin.execute("DROP DATABASE IF EXISTS copy")
    admin.execute("CREATE DATABASE copy TEMPLATE template0")
    admin.execute("CHECKPOINT")
    (before,) = admin.execute("SELECT pg_current_wal_lsn()::text").fetchone() or ("",)
    began = time.monotonic()
    way()
    seconds = time.monotonic() - began
    (wal,) = admin.execute("SELECT (pg_current_wal_lsn() - %s::pg_lsn)::bigint", (before,)).fetchone() or (0,)
    for (name,) in admin.execute("SELECT datname FROM pg_database WHERE datname LIKE 'source_backup%'").fetchall():
        admin.execute(sql.SQL("DROP DATABASE {}").format(sql.Identifier(str(name))))
    return seconds, int(str(wal))


def main(scale: int, version: str) -> None:
    cluster = Cluster(binaries_of(version))
    try:
        cluster.start(configuration="shared_buffers = 256MB\nmax_wal_size = 4GB\n")
        ways = Ways(cluster)
        with psycopg.connect(cluster.url("postgres"), autocommit=True) as admin:
            admin.execute("CREATE DATABASE source")
            prepare(ways, scale)
            table: dict[str, Callable[[], None]] = {
                "pg_dump into pg_restore": ways.piped,
                "pg_dump into pg_restore, not compressed": lambda: ways.piped("--compress=0"),
                "directory, 2 jobs": ways.directory,
                "directory, 2 jobs, not compressed": lambda: ways.directory("--compress=0"),
                "relayed as text, 1 job": lambda: ways.relayed("text", 1),
                "relayed as text, 2 jobs": lambda: ways.relayed("text", 2),
                "relayed as text, 4 jobs": lambda: ways.relayed("text", 4),
                "relayed in binary, 2 jobs": lambda: ways.relayed("binary", 2),
                "snapkit backup --strategy online": ways.snapkit,
            }
            found: dict[str, list[tuple[float, int]]] = {name: [] for name in table}
            for _ in range(ROUNDS):
                for name, way in table.items():
                    found[name].append(measure(ways, admin, way))
            (size,) = admin.execute("SELECT pg_database_size('source')").fetchone() or (0,)
        megabytes = int(str(size)) / 2**20
        print(f"PostgreSQL {cluster.version}, {megabytes:.0f} MB, {os.cpu_count()} processors, median of {ROUNDS}")
        print("\n| way | seconds | WAL, MB |\n|---|---|---|")
        for name, figures in found.items():
            seconds = statistics.median(each[0] for each in figures)
            wal = statistics.median(each[1] for each in figures)
            print(f"| {name} | {seconds:.2f} | {wal / 2**20:.0f} |")
    finally:
        cluster.remove()


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 20, sys.argv[2] if len(sys.argv) > 2 else "18")
