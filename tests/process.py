"""The command in a process of its own, forked from one that has its modules loaded: it starts in milliseconds."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from datetime import timedelta
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(
    ["tests.process", "snapkit.__main__"]
    + [f"snapkit.cli.{name}" for name in ("main", "entry_facts", "held_clients", "run_hooks", "table")]
    + [f"snapkit.cli.commands.{name}" for name in ("backup", "list", "prune", "rollback")]
    + [f"snapkit.services.{name}" for name in ("backup", "list", "recover", "prune", "rollback")]
    + ["snapkit.settings.load", "snapkit.settings.detect", "snapkit.postgres.connection.dialect"]
)


class Command:
    """A run of snapkit off a terminal, as ``python -m snapkit`` would start it, in exactly this environment.

    ``impatient`` shortens what it waits for an answer that does not come. What the start itself does (which modules it
    loads, what it takes from the interpreter's variables) is for a test that starts it anew.
    """

    def __init__(
        self, words: Sequence[str], environment: Mapping[str, str], cwd: Path | None = None, *, impatient: bool = False
    ) -> None:
        self._place = tempfile.TemporaryDirectory(prefix="snapkit-command-")
        self._process = _FORKS.Process(
            target=_run,
            args=(list(words), dict(environment), self._place.name, str(cwd or self._place.name), impatient),
            daemon=True,
        )
        self._asking = threading.Lock()

    def start(self) -> None:
        self._process.start()

    @property
    def pid(self) -> int:
        assert self._process.pid is not None
        return self._process.pid

    def send(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    def wait(self, seconds: float) -> int | None:
        """Return the exit code, negative for a signal; None if it has not ended by then."""
        wait([self._process.sentinel], seconds)
        with self._asking:  # of two threads that read it at once, one would be told another code
            return self._process.exitcode

    def end(self) -> None:
        if self._process.pid is not None and self._process.exitcode is None:
            self._process.kill()
            self._process.join()
        self._process.close()
        self._place.cleanup()

    def output(self) -> tuple[str, str]:
        place = Path(self._place.name)
        return (place / "out").read_text(), (place / "err").read_text()

    def document(self) -> dict[str, Any]:
        """Return the one JSON document on stdout."""
        document = json.loads(self.output()[0])
        assert isinstance(document, dict)
        return document


def _run(words: list[str], environment: dict[str, str], place: str, cwd: str, impatient: bool) -> None:
    """In the forked process: be the command, as the shell would start it."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.chdir(cwd)
    for name, number in (("out", 1), ("err", 2)):
        file = os.open(f"{place}/{name}", os.O_WRONLY | os.O_CREAT, 0o644)
        os.dup2(file, number)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    sys.stdout, sys.stderr = os.fdopen(1, "w", closefd=False), os.fdopen(2, "w", closefd=False)
    os.environ.clear()
    os.environ.update(environment)
    if impatient:
        _shorten()
    from snapkit import __main__ as command

    sys.argv = [command.__file__, *words]
    command.run()


def _shorten() -> None:
    from snapkit.postgres.connection import driver, safe_settings
    from snapkit.postgres.outage import door
    from snapkit.postgres.sql import stall_watch
    from snapkit.services.run import commit_outcome

    driver.DriverConnection.answer_limit = timedelta(seconds=1.5)
    safe_settings.SAFE_SETTINGS |= {"idle_in_transaction_session_timeout": "2500ms", "idle_session_timeout": "4s"}
    stall_watch.SILENCE = timedelta(seconds=0.5)
    door._WATCHER_LIMIT = timedelta(seconds=1)
    commit_outcome.PATIENCE = timedelta(seconds=10)
