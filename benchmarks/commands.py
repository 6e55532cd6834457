"""Running a command that is measured: how long it took, and what it used."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

LIMIT = 1800.0
"""Seconds after which a command is taken for one that never ends."""


@dataclass(frozen=True)
class Ran:
    """A command that has ended; times in milliseconds. The CPU time is the command's own, not the server's."""

    code: int
    wall_ms: float
    cpu_ms: float
    out: str
    err: str

    def values(self) -> dict[str, Any]:
        return {"exit_code": self.code, "wall_ms": round(self.wall_ms, 2), "cpu_ms": round(self.cpu_ms, 2)}


class Running:
    """A script of bash in a process group of its own, so that all of it can be killed."""

    def __init__(self, script: str, environment: Mapping[str, str]) -> None:
        self._out = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed by wait()
        self._err = tempfile.TemporaryFile("w+")  # noqa: SIM115 - likewise
        self._begun = time.monotonic()
        self._process = subprocess.Popen(
            ["bash", "-c", f"set -euo pipefail\n{script}"],
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=self._out,
            stderr=self._err,
            start_new_session=True,
        )

    def ended_within(self, seconds: float) -> bool:
        """Wait that long at most; whether it has ended."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None:
                return True
            time.sleep(min(0.002, max(0.0, deadline - time.monotonic())))
        return False

    def kill(self) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)

    def wait(self) -> Ran:
        """Wait for its end; one that does not end is killed, and has failed. On Ctrl-C it is killed, too."""
        alarm = threading.Timer(LIMIT, self.kill)
        alarm.start()
        try:
            _, status, usage = os.wait4(self._process.pid, 0)
        except KeyboardInterrupt:
            self.kill()
            raise
        finally:
            alarm.cancel()  # it would keep us from ending
        wall = time.monotonic() - self._begun
        code = self._process.returncode = os.waitstatus_to_exitcode(status)
        texts = []
        for file in (self._out, self._err):
            file.seek(0)
            texts.append(file.read())
            file.close()
        return Ran(code, wall * 1000, (usage.ru_utime + usage.ru_stime) * 1000, texts[0], texts[1])


def run(script: str, environment: Mapping[str, str]) -> Ran:
    """Run a script to its end."""
    return Running(script, environment).wait()


def run_or_fail(script: str, environment: Mapping[str, str]) -> Ran:
    """Run a script that only prepares what is measured. Raises RuntimeError with what it said."""
    ran = run(script, environment)
    if ran.code != 0:
        raise RuntimeError(f"{script}\nended with {ran.code}: {ran.out[-2000:]}{ran.err[-2000:]}")
    return ran
