"""The file systems that a server's data may lie on."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.cluster import unprivileged_user
from tests.disks import MEBIBYTE, XFS_THAT_SHARES_BLOCKS, NoDiskError, SmallDisk

OWN = "own"
XFS = "xfs"
FILE_SYSTEMS = (OWN, XFS)
_XFS_MEBIBYTES = 40 * 1024
"""The most that the image may come to hold; it takes no more of the disk than what is written to it."""


@dataclass(frozen=True)
class Storage:
    """A directory for servers, and how much of its disk is used."""

    name: str
    """The file system's, such as ``ext4``, or ``XFS with reflink``."""
    directory: Path
    exclusive: bool
    """Whether nobody else writes to it, so that the file system itself can say what is used."""

    def used(self, data: Path) -> int:
        """Return the bytes that a data directory uses, its WAL aside; shared blocks count once where that is known."""
        if not self.exclusive:
            return _allocated(data / "base")
        disk = os.statvfs(self.directory)
        return (disk.f_blocks - disk.f_bfree) * disk.f_frsize - _allocated(data / "pg_wal")

    def written_per_second(self) -> float:
        """Write 256 MiB in sequence, with an fsync at the end; return bytes per second."""
        block = os.urandom(MEBIBYTE)
        with tempfile.NamedTemporaryFile(dir=self.directory) as file:
            begun = time.monotonic()
            for _ in range(256):
                file.write(block)
            file.flush()
            os.fsync(file.fileno())
            return 256 * MEBIBYTE / (time.monotonic() - begun)


@contextmanager
def storage_of(wanted: str) -> Iterator[Storage]:
    """Prepare a file system, and take it away afterwards. Raises NoDiskError, which says why there is none."""
    scratch = Path(tempfile.mkdtemp(prefix="snapkit-bench-"))
    scratch.chmod(0o755)  # servers run as another user
    user = unprivileged_user()
    try:
        if wanted == XFS:
            disk = SmallDisk(scratch / "xfs", _XFS_MEBIBYTES, user, XFS_THAT_SHARES_BLOCKS)
            try:
                yield Storage("XFS with reflink", disk.directory, exclusive=True)
            finally:
                disk.remove()
            return
        directory = scratch / "own"
        directory.mkdir()
        if user is not None:
            shutil.chown(directory, user)
        yield Storage(_type_of(directory), directory, exclusive=False)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _type_of(directory: Path) -> str:
    said = subprocess.run(
        ["stat", "--file-system", "--format=%T", directory], capture_output=True, text=True, check=False
    )
    name = said.stdout.strip()
    return "ext4" if name == "ext2/ext3" else name or "unknown"


def _allocated(directory: Path) -> int:
    total = 0
    for parent, _, files in os.walk(directory):
        for name in files:
            try:
                total += os.lstat(Path(parent) / name).st_blocks * 512
            except FileNotFoundError:
                continue
    return total


__all__ = ["FILE_SYSTEMS", "OWN", "XFS", "NoDiskError", "Storage", "storage_of"]
