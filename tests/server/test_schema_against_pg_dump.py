"""The comparison of definitions against pg_dump, which somebody else has written.

pg_dump prints all definitions. So two databases have the same ones if, and only if, it prints the same, in any order.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg import sql

from snapkit.core.comparison.schema.defined_objects import Definition
from snapkit.core.comparison.schema.schema_changes import schema_changes
from snapkit.postgres.comparison.definitions.read import definitions_in_snapshot
from snapkit.postgres.connection.conninfo import target_of
from snapkit.postgres.connection.server import Server
from snapkit.services.comparison.schema import compare_schemas
from snapkit.services.comparison.sides import Sides
from tests.cluster import Cluster
from tests.server.test_backup_online import ODDITIES
from tests.server.test_schema_comparison import BASE, CASES, base

__all__ = ["base"]

pytestmark = [pytest.mark.usefixtures("client_programs"), pytest.mark.long]

CLONE = "schema_clone"

STATEMENTS = [each.strip() for case in CASES for each in re.split(r";(?=\s)", case.statements)]

BACK = [
    "ALTER TABLE loose SET LOGGED",
    "ALTER TABLE tight RENAME TO loose",
    "ALTER TABLE loose DROP note",
    "ALTER TABLE loose ALTER id DROP DEFAULT",
    "ALTER TABLE loose ALTER region DROP NOT NULL",
    "CREATE VIEW happy AS SELECT id, email FROM shop.customer WHERE feels = 'happy'",
    "DROP SCHEMA fresh",
    "ALTER VIEW happy RESET (security_barrier)",
    "ALTER TABLE parts ATTACH PARTITION parts_a FOR VALUES IN ('a')",
    "CREATE OR REPLACE FUNCTION twice(n int) RETURNS int LANGUAGE sql AS 'SELECT n * 2'",
    "REVOKE INSERT ON shop.customer FROM schema_reader",
    "GRANT SELECT ON shop.customer TO schema_reader",
    "COMMENT ON TABLE shop.customer IS 'who buys'",
    "ALTER TYPE mood RENAME VALUE 'blue' TO 'sad'",
    'CREATE INDEX by_note ON shop."Order" (lower(note)) WHERE id > 10',
]
"""Some that undo others."""

_NOT_DUMPED = re.compile(r"pg_authid|snapkit_undo")


@pytest.fixture(scope="module")
def before(base: str) -> list[Definition]:
    return definitions(base, BASE)


@pytest.fixture(scope="module")
def dumped(cluster: Cluster, base: str) -> Counter[str]:
    return dump(cluster, BASE)


def definitions(url: str, name: str) -> list[Definition]:
    with Server(target_of(url)).enter(name, {}) as connection:
        return definitions_in_snapshot(connection)


@pytest.fixture
def admin(cluster: Cluster) -> Iterator[psycopg.Connection]:
    with psycopg.connect(cluster.url("postgres"), autocommit=True) as connection:
        yield connection
        connection.execute(sql.SQL("DROP DATABASE IF EXISTS {}").format(sql.Identifier(CLONE)))


RUNS = int(os.environ.get("SNAPKIT_DDL_RUNS", "10"))


@settings(
    max_examples=RUNS, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(statements=st.lists(st.sampled_from([*STATEMENTS, *BACK]), min_size=1, max_size=6))
def test_something_is_told_if_and_only_if_pg_dump_prints_something_else(
    cluster: Cluster,
    admin: psycopg.Connection,
    base: str,
    before: list[Definition],
    dumped: Counter[str],
    *,
    statements: list[str],
) -> None:
    statements = [each for each in statements if not _NOT_DUMPED.search(each)]
    name = sql.Identifier(CLONE)
    admin.execute(sql.SQL("DROP DATABASE IF EXISTS {}").format(name))
    admin.execute(sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(name, sql.Identifier(BASE)))
    with psycopg.connect(cluster.url(CLONE), autocommit=True) as connection:
        for statement in statements:
            with suppress(psycopg.Error):  # what an earlier one has made impossible
                connection.execute(statement.encode())
    after, printed = definitions(cluster.url(CLONE), CLONE), dump(cluster, CLONE)
    differs = dumped != printed
    server = Server(target_of(base))
    with server.enter(BASE, {}) as one, server.enter(CLONE, {}) as other, closing(Sides(one, other)) as sides:
        for related in (True, False):
            told = schema_changes(before, after, related=related)
            assert bool(told) == differs, (told, dumped - printed, printed - dumped)
            assert compare_schemas(sides, related=related) == told


def dump(cluster: Cluster, name: str) -> Counter[str]:
    """Return the statements of a dump. Columns count in any order, and so do privileges."""
    done = subprocess.run(
        [cluster.binaries / "pg_dump", "--schema-only", cluster.url(name)], capture_output=True, text=True, check=True
    )
    pieces = re.split(r"^--\n-- Name: .*\n--\n", done.stdout, flags=re.MULTILINE)[1:]
    pieces[-1] = pieces[-1].partition("\n--\n-- PostgreSQL database dump complete")[0]
    return Counter("\n".join(sorted(filter(None, map(_plain, piece.splitlines())))) for piece in pieces)


def _plain(line: str) -> str:
    return "" if line.startswith(("SET default_", "\\")) else line.strip().rstrip(",")


@pytest.mark.parametrize("of_users", [ODDITIES, []], ids=["odd ones", "everything"])
def test_a_restored_dump_has_the_same_definitions(
    cluster: Cluster, admin: psycopg.Connection, base: str, tmp_path: Path, of_users: list[str]
) -> None:
    original = BASE
    if of_users:
        original = "schema_odd"
        admin.execute("CREATE DATABASE schema_odd")
    try:
        with psycopg.connect(cluster.url(original), autocommit=True) as connection:
            for statement in of_users and ["CREATE TABLE item (id int PRIMARY KEY, name text)", *of_users]:
                connection.execute(statement.encode())
        admin.execute(sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(sql.Identifier(CLONE)))
        archive = tmp_path / "dump"
        for words in (
            ["pg_dump", "--format=custom", f"--file={archive}", cluster.url(original)],
            ["pg_restore", "--exit-on-error", f"--dbname={cluster.url(CLONE)}", str(archive)],
        ):
            subprocess.run([cluster.binaries / words[0], *words[1:]], capture_output=True, check=True)
        one, other = definitions(cluster.url(original), original), definitions(cluster.url(CLONE), CLONE)
        assert schema_changes(one, other, related=False) == ()
        assert schema_changes(other, one, related=False) == ()
    finally:
        if of_users:
            admin.execute("DROP DATABASE schema_odd")
