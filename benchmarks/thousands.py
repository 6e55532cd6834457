"""How commands fare on a server with thousands of databases: ``python -m benchmarks.thousands``. It takes minutes.

Of each command the time of the whole process is given, and its largest memory; and, beside it, what the same command
takes on a server with hardly any database: that is start-up. The two, and the server's own measuring of all databases,
take turns, since a machine is not equally fast all the time.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import Any

import psycopg

from benchmarks import many
from tests.cluster import Cluster

MEASURE_ALL = "SELECT sum(pg_database_size(oid)) FROM pg_database"
OLDEST = "SELECT datname FROM pg_database WHERE datname LIKE 'app\\_backup\\_%%' ORDER BY datname LIMIT %s"
Words = tuple[str, ...]
COMMANDS: tuple[Words, ...] = (("list",), ("list", "--json"), ("list", "--sizes"), ("list", "--sizes", "--all"))


@dataclass(frozen=True)
class Cost:
    """Of a whole process: seconds by the clock, seconds of CPU, megabytes."""

    wall: float
    cpu: float
    memory: float


def cost_of(words: Words, url: str) -> Cost:
    """Run snapkit, and read what it took from the operating system."""
    began = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "snapkit", *words],
        env={"DATABASE_URL": url, "PATH": os.environ["PATH"]},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"snapkit {' '.join(words)} ended with {process.returncode}")
    return Cost(time.perf_counter() - began, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024 / 1e6)


def median_of(costs: list[Cost]) -> Cost:
    """Return the median of each figure."""
    return Cost(
        *(statistics.median(figures) for figures in zip(*((c.wall, c.cpu, c.memory) for c in costs), strict=True))
    )


def seconds_of(statement: str, url: str) -> float:
    """Return the time of a statement in a session of its own, as psycopg sees it; connecting is not counted."""
    with psycopg.connect(url, autocommit=True) as connection:
        began = time.perf_counter()
        connection.execute(statement).fetchall()
        return time.perf_counter() - began


def list_them(few: str, url: str, databases: int, runs: int) -> None:
    """Print what listing takes on the server at ``url``, and on one with few databases."""
    measured: list[float] = []
    large: dict[Words, list[Cost]] = {words: [] for words in COMMANDS}
    small: dict[Words, list[Cost]] = {words: [] for words in COMMANDS}
    for turn in range(runs + 1):
        for words in COMMANDS:
            costs = cost_of(words, few), cost_of(words, url), seconds_of(MEASURE_ALL, url)
            if turn:  # the first one warms up
                small[words].append(costs[0])
                large[words].append(costs[1])
                measured.append(costs[2])
    print(f"{databases:9}  {'pg_database_size, in SQL':25}  {statistics.median(measured):6.2f}")
    for words in COMMANDS:
        cost, start = median_of(large[words]), median_of(small[words])
        figures = f"{cost.wall:6.2f}  {cost.wall - start.wall:13.2f}  {cost.cpu:5.2f}  {cost.memory:9.0f}"
        print(f"{'':9}  {' '.join(words):25}  {figures}")


def prune_them(cluster: Cluster, admin: psycopg.Connection[Any], made: int, drops: int, sources: int) -> None:
    """Print what dropping takes: of one source, in SQL, and of many sources."""
    url = cluster.url(many.SOURCE)
    cost = cost_of(("prune", "--keep", str(made - drops)), url)
    _print_drops("prune", cost.wall, drops, f", {cost.memory:.0f} MB")
    names = [name for (name,) in admin.execute(OLDEST, (drops,)).fetchall()]
    began = time.perf_counter()
    for name in names:
        admin.execute(psycopg.sql.SQL("DROP DATABASE {}").format(psycopg.sql.Identifier(name)))
    _print_drops("DROP DATABASE, in SQL", time.perf_counter() - began, drops)
    many.add_backups(cluster, admin, made + 1, made + 2 * sources, sources)
    ((before,),) = admin.execute("SELECT count(*) FROM pg_database").fetchall()
    cost = cost_of(("prune", "--all", "--keep", "1"), url)
    ((after,),) = admin.execute("SELECT count(*) FROM pg_database").fetchall()
    _print_drops(f"prune --all, {sources} sources", cost.wall, before - after, f", {cost.memory:.0f} MB")


def _print_drops(what: str, seconds: float, drops: int, more: str = "") -> None:
    print(f"{what:25}  {drops:5} drops in {seconds:6.2f} s, {seconds / drops * 1000:.1f} ms each{more}")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.thousands", description=__doc__)
    parser.add_argument("--postgres", default="18", help="a version, as for the tests")
    parser.add_argument("--counts", type=int, nargs="+", default=[100, 1000, 3000], metavar="N", help="of databases")
    parser.add_argument("--drops", type=int, default=200, metavar="N", help="how many prune drops")
    parser.add_argument("--sources", type=int, default=100, metavar="N", help="of how many sources, in prune --all")
    parser.add_argument("--runs", type=int, default=5, help="of each command; the median is given")
    options = parser.parse_args()
    with many.server(options.postgres) as (small, _), many.server(options.postgres) as (cluster, admin):
        made = 0
        print("databases  what                       wall s  over start-up  CPU s  memory MB")
        for count in options.counts:
            many.add_backups(cluster, admin, made + 1, count)
            made = count
            list_them(small.url(many.SOURCE), cluster.url(many.SOURCE), count, options.runs)
        prune_them(cluster, admin, made, options.drops, options.sources)
    return 0


if __name__ == "__main__":
    sys.exit(main())
