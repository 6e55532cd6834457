"""The handle of the clients that benchmarks.load runs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent


class Crowd:
    """Clients at work in a process of their own."""

    def __init__(self, url: str, clients: int, rows: int) -> None:
        words = [sys.executable, "-m", "benchmarks.load", f"--clients={clients}", f"--rows={rows}"]
        self._process = subprocess.Popen(
            words,
            cwd=ROOT,
            env=os.environ | {"DATABASE_URL": url},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def lap(self) -> dict[str, Any]:
        """Return what happened since the last time, as soon as every client has been served after this moment."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        report = json.loads(self._process.stdout.readline())
        assert isinstance(report, dict)
        return report

    def end(self) -> None:
        self._process.kill()
        self._process.communicate()


@contextmanager
def crowd_of(url: str, clients: int, rows: int) -> Iterator[Crowd | None]:
    """Keep clients at work; None of none. They are all at work when the block begins."""
    if clients == 0:
        yield None
        return
    crowd = Crowd(url, clients, rows)
    try:
        crowd.lap()
        yield crowd
    finally:
        crowd.end()
