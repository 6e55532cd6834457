"""What docs/architecture.md says of the layers is so."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent


def test_the_layers_are_kept() -> None:
    done = subprocess.run(
        [sys.executable, "-c", "from importlinter.cli import lint_imports_command; lint_imports_command()"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_nothing_but_prune_delete_and_clones_under_construction_is_ever_dropped() -> None:
    assert _users_of("DropDatabase(") == {"core/plans/drop.py"}
    assert _users_of("statements_to_drop(") == {
        "core/plans/drop.py",
        "services/entries/drop.py",
        "services/copying/clone.py",
    }


def _users_of(text: str) -> set[str]:
    return {
        path.relative_to(ROOT / "snapkit").as_posix()
        for path in (ROOT / "snapkit").rglob("*.py")
        if text in path.read_text(encoding="utf-8")
    }
