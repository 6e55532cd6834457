"""How a backup fares with thousands of roles that have a grant and a setting: ``python -m benchmarks.role_settings``.

Given is the time of the last transaction of a backup, the one that gives the clone its properties. Sizes and kinds of
role take turns, since a machine is not equally fast all the time.

The owner may set what the roles have on PostgreSQL 14 and 15, where CREATEROLE is enough. From 16 on it may not, and a
backup by it notes all of them as not given: to let it, it has to be an administrator of each role, and then PostgreSQL
itself, for each ALTER ROLE, goes through all the roles that it administers (3,000 statements: 6.3 s in psql).
"""

from __future__ import annotations

import argparse
import statistics
import sys
from datetime import timedelta
from itertools import product

import psycopg
from psycopg import sql

from snapkit.postgres.connection.conninfo import target_of
from snapkit.postgres.connection.server import Server
from snapkit.services.backup import BackupRequest, back_up
from tests.binaries import binaries_of
from tests.cluster import SUPERUSER, Cluster

OWNER = "app"


def prepare(cluster: Cluster, sizes: list[int]) -> None:
    """Make a database for each size, with as many roles that may connect to it and have a setting in it."""
    with psycopg.connect(cluster.url("postgres"), autocommit=True) as admin:
        admin.execute(f"CREATE ROLE {OWNER} LOGIN CREATEDB CREATEROLE")
        for size in sizes:
            admin.execute(f"CREATE DATABASE app{size} OWNER {OWNER}")
        with admin.transaction():
            for number in range(max(sizes)):
                admin.execute(sql.SQL("CREATE ROLE {}").format(sql.Identifier(f"r{number:05}")))
        for size in sizes:
            database = sql.Identifier(f"app{size}")
            roles = sql.SQL(", ").join(sql.Identifier(f"r{number:05}") for number in range(size))
            with admin.transaction():
                if size:
                    admin.execute(sql.SQL("GRANT CONNECT ON DATABASE {} TO {}").format(database, roles))
                for number in range(size):
                    role = sql.Identifier(f"r{number:05}")
                    set_it = sql.SQL("ALTER ROLE {} IN DATABASE {} SET work_mem TO '1MB'")
                    admin.execute(set_it.format(role, database))
        admin.execute("VACUUM ANALYZE")


def seconds_of_backup(cluster: Cluster, size: int, user: str) -> float:
    """Make a backup and drop it; return how long its last transaction took."""
    server = Server(target_of(cluster.url(f"app{size}", user=user)))
    receipt = back_up(server, BackupRequest(), timedelta(seconds=10), lambda progress: None)
    with psycopg.connect(cluster.url("postgres"), autocommit=True) as admin:
        admin.execute(sql.SQL("DROP DATABASE {}").format(sql.Identifier(receipt.backup.name)))
    return sum(phase.duration.total_seconds() for phase in receipt.phases if phase.name == "finish")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.role_settings", description=__doc__)
    parser.add_argument("--postgres", default="18", help="a version, as for the tests")
    parser.add_argument("--sizes", type=int, nargs="+", default=[0, 1500, 3000], metavar="N", help="of roles")
    parser.add_argument("--runs", type=int, default=5, help="of each; the median is given")
    options = parser.parse_args()
    cluster = Cluster(binaries_of(options.postgres))
    try:
        cluster.start()
        prepare(cluster, options.sizes)
        times: dict[tuple[str, int], list[float]] = {}
        for _, user, size in product(range(options.runs), (SUPERUSER, OWNER), options.sizes):
            times.setdefault((user, size), []).append(seconds_of_backup(cluster, size, user))
    finally:
        cluster.remove()
    print("who        roles  median s")
    for (user, size), measured in times.items():
        print(f"{user:9}  {size:5}  {statistics.median(measured):8.2f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
