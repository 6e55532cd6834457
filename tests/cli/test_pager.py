"""What does not fit a terminal's height goes through a pager, and nothing else does."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pexpect
import pytest

from tests.sandbox import command_environment

STORY = """
from rich.console import Console
from snapkit.cli.pager import paged
with paged(console := Console(highlight=False)):
    for number in range({lines}):
        console.print(f"line {{number}} of it")
print("it goes on")
"""


def show(lines: int, **environment: str) -> Any:
    own = command_environment(**{"TERM": "xterm-256color"} | environment)
    words = ["-c", STORY.format(lines=lines)]
    return pexpect.spawn(sys.executable, words, env=own, dimensions=(20, 80), encoding="utf-8", timeout=60)


def finish(child: Any) -> str:
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 0, child.before
    return str(child.before)


def marker(place: Path) -> str:
    """Return a pager that leaves a mark before each line."""
    return f"touch {place / 'paged'}; sed 's/^/> /'"


@pytest.mark.parametrize(("lines", "is_paged"), [(17, False), (18, True), (100, True)])
def test_only_what_does_not_fit_is_paged(tmp_path: Path, lines: int, is_paged: bool) -> None:
    text = finish(show(lines, PAGER=marker(tmp_path)))
    assert (tmp_path / "paged").exists() == is_paged
    assert ("> line 0 of it" in text) == is_paged
    assert f"line {lines - 1} of it" in text
    assert text.rstrip().endswith("it goes on")


@pytest.mark.parametrize("pager", ["", "cat", "no-such-program"])
def test_without_a_pager_it_is_printed(pager: str) -> None:
    text = finish(show(100, PAGER=pager))
    assert text.count("of it") == 100


@pytest.mark.parametrize("leave", ["true", "head -n 3; false"])
def test_to_leave_the_pager_early_is_no_error(leave: str) -> None:
    text = finish(show(20_000, PAGER=leave))
    assert "Traceback" not in text
    assert text.rstrip().endswith("it goes on")
    assert text.count("of it") <= 3


def test_ctrl_c_is_for_the_pager(tmp_path: Path) -> None:
    script = tmp_path / "pager"
    script.write_text(
        "#!/bin/sh\ntrap 'echo caught; exit 1' INT\ncat >/dev/null\necho reading\nwhile :; do sleep 0.05; done\n"
    )
    script.chmod(0o755)
    child = show(100, PAGER=str(script))
    child.expect("reading")
    child.sendintr()
    child.expect("caught")
    assert finish(child).rstrip().endswith("it goes on")


def test_a_dumb_terminal_and_a_pipe_have_none(tmp_path: Path) -> None:
    pager = marker(tmp_path)
    words = f"{sys.executable} -c '{STORY.format(lines=100)}' | cat"
    own = command_environment(TERM="xterm-256color", PAGER=pager)
    child = pexpect.spawn("sh", ["-c", words], env=own, dimensions=(20, 80), encoding="utf-8", timeout=60)
    assert finish(child).count("of it") == 100
    assert finish(show(100, PAGER=pager, TERM="dumb")).count("of it") == 100
    assert not (tmp_path / "paged").exists()
