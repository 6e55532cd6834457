"""One trial: run a command, let something die at one point, and see that every promise holds afterwards."""

from __future__ import annotations

import itertools
import os
import re
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from snapkit.core.model import Entry, Kind, State
from snapkit.core.properties import Properties
from snapkit.postgres import catalog
from snapkit.services.remains import recover
from tests.cluster import PASSWORD, SUPERUSER, Cluster
from tests.crash.application import Application
from tests.crash.process import Command
from tests.crash.scenarios import Scenario, furnish
from tests.gate import Action, Gate, Link, Phase, Point, Stops, nowhere
from tests.sandbox import LOCK_WAIT, Sandbox, wait_until

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


@dataclass(frozen=True, order=True)
class Outcome:
    """What came of a trial, in the words of the table."""

    code: int | None
    saw: str
    state: str
    then: str


@dataclass(frozen=True)
class Trial:
    """What to do when."""

    scenario: Scenario
    point: Point
    phase: Phase
    way: Way


class MissedError(Exception):
    """The statement was over before the middle of it was caught."""


_numbers = itertools.count(1)


@dataclass
class Stage:
    """The server with everything that a trial needs, and what was there before."""

    cluster: Cluster
    box: Sandbox
    words: list[str]
    application: Application
    before: dict[int, dict[str, Any]]
    contents: tuple[str, ...]
    """The live database's content, and that of the other state there is."""
    properties: Properties
    command: Command | None = None
    missed: bool = False
    over: threading.Event = field(default_factory=threading.Event)
    """Set when the dying is over; the command may have ended before that."""
    problem: BaseException | None = None
    """What went wrong with the dying itself."""
    directories: frozenset[str] = frozenset()
    """Those of the databases before the command began."""
    gate: Gate = field(init=False)

    def connect_again(self) -> None:
        """After the server was down."""
        self.box.admin.close()
        self.box.admin = psycopg.connect(self.cluster.url("postgres"), autocommit=True)

    @property
    def live(self) -> int:
        return next(oid for oid, row in self.before.items() if row["name"] == self.box.name)


@contextmanager
def staged(cluster: Cluster, scenario: Scenario) -> Iterator[Stage]:
    box = Sandbox(cluster, psycopg.connect(cluster.url("postgres"), autocommit=True), f"c{next(_numbers)}")
    box.create()
    application = None
    try:
        furnish(box)
        words = scenario.prepare(box)
        contents = (_content(box, box.name), "100 rows" if _content(box, box.name) != "100 rows" else "10 rows, ruined")
        before = _databases(box)
        live = next(oid for oid, row in before.items() if row["name"] == box.name)
        application = Application(box.url)
        yield Stage(cluster, box, words, application, before, contents, _properties(box, live))
    finally:
        if application is not None:
            application.stop()
        box.remove()
        box.admin.close()


def _content(box: Sandbox, name: str) -> str:
    with box.connect(name, connect_timeout=20) as connection:
        cursor = connection.execute("SELECT * FROM item")
        assert cursor.description is not None
        return f"{len(cursor.fetchall())} rows" + (", ruined" if len(cursor.description) == 3 else "")


def _databases(box: Sandbox) -> dict[int, dict[str, Any]]:
    return {(row := box.row(name))["oid"]: row | {"name": name} for name in box.databases()}


def _properties(box: Sandbox, oid: int) -> Properties:
    with box.server().connect() as connection:
        return catalog.read_properties(connection, oid)


def normal(name: str) -> Callable[[str], str]:
    """Return what makes a point's label the same in every run: the source is ``app``, times and documents are left."""

    def shorten(label: str) -> str:
        label = re.sub(r"(COMMENT ON DATABASE .* IS ).*", r"\1...", label.replace(name, "app"))
        return re.sub(r"\d{8}_\d{6}(_\d+)?", "...", label).replace('"', "")

    return shorten


def url_through(gate: Gate, name: str) -> str:
    return f"postgresql://{SUPERUSER}:{PASSWORD.replace('%', '%25')}@127.0.0.1:{gate.port}/{name}"


def record(cluster: Cluster, scenario: Scenario) -> list[Point]:
    """Run the command undisturbed, and return what it sent."""
    with staged(cluster, scenario) as stage:
        ran = _run(stage, nowhere, lambda link, point: Action.GO, impatient=False)
        assert ran == 0, stage.command and stage.command.output()
        points = list(stage.gate.points)
        _finish(stage)
    return points


def _run(stage: Stage, stops: Stops, act: Callable[[Link, Point], Action], *, impatient: bool) -> int | None:
    stage.gate = Gate(stage.cluster.port, stops, act, shorten=normal(stage.box.name))
    stage.directories = frozenset(each.name for each in (stage.cluster.data / "base").iterdir())
    words = [*stage.words, "--json"]
    stage.command = Command(words, url_through(stage.gate, stage.box.name), impatient=impatient)
    stage.command.start()
    code = stage.command.wait(90)
    assert code is not None, "the command has not ended"
    return code


def _finish(stage: Stage) -> None:
    stage.gate.close()
    if stage.command is not None:
        stage.command.end()


