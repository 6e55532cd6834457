"""How clients are held: for how long, until when their transactions may run, and what the receipt says of it."""

from __future__ import annotations

import os
import re
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta

import psycopg
import pytest
from sqlalchemy import Connection

from snapkit.core.durations import milliseconds
from snapkit.core.inventory.kinds import Strategy
from snapkit.core.outage.hold_rules import HoldRules
from snapkit.errors import OutageLimitError
from snapkit.postgres.copying.programs import VARIABLE
from snapkit.postgres.sql import execution
from snapkit.services.backup import BackupReceipt, BackupRequest, back_up
from snapkit.services.copying.decision import Choice
from snapkit.services.outage.clients import Clients
from snapkit.services.rollback import SwapReceipt, SwapRequest, swap
from tests.sandbox import LOCK_WAIT, Sandbox, run_snapkit, wait_until

SECOND = timedelta(seconds=1)


@dataclass
class Transaction:
    """A transaction that a client has open; it ends when told to, and then it is known whether it was let end."""

    pid: int
    go_on: threading.Event = field(default_factory=threading.Event)
    committed: bool | None = None


@contextmanager
def transaction(sandbox: Sandbox, *, end_after: float | None = None) -> Iterator[Transaction]:
    """Hold a transaction open that is committed when told to, or by itself once someone waits for it."""
    connection = psycopg.connect(sandbox.url, application_name="billing")
    connection.execute("INSERT INTO item VALUES (4711, 'late')")
    opened = Transaction(connection.info.backend_pid)

    def end() -> None:
        opened.go_on.wait(60)
        if end_after is not None:
            time.sleep(end_after)
        try:
            connection.commit()
            opened.committed = True
        except psycopg.Error:
            opened.committed = False
        finally:
            connection.close()

    thread = threading.Thread(target=end)
    thread.start()
    try:
        yield opened
    finally:
        opened.go_on.set()
        thread.join()


def door_is_held(sandbox: Sandbox) -> bool:
    """Whether new clients of the source wait at this moment."""
    held = (
        "SELECT count(*) FROM pg_locks WHERE locktype = 'object' AND classid = 1262 AND granted"
        " AND objid = (SELECT oid FROM pg_database WHERE datname = %s) AND mode IN ('ShareLock', 'AccessExclusiveLock')"
    )
    return sandbox.execute(held, sandbox.name) != [(0,)]


def in_background(work: object) -> threading.Thread:
    thread = threading.Thread(target=work, daemon=True)  # type: ignore[arg-type]
    thread.start()
    return thread


@pytest.mark.parametrize(
    "what",
    ["backup", pytest.param("rollback", marks=pytest.mark.promise("a running transaction may end within the grace"))],
)
def test_a_transaction_that_runs_may_end_within_the_grace(sandbox: Sandbox, what: str) -> None:
    sandbox.back_up()
    receipts: list[BackupReceipt | SwapReceipt] = []
    rules = HoldRules(grace=3 * SECOND)
    with transaction(sandbox) as late, sandbox.connect(application_name="idle one"):

        def work() -> None:
            receipts.append(sandbox.back_up(hold=rules) if what == "backup" else sandbox.roll_back(hold=rules))

        thread = in_background(work)
        wait_until(lambda: door_is_held(sandbox))
        wait_until(lambda: sandbox.sessions(sandbox.name) == 1)  # the idle one has gone at once
        late.go_on.set()
        thread.join(60)
    assert late.committed
    (receipt,) = receipts
    # The late one has gone by itself or, once its transaction had ended, been disconnected.
    assert {"idle one"} <= {session.application for session in receipt.disconnected} <= {"idle one", "billing"}
    assert receipt.outage < rules.grace
    # It was committed before the clone was made, and before the swap put it aside.
    kept = sandbox.entries()[0].name
    sandbox.execute(f'ALTER DATABASE "{kept}" ALLOW_CONNECTIONS true')
    assert (4711, "late") in sandbox.items(kept)


