"""What a clone takes for each file, however small, and for each megabyte: ``python -m benchmarks.small_files``.

With fsync on, as users have it: that is most of what a small file takes. The constants of
``snapkit.core.copying.estimates`` go by this.
"""

from __future__ import annotations

import argparse
import time

import psycopg

from benchmarks.storage import FILE_SYSTEMS, OWN, NoDiskError, storage_of
from tests.binaries import binaries_of
from tests.cluster import Cluster

_TABLES = """
    DO $$ BEGIN
      FOR n IN 1..{} LOOP
        EXECUTE format('CREATE TABLE t%s (id int PRIMARY KEY, note text)', n);
        EXECUTE format('INSERT INTO t%s VALUES (1, ''x'')', n);
        IF n % 100 = 0 THEN COMMIT; END IF;
      END LOOP;
    END $$
"""
_ROWS = "CREATE TABLE large AS SELECT n, repeat('x', 200) AS note FROM generate_series(1, 4000 * {}) n"
_CONFIGURATION = "fsync = on\nautovacuum = off\nmax_wal_size = '8GB'\n"


def methods_of(postgres: str) -> tuple[tuple[str, str], ...]:
    """Return what is set, and what CREATE DATABASE is told, for each way to copy files."""
    if int(postgres) < 15:
        return (("SELECT 1", ""),)
    if int(postgres) < 18:
        return (("SELECT 1", "STRATEGY file_copy"),)
    return tuple((f"SET file_copy_method TO {word}", "STRATEGY file_copy") for word in ("copy", "clone"))


def measure(cluster: Cluster, postgres: str, tables: int, megabytes: int, runs: int) -> None:
    """Print how long a clone of a database takes that has so many tables, and one of so many megabytes."""
    with psycopg.connect(cluster.url("postgres"), autocommit=True) as admin:
        admin.execute("DROP DATABASE IF EXISTS source")
        admin.execute("CREATE DATABASE source")
        with psycopg.connect(cluster.url("source"), autocommit=True) as inside:
            if tables:
                inside.execute(_TABLES.replace("{}", str(tables)).encode())
            if megabytes:
                inside.execute(_ROWS.replace("{}", str(megabytes)).encode())
        ((oid, size),) = admin.execute("SELECT oid, pg_database_size(oid) FROM pg_database WHERE datname = 'source'")
        files = sum(1 for _ in (cluster.data / "base" / str(oid)).iterdir())
        for setting, told in methods_of(postgres):
            admin.execute(setting.encode())
            seconds = []
            for _ in range(runs):
                admin.execute("CHECKPOINT")
                began = time.monotonic()
                admin.execute(f"CREATE DATABASE copy TEMPLATE source {told}".encode())
                seconds.append(time.monotonic() - began)
                admin.execute("DROP DATABASE copy")
            each = ", ".join(f"{second:.2f} s" for second in seconds)
            per_file, per_megabyte = 1e3 * min(seconds) / files, 1e3 * min(seconds) / (size / (1 << 20))
            print(
                f"{files:6} files, {size >> 20:5} MB, {setting.split()[-1]:5}: {each} "
                f"({per_file:.2f} ms a file, {per_megabyte:.2f} ms a megabyte)",
                flush=True,
            )


def main() -> None:
    """Measure on one file system."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--postgres", default="18", help="which major version (default: 18)")
    parser.add_argument("--storage", choices=FILE_SYSTEMS, default=OWN, help="where the server's data lies")
    parser.add_argument("--tables", type=int, default=3000, help="how many small tables (default: 3000)")
    parser.add_argument("--megabytes", type=int, default=1000, help="how large a large table (default: 1000)")
    parser.add_argument("--runs", type=int, default=3, help="how often each is cloned (default: 3)")
    chosen = parser.parse_args()
    try:
        with storage_of(chosen.storage) as storage:
            cluster = Cluster(binaries_of(chosen.postgres), storage.directory)
            try:
                cluster.start(configuration=_CONFIGURATION)
                print(f"PostgreSQL {cluster.version} on {storage.name}", flush=True)
                for tables, megabytes in ((0, 0), (chosen.tables, 0), (0, chosen.megabytes)):
                    measure(cluster, chosen.postgres, tables, megabytes, chosen.runs)
            finally:
                cluster.remove()
    except NoDiskError as reason:
        raise SystemExit(str(reason)) from None


if __name__ == "__main__":
    main()
