"""The four commands of the README, verbatim, on 300 MB that clients write to and come back to at once."""

from __future__ import annotations

from pathlib import Path

import pytest
from psycopg import sql

from tests.acceptance.conftest import Clients, checksum_of
from tests.sandbox import Sandbox, run_installed, wait_until

pytestmark = pytest.mark.acceptance


def test_the_four_commands_under_load(sandbox: Sandbox, bank: Clients, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text(f"DATABASE_URL={sandbox.url}\n")
    reference = f"{sandbox.prefix}_reference"
    for _ in range(3):
        bank.reading.clear()
        before = bank.transactions
        wait_until(lambda before=before: bank.transactions > before + 200)  # type: ignore[misc]
        made = _run("backup", tmp_path)
        (backup,) = [line.split()[-1] for line in made.splitlines() if "Backup database" in line]
        template = sql.SQL("CREATE DATABASE {} TEMPLATE {}")
        sandbox.execute(template.format(sql.Identifier(reference), sql.Identifier(backup)))
        expected = checksum_of(sandbox, reference)
        sandbox.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(reference)))

        before = bank.transactions
        wait_until(lambda before=before: bank.transactions > before + 200)  # type: ignore[misc]
        assert checksum_of(sandbox, sandbox.name) != expected
        assert backup in _run("list --sizes", tmp_path)
        bank.reading.set()  # they go on, and come back at once; but what they find is what was brought back
        _run("rollback --latest", tmp_path)
        assert checksum_of(sandbox, sandbox.name) == expected
        _run("prune --keep 2", tmp_path)


def _run(words: str, directory: Path) -> str:
    ran = run_installed(*words.split(), cwd=directory)
    assert ran.code == 0, ran.err
    return ran.out
