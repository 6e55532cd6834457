"""What was measured on what: the machine, its disks, and the versions of everything."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from benchmarks.contenders import dslr_version
from benchmarks.crowd import ROOT
from benchmarks.pooler import pgbouncer_version

NAME = "environment"


def describe() -> dict[str, Any]:
    """Return what can be said without a server or a disk; no names of hosts or people, and no paths."""
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "system": _system(),
        "kernel": platform.release(),
        "load_average": round(os.getloadavg()[0], 2),
        "python": _python(),
        "snapkit": _snapkit(),
        "dslr": dslr_version(),
        "pgbouncer": pgbouncer_version(),
        "psycopg": version("psycopg"),
        "sqlalchemy": version("sqlalchemy"),
        "typer": version("typer"),
    }


def today() -> str:
    return f"{datetime.now(UTC):%Y-%m-%d}"


def _python() -> str:
    """Return the version; and whose build it is, where that is known, since some are a fifth slower than others."""
    return platform.python_version() + (" of the distribution" if Path(sys.base_prefix) == Path("/usr") else "")


def _snapkit() -> str:
    try:
        number = version("pg-snapkit")
    except PackageNotFoundError:
        number = "?"
    git = ["git", "-C", str(ROOT)]
    commit = subprocess.run([*git, "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    if commit.returncode != 0:
        return number
    changed = subprocess.run([*git, "status", "--porcelain", "snapkit"], capture_output=True, text=True, check=False)
    return f"{number} ({commit.stdout.strip()}{', changed since' if changed.stdout.strip() else ''})"


def _processor() -> str:
    lines = _lines(Path("/proc/cpuinfo"))
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _system() -> str:
    names = [line.partition("=")[2].strip('"') for line in _lines(Path("/etc/os-release")) if "PRETTY_NAME" in line]
    return names[0] if names else f"{platform.system()} {sys.platform}"


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except OSError:
        return []