def attempt(cluster: Cluster, trial: Trial) -> tuple[Outcome, float]:
    """Carry the trial out; return its outcome and how long the application waited at most, in seconds."""
    for _ in range(40):
        with suppress(MissedError):
            return _attempt(cluster, trial)
    raise AssertionError(f"the middle of {trial.point.label} was not caught")


def _attempt(cluster: Cluster, trial: Trial) -> tuple[Outcome, float]:
    with staged(cluster, trial.scenario) as stage:

        def act(link: Link, point: Point) -> Action:
            try:
                return end(link, point)
            except BaseException as problem:
                stage.problem = problem
                return Action.CUT
            finally:
                stage.over.set()

        def end(link: Link, point: Point) -> Action:
            if trial.phase is not Phase.INSIDE:
                return _die(stage, trial.way, link)
            with _frozen(stage, link, point) as caught:
                if not caught:
                    stage.missed = True
                    return Action.GO
                return _die(stage, trial.way, link, inside=True)

        def stops(point: Point) -> Phase | None:
            return trial.phase if point == trial.point else None

        try:
            code = _run(stage, stops, act, impatient=trial.way is Way.STALL)
            assert stage.gate.reached.is_set(), "the point was not reached"
            assert stage.over.wait(60)
            if stage.problem is not None:
                raise stage.problem
            if stage.missed:
                raise MissedError
            if trial.way is Way.STOP:
                stage.connect_again()
            return _judge(stage, trial, code)
        finally:
            _finish(stage)


# --- ways to die ---


def _die(stage: Stage, way: Way, link: Link, *, inside: bool = False) -> Action:
    command = stage.command
    assert command is not None
    if way is Way.KILL:
        command.send(signal.SIGKILL)
        wait_until(lambda: command.wait(0) is not None)
        if inside:
            time.sleep(CHECK_INTERVAL * 1.2)  # so that the server's next look at its client is due
        return Action.CUT
    if way in (Way.TERM, Way.INT, Way.INT_TWICE):
        _interrupt(stage, signal.SIGTERM if way is Way.TERM else signal.SIGINT)
        if way is Way.INT_TWICE:
            with suppress(ProcessLookupError):
                command.send(signal.SIGINT)
            _within(1, lambda: command.wait(0) is not None or _client_is_gone(link))
        return Action.GO
    if way is Way.TERMINATE:
        stage.box.execute("SELECT pg_terminate_backend(%s)", link.backend_pid)
        if not inside and link.backend_pid:
            gone = "SELECT count(*) FROM pg_stat_activity WHERE pid = %s"
            wait_until(lambda: stage.box.execute(gone, link.backend_pid) == [(0,)])
        return Action.GO
    if way is Way.STOP:
        _stop_server(stage.cluster, link if inside else None)
        return Action.GO
    if inside and way is Way.CUT:
        link.cut()
        time.sleep(CHECK_INTERVAL * 1.2)
    return Action.CUT if way is Way.CUT else Action.STALL


def _interrupt(stage: Stage, number: signal.Signals) -> None:
    """Send the signal, and wait until it has been taken: then the running statement is cancelled, if there is one."""
    command = stage.command
    assert command is not None
    command.send(number)
    _within(0.5, lambda: command.wait(0) is not None or stage.gate.cancelled.is_set())


def _within(seconds: float, condition: Callable[[], bool]) -> None:
    """Give a condition time that need not come: where nothing is to be cancelled, nothing tells."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and not condition():
        time.sleep(0.005)


def _client_is_gone(link: Link) -> bool:
    """Whether snapkit has closed its end. The gate's thread for that direction is the one that asks."""
    import select
    import socket

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
    wait_until(lambda: _launches(cluster))  # not before the last of its processes has let go of the shared memory


def _launches(cluster: Cluster) -> bool:
    try:
        cluster.launch()
    except subprocess.CalledProcessError:
        return False
    return True


# --- inside a statement ---


@contextmanager
def _frozen(stage: Stage, link: Link, point: Point) -> Iterator[bool]:
    """Halt the server's process in the middle of the statement; tells whether it was caught there."""
    pid = link.backend_pid
    is_amid = _middle_of(stage, link, point)
    caught = False
    with suppress(ProcessLookupError):
        while not caught:
            os.kill(pid, signal.SIGSTOP)
            wait_until(lambda: _is_stopped(pid))
            caught = is_amid()
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
            new = [each for each in base.iterdir() if each.name not in known]
            return any(sum(1 for _ in each.iterdir()) > 5 for each in new)

        return is_cloning
    if point.label.startswith("DROP DATABASE"):
        sizes = {oid: len(list((base / str(oid)).iterdir())) for oid in stage.before}

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


# --- what must hold afterwards ---


