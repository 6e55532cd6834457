"""What a call that does not reach the server costs, by version of Typer: ``python -m benchmarks.typer_versions``.

Each version is installed into an environment of its own, with this checkout; then they take turns. The CPU time of the
whole process is read from the operating system, since the clock tells more of the machine's other work.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import venv
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
CALLS = (
    "--version",
    "--help",
    "backup --bogus",
    "rollback",
    "list --url mysql://app@127.0.0.1/app",
    "list --url postgresql://app@127.0.0.1:1/app",
)
"""The last one goes as far as the server, which is not there: what a command costs beside its questions."""


@dataclass(frozen=True)
class Cost:
    """Of a whole process: milliseconds of CPU, megabytes."""

    cpu: float
    memory: float


def environment_with(typer: str, directory: Path) -> Path:
    """Make an environment with this version of Typer, and this checkout as it is; return its Python."""
    place = directory / typer
    venv.create(place, with_pip=True)
    python = place / "bin" / "python"
    install: list[str | Path] = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*install, ROOT], check=True)
    subprocess.run([*install, f"typer=={typer}"], check=True)  # also one that the project does not want
    return python


def cost_of(python: Path, words: str, directory: Path) -> Cost:
    process = subprocess.Popen(
        [python, "-m", "snapkit", *words.split()],
        cwd=directory,
        env={"PATH": os.environ["PATH"]},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return Cost((usage.ru_utime + usage.ru_stime) * 1000, usage.ru_maxrss * 1024 / 1e6)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.typer_versions", description=__doc__)
    parser.add_argument("versions", nargs="*", default=["0.28.0", "0.29.2"], help="of Typer; the first is compared to")
    parser.add_argument("--runs", type=int, default=15, help="of each; the median is given")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        directory = Path(scratch)
        pythons = {version: environment_with(version, directory) for version in options.versions}
        print(f"{'call':46}  typer   CPU ms  memory MB  CPU against {options.versions[0]}")
        for words in CALLS:
            costs: dict[str, list[Cost]] = {version: [] for version in pythons}
            for turn in range(options.runs + 1):
                for version, python in pythons.items():
                    cost = cost_of(python, words, directory)
                    if turn:  # the first one warms up
                        costs[version].append(cost)
            first = costs[options.versions[0]]
            for version, measured in costs.items():
                ratio = statistics.median(a.cpu / b.cpu for a, b in zip(measured, first, strict=True))
                cpu = statistics.median(cost.cpu for cost in measured)
                memory = statistics.median(cost.memory for cost in measured)
                print(f"{words:46}  {version:6}  {cpu:6.0f}  {memory:9.1f}  {ratio:.2f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