@pytest.mark.parametrize("what", ["backup", "rollback"])
@pytest.mark.parametrize("is_superuser", [True, False])
def test_a_parallel_query_whose_workers_wait_at_the_door_is_not_waited_for(
    sandbox: Sandbox, what: str, is_superuser: bool
) -> None:
    sandbox.back_up()
    owner = sandbox.role("owner", "LOGIN CREATEDB")
    if not is_superuser:
        for name in sandbox.databases():
            sandbox.execute(f'ALTER DATABASE "{name}" OWNER TO {owner}')
    rules = HoldRules(grace=3 * SECOND)
    url = sandbox.url if is_superuser else sandbox.cluster.url(sandbox.name, user=owner)
    receipts: list[BackupReceipt | SwapReceipt] = []
    parallel = "max_parallel_workers_per_gather=2 parallel_setup_cost=0 parallel_tuple_cost=0 enable_indexonlyscan=off"
    options = " ".join(f"-c {each}" for each in (*parallel.split(), "min_parallel_table_scan_size=0"))
    with psycopg.connect(url, application_name="report", options=options) as report:
        report.execute("SELECT 1")

        def work() -> None:
            server = sandbox.server(url)
            if what == "backup":
                receipts.append(
                    back_up(server, BackupRequest(clients=Clients(rules)), LOCK_WAIT, lambda progress: None)
                )
            else:
                receipts.append(swap(server, SwapRequest(clients=Clients(rules)), LOCK_WAIT, lambda progress: None))

        thread = in_background(work)
        wait_until(lambda: door_is_held(sandbox))
        plan = report.execute("EXPLAIN SELECT count(*) FROM pg_class").fetchall()
        assert "Gather" in str(plan)
        with pytest.raises(psycopg.errors.AdminShutdown):
            report.execute("SELECT count(*) FROM pg_class")
        thread.join(60)
    (receipt,) = receipts
    leaving = next(each for each in receipt.phases if each.name == "leaving")
    assert leaving.duration < rules.grace
    assert [each.application for each in receipt.disconnected] == ["report"]


def test_a_transaction_that_outlasts_the_grace_is_ended_and_named(sandbox: Sandbox) -> None:
    with transaction(sandbox) as late:
        receipt = sandbox.back_up(hold=HoldRules(grace=SECOND / 2))
    assert late.committed is False
    (session,) = receipt.disconnected
    assert (session.pid, session.application, session.state) == (late.pid, "billing", "idle in transaction")
    leaving, clone = (next(each for each in receipt.phases if each.name == name) for name in ("leaving", "clone"))
    assert leaving.holds
    assert leaving.duration >= SECOND / 4
    assert leaving.duration <= receipt.outage <= leaving.duration + clone.duration
    # How long the next clone will take is judged by what the clone took, not by who was in its way.
    assert receipt.copy.duration == receipt.outage - leaving.duration
    kept = next(entry for entry in sandbox.entries() if entry.name == receipt.backup.name).metadata
    assert kept is not None
    assert kept.clone_ms == milliseconds(receipt.copy.duration)
    assert session.state_since is not None
    assert session.backend_start is not None
    assert receipt.outage >= SECOND / 2


def test_without_a_grace_nobody_is_waited_for(sandbox: Sandbox) -> None:
    with transaction(sandbox) as late:
        receipt = sandbox.back_up(hold=HoldRules(grace=timedelta(0)))
    assert late.committed is False
    assert [session.pid for session in receipt.disconnected] == [late.pid]


def test_a_transaction_begun_after_the_door_was_closed_is_not_waited_for(sandbox: Sandbox) -> None:
    """A client that never pauses would never be found idle."""
    with sandbox.reconnecting_clients(4):
        receipt = sandbox.back_up(hold=HoldRules(grace=4 * SECOND))
    assert receipt.outage < 3 * SECOND


