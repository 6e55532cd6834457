"""Fixtures for tests that need more than a server."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.disks import NoDiskError, SmallDisk
from tests.sandbox import Sandbox


@pytest.fixture
def small_tablespace(sandbox: Sandbox) -> Iterator[str]:
    """A tablespace on a disk that has no room for a database; it takes root, loop devices and mkfs.ext4."""
    try:
        disk = SmallDisk(sandbox.cluster.root / f"{sandbox.prefix}_disk", 6, sandbox.cluster.user)
    except NoDiskError as reason:
        pytest.skip(str(reason))
    try:
        name = f"{sandbox.prefix}_small"
        sandbox.execute(f"CREATE TABLESPACE {name} LOCATION '{disk.directory}'")
        yield name
        sandbox.execute(f"DROP TABLESPACE {name}")
    finally:
        disk.remove()
