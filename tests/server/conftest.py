"""Fixtures for tests that need more than a server."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator

import pytest

from tests.sandbox import Sandbox


@pytest.fixture
def small_tablespace(sandbox: Sandbox) -> Iterator[str]:
    """A tablespace on a disk that has no room for a database; it takes root, loop devices and mkfs.ext4."""
    if os.geteuid() != 0 or shutil.which("mkfs.ext4") is None:
        pytest.skip("needs root and mkfs.ext4 to make a small disk")
    image, place = sandbox.cluster.root / f"{sandbox.prefix}.img", sandbox.cluster.root / f"{sandbox.prefix}_disk"
    place.mkdir()
    with image.open("wb") as file:
        file.truncate(6 * 1024 * 1024)
    subprocess.run(["mkfs.ext4", "-q", "-F", image], check=True)
    mounted = subprocess.run(["mount", "-o", "loop", image, place], check=False, capture_output=True, text=True)
    if mounted.returncode != 0:
        pytest.skip(f"no loop device to be had: {mounted.stderr.strip()}")
    try:
        location = place / "space"
        location.mkdir()
        if sandbox.cluster.user is not None:
            shutil.chown(location, sandbox.cluster.user)
        name = f"{sandbox.prefix}_small"
        sandbox.execute(f"CREATE TABLESPACE {name} LOCATION '{location}'")
        yield name
        sandbox.execute(f"DROP TABLESPACE {name}")
    finally:
        subprocess.run(["umount", place], check=True)
        image.unlink()
