"""A deploy that goes wrong, guarded: Alembic and Django for real, on 300 MB that clients write to all the while."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tests.acceptance.conftest import Clients, checksum_of
from tests.migrating import ALEMBIC, DJANGO, write
from tests.sandbox import Ran, Sandbox, run_installed, wait_until

pytestmark = pytest.mark.acceptance

TOOLS = {
    "alembic": (ALEMBIC, "-m alembic upgrade a1", "-m alembic upgrade head", ["a1"], "alembic_version"),
    "django": (DJANGO, "manage.py migrate shop 0001 --fake-initial", "manage.py migrate", None, "django_migrations"),
}


@pytest.mark.parametrize("tool", TOOLS)
def test_a_deploy_that_goes_wrong(sandbox: Sandbox, bank: Clients, tmp_path: Path, tool: str) -> None:
    files, first, broken, versions, table = TOOLS[tool]
    write(tmp_path, files | {".env": f"DATABASE_URL={sandbox.url}\n", ".gitignore": "__pycache__\n.env\n"})
    for words in (("init", "-q", "-b", "main"), ("add", "."), ("commit", "-q", "-m", "The code that works")):
        git(tmp_path, *words)
    good = git(tmp_path, "rev-parse", "--short", "HEAD")
    wait_until(lambda: bank.transactions > 200)
    tell(guard(sandbox, tmp_path, first), 0)
    migrated = columns(sandbox)
    written = bank.transactions
    wait_until(lambda: bank.transactions > written + 200)
    git(tmp_path, "commit", "-q", "--allow-empty", "-m", "The code that does not")
    asked = run_installed("rollback", "--latest", "--dry-run", cwd=tmp_path)
    tell(asked, 0)
    assert "rows" in asked.out
    assert good in asked.out

    # The command clones the backup, besides, so that its content can be compared with: clients write until then, and
    # nobody else knows what it is. From there on they only read, and come back whenever they are disconnected.
    reference, cloned = f"{sandbox.prefix}_reference", tmp_path / "cloned"
    by_hand = f"{sandbox.cluster.binaries / 'createdb'} --maintenance-db '{sandbox.cluster.url('postgres')}'"
    before = f'{by_hand} --template "$SNAPKIT_BACKUP" {reference} && touch {cloned} && '

    def only_read_then() -> None:
        wait_until(cloned.exists)
        bank.reading.set()

    watcher = threading.Thread(target=only_read_then)
    watcher.start()
    done = guard(sandbox, tmp_path, broken, before)
    watcher.join()
    tell(done, 20)
    assert checksum_of(sandbox, sandbox.name) == checksum_of(sandbox, reference)
    assert columns(sandbox) == migrated
    with sandbox.connect() as connection:
        count = connection.execute("SELECT count(*) FROM item").fetchone()
        state = connection.execute(f"SELECT * FROM {table}").fetchall()
    assert count == (100,)
    assert versions is None or [row[0] for row in state] == versions

    listed = run_installed("list", "--sizes", cwd=tmp_path)
    tell(listed, 0)
    assert good in listed.out
    (backup,) = (entry.name for entry in sandbox.entries() if entry.kind == "backup")
    shown = run_installed("show", backup, cwd=tmp_path)
    tell(shown, 0)

    with sandbox.connect() as connection:
        connection.execute("DELETE FROM item WHERE id = 42")
    found = run_installed("shell", backup, "--", "psql", "-Atc", "SELECT name FROM item WHERE id = 42", cwd=tmp_path)
    tell(found, 0)
    assert found.out == "item 42\n"


def guard(sandbox: Sandbox, directory: Path, command: str, before: str = "") -> Ran:
    line = f"{before}{sys.executable} {command}"
    return run_installed(
        "guard",
        "--health-command",
        "true",
        "--",
        "sh",
        "-c",
        line,
        cwd=directory,
        PYTHONPATH=str(directory),
        DATABASE_URL=sandbox.url,
    )


def git(directory: Path, *words: str) -> str:
    own = ["-c", "user.name=Alice", "-c", "user.email=alice@example.org"]
    return subprocess.check_output(["git", *own, *words], cwd=directory, text=True).strip()


def columns(sandbox: Sandbox) -> list[tuple[str, ...]]:
    with sandbox.connect() as connection:
        return connection.execute(
            "SELECT column_name FROM information_schema.columns WHERE table_name = 'item'"
            " UNION ALL SELECT indexname FROM pg_indexes WHERE tablename = 'item' ORDER BY 1"
        ).fetchall()


def tell(ran: Ran, code: int) -> None:
    """Show what a user would have seen (``pytest -s``), and check the exit code."""
    sys.stdout.write(f"{ran.out}{ran.err}\n")
    assert ran.code == code, ran
