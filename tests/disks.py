"""Small disks that can be full: a file with a file system on it, mounted by a loop device. That takes root and mkfs."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

EXT4 = ("mkfs.ext4", "-q", "-F", "-m", "0")
XFS_THAT_SHARES_BLOCKS = ("mkfs.xfs", "-q", "-m", "reflink=1")
"""Not smaller than 300 MiB."""

MEBIBYTE = 1 << 20


class NoDiskError(Exception):
    """Why there is no small disk to be had here."""


class SmallDisk:
    """A disk of its own size at ``place``, whose owner is ``user``."""

    def __init__(self, place: Path, mebibytes: int, user: str | None, mkfs: Sequence[str] = EXT4) -> None:
        if os.geteuid() != 0 or shutil.which(mkfs[0]) is None:
            raise NoDiskError(f"needs root and {mkfs[0]} to make a small disk")
        self.place = place
        self._image = place.with_name(place.name + ".img")
        self.place.mkdir()
        with self._image.open("wb") as file:
            file.truncate(mebibytes * MEBIBYTE)
        subprocess.run([*mkfs, self._image], check=True)
        mounted = subprocess.run(
            ["mount", "-o", "loop", self._image, place], check=False, capture_output=True, text=True
        )
        if mounted.returncode != 0:
            raise NoDiskError(f"no loop device to be had: {mounted.stderr.strip()}")
        self.directory = place / "space"
        """Where to put things; not the disk's root, which holds lost+found."""
        self.directory.mkdir()
        if user is not None:
            shutil.chown(self.directory, user)

    @property
    def _ballast(self) -> Path:
        return self.place / "ballast"

    def fill(self) -> None:
        """Leave no room at all."""
        with self._ballast.open("wb", buffering=0) as file:
            for size in (MEBIBYTE, 4096, 1):
                try:
                    while True:
                        file.write(b"\1" * size)
                except OSError:
                    continue

    def free(self) -> None:
        """Take away what filled it."""
        self._ballast.unlink(missing_ok=True)

    def remove(self) -> None:
        subprocess.run(["umount", self.place], check=True)
        self._image.unlink()
