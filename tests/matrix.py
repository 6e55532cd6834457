"""Every test that needs a server, on one PostgreSQL version after the other; a table of how it went comes last."""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from tests.binaries import SUPPORTED, NoBinariesError, binaries_of, version_of


@dataclass(frozen=True)
class Row:
    """One version, and what became of its tests."""

    version: str
    passed: int = 0
    failed: int = 0
    skipped: int = 0
    seconds: float = 0
    code: int = 1
    """What pytest ended with; it fails for other reasons than failed tests, too."""

    @property
    def good(self) -> bool:
        return self.code == 0 and self.passed > 0 and self.failed == 0


def run(wanted: str, which: Sequence[str]) -> Row:
    """Run tests on one version, with pytest's output where ours goes."""
    try:
        version = version_of(binaries_of(wanted))
    except NoBinariesError as error:
        print(error)
        return Row(f"{wanted} (not to be had)")
    print(f"\n=== PostgreSQL {version}", flush=True)
    begun = time.monotonic()
    with tempfile.TemporaryDirectory() as directory:
        report = Path(directory) / "report.xml"
        pytest = [sys.executable, "-m", "pytest", "--quiet", f"--postgres={wanted}", f"--junitxml={report}"]
        pytest += ["-k", "not the_demo_tells"]  # which brings a server of its own
        code = subprocess.run([*pytest, *which, "tests/server", "tests/cli"], check=False).returncode
        seconds = time.monotonic() - begun
        if not report.exists():
            return Row(version, seconds=seconds, code=code)
        suite = ElementTree.parse(report).getroot().find("testsuite")
    assert suite is not None
    tests, failures, errors, skipped = (int(suite.get(key, 0)) for key in ("tests", "failures", "errors", "skipped"))
    failed = failures + errors
    return Row(version, tests - failed - skipped, failed, skipped, seconds, code)


def table(rows: Sequence[Row]) -> str:
    width = max(len(row.version) for row in rows)
    lines = [f"{'PostgreSQL':{width}}  passed  failed  skipped  seconds"]
    for row in rows:
        counts = f"{row.passed:6}  {row.failed:6}  {row.skipped:7}  {row.seconds:7.0f}"
        lines.append(f"{row.version:{width}}  {counts}{'' if row.good else '  FAILED'}")
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.matrix", description=__doc__)
    parser.add_argument(
        "--quick", action="store_true", help="each command, and each promise that versions may differ in"
    )
    parser.add_argument("versions", nargs="*", metavar="VERSION", default=SUPPORTED, help="14 to 18, or a directory")
    arguments = parser.parse_args()
    # To start four workers would take longer than the few tests of a quick run.
    which = ["-m", "command or promise and not any_version", "-n", "2"] if arguments.quick else ["-m", "server"]
    rows = [run(version, which) for version in arguments.versions]
    print(f"\n{table(rows)}")
    return 0 if all(row.good for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