def test_a_long_grace_is_spent_before_the_door_is_closed(sandbox: Sandbox) -> None:
    """PostgreSQL itself gives no more than five seconds."""
    receipts: list[BackupReceipt] = []
    with transaction(sandbox, end_after=5.5) as late:
        thread = in_background(lambda: receipts.append(sandbox.back_up(hold=HoldRules(grace=60 * SECOND))))
        late.go_on.set()
        sandbox.items()  # others work on
        thread.join(90)
    assert late.committed
    (receipt,) = receipts
    assert receipt.outage < 4 * SECOND
    grace = next(phase for phase in receipt.phases if phase.name == "grace")
    assert not grace.holds
    assert grace.duration > 3 * SECOND


@pytest.mark.parametrize(
    "what",
    ["backup", pytest.param("rollback", marks=pytest.mark.promise("clients are held no longer than --max-outage"))],
)
def test_clients_are_held_no_longer_than_allowed(sandbox: Sandbox, what: str) -> None:
    """Something holds a lock on the database, so that nothing can be done in time; all is as it was."""
    sandbox.back_up()
    before = sandbox.databases()
    rules = HoldRules(limit=SECOND / 2)
    with psycopg.connect(sandbox.cluster.url("postgres")) as other:
        # Each takes a lock that clients pass, and what is to be done does not.
        if what == "backup":
            other.execute(f'COMMENT ON DATABASE "{sandbox.name}" IS NULL')
        else:
            other.execute(f'ALTER ROLE postgres IN DATABASE "{sandbox.name}" SET work_mem TO DEFAULT')
        with pytest.raises(OutageLimitError) as caught:
            if what == "backup":
                sandbox.back_up(hold=rules, strategy=Strategy.FILE_COPY)
            else:
                sandbox.roll_back(hold=rules)
        other.rollback()
    assert caught.value.state is not None
    assert "untouched" in caught.value.state or "Nothing was changed" in caught.value.state
    assert sandbox.databases() == before
    assert len(sandbox.items()) == 100
    sandbox.back_up()


