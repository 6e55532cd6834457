"""A guarded deploy with the migration tools that teams use, each run for real."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.migrating import ALEMBIC, DJANGO, write
from tests.sandbox import Ran, Sandbox, run_snapkit

pytestmark = pytest.mark.any_version


def columns_and_indexes(sandbox: Sandbox) -> set[str]:
    with sandbox.connect() as connection:
        found = connection.execute(
            "SELECT column_name FROM information_schema.columns WHERE table_name = 'item'"
            " UNION ALL SELECT indexname FROM pg_indexes WHERE tablename = 'item'"
        ).fetchall()
    return {name for (name,) in found}


def guard(sandbox: Sandbox, directory: Path, *command: str) -> Ran:
    return run_snapkit(
        "guard", "--", sys.executable, *command, url=sandbox.url, cwd=directory, PYTHONPATH=str(directory)
    )


@pytest.mark.promise("a migration by a tool is undone")
def test_alembic(sandbox: Sandbox, tmp_path: Path) -> None:
    write(tmp_path, ALEMBIC)
    done = guard(sandbox, tmp_path, "-m", "alembic", "upgrade", "a1")
    assert done.code == 0, done
    before = columns_and_indexes(sandbox)
    assert "price" in before
    done = guard(sandbox, tmp_path, "-m", "alembic", "upgrade", "head")
    assert done.code == 20, done
    assert "division by zero" in done.err
    assert columns_and_indexes(sandbox) == before
    assert len(sandbox.items()) == 100
    with sandbox.connect() as connection:
        assert connection.execute("SELECT version_num FROM alembic_version").fetchall() == [("a1",)]


def test_django(sandbox: Sandbox, tmp_path: Path) -> None:
    write(tmp_path, DJANGO)
    done = guard(sandbox, tmp_path, "manage.py", "migrate", "shop", "0001", "--fake-initial")
    assert done.code == 0, done
    before = columns_and_indexes(sandbox)
    done = guard(sandbox, tmp_path, "manage.py", "migrate")
    assert done.code == 20, done
    assert "half-way" in done.err
    assert columns_and_indexes(sandbox) == before
    assert len(sandbox.items()) == 100
    with sandbox.connect() as connection:
        applied = connection.execute("SELECT name FROM django_migrations WHERE app = 'shop'").fetchall()
    assert applied == [("0001_initial",)]
