"""Output that cannot be written is told for what it is; what the run did is neither undone nor denied."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.sandbox import Sandbox, command_environment

pytestmark = pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full here")


def _into_a_full_disk(sandbox: Sandbox, *words: str, **environment: str) -> tuple[int, str]:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "snapkit", *words],
            env=command_environment(sandbox.url, **environment),
            stdin=subprocess.DEVNULL,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=120,
        )
    return done.returncode, done.stderr


@pytest.mark.parametrize("flags", [(), ("--json",)])
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_backup_is_made_though_its_receipt_is_lost(sandbox: Sandbox, flags: tuple[str, ...], unbuffered: str) -> None:
    code, said = _into_a_full_disk(sandbox, "backup", *flags, PYTHONUNBUFFERED=unbuffered)
    assert code == 1
    assert "Error: The output could not be written: No space left on device." in said
    assert "The command itself had ended by then, with exit code 0." in said
    assert "report" not in said
    assert len(sandbox.entries()) == 1


def test_an_error_keeps_its_exit_code(sandbox: Sandbox) -> None:
    code, said = _into_a_full_disk(sandbox, "show", "--json", "nothing")
    assert code == 10
    assert "with exit code 10." in said


@pytest.mark.parametrize("words", [("--help",), ("--version",), ("list", "--help")])
def test_help_that_cannot_be_written(sandbox: Sandbox, words: tuple[str, ...]) -> None:
    code, said = _into_a_full_disk(sandbox, *words)
    assert (code, said) == (1, "Error: The output could not be written: No space left on device.\n")
