"""What the version tables of migration tools say."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snapkit.core.deploy.deploy import MigrationState
from snapkit.core.deploy.migration_tools import NEIGHBOURS, TABLE_NAMES, VERSION_TABLES, Looks, Row, recognise_table

CASES: list[tuple[str, str, list[str], list[list[str | None]], str | None, int, bool]] = [
    ("Alembic", "alembic_version", ["version_num"], [["b2"], ["a1"]], "a1, b2", 2, False),
    ("Alembic", "alembic_version", ["version_num"], [], None, 0, False),
    (
        "Django",
        "django_migrations",
        ["id", "app", "name", "applied"],
        [["10", "shop", "0002_x", "t"], ["9", "auth", "0012_y", "t"]],
        "shop.0002_x",
        2,
        False,
    ),
    ("dbmate", "schema_migrations", ["version"], [["20260101000000"], ["20251231000000"]], "20260101000000", 2, False),
    ("Sequelize", "SequelizeMeta", ["name"], [["2026-b.js"], ["2025-a.js"]], "2026-b.js", 2, False),
    (
        "node-pg-migrate",
        "pgmigrations",
        ["id", "name", "run_on"],
        [["10", "b", "t"], ["9", "c", "t"]],
        "b",
        2,
        False,
    ),
    ("TypeORM", "migrations", ["id", "timestamp", "name"], [["1", "17", "B17"], ["2", "9", "A9"]], "B17", 2, False),
    ("Rails", "schema_migrations", ["version"], [["20260101000000"], ["20251231000000"]], "20260101000000", 2, False),
    ("golang-migrate", "schema_migrations", ["version", "dirty"], [["7", "t"]], "7", 1, True),
    ("Ecto", "schema_migrations", ["version", "inserted_at"], [["7", "x"], ["10", "x"]], "10", 2, False),
    (
        "Flyway",
        "flyway_schema_history",
        ["installed_rank", "version", "success"],
        [["1", "1", "t"], ["3", "2.1", "f"], ["2", None, "t"]],
        "2.1",
        2,
        True,
    ),
    (
        "Prisma",
        "_prisma_migrations",
        ["migration_name", "finished_at", "rolled_back_at"],
        [["2026_b", None, None], ["2026_c", None, "x"], ["2026_a", "x", None]],
        "2026_b",
        2,
        True,
    ),
    (
        "Drizzle",
        "__drizzle_migrations",
        ["id", "hash", "created_at"],
        [["1", "h", "1700"], ["2", "i", "900"]],
        "1700",
        2,
        False,
    ),
    ("Knex", "knex_migrations", ["id", "name", "batch"], [["1", "a.js", "1"], ["2", "b.js", "1"]], "b.js", 2, False),
    ("sqlx", "_sqlx_migrations", ["version", "success"], [["1", "t"], ["2", "f"]], "2", 2, True),
    (
        "goose",
        "goose_db_version",
        ["id", "version_id", "is_applied"],
        [["1", "0", "t"], ["2", "1", "t"], ["3", "2", "t"], ["4", "2", "f"]],
        "1",
        1,
        False,
    ),
    ("goose", "goose_db_version", ["id", "version_id", "is_applied"], [["1", "0", "t"]], None, 0, False),
]


@pytest.mark.parametrize(("tool", "name", "columns", "rows", "version", "applied", "failed"), CASES)
def test_what_a_table_says(
    tool: str,
    name: str,
    columns: list[str],
    rows: list[list[str | None]],
    version: str | None,
    applied: int,
    failed: bool,
) -> None:
    looks = Looks(columns, bounded=columns if tool == "dbmate" else ())
    found = recognise_table(name, looks)
    assert found is not None
    read: list[Row] = [dict(zip(columns, row, strict=True)) for row in rows]
    assert found.state("public", read) == MigrationState(tool, "public", name, version, applied, failed)


def test_every_tool_is_tried() -> None:
    assert {case[0] for case in CASES} == {each.tool for each in VERSION_TABLES}


@pytest.mark.parametrize(
    ("name", "columns"),
    [
        ("schema_migrations", ["id"]),
        ("alembic_version", []),
        ("users", ["version"]),
        ("knex_migrations", ["id", "name"]),
    ],
)
def test_a_table_of_that_name_that_is_nobody_s(name: str, columns: list[str]) -> None:
    assert recognise_table(name, Looks(columns)) is None


@pytest.mark.parametrize(
    ("bounded", "beside", "tool"),
    [
        ([], [], "Rails"),
        (["version"], [], "dbmate"),
        (["version"], ["ar_internal_metadata"], "Rails"),
        ([], ["ar_internal_metadata"], "Rails"),
    ],
)
def test_dbmate_s_table_is_told_from_that_of_rails(bounded: list[str], beside: list[str], tool: str) -> None:
    found = recognise_table("schema_migrations", Looks(["version"], bounded, beside))
    assert found is not None
    assert found.tool == tool
    assert set(beside) <= NEIGHBOURS


@given(
    st.lists(st.lists(st.none() | st.text(max_size=30) | st.integers().map(str), min_size=4, max_size=4), max_size=8),
)
def test_no_contents_make_it_fail(rows: list[list[str | None]]) -> None:
    for each in VERSION_TABLES:
        state = each.state("s", [dict(zip(each.columns, row, strict=False)) for row in rows])
        assert state.applied is not None
        assert state.version is None or len(state.version) <= 200
    assert {each.name for each in VERSION_TABLES} == TABLE_NAMES
