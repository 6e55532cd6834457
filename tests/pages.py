"""The blocks of README and docs, and a place to run them in as a reader does."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Container, Iterable, Iterator, Mapping
from pathlib import Path

from tests.sandbox import Ran, Sandbox, command_environment

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(DOCS.rglob("*.md"))]

Begin = tuple[str, str]
"""What a block is known by: its page, and how it begins."""

_BLOCK = re.compile(r"^(?P<indent> *)```\w*\n(?P<text>.*?)^(?P=indent)```", re.MULTILINE | re.DOTALL)


def name_of(page: Path) -> str:
    """Return the name of a page: as from ``docs``, or of one that lies beside it."""
    return str(page.relative_to(DOCS if DOCS in page.parents else ROOT))


def blocks_of(pages: Iterable[Path]) -> Iterator[Begin]:
    """Yield the blocks of pages, by page and text."""
    for page in pages:
        for found in _BLOCK.finditer(page.read_text(encoding="utf-8")):
            yield name_of(page), re.sub(rf"^{found['indent']}", "", found["text"], flags=re.MULTILINE).strip()


def block(page: str, begin: str) -> str:
    """Return the one block of a page that begins so."""
    path = ROOT / page if (ROOT / page).exists() else DOCS / page
    (text,) = (text for _, text in blocks_of([path]) if text.startswith(begin))
    return text


def check_all_are_known(
    pages: Iterable[Path], run: Mapping[Begin, str], not_run: Mapping[Begin, str], tests: Container[str]
) -> None:
    """Fail where a block is neither run by a test nor left out for a reason, or is not there any more."""
    found = list(blocks_of(pages))
    known = [*run, *not_run]
    for page, text in found:
        assert [each for each in known if each[0] == page and text.startswith(each[1])], f"{page}: {text[:80]}"
    for page, begin in known:
        assert any(name == page and text.startswith(begin) for name, text in found), f"{page} has no {begin}"
    for test in run.values():
        assert test in tests, test


class Desk:
    """A directory whose .env names the database, as a user has it; nothing is exported."""

    def __init__(self, sandbox: Sandbox, place: Path) -> None:
        self._sandbox, self.place = sandbox, place
        (place / ".env").write_text(f"DATABASE_URL='{sandbox.url}'\n")

    def script(self, name: str, text: str) -> None:
        (self.place / name).write_text(text)
        (self.place / name).chmod(0o755)

    def type(self, text: str, **environment: str) -> Ran:
        """Run what stands in a block, line by line as at a prompt: the last failure is the one that is told."""
        programs = self.place / "programs"
        if not programs.exists():
            programs.mkdir()
            self.script("programs/snapkit", f'#!/bin/sh\nexec {sys.executable} -m snapkit "$@"\n')
        own = command_environment()
        own |= {"PATH": f"{programs}:{self._sandbox.cluster.binaries}:{own['PATH']}"} | environment
        done = subprocess.run(
            ["bash", "-e", "-o", "pipefail", "-c", text], env=own, cwd=self.place, stdin=subprocess.DEVNULL,
            capture_output=True, text=True, timeout=240, check=False,
        )  # fmt: skip
        return Ran(done.returncode, done.stdout, done.stderr)
