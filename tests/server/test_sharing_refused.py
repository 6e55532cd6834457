"""What a clone does all the same: where PostgreSQL is not let share blocks, and where collations have changed."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from snapkit.core.inventory.kinds import Strategy
from snapkit.errors import SnapkitError
from snapkit.postgres.connection.server import Server
from snapkit.services.backup import BackupReceipt, BackupRequest, back_up, preview_backup
from snapkit.services.rollback import SwapRequest, preview_swap, swap
from tests.cluster import Cluster
from tests.sandbox import LOCK_WAIT, Sandbox


def _shares_blocks(one: Path, other: Path) -> bool:
    """Whether the kernel copies from one to the other without handing the bytes to us."""
    source, target = one / "probe", other / "probe"
    source.write_bytes(b"x" * 8192)
    try:
        with source.open("rb") as read, target.open("wb") as written:
            os.copy_file_range(read.fileno(), written.fileno(), 8192)
    except OSError:
        return False
    finally:
        source.unlink()
        target.unlink(missing_ok=True)
    return True


@pytest.fixture
def other_disk(cluster: Cluster) -> Iterator[Path]:
    """A directory on a file system to which the server's cannot share blocks."""
    for place in (Path("/dev/shm"), Path("/tmp"), Path(__file__).parent.parent.parent / ".cache"):
        if place.is_dir() and not _shares_blocks(place, cluster.root):
            with tempfile.TemporaryDirectory(dir=place) as name:
                yield Path(name)
            return
    pytest.skip("there is no file system here to which blocks cannot be shared")


@pytest.fixture
def on_two_disks(cluster: Cluster, other_disk: Path) -> Iterator[tuple[Sandbox, Server]]:
    """A server whose source lies behind a symbolic link on another disk, as seen by the source's owner."""
    if int(cluster.version.split(".")[0]) < 18:
        pytest.skip("file_copy_method came with PostgreSQL 18")
    own = Cluster(cluster.binaries)
    try:
        own.start()
        with psycopg.connect(own.url("postgres"), autocommit=True) as admin:
            sandbox = Sandbox(own, admin, "far")
            sandbox.create()
            owner = sandbox.role("owner", "LOGIN CREATEDB")
            sandbox.execute(
                sql.SQL("ALTER DATABASE {} OWNER TO {}").format(*map(sql.Identifier, (sandbox.name, owner)))
            )
            oid = str(sandbox.row(sandbox.name)["oid"])
        own.stop()
        other_disk.chmod(0o755)
        shutil.move(own.data / "base" / oid, other_disk / oid)
        if own.user:
            for path in (other_disk / oid, *(other_disk / oid).iterdir()):
                shutil.chown(path, own.user, own.user)
        (own.data / "base" / oid).symlink_to(other_disk / oid)
        own.launch()
        with psycopg.connect(own.url("postgres"), autocommit=True) as admin:
            sandbox.admin = admin
            yield sandbox, sandbox.server(own.url(sandbox.name, user=owner))
    finally:
        own.remove()


def _back_up(server: Server, strategy: Strategy | None = None) -> BackupReceipt:
    return back_up(server, BackupRequest(strategy=strategy), LOCK_WAIT, lambda progress: None)


def test_auto_copies_where_blocks_may_not_be_shared_and_remembers_it(on_two_disks: tuple[Sandbox, Server]) -> None:
    sandbox, server = on_two_disks
    first = _back_up(server)
    assert [each.code for each in first.cautions] == ["blocks_not_shared"]
    assert "SQLSTATE XX000" in first.cautions[0].message
    assert first.backup.strategy is Strategy.CLONE
    assert first.copy.blocks_shared is False
    assert sandbox.items(None) == [(n, f"item {n}") for n in range(1, 101)]
    for _ in range(2):  # what was learnt is handed on
        sent = [text for step in preview_backup(server, BackupRequest()).steps for text in step.sql]
        assert "SET file_copy_method TO copy" in sent
        assert _back_up(server).cautions == ()
    receipt = sandbox.run("backup").out
    assert "clone, by a copy of the files: the file system cannot share blocks here" in receipt
    assert "seems" not in receipt
    sandbox.ruin()
    assert swap(server, SwapRequest(keep_backup=True), LOCK_WAIT, lambda progress: None).cautions == ()
    assert len(sandbox.items()) == 100


def test_a_clone_that_was_asked_for_by_name_fails_with_the_way_out(on_two_disks: tuple[Sandbox, Server]) -> None:
    sandbox, server = on_two_disks
    with pytest.raises(SnapkitError) as caught:
        _back_up(server, Strategy.CLONE)
    assert type(caught.value) is SnapkitError
    assert caught.value.hint is not None
    assert "Leave out --strategy" in caught.value.hint
    assert "untouched" in (caught.value.state or "")
    assert sandbox.databases() == [sandbox.name]


@pytest.mark.parametrize("keep_backup", [False, True])
def test_a_source_with_a_stale_collation_version_is_cloned_with_a_warning(sandbox: Sandbox, keep_backup: bool) -> None:
    if sandbox.version < 15:
        pytest.skip("PostgreSQL 15 began to note it")
    owner = sandbox.role("owner", "LOGIN CREATEDB")
    sandbox.execute(sql.SQL("ALTER DATABASE {} OWNER TO {}").format(*map(sql.Identifier, (sandbox.name, owner))))
    sandbox.execute("UPDATE pg_database SET datcollversion = '1.''1' WHERE datname = %s", sandbox.name)
    server = sandbox.server(sandbox.cluster.url(sandbox.name, user=owner))
    receipt = _back_up(server)
    assert [each.code for each in receipt.cautions] == ["collation_version"]
    preview = preview_swap(server, SwapRequest(keep_backup=keep_backup))
    assert [each.code for each in preview.cautions] == ["collation_version"]
    (caution,) = swap(server, SwapRequest(keep_backup=keep_backup), LOCK_WAIT, lambda progress: None).cautions
    assert caution.code == "collation_version"
    assert f'ALTER DATABASE "{sandbox.name}" REFRESH COLLATION VERSION;' in caution.message
    noted = "SELECT datcollversion FROM pg_database WHERE datname = %s"
    assert sandbox.execute(noted, sandbox.name) == [("1.'1",)]
    assert len(sandbox.items()) == 100
