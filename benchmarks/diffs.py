"""What diff takes, beside what others take for the same: python -m benchmarks.diffs [ROWS [VERSION [DIRECTORY]]]

On a server of its own, under DIRECTORY, with a table of ROWS rows (20 million make some 2 GB) and a backup of it. Each
way is gone three times, in turns; the median counts. Of snapkit the time is taken off that the same command takes for
an empty table: to start, to open the entry, to seal it. `count(*)` runs in one process, over both databases. From 17 on
the server writes WAL summaries, unless SNAPKIT_NO_SUMMARIES is set. reladiff is used where RELADIFF names its program.
With --quick it is snapkit and `count(*)` alone.
"""

from __future__ import annotations

import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
from psycopg import sql

from tests.binaries import binaries_of
from tests.cluster import Cluster

ROUNDS = 3
SHARE = 200
"""One row in so many is changed: 0.5 %."""

CHANGES = {
    "nothing": None,
    "0.5 % together": "UPDATE item SET a = a + 1 WHERE id <= {rows} / {share}",
    "0.5 % in all blocks": "UPDATE item SET a = a + 1 WHERE id % {share} = 0",
}
_JOIN = """
SELECT count(*) FROM item AS one FULL JOIN other.item AS other USING (id)
WHERE (one.a, one.b, one.c) IS DISTINCT FROM (other.a, other.b, other.c)
"""


