"""The ways to die, and how each comes about."""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from enum import Enum
from pathlib import Path

import psycopg

from tests.cluster import Cluster
from tests.crash.stage import ClusterOnSmallDisks, Stage, database_directories
from tests.disks import SmallDisk
from tests.gate import Action, Link, Point
from tests.sandbox import wait_until

CHECK_INTERVAL = 1.0
"""Seconds after which the server notices that the client of a running statement is gone."""


class Way(Enum):
    """A way to die."""

    KILL = "SIGKILL"
    TERM = "SIGTERM"
    INT = "Ctrl-C"
    INT_TWICE = "Ctrl-C twice"
    TERMINATE = "pg_terminate_backend"
    CUT = "connection cut"
    STALL = "connection silent"
    STOP = "server stopped at once"
    TABLESPACE_FULL = "disk of the clone full"
    WAL_FULL = "disk of the WAL full"
    PROMOTED = "server lost, standby promoted"


EVERYWHERE = tuple(Way)[:8]


def die(stage: Stage, way: Way, link: Link, *, inside: bool = False) -> Action:
    """Let it happen; with ``inside`` the server's process is halted in the middle of a statement meanwhile."""
    match way:
        case Way.KILL | Way.CUT:
            return _leave(stage, way, link, inside=inside)
        case Way.TERM | Way.INT | Way.INT_TWICE:
            _interrupt(stage, way, link)
        case Way.TERMINATE:
            _terminate(stage, link, inside=inside)
        case Way.STALL:
            return Action.STALL
        case Way.STOP:
            _stop_server(stage.cluster, link if inside else None)
        case Way.TABLESPACE_FULL:
            _disk(stage, "clone").fill()
        case Way.WAL_FULL:
            _fill_wal(stage)
        case Way.PROMOTED:
            _fail_over(stage)
    return Action.GO


def _leave(stage: Stage, way: Way, link: Link, *, inside: bool) -> Action:
    command = stage.command
    assert command is not None
    if way is Way.KILL:
        command.send(signal.SIGKILL)
        wait_until(lambda: command.wait(0) is not None)
    if inside:
        link.cut()
        time.sleep(CHECK_INTERVAL * 1.2)  # so that the server's next look at its client is due
    return Action.CUT


def _terminate(stage: Stage, link: Link, *, inside: bool) -> None:
    stage.box.execute("SELECT pg_terminate_backend(%s)", link.backend_pid)
    if not inside and link.backend_pid:
        gone = "SELECT count(*) FROM pg_stat_activity WHERE pid = %s"
        wait_until(lambda: stage.box.execute(gone, link.backend_pid) == [(0,)])


def _interrupt(stage: Stage, way: Way, link: Link) -> None:
    """Send the signal, and wait until it has been taken: then the running statement is cancelled, if there is one."""
    command = stage.command
    assert command is not None
    command.send(signal.SIGTERM if way is Way.TERM else signal.SIGINT)
    _within(0.5, lambda: command.wait(0) is not None or stage.gate.cancelled.is_set())
    if way is Way.INT_TWICE:
        with suppress(ProcessLookupError):
            command.send(signal.SIGINT)
        _within(1, lambda: command.wait(0) is not None or _client_is_gone(link))


def _within(seconds: float, condition: Callable[[], bool]) -> None:
    """Give a condition time that need not come: where nothing is to be cancelled, nothing tells."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and not condition():
        time.sleep(0.005)


def _client_is_gone(link: Link) -> bool:
    """Whether snapkit has closed its end. The gate's thread for that direction is the one that asks."""
    with suppress(OSError, ValueError):
        ready, _, _ = select.select([link.client], [], [], 0)
        return bool(ready) and link.client.recv(1, socket.MSG_PEEK) == b""
    return True


def _stop_server(cluster: Cluster, frozen: Link | None) -> None:
    pid_file = cluster.data / "postmaster.pid"
    os.kill(int(pid_file.read_text().split()[0]), signal.SIGQUIT)
    if frozen is not None:
        with suppress(ProcessLookupError):
            os.kill(frozen.backend_pid, signal.SIGCONT)
    wait_until(lambda: not pid_file.exists())
    wait_until(lambda: launches(cluster))  # not before the last of its processes has let go of the shared memory


def _disk(stage: Stage, name: str) -> SmallDisk:
    assert isinstance(stage.cluster, ClusterOnSmallDisks)
    return stage.cluster.disks[name]