def _judge(stage: Stage, trial: Trial, code: int | None) -> tuple[Outcome, float]:
    box, scenario = stage.box, trial.scenario
    # The source is reachable under its own name, with no action of ours, and holds one state or the other.
    assert stage.application.served_again(), "the application is not served any more"
    content = _content(box, box.name)
    after = _databases(box)
    live = next(oid for oid, row in after.items() if row["name"] == box.name)
    swapped = live != stage.live
    assert content == stage.contents[1 if swapped else 0], (content, swapped)
    assert scenario.swaps or not swapped
    stage.gate.close()  # what was silent until now is heard of

    disconnected, longest_wait = stage.application.was_disconnected, stage.application.longest_wait
    gone = [row["name"] for oid, row in stage.before.items() if oid not in after]
    assert len(gone) <= scenario.drops, gone
    assert box.name not in gone
    entries = box.entries()
    _check_entries(stage, entries, swapped)
    state, is_done = _state(stage, trial.scenario, entries, after, gone, swapped)
    if code is not None and code >= 0:
        _check_report(stage, code, is_done)
    assert (code is not None and code < 0) == (trial.way is Way.KILL), code
    _check_that_life_goes_on(stage, trial)

    saw = "disconnected, and back" if disconnected else "nothing"
    if disconnected and scenario.swaps:
        saw += " in the restored state" if swapped else " in the same state"
    return Outcome(None if code is None or code < 0 else code, saw, state, _what_to_type(code, is_done)), longest_wait


def _what_to_type(code: int | None, is_done: bool) -> str:
    if code == 22:
        return "snapkit list"
    return "nothing" if is_done else "the command again"


def _check_entries(stage: Stage, entries: tuple[Entry, ...], swapped: bool) -> None:
    """What is ready is whole: its content, and all that a clone by template would not carry."""
    box = stage.box
    for entry in entries:
        if entry.state is not State.READY:
            continue
        name = sql.Identifier(entry.name)
        assert box.row(entry.name)["datallowconn"] is False, entry.name
        box.execute(sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS true").format(name))
        assert _content(box, entry.name) in stage.contents
        box.execute(sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS false").format(name))
        assert _properties(box, entry.database.oid) == stage.properties, entry.name
        assert entry.metadata is not None
        assert entry.metadata.comment == "of the shop"
    live = box.row(box.name)
    assert live["datallowconn"] is True
    assert live["comment"] == "of the shop"
    assert _properties(box, live["oid"]) == stage.properties


def _state(
    stage: Stage,
    scenario: Scenario,
    entries: tuple[Entry, ...],
    after: dict[int, dict[str, Any]],
    gone: list[str],
    swapped: bool,
) -> tuple[str, bool]:
    """The state afterwards in words, and whether the command has done what it was for."""
    if scenario.swaps:
        old = [e for e in entries if e.kind is Kind.OLD and e.state is State.READY and e.database.oid == stage.live]
        assert bool(old) is swapped, "what was live has not been put aside"
        return ("swapped", True) if swapped else ("as before", False)
    if scenario.drops:
        return f"{len(gone)} of {scenario.drops} dropped", len(gone) == scenario.drops
    if scenario.name == "backup":
        made = [e for e in entries if e.kind is Kind.BACKUP and e.state is State.READY]
        return ("backup complete", True) if made else ("no backup", False)
    changed = any(after[oid]["comment"] != row["comment"] for oid, row in stage.before.items())
    return ("done", True) if changed else ("as before", False)


def _check_report(stage: Stage, code: int, is_done: bool) -> None:
    """What snapkit said agrees with what happened."""
    assert stage.command is not None
    out, err = stage.command.output()
    assert "Traceback" not in out + err, err
    assert PASSWORD not in out + err
    document = stage.command.document()
    if code == 0:
        assert document["status"] == "success"
        assert is_done, "reported as done, and it is not"
        return
    error = document["error"]
    assert error["exit_code"] == code
    if code == 22:
        return
    said_untouched = any(words in error["message"] for words in ("Nothing was changed", "No backup was made"))
    assert not (said_untouched and is_done), f"it went through, and snapkit says: {error['message']}"
    assert said_untouched or "snapkit list" in f"{error['message']} {error['hint']}", error
    assert document["data"] is None or document["status"] == "partial"


def _check_that_life_goes_on(stage: Stage, trial: Trial) -> None:
    """The next command works, and after recover nothing is left."""
    box = stage.box
    box.back_up()
    recovery = recover(box.server(), LOCK_WAIT, lambda progress: None)
    assert recovery.failed == ()
    assert all(entry.state is State.READY for entry in box.entries() if entry.is_managed)
    assert not [name for name in box.databases() if "_partial_" in name]
    orphans = [c.message for c in recovery.cautions if c.code == "orphaned_files"]
    expected = trial.way is Way.STOP and trial.phase is Phase.INSIDE and trial.point.label.startswith("CREATE")
    known = {str(oid) for (oid,) in box.execute("SELECT oid FROM pg_database")}
    for directory in (stage.cluster.data / "base").iterdir():
        if directory.name.isdigit() and directory.name not in known:
            assert expected, f"files are left in {directory}"
            assert any(f"base/{directory.name} " in message for message in orphans), orphans
            shutil.rmtree(directory)  # as it says
    ours = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'snapkit'"
    wait_until(lambda: box.execute(ours) == [(0,)])
    assert box.execute("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'") == [(0,)]