def test_what_is_left_of_the_limit_is_reckoned_anew_for_each_rename(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two that take less than the limit each may be longer together."""
    set_timeout, limits = execution._set_timeout, []

    def note(connection: Connection, name: str, limit: timedelta, **more: bool) -> None:
        limits.append((limit, more))
        set_timeout(connection, name, limit, **more)

    monkeypatch.setattr(execution, "_set_timeout", note)
    sandbox.back_up()
    rules = HoldRules(limit=60 * SECOND)
    with psycopg.connect(sandbox.cluster.url("postgres")) as other:
        other.execute(f'ALTER ROLE postgres IN DATABASE "{sandbox.name}" SET work_mem TO DEFAULT')
        limits.clear()
        thread = in_background(lambda: sandbox.roll_back(hold=rules))
        wait_until(lambda: _waits_for_lock(sandbox))
        time.sleep(0.5)  # for so long the first rename waits at least
        other.rollback()
        thread.join(60)
    (first, _), (second, _) = in_transaction = [each for each in limits if each[1] == {"in_transaction": True}]
    assert len(in_transaction) == 2
    assert second <= first - SECOND / 2


def _waits_for_lock(sandbox: Sandbox) -> bool:
    waiting = "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE %s"
    return bool(sandbox.execute(waiting, f'ALTER DATABASE "{sandbox.name}" RENAME%'))


@pytest.mark.promise("a clone that would hold clients too long is not begun")
def test_what_would_take_longer_than_allowed_is_not_begun(sandbox: Sandbox) -> None:
    first = sandbox.back_up()
    rules = HoldRules(limit=first.copy.duration / 4)
    with sandbox.connect() as client:
        with pytest.raises(OutageLimitError, match="Going by earlier backups"):
            sandbox.back_up(hold=rules, strategy=first.backup.strategy)
        client.execute("SELECT 1")  # nobody was disconnected
    assert len(sandbox.entries()) == 1


@pytest.mark.usefixtures("client_programs")
def test_what_nobody_asked_for_by_name_is_copied_while_clients_work_then(sandbox: Sandbox) -> None:
    first = sandbox.back_up()
    with sandbox.connect() as client:
        receipt = sandbox.back_up(hold=HoldRules(limit=first.copy.duration / 4))
        client.execute("SELECT 1")  # nobody was disconnected
    assert (receipt.backup.strategy, receipt.outage) == (Strategy.ONLINE, timedelta(0))
    assert receipt.choice is Choice.OUTAGE_EXPECTED
    assert not any(phase.holds for phase in receipt.phases)


@pytest.mark.usefixtures("client_programs")
def test_a_clone_that_has_to_be_given_up_is_copied_while_clients_work(sandbox: Sandbox) -> None:
    limit = SECOND / 2
    with psycopg.connect(sandbox.cluster.url("postgres")) as other:
        other.execute(f'COMMENT ON DATABASE "{sandbox.name}" IS NULL')  # a clone would wait for it
        receipt = sandbox.back_up(hold=HoldRules(limit=limit))
        other.rollback()
    assert receipt.backup.strategy is Strategy.ONLINE
    assert limit <= receipt.outage
    assert [caution.code for caution in receipt.cautions] == ["clone_given_up"]
    assert [phase.name for phase in receipt.phases if phase.holds] == ["clone"]
    sandbox.ruin()
    sandbox.roll_back()
    assert len(sandbox.items()) == 100


@pytest.mark.usefixtures("client_programs")
def test_whom_a_clone_had_disconnected_that_was_given_up_is_told(sandbox: Sandbox) -> None:
    with sandbox.connect(application_name="stuck") as stuck, sandbox.connect(application_name="idle one"):
        os.kill(stuck.info.backend_pid, signal.SIGSTOP)  # is told to leave, and does not
        try:
            receipt = sandbox.back_up(hold=HoldRules(limit=SECOND))
        finally:
            os.kill(stuck.info.backend_pid, signal.SIGCONT)
    assert [caution.code for caution in receipt.cautions] == ["clone_given_up"]
    assert {session.application for session in receipt.disconnected} == {"stuck", "idle one"}
    assert receipt.choice is Choice.OUTAGE_REACHED
    assert receipt.outage >= SECOND


def test_a_limit_that_is_kept_is_no_hindrance(sandbox: Sandbox) -> None:
    rules = HoldRules(limit=60 * SECOND)
    with sandbox.reconnecting_clients(4):
        sandbox.back_up(hold=rules)
        assert sandbox.roll_back(hold=rules).outage < rules.limit  # type: ignore[operator]


@pytest.mark.parametrize(
    "what",
    ["backup", pytest.param("rollback", marks=pytest.mark.promise("the receipt says how long clients were held"))],
)
def test_the_receipt_says_what_clients_measure(sandbox: Sandbox, what: str) -> None:
    """A client that comes all the time sees a gap: not shorter than what is told, and hardly longer."""
    sandbox.back_up()
    stopped = threading.Event()
    gaps: list[float] = []

    def come_and_go() -> None:
        last = time.monotonic()
        while not stopped.is_set():
            try:
                psycopg.connect(sandbox.url).close()
            except psycopg.Error:
                continue
            now = time.monotonic()
            gaps.append(now - last)
            last = now

    thread = in_background(come_and_go)
    wait_until(lambda: len(gaps) > 20)
    # Somebody who has to be waited for makes the hold long, beside which the noise of the machine is small.
    with transaction(sandbox):
        rules = HoldRules(grace=2 * SECOND)
        receipt: BackupReceipt | SwapReceipt
        receipt = sandbox.back_up(hold=rules) if what == "backup" else sandbox.roll_back(hold=rules)
    wait_until(lambda: max(gaps) > 1)
    stopped.set()
    thread.join()
    told = receipt.outage.total_seconds()
    assert told >= 2
    assert 0.9 * told <= max(gaps) <= 1.5 * told


@pytest.mark.usefixtures("client_programs")
def test_the_receipt_tells_idle_sessions_from_those_at_work_and_says_why_it_went_as_it_did(sandbox: Sandbox) -> None:
    with sandbox.connect(application_name="idle one"), transaction(sandbox):
        ran = sandbox.run("rollback", sandbox.back_up(strategy=Strategy.ONLINE).backup.name, "--grace", "100ms")
    assert re.search(r"Disconnected +2 sessions \(billing, idle one\); 1 of them was at work:\n", ran.out), ran.out
    assert re.search(r"billing: idle in transaction since \d\d:\d\d:\d\d UTC\n", ran.out), ran.out
    assert re.search(r"\(.*leaving \d+ ms.*, swap \d+ ms", ran.out), ran.out
    sandbox.back_up()
    ran = run_snapkit("backup", "--max-outage", "1ms", url=sandbox.url, SNAPKIT_PG_BIN=os.environ[VARIABLE])
    assert re.search(r"Strategy +online, because a clone would have held", ran.out), ran.out


def test_the_phases_of_a_run_are_told_with_their_times(sandbox: Sandbox) -> None:
    backup, rollback = sandbox.back_up(), sandbox.roll_back()
    kept = [phase.name for phase in sandbox.back_up().phases]
    assert kept == [phase.name for phase in backup.phases] == ["checks", "checkpoint", "clone", "finish", "afterwards"]
    assert [phase.name for phase in rollback.phases] == ["checks", "swap", "afterwards"]
    assert [phase.name for phase in sandbox.roll_back(keep_backup=True).phases] == [
        "checks",
        "clone",
        "swap",
        "afterwards",
    ]
    for receipt in (backup, rollback):
        held = sum((phase.duration for phase in receipt.phases if phase.holds), timedelta(0))
        assert receipt.outage <= held <= sum((phase.duration for phase in receipt.phases), timedelta(0))
        assert sum((phase.duration for phase in receipt.phases), timedelta(0)) <= receipt.duration


def test_a_role_that_may_not_write_checkpoints_backs_up_without(sandbox: Sandbox) -> None:
    role = sandbox.role("owner", "LOGIN CREATEDB")
    sandbox.execute(f'ALTER DATABASE "{sandbox.name}" OWNER TO {role}')
    url = sandbox.cluster.url(sandbox.name, user=role)
    assert "CHECKPOINT" not in sandbox.run("backup", "--dry-run", url=url).out
    assert sandbox.run("backup", url=url).code == 0
    if sandbox.version >= 15:
        sandbox.execute(f"GRANT pg_checkpoint TO {role}")
        assert "CHECKPOINT" in sandbox.run("backup", "--dry-run", url=url).out
        assert sandbox.run("backup", url=url).code == 0


def test_a_role_that_may_not_notify_waits_for_the_server_to_look_again(sandbox: Sandbox) -> None:
    role = sandbox.role("owner", "LOGIN CREATEDB")
    sandbox.execute(f'ALTER DATABASE "{sandbox.name}" OWNER TO {role}')
    url = sandbox.cluster.url(sandbox.name, user=role)
    sandbox.execute("REVOKE EXECUTE ON FUNCTION pg_notify FROM PUBLIC")
    try:
        with psycopg.connect(url) as client:
            done = sandbox.run("backup", "--json", url=url)
            with pytest.raises(psycopg.errors.AdminShutdown):
                client.execute("SELECT 1")
    finally:
        sandbox.execute("GRANT EXECUTE ON FUNCTION pg_notify TO PUBLIC")
    assert done.code == 0, done.out
    assert len(done.data["sessions"]) == 1


@pytest.mark.promise("exit code 15")
def test_the_options_and_what_comes_of_them(sandbox: Sandbox) -> None:
    done = sandbox.run("backup", "--grace", "0s", "--max-outage", "30s", "--json").data
    assert {"phases", "sessions", "copied_bytes", "bytes_per_second", "blocks_shared"} <= set(done)
    assert done["copied_bytes"] > 1_000_000
    held = sandbox.run("backup", "--max-outage", "1ms", "--json", "--strategy", "file-copy")
    assert (held.code, held.document["error"]["code"]) == (15, "outage_limit")
    for words in (("--max-outage", "0s"), ("--max-outage", "soon"), ("--grace", "-1s")):
        assert sandbox.run("rollback", "--latest", *words).code == 2