def _fill_wal(stage: Stage) -> None:
    """Leave no room for the next piece of WAL. What needs it makes the server crash; an administrator makes room."""
    cluster, command, disk = stage.cluster, stage.command, _disk(stage, "wal")
    assert command is not None
    pid_file = cluster.data / "postmaster.pid"
    disk.fill()
    with suppress(psycopg.Error):
        for _ in range(1 + _wal_files_ahead(stage)):
            stage.box.execute("SELECT pg_logical_emit_message(false, 'snapkit', ''), pg_switch_wal()")

    def make_room() -> None:
        try:
            # The server restarts by itself, and gives up when recovery finds no room either.
            _within(20, lambda: not pid_file.exists() or command.wait(0) is not None)
            disk.free()
            _within(10, lambda: not pid_file.exists() or _can_write(cluster))
            if pid_file.exists() and not _can_write(cluster):
                # Seen with 18.6: the startup process has gone, and the postmaster goes on saying that it recovers.
                cluster.stop("immediate")
            wait_until(lambda: (pid_file.exists() or launches(cluster)) and _can_write(cluster))
        except BaseException as problem:
            stage.problem = problem
        finally:
            stage.over.set()

    threading.Thread(target=make_room, daemon=True).start()


def _wal_files_ahead(stage: Stage) -> int:
    """How many files of the WAL are there in advance: a checkpoint may have made one, and it takes no more room."""
    ahead = 'SELECT count(*) FROM pg_ls_waldir() WHERE name > pg_walfile_name(pg_current_wal_insert_lsn()) COLLATE "C"'
    ((count,),) = stage.box.execute(ahead + " AND name ~ '^[0-9A-F]{24}$'")
    return int(count)


def _can_write(cluster: Cluster) -> bool:
    """Whether the server is up, and not about to crash for want of the room that it had not."""
    try:
        with psycopg.connect(cluster.url("postgres"), autocommit=True) as connection:
            connection.execute("SELECT pg_switch_wal()")
            connection.execute("CHECKPOINT")
    except psycopg.Error:
        return False
    return True


def _fail_over(stage: Stage) -> None:
    """Lose the server, and let its standby, which has everything, take its place."""
    box, standby = stage.box, stage.standby
    assert standby is not None
    ((position,),) = box.execute("SELECT pg_current_wal_flush_lsn()")
    with psycopg.connect(standby.url("postgres"), autocommit=True) as there:
        replayed = "SELECT pg_last_wal_replay_lsn() >= %s::pg_lsn"
        wait_until(lambda: there.execute(replayed, (position,)).fetchone() == (True,))
    stage.home.stop("immediate")
    standby.run("pg_ctl", "-D", str(standby.data), "-w", "promote")
    stage.connect_again(standby)


def launches(cluster: Cluster) -> bool:
    try:
        cluster.launch()
    except subprocess.CalledProcessError:
        return False
    return True


@contextmanager
def frozen(stage: Stage, link: Link, point: Point) -> Iterator[bool]:
    """Halt the server's process in the middle of the statement; tells whether it was caught there."""
    pid = link.backend_pid
    is_amid = _middle_of(stage, link, point)
    caught = False
    with suppress(ProcessLookupError):
        while not caught:
            os.kill(pid, signal.SIGSTOP)
            wait_until(lambda: _is_stopped(pid))
            caught = _is_seen(is_amid, pid)
            if not caught:
                os.kill(pid, signal.SIGCONT)
                if link.answered:
                    break
                time.sleep(0.0003)
    try:
        yield caught
    finally:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)


def _is_seen(is_amid: Callable[[], bool], pid: int) -> bool:
    """Ask whether the halted process is where it is wanted; let it go on where nobody answers.

    It may have been halted while it held one of the server's lightweight locks, which others wait for without end. Only
    where the server is asked: what is seen by the files alone may still have been halted so.
    """
    went_on = threading.Event()

    def go_on() -> None:
        went_on.set()
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)

    patience = threading.Timer(1, go_on)
    patience.start()
    try:
        seen = is_amid()
    finally:
        patience.cancel()
        patience.join()
    return seen and not went_on.is_set()


def _is_stopped(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in ("T", "Z")
    except FileNotFoundError:
        raise ProcessLookupError from None


def _middle_of(stage: Stage, link: Link, point: Point) -> Callable[[], bool]:
    base = stage.cluster.data / "base"
    if point.label.startswith("CREATE DATABASE"):
        known = stage.directories

        def is_cloning() -> bool:
            new = [each for each in database_directories(stage.cluster) if each not in known]
            return any(sum(1 for _ in each.iterdir()) > 5 for each in new)

        return is_cloning
    if point.label.startswith("DROP DATABASE"):
        sizes = {oid: _count(base / str(oid)) for oid in stage.before}

        def is_dropping() -> bool:
            left = {oid: _count(base / str(oid)) for oid in sizes}
            return any(0 < left[oid] < sizes[oid] for oid in sizes)

        return is_dropping
    held = (
        "SELECT count(*) FROM pg_locks WHERE pid = %s AND locktype = 'object' AND classid = 1262 AND objid = %s"
        " AND mode = 'AccessExclusiveLock' AND granted"
    )
    return lambda: not link.answered and stage.box.execute(held, link.backend_pid, stage.live) == [(1,)]


def _count(directory: Path) -> int:
    try:
        return sum(1 for _ in directory.iterdir())
    except FileNotFoundError:
        return 0
