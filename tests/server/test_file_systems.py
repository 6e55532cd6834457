"""A clone on file systems that share blocks, and on some that do not."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from snapkit.core.inventory.kinds import Strategy
from snapkit.postgres.copying.file_systems import data_shares_no_blocks
from tests.cluster import Cluster
from tests.disks import EXT4, XFS_THAT_SHARES_BLOCKS, NoDiskError, SmallDisk
from tests.sandbox import Sandbox

MEBIBYTES = 500


@pytest.fixture(params=["ext4", "XFS"])
def server_on_a_disk(request: pytest.FixtureRequest, cluster: Cluster) -> Iterator[tuple[str, Cluster]]:
    """A server with its data behind a symbolic link on a disk of its own."""
    mkfs = EXT4 if request.param == "ext4" else XFS_THAT_SHARES_BLOCKS
    with tempfile.TemporaryDirectory(prefix="disk-") as name:  # the path of a socket has to be short
        place = Path(name)
        place.chmod(0o755)
        try:
            disk = SmallDisk(place / "disk", MEBIBYTES, cluster.user, mkfs)
        except NoDiskError as reason:
            pytest.skip(str(reason))
        (place / "link").symlink_to(disk.directory)
        own = Cluster(cluster.binaries, place / "link")
        try:
            own.start()
            yield request.param, own
        finally:
            own.remove()
            disk.remove()


def test_a_clone_copies_where_it_is_certain_that_blocks_cannot_be_shared(
    server_on_a_disk: tuple[str, Cluster],
) -> None:
    kind, cluster = server_on_a_disk
    with psycopg.connect(cluster.url("postgres"), autocommit=True) as admin:
        sandbox = Sandbox(cluster, admin, "disk")
        sandbox.create()
        with sandbox.server().connect() as connection:
            assert data_shares_no_blocks(connection) is (kind == "ext4")
        receipt = sandbox.back_up()
        if sandbox.version >= 18:
            assert receipt.backup.strategy is Strategy.CLONE
            assert receipt.copy.blocks_shared is (False if kind == "ext4" else None)  # it is too small for more
        written = sandbox.run("backup", "--dry-run").out
        assert ("SET file_copy_method TO copy" in written) is (kind == "ext4" and sandbox.version >= 18)

        owner = sandbox.role("owner", "LOGIN CREATEDB")
        name = sql.Identifier(sandbox.name)
        sandbox.execute(sql.SQL("ALTER DATABASE {} OWNER TO {}").format(name, sql.Identifier(owner)))
        written = sandbox.run("backup", "--dry-run", url=cluster.url(sandbox.name, user=owner)).out
        assert ("SET file_copy_method TO clone" in written) is (sandbox.version >= 18)