class Ways:
    """All are gone on the databases app and twin; snapkit on app and its newest entry, which is as twin is."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster

    def count(self) -> None:
        for database in ("app", "twin"):
            with psycopg.connect(self.cluster.url(database)) as connection:
                connection.execute("SET max_parallel_workers_per_gather TO 0")
                connection.execute("SET enable_indexonlyscan TO on")
                connection.execute("SELECT count(*) FROM item")

    def diff(self) -> None:
        self._snapkit("item")

    def idle(self) -> None:
        self._snapkit("nothing")

    def _snapkit(self, table: str) -> None:
        document = subprocess.check_output(
            [sys.executable, "-m", "snapkit", "diff", "--data-only", "--json", "--table", f"public.{table}"],
            env={**os.environ, "DATABASE_URL": self.cluster.url("app")},
        )
        self.told = json.loads(document)["data"]["tables"]

    def join(self) -> None:
        with psycopg.connect(self.cluster.url("app")) as connection:
            connection.execute("SET max_parallel_workers_per_gather TO 0")
            connection.execute(_JOIN)

    def reladiff(self) -> None:
        urls = [f"{self.cluster.url(each, tcp=True)}" for each in ("app", "twin")]
        words = [os.environ["RELADIFF"], urls[0], "item", urls[1], "item", "-k", "id", "-c", "%", "-s"]
        subprocess.run(words, stdout=subprocess.DEVNULL, check=True)


def prepare(cluster: Cluster, rows: int) -> None:
    with psycopg.connect(cluster.url("postgres"), autocommit=True) as admin:
        admin.execute("CREATE DATABASE app")
    with psycopg.connect(cluster.url("app"), autocommit=True) as app:
        app.execute("CREATE TABLE nothing (id int PRIMARY KEY)")
        app.execute("CREATE TABLE item (id bigint PRIMARY KEY, a int, b text, c timestamptz)")
        app.execute(
            "INSERT INTO item SELECT n, n %% 1000, 'the text of item ' || n || repeat('-', 40), now()"
            " FROM generate_series(1, %s::int) AS n",
            (rows,),
        )
        app.execute("VACUUM (FREEZE, ANALYZE) item")


def renew(cluster: Cluster) -> None:
    """Make a new backup, and the twin that is open to the others."""
    with psycopg.connect(cluster.url("postgres"), autocommit=True) as admin:
        admin.execute("CHECKPOINT")
        admin.execute("DROP DATABASE IF EXISTS twin WITH (FORCE)")
    for words in (("prune", "--keep", "1", "--yes"), ("backup",)):
        subprocess.run(
            [sys.executable, "-m", "snapkit", *words, "--quiet"],
            env={**os.environ, "DATABASE_URL": cluster.url("app")},
            stdout=subprocess.DEVNULL,
            check=words[0] == "backup",
        )
    with psycopg.connect(cluster.url("postgres"), autocommit=True) as admin:
        by = " STRATEGY file_copy" if admin.info.server_version >= 150000 else ""
        admin.execute(sql.SQL("CREATE DATABASE twin TEMPLATE app" + by))
    if "--quick" not in sys.argv:
        link(cluster)


def link(cluster: Cluster) -> None:
    """Let app read the twin through postgres_fdw."""
    with psycopg.connect(cluster.url("app"), autocommit=True) as app:
        app.execute("CREATE EXTENSION IF NOT EXISTS postgres_fdw")
        app.execute("DROP SERVER IF EXISTS twin CASCADE")
        app.execute("DROP SCHEMA IF EXISTS other CASCADE")
        app.execute("CREATE SCHEMA other")
        options = f"host '{cluster.root}', port '{cluster.port}', dbname 'twin', fetch_size '10000'"
        app.execute(sql.SQL(f"CREATE SERVER twin FOREIGN DATA WRAPPER postgres_fdw OPTIONS ({options})"))
        app.execute("CREATE USER MAPPING FOR CURRENT_USER SERVER twin OPTIONS (user 'postgres')")
        app.execute("IMPORT FOREIGN SCHEMA public LIMIT TO (item) FROM SERVER twin INTO other")


def seconds(way: Callable[[], None]) -> float:
    began = time.monotonic()
    way()
    return time.monotonic() - began


def measure(ways: Ways, what: str) -> None:
    gone: dict[str, Callable[[], None]] = {"count": ways.count, "idle": ways.idle, "diff": ways.diff}
    if "--quick" not in sys.argv:
        gone["join"] = ways.join
        if os.environ.get("RELADIFF"):
            gone["reladiff"] = ways.reladiff
    taken: dict[str, list[float]] = {name: [] for name in gone}
    for _ in range(ROUNDS):
        for name, way in gone.items():
            taken[name].append(seconds(way))
    middle = {name: statistics.median(each) for name, each in taken.items()}
    own = middle["diff"] - middle["idle"]
    others = ", ".join(f"{name} {middle[name]:.2f} s ({middle[name] / own:.0f} x)" for name in middle if name in OTHERS)
    ways.diff()
    (told,) = ways.told or [{"method": "", "rows_updated": 0}]
    print(
        f"{what}: count(*) {middle['count']:.2f} s, diff {own:.2f} s beside start-up of {middle['idle']:.2f} s:"
        f" {own / middle['count']:.2f} x; {others}; {told['method']}, {told['rows_updated']} updated;"
        f" {resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024} MB",
        flush=True,
    )


OTHERS = ("join", "reladiff")


@contextmanager
def server(version: str, directory: Path | None) -> Iterator[Cluster]:
    cluster = Cluster(binaries_of(version), directory)
    summaries = int(version) >= 17 and not os.environ.get("SNAPKIT_NO_SUMMARIES")
    try:
        cluster.start(
            configuration="shared_buffers = 256MB\nmax_wal_size = 8GB\nautovacuum = off\n"
            + ("summarize_wal = on\n" if summaries else "")
        )
        yield cluster
    finally:
        cluster.remove()


def main(rows: int, version: str, directory: Path | None) -> None:
    with server(version, directory) as cluster:
        prepare(cluster, rows)
        for what, change in CHANGES.items():
            renew(cluster)
            if change is not None:
                with psycopg.connect(cluster.url("app"), autocommit=True) as app:
                    app.execute(sql.SQL(change.format(rows=rows, share=SHARE)))
            measure(Ways(cluster), f"{version}, {rows} rows, {what}")


if __name__ == "__main__":
    words = [word for word in sys.argv[1:] if not word.startswith("--")]
    main(
        int(words[0]) if words else 1_000_000,
        words[1] if len(words) > 1 else "18",
        Path(words[2]) if len(words) > 2 else None,
    )
