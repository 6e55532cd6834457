"""Servers with thousands of databases, made in seconds: rows in pg_database, and directories of links to files.

Nothing ever connects to these databases, and autovacuum is off, so that the files behind the links stay as they are.
PostgreSQL can list, measure and drop them like any others.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg

from tests.binaries import binaries_of
from tests.cluster import Cluster

SOURCE = "app"
_FIRST_OID = 1_000_000
_BEGUN = datetime(2026, 1, 10, tzinfo=UTC)
_ROWS = """
    INSERT INTO pg_database
    SELECT (jsonb_populate_record(template, jsonb_build_object('oid', wanted.oid, 'datname', wanted.name))).*
    FROM pg_database AS template, unnest(%s::oid[], %s::text[]) AS wanted (oid, name)
    WHERE template.datname = %s
"""


@contextmanager
def server(postgres: str) -> Iterator[tuple[Cluster, psycopg.Connection[Any]]]:
    """Start a server of its own, with a sealed clone of its source to make others of."""
    cluster = Cluster(binaries_of(postgres))
    try:
        cluster.start(configuration="autovacuum = off\n")
        with psycopg.connect(cluster.url("postgres"), autocommit=True) as admin:
            admin.execute(f"CREATE DATABASE {SOURCE}")
            admin.execute(f"CREATE DATABASE pattern TEMPLATE {SOURCE} ALLOW_CONNECTIONS false")
            admin.execute("SET allow_system_table_mods = on")
            yield cluster, admin
    finally:
        cluster.remove()


def add_backups(cluster: Cluster, admin: psycopg.Connection[Any], first: int, last: int, sources: int = 1) -> None:
    """Add the backups number ``first`` to ``last``, a minute apart; with several sources, each in its turn."""
    numbers = range(first, last + 1)
    oids = [_FIRST_OID + number for number in numbers]
    at = [_BEGUN + timedelta(minutes=number) for number in numbers]
    owners = [SOURCE if number % sources == 0 else f"{SOURCE}{number % sources}" for number in numbers]
    names = [f"{source}_backup_{made:%Y%m%d_%H%M%S}" for source, made in zip(owners, at, strict=True)]
    ((pattern,),) = admin.execute("SELECT oid FROM pg_database WHERE datname = 'pattern'").fetchall()
    admin.execute(_ROWS, (oids, names, "pattern"))
    base = cluster.data / "base"
    for oid in oids:
        _link_all(base / str(pattern), base / str(oid))
    with admin.transaction():
        for name, source, made in zip(names, owners, at, strict=True):
            document = {"snapkit": 1, "kind": "backup", "source": source, "created_at": f"{made:%Y-%m-%dT%H:%M:%SZ}"}
            comment = json.dumps(document | {"label": "before a deploy"}, separators=(",", ":"))
            admin.execute(psycopg.sql.SQL("COMMENT ON DATABASE {} IS {}").format(psycopg.sql.Identifier(name), comment))
    admin.execute("VACUUM ANALYZE pg_database, pg_shdescription")
    admin.execute("CHECKPOINT")


def _link_all(pattern: Path, directory: Path) -> None:
    directory.mkdir(mode=0o700)
    owner = pattern.stat()
    os.chown(directory, owner.st_uid, owner.st_gid)
    for name in os.listdir(pattern):  # noqa: PTH208 - a thousand times three hundred Paths take long
        os.link(f"{pattern}/{name}", f"{directory}/{name}")
