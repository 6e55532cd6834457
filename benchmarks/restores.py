"""What a restore of many missing rows takes, beside COPY by psql: python -m benchmarks.restores [ROWS [VERSION]]

On a server of its own, with a table of ROWS rows (one million if not given) and a backup of it. The rows are taken away
by TRUNCATE, or by DELETE. Then `restore` brings them back, or psql does, from an open copy of the backup:
`psql -c "COPY item TO STDOUT" | psql -c "COPY item FROM STDIN"`. Both are gone three times, in turns; the median
counts.
Start-up is told by itself: the same command for an empty table.
"""

from __future__ import annotations

import os
import resource
import shlex
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

import psycopg

from tests.binaries import binaries_of
from tests.cluster import Cluster

ROUNDS = 3
DAMAGES = ("TRUNCATE item", "DELETE FROM item")
_TABLE = """
CREATE TABLE item (
    id bigint PRIMARY KEY, customer int NOT NULL, made timestamptz NOT NULL, total numeric(10,2), note text
)
"""


class Ways:
    """Both bring the rows of item back into the database app."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster

    def restore(self) -> None:
        self._snapkit("item")

    def idle(self) -> None:
        self._snapkit("nothing")

    def _snapkit(self, table: str) -> None:
        subprocess.run(
            [sys.executable, "-m", "snapkit", "restore", "--latest", "--quiet", "--table", f"public.{table}"],
            env={**os.environ, "DATABASE_URL": self.cluster.url("app")},
            stdout=subprocess.DEVNULL,
            check=True,
        )

    def copy(self) -> None:
        psql = self.cluster.binaries / "psql"
        read, write = (
            shlex.join([str(psql), "-XAtq", self.cluster.url(database), "-c", f"COPY item {way}"])
            for database, way in (("twin", "TO STDOUT"), ("app", "FROM STDIN"))
        )
        subprocess.run(f"{read} | {write}", shell=True, check=True)


def prepare(cluster: Cluster, rows: int) -> None:
    with psycopg.connect(cluster.url("postgres"), autocommit=True) as admin:
        admin.execute("CREATE DATABASE app")
    with psycopg.connect(cluster.url("app"), autocommit=True) as app:
        app.execute("CREATE TABLE nothing (id int PRIMARY KEY)")
        app.execute(_TABLE)
        app.execute(
            "INSERT INTO item SELECT n, n %% 1000, now(), n / 7.0, 'the text of item ' || n || repeat('-', 40)"
            " FROM generate_series(1, %s::int) AS n",
            (rows,),
        )
        app.execute("VACUUM (FREEZE, ANALYZE) item")
    subprocess.run(
        [sys.executable, "-m", "snapkit", "backup", "--quiet"],
        env={**os.environ, "DATABASE_URL": cluster.url("app")},
        stdout=subprocess.DEVNULL,
        check=True,
    )
    with psycopg.connect(cluster.url("postgres"), autocommit=True) as admin:
        admin.execute("CREATE DATABASE twin TEMPLATE app")


def damage(cluster: Cluster, statement: str) -> None:
    with psycopg.connect(cluster.url("app"), autocommit=True) as app:
        app.execute("DROP SCHEMA IF EXISTS snapkit_undo CASCADE")
        app.execute(statement)
        app.execute("CHECKPOINT")


def seconds(way: Callable[[], None]) -> float:
    began = time.monotonic()
    way()
    return time.monotonic() - began


def measure(ways: Ways, statement: str, rows: int) -> None:
    taken: dict[str, list[float]] = {"copy": [], "restore": [], "idle": []}
    for _ in range(ROUNDS):
        for name in taken:
            if name != "idle":
                damage(ways.cluster, statement)
            taken[name].append(seconds(getattr(ways, name)))
    middle = {name: statistics.median(each) for name, each in taken.items()}
    own = middle["restore"] - middle["idle"]
    print(
        f"{rows} rows after {statement.split()[0]}: COPY | COPY {middle['copy']:.2f} s, restore {own:.2f} s beside "
        f"start-up of {middle['idle']:.2f} s: {own / middle['copy']:.2f} x; "
        f"{resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024} MB",
        flush=True,
    )


def main(rows: int, version: str) -> None:
    cluster = Cluster(binaries_of(version))
    try:
        cluster.start(configuration="shared_buffers = 256MB\nmax_wal_size = 8GB\nautovacuum = off\n")
        prepare(cluster, rows)
        for statement in DAMAGES:
            measure(Ways(cluster), statement, rows)
    finally:
        cluster.remove()


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000, sys.argv[2] if len(sys.argv) > 2 else "18")
