"""A primary with a streaming standby: what arrives there, and who must not go on reading what has been displaced."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg
import pytest
from psycopg import sql

from snapkit.core.checks.facts import Status
from snapkit.core.outage.hold_rules import DEFAULT_RULES, HoldRules
from snapkit.core.outage.standbys import Standby
from snapkit.core.reporting import Caution, Progress
from snapkit.errors import BusyError
from snapkit.postgres.catalog import server_facts
from snapkit.services.backup import BackupRequest, back_up
from snapkit.services.doctor import diagnose
from snapkit.services.outage import standbys
from snapkit.services.outage.clients import Clients
from snapkit.services.outage.standbys import Replica, replicas_of
from snapkit.services.rollback import SwapReceipt, SwapRequest, swap
from tests.cluster import PASSWORD, Cluster
from tests.sandbox import LOCK_WAIT, Connection, Sandbox, command_environment, run_snapkit, wait_until


def _ask(server: Cluster, statement: str, *values: Any) -> list[tuple[Any, ...]]:
    with psycopg.connect(server.url("postgres"), autocommit=True) as connection:
        cursor = connection.execute(statement, values or None)
        return cursor.fetchall() if cursor.description else []


def _reader(standby: Cluster, sandbox: Sandbox, user: str = "postgres") -> Connection:
    """A session on the standby that reads the source."""
    return psycopg.connect(standby.url(sandbox.name, user=user), autocommit=True, application_name="reporting")


def _items(connection: Connection) -> int:
    ((number,),) = connection.execute("SELECT count(*) FROM item").fetchall()
    return int(number)


def _arrived(sandbox: Sandbox, standby: Cluster) -> None:
    """Wait until the standby has replayed all that the primary has done."""
    ((position,),) = sandbox.execute("SELECT pg_current_wal_insert_lsn()::text")
    wait_until(lambda: _ask(standby, "SELECT pg_last_wal_replay_lsn() >= %s::pg_lsn", position) == [(True,)])


@contextmanager
def _paused(standby: Cluster) -> Iterator[None]:
    _ask(standby, "SELECT pg_wal_replay_pause()")
    wait_until(lambda: _ask(standby, "SELECT pg_get_wal_replay_pause_state()") == [("paused",)])
    try:
        yield
    finally:
        _ask(standby, "SELECT pg_wal_replay_resume()")


def _is_ended(connection: Connection) -> bool:
    try:
        connection.execute("SELECT 1")
    except psycopg.OperationalError:
        return True
    return False


def _codes(cautions: tuple[Caution, ...]) -> list[str]:
    return [caution.code for caution in cautions]


def _told(sandbox: Sandbox, standby: Cluster, **how: Any) -> tuple[Replica, ...]:
    return replicas_of([standby.url(sandbox.name, **how)], sandbox.name, None)


def _swap(
    sandbox: Sandbox,
    standby: Cluster,
    observe: Any = lambda progress: None,
    *,
    hold: HoldRules = DEFAULT_RULES,
    needed: bool = True,
    **request: Any,
) -> SwapReceipt:
    clients = Clients(hold, _told(sandbox, standby), needed=needed)
    return swap(sandbox.server(), SwapRequest(clients=clients, **request), LOCK_WAIT, observe)


# --- what is promised -------------------------------------------------------------------------------------------------


@pytest.mark.promise("sessions on a standby see the restored state")
def test_sessions_on_a_replica_see_the_restored_state_and_after_an_undo_the_other(
    sandbox: Sandbox, standby: Cluster
) -> None:
    flag = ("--replica-url", standby.url(sandbox.name), "--json")
    backup = sandbox.run("backup", *flag).data
    where = {"host": str(standby.root), "port": standby.port}
    assert backup["replicas"] == [where | {"sessions_disconnected": 0}]
    # It has been waited for: it is there, and sealed.
    name = backup["backup"]["name"]
    assert _ask(standby, "SELECT datallowconn FROM pg_database WHERE datname = %s", name) == [(False,)]
    sandbox.ruin()
    _arrived(sandbox, standby)
    for words, before, after in ((["rollback", "--latest"], 10, 100), (["undo"], 100, 10)):
        reader = _reader(standby, sandbox)
        assert _items(reader) == before
        ran = sandbox.run(*words, *flag)
        assert ran.data["replicas"] == [where | {"sessions_disconnected": 1}], ran.err
        assert ran.document["warnings"] == []
        assert _is_ended(reader)
        with _reader(standby, sandbox) as again:
            assert _items(again) == after


def test_without_the_url_the_session_goes_on_and_the_run_says_so(sandbox: Sandbox, standby: Cluster) -> None:
    ran = sandbox.run("backup", "--json")
    assert (ran.data["replicas"], ran.document["warnings"]) == ([], [])
    sandbox.ruin()
    _arrived(sandbox, standby)
    reader = _reader(standby, sandbox)
    preview = sandbox.run("rollback", "--latest", "--dry-run").out
    assert "1 standby streams from this server (walreceiver); without --replica-url" in preview
    ran = sandbox.run("rollback", "--latest", "--json")
    assert ran.code == 0
    (warning,) = ran.document["warnings"]
    assert warning["code"] == "standbys_not_told"
    for words in ("walreceiver", "until they reconnect", "--replica-url"):
        assert words in warning["message"]
    _arrived(sandbox, standby)
    assert reader.execute("SELECT current_database()").fetchone() == (ran.data["displaced"]["name"],)
    assert _items(reader) == 10
    # What the warning says to type ends it.
    statement = re.search(r"SELECT .*?;", warning["message"])
    assert statement is not None
    assert _ask(standby, statement[0]) == [(True,)]
    assert _is_ended(reader)
    text = sandbox.run("undo")
    assert "Warning: 1 standby streams from this server" in text.err


def test_the_text_tells_of_the_replica(sandbox: Sandbox, standby: Cluster) -> None:
    url = standby.url(sandbox.name)
    place = f"{standby.root}:{standby.port}"
    ran = run_snapkit("backup", "--url", sandbox.url, "--replica-url", url)
    assert re.search(rf"Standby +{place}$", ran.out, re.MULTILINE)
    assert f"--replica-url {url}" in ran.out.replace("'", "")  # in the command that it says to type
    with _reader(standby, sandbox):
        preview = run_snapkit("rollback", "--latest", "--dry-run", url=sandbox.url, SNAPKIT_REPLICA_URL=url).out
        assert f"{place}: 1 session (reporting), will be disconnected" in preview
        assert "without --replica-url" not in preview
        ran = run_snapkit("rollback", "--latest", url=sandbox.url, SNAPKIT_REPLICA_URL=url)
    assert re.search(rf"On standby +{place}: 1 session \(reporting\)$", ran.out, re.MULTILINE)
    assert ran.err == ""


@pytest.mark.parametrize("form", ['replica-url = "{}"', 'replica-url = ["{}"]'])
def test_the_settings_file_names_replicas_and_their_url_any_database_or_none(
    sandbox: Sandbox, standby: Cluster, tmp_path: Path, form: str
) -> None:
    for url in (standby.url("postgres"), standby.url("")):
        (tmp_path / "snapkit.toml").write_text(form.format(url) + "\n")
        sandbox.back_up()
        _arrived(sandbox, standby)
        reader = _reader(standby, sandbox)
        ran = run_snapkit("rollback", "--latest", "--json", url=sandbox.url, cwd=tmp_path)
        assert ran.data["replicas"][0]["sessions_disconnected"] == 1
        assert _is_ended(reader)


def test_readers_that_come_back_at_once_do_not_stay_in_the_displaced_database(
    sandbox: Sandbox, standby: Cluster
) -> None:
    sandbox.back_up()
    _arrived(sandbox, standby)
    stopped = threading.Event()
    queries = 0

    def read() -> None:
        nonlocal queries
        while not stopped.is_set():
            try:
                with _reader(standby, sandbox) as reader:
                    while not stopped.is_set():
                        reader.execute("SELECT count(*) FROM item")
                        queries += 1
            except psycopg.Error:
                continue

    threads = [threading.Thread(target=read, daemon=True) for _ in range(6)]
    for thread in threads:
        thread.start()
    try:
        for number in range(6):
            seen = queries
            wait_until(lambda seen=seen: queries > seen + 20)  # type: ignore[misc]
            receipt = _swap(sandbox, standby, undo=number > 0)
            assert receipt.cautions == ()
            assert receipt.displaced is not None
            inside = "SELECT count(*) FROM pg_stat_activity WHERE datid = %s"
            assert _ask(standby, inside, receipt.displaced.database.oid) == [(0,)]
    finally:
        stopped.set()
        for thread in threads:
            thread.join(timeout=30)


def test_a_rollback_without_a_live_database_needs_nobody_ended(sandbox: Sandbox, standby: Cluster) -> None:
    sandbox.back_up()
    sandbox.execute(sql.SQL("DROP DATABASE {}").format(sql.Identifier(sandbox.name)))
    assert sandbox.roll_back().cautions == ()
    sandbox.back_up()
    sandbox.execute(sql.SQL("DROP DATABASE {}").format(sql.Identifier(sandbox.name)))
    receipt = _swap(sandbox, standby)
    assert (receipt.cautions, receipt.displaced) == ((), None)
    with _reader(standby, sandbox) as reader:
        assert _items(reader) == 100


# --- refused before anything is touched -------------------------------------------------------------------------------


def _refused(sandbox: Sandbox, code: int, *words: str) -> dict[str, Any]:
    """Run commands that take the option; each is to end with ``code`` and change nothing. Returns the last error."""
    names = sandbox.databases()
    error: dict[str, Any] = {}
    for command in (["rollback", "--latest"], ["rollback", "--latest", "--dry-run"], ["backup"]):
        with sandbox.connect(application_name="client") as client:
            ran = sandbox.run(*command, *words, "--json")
            assert ran.code == code, ran.out
            assert client.execute("SELECT 1").fetchone() == (1,)  # not even disconnected
        error = ran.document["error"]
        assert "Nothing was changed." in error["message"] or "No connection was made." in error["message"]
        assert sandbox.databases() == names
    return error


def test_a_replica_that_is_down(sandbox: Sandbox, standby: Cluster) -> None:
    sandbox.back_up()
    standby.stop()
    try:
        error = _refused(sandbox, 12, "--replica-url", standby.url(sandbox.name, tcp=True))
    finally:
        standby.launch()
    assert f"Standby 127.0.0.1:{standby.port}: " in error["message"]
    assert "leave out its --replica-url" in error["hint"]
    assert PASSWORD not in str(error)


def test_what_is_no_standby_of_this_server(sandbox: Sandbox, standby: Cluster) -> None:
    sandbox.back_up()
    error = _refused(sandbox, 2, "--replica-url", sandbox.url)
    assert "not a standby" in error["message"]
    assert str(sandbox.cluster.port) in error["message"]
    other = Cluster(sandbox.cluster.binaries)
    try:
        other.start()
        other.stop()
        (other.data / "standby.signal").touch()
        other.launch()
        wrong = ("--replica-url", other.url(sandbox.name))
        error = _refused(sandbox, 2, "--replica-url", standby.url(sandbox.name), *wrong)
        assert "a standby of another server" in error["message"]
        assert str(other.port) in error["message"]
    finally:
        other.remove()


def test_where_the_system_identifier_may_not_be_read_another_server_comes_to_no_harm(
    sandbox: Sandbox, standby: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The right is taken away; then the swap that never arrives on the other server is what keeps it from harm."""
    monkeypatch.setattr(standbys, "PATIENCE", timedelta(seconds=0.5))
    sandbox.back_up()
    owner = sandbox.role("owner", "SUPERUSER LOGIN")
    sandbox.execute("REVOKE EXECUTE ON FUNCTION pg_control_system() FROM PUBLIC")
    try:
        reader = sandbox.role("reader")
        with sandbox.server(sandbox.cluster.url(sandbox.name, user=reader)).connect() as connection:
            assert server_facts.system_identifier(connection) is None
        with sandbox.server(sandbox.cluster.url(sandbox.name, user=owner)).connect() as connection:
            assert isinstance(server_facts.system_identifier(connection), int)
    finally:
        sandbox.execute("GRANT EXECUTE ON FUNCTION pg_control_system() TO PUBLIC")
    monkeypatch.setattr(server_facts, "system_identifier", lambda connection: None)
    other = Cluster(sandbox.cluster.binaries)
    try:
        other.start()
        _ask(other, sql.SQL("CREATE DATABASE {}").format(sql.Identifier(sandbox.name)).as_string())
        other.stop()
        (other.data / "standby.signal").touch()
        other.launch()
        reader_there = psycopg.connect(other.url(sandbox.name), autocommit=True)
        receipt = _swap(sandbox, other)
        assert _codes(receipt.cautions) == ["replica_behind"]
        assert reader_there.execute("SELECT 1").fetchone() == (1,)
        reader_there.close()
    finally:
        other.remove()


def test_a_url_that_is_wrong_is_named_by_its_number(sandbox: Sandbox) -> None:
    for url, words in (
        ("postgresql://u:{}@h:x/app", "malformed"),
        ("mysql://u:{}@h/app", "does not begin with"),
        ("postgresql://u:{}@one,two/app", "several hosts"),
    ):
        secret = "Tr0ub4dor-3"
        ran = sandbox.run("undo", "--json", "--replica-url", sandbox.url, "--replica-url", url.format(secret))
        assert ran.code == 2
        assert ran.document["error"]["message"].startswith("Replica URL 2 of 2: ")
        assert words in ran.document["error"]["message"]
        assert secret not in ran.out + ran.err


def test_no_password_is_shown(sandbox: Sandbox, standby: Cluster) -> None:
    good, bad = standby.url(sandbox.name, tcp=True), standby.url(sandbox.name, tcp=True, password="s3cr3t-Tr0ub4dor")
    outputs = [
        run_snapkit("backup", "--verbose", "--replica-url", good, url=sandbox.url),
        run_snapkit("rollback", "--latest", "--verbose", url=sandbox.url, SNAPKIT_REPLICA_URL=good),
        run_snapkit("undo", "--json", "--verbose", "--replica-url", good, url=sandbox.url),
        run_snapkit("undo", "--verbose", "--replica-url", bad, url=sandbox.url),
        run_snapkit("backup", "--json", "--verbose", url=sandbox.url, SNAPKIT_REPLICA_URL=bad),
    ]
    assert [ran.code for ran in outputs] == [0, 0, 0, 12, 12]
    for ran in outputs:
        for secret in (PASSWORD, quote(PASSWORD, safe=""), "Tr0ub4dor"):
            assert secret not in ran.out + ran.err
    ran = run_snapkit("backup", "--url", sandbox.url, "--replica-url", good)
    assert f"postgres:...@127.0.0.1:{standby.port}" in ran.out


def test_no_disconnect_counts_the_sessions_there_too(sandbox: Sandbox, standby: Cluster) -> None:
    sandbox.back_up()
    with _reader(standby, sandbox) as reader:
        ran = sandbox.run("rollback", "--latest", "--no-disconnect", "--json", "--replica-url", standby.url("x"))
        assert ran.code == 11, ran.out
        assert f"Standby {standby.root}:{standby.port}: 1 session is connected" in ran.document["error"]["message"]
        assert _items(reader) == 100
    gone = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'reporting'"
    wait_until(lambda: _ask(standby, gone) == [(0,)])
    assert _codes(_swap(sandbox, standby, hold=HoldRules(disconnect=False)).cautions) == []


def test_an_ordinary_owner_and_the_sessions_of_others_there(sandbox: Sandbox, standby: Cluster) -> None:
    owner, colleague = sandbox.role("owner", "LOGIN CREATEDB"), sandbox.role("colleague", "LOGIN")
    sandbox.execute(
        sql.SQL("ALTER DATABASE {} OWNER TO {}").format(sql.Identifier(sandbox.name), sql.Identifier(owner))
    )
    url = sandbox.cluster.url(sandbox.name, user=owner)
    assert sandbox.run("backup", url=url).code == 0
    with sandbox.connect() as connection:
        connection.execute(sql.SQL("GRANT SELECT ON item TO {}").format(sql.Identifier(owner)))
    _arrived(sandbox, standby)
    there = standby.url(sandbox.name, user=owner)
    with _reader(standby, sandbox, colleague):
        ran = sandbox.run("rollback", "--latest", "--json", "--replica-url", there, url=url)
        assert ran.code == 13, ran.out
        assert f"Standby {standby.root}:{standby.port}: 1 session is connected" in ran.document["error"]["message"]
        assert f'GRANT pg_signal_backend TO "{owner}";' in ran.document["error"]["hint"]
        sandbox.execute(sql.SQL("GRANT pg_signal_backend TO {}").format(sql.Identifier(owner)))
        _arrived(sandbox, standby)
        ran = sandbox.run("rollback", "--latest", "--json", "--replica-url", there, url=url)
        assert ran.data["replicas"][0]["sessions_disconnected"] == 1
    # Told of nothing, it warns; what a role without pg_monitor sees of a standby is its name.
    for grant in ("", "GRANT pg_monitor TO {}"):
        if grant:
            sandbox.execute(sql.SQL(grant).format(sql.Identifier(owner)))
        ran = sandbox.run("undo", "--json", url=url)
        (warning,) = ran.document["warnings"]
        assert warning["code"] == "standbys_not_told"
        assert "1 standby streams from this server (walreceiver)" in warning["message"]


# --- what goes wrong after the COMMIT is a warning --------------------------------------------------------------------


def test_a_replica_that_is_behind(sandbox: Sandbox, standby: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(standbys, "PATIENCE", timedelta(seconds=0.5))
    sandbox.back_up()
    sandbox.ruin()
    _arrived(sandbox, standby)
    reader = _reader(standby, sandbox)
    with _paused(standby):
        told = _told(sandbox, standby)
        backup = back_up(
            sandbox.server(), BackupRequest(clients=Clients(standbys=told)), LOCK_WAIT, lambda progress: None
        )
        receipt = _swap(sandbox, standby, wanted=sandbox.entries()[-1].name)
        for cautions in (backup.cautions, receipt.cautions):
            assert _codes(cautions) == ["replica_behind"]
            assert "(its replay is paused)" in cautions[0].message
            assert f"{standby.root}:{standby.port}" in cautions[0].message
        assert receipt.replicas[0].disconnected == ()
        assert len(sandbox.items()) == 100
        assert _items(reader) == 10
    _arrived(sandbox, standby)
    assert _items(reader) == 10
    statement = re.search(r"SELECT .*?;", receipt.cautions[0].message)
    assert statement is not None
    assert _ask(standby, statement[0]) == [(True,)]
    assert _is_ended(reader)


def test_a_replica_that_goes_down_after_the_swap(
    sandbox: Sandbox, standby: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(standbys, "_BETWEEN_ATTEMPTS", 0.1)
    sandbox.back_up()

    def observe(progress: Progress) -> None:
        if "standbys" in progress.phase:
            standby.stop("immediate")

    try:
        receipt = _swap(sandbox, standby, observe)
    finally:
        standby.launch()
    assert _codes(receipt.cautions) == ["replica_unreachable"]
    assert f"{standby.root}:{standby.port}" in receipt.cautions[0].message
    assert receipt.displaced is not None
    assert receipt.displaced.name in sandbox.databases()


@pytest.fixture
def own_standby(sandbox: Sandbox) -> Iterator[Cluster]:
    """A standby that a test may promote."""
    before = len(_ask(sandbox.cluster, "SELECT 1 FROM pg_stat_replication"))
    copy = Cluster(sandbox.cluster.binaries)
    try:
        copy.copy_of(sandbox.cluster)
        yield copy
    finally:
        copy.remove()
        wait_until(lambda: len(_ask(sandbox.cluster, "SELECT 1 FROM pg_stat_replication")) <= before)


LONG_GRACE = HoldRules(grace=timedelta(seconds=10))
"""With it a swap says when it lets transactions end, after its first look at the standbys."""


def _promoting(standby: Cluster) -> Callable[[Progress], None]:
    """Promote the standby between the first look and the swap."""

    def observe(progress: Progress) -> None:
        if progress.phase == "Letting transactions end":
            _ask(standby, "SELECT pg_promote()")

    return observe


def test_a_standby_that_is_promoted_before_the_swap(sandbox: Sandbox, own_standby: Cluster) -> None:
    sandbox.back_up()
    before = sandbox.databases()

    with pytest.raises(BusyError, match="has just been promoted") as raised:
        _swap(sandbox, own_standby, _promoting(own_standby), hold=LONG_GRACE)
    assert raised.value.state == f"Nothing was changed; {sandbox.name!r} is as it was."
    assert sandbox.databases() == before


def test_a_guard_goes_back_though_a_standby_was_promoted(sandbox: Sandbox, own_standby: Cluster) -> None:
    sandbox.back_up()
    sandbox.ruin()
    receipt = _swap(sandbox, own_standby, _promoting(own_standby), hold=LONG_GRACE, needed=False)
    # Another standby that this server may have is told of besides.
    (left_out,) = (caution for caution in receipt.cautions if caution.code != "standbys_not_told")
    assert (left_out.code, "promoted" in left_out.message) == ("replica_left_out", True)
    assert receipt.replicas == ()
    assert len(sandbox.items()) == 100


def test_a_standby_that_is_promoted_after_the_swap_has_not_got_it(
    sandbox: Sandbox, own_standby: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(standbys, "PATIENCE", timedelta(minutes=10))
    sandbox.back_up()
    sandbox.ruin()
    _arrived(sandbox, own_standby)
    # It receives nothing any more, and so will not have the swap when it is promoted.
    _ask(own_standby, "ALTER SYSTEM SET primary_conninfo = ''")
    _ask(own_standby, "SELECT pg_reload_conf()")
    wait_until(lambda: not _ask(own_standby, "SELECT 1 FROM pg_stat_wal_receiver"))

    def observe(progress: Progress) -> None:
        if "standbys" in progress.phase:
            _ask(own_standby, "SELECT pg_promote()")

    receipt = _swap(sandbox, own_standby, observe)
    (caution,) = (each for each in receipt.cautions if each.code != "standbys_not_told")
    assert caution.code == "replica_promoted"
    assert "does not have the swap" in caution.message
    with _reader(own_standby, sandbox) as there:
        assert _items(there) == 10


def test_sessions_that_may_not_be_ended_or_are_not_to_be(sandbox: Sandbox, standby: Cluster) -> None:
    owner = sandbox.role("owner", "LOGIN CREATEDB")
    sandbox.execute(
        sql.SQL("ALTER DATABASE {} OWNER TO {}").format(sql.Identifier(sandbox.name), sql.Identifier(owner))
    )
    server = sandbox.server(sandbox.cluster.url(sandbox.name, user=owner))
    back_up(server, BackupRequest(), LOCK_WAIT, lambda progress: None)
    _arrived(sandbox, standby)
    readers: list[Connection] = []

    def observe(progress: Progress) -> None:
        """Comes in after the check, before the swap arrives."""
        if "standbys" in progress.phase:
            readers.append(_reader(standby, sandbox))
            _ask(standby, "SELECT pg_wal_replay_resume()")

    told = _told(sandbox, standby, user=owner)
    for undo, disconnect, number in ((False, True, 0), (True, False, 1)):
        with _paused(standby):
            request = SwapRequest(undo=undo, clients=Clients(HoldRules(disconnect), told))
            receipt = swap(server, request, LOCK_WAIT, observe)
        assert _codes(receipt.cautions) == ["replica_sessions_left"]
        assert "user postgres, reporting" in receipt.cautions[0].message
        assert _items(readers[number]) == 100
        readers[number].close()
        _arrived(sandbox, standby)


def test_ctrl_c_while_it_waits_is_not_told_as_a_failed_rollback(sandbox: Sandbox, standby: Cluster) -> None:
    sandbox.back_up()
    _arrived(sandbox, standby)
    with _paused(standby):
        running = subprocess.Popen(
            [sys.executable, "-m", "snapkit", "rollback", "--latest", "--json", "--replica-url", standby.url("x")],
            env=command_environment(sandbox.url),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        wait_until(lambda: any("_old_" in name for name in sandbox.databases()))
        waiting = "SELECT 1 FROM pg_stat_activity WHERE application_name = 'snapkit'"
        wait_until(lambda: _ask(standby, waiting) == [(1,)])
        running.send_signal(signal.SIGINT)
        out, err = running.communicate(timeout=20)
    assert running.returncode == 0, (out, err)
    assert '"status": "success"' in out
    assert '"replica_behind"' in out
    assert "Traceback" not in err


# --- what is a standby ------------------------------------------------------------------------------------------------


def test_what_streams_and_is_no_standby_is_not_taken_for_one(sandbox: Sandbox) -> None:
    plain = sandbox.role("plain")

    def seen(user: str = "postgres") -> list[Standby]:
        with sandbox.server(sandbox.cluster.url(sandbox.name, user=user)).connect() as connection:
            return server_facts.standbys(connection)

    real = seen()  # other tests here may have left theirs running
    # A session of logical replication is inside a database.
    with psycopg.connect(sandbox.url + "&replication=database", autocommit=True):
        assert sandbox.execute("SELECT count(*) FROM pg_stat_replication") == [(len(real) + 1,)]
        assert seen() == seen(plain) == real
    where = ("-h", str(sandbox.cluster.root), "-p", str(sandbox.cluster.port), "-U", "postgres")
    target = sandbox.cluster.root / f"{sandbox.prefix}_wal"
    target.mkdir()
    receiving = subprocess.Popen(
        [sandbox.cluster.binaries / "pg_receivewal", *where, "-D", target, "--no-loop", "--no-sync"],
        env=command_environment(PGAPPNAME="archive"),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        archive = "SELECT state FROM pg_stat_replication WHERE application_name = 'archive'"
        wait_until(lambda: sandbox.execute(archive) == [("streaming",)])
        assert seen() == real
        # Who may not see what it does sees its name, and has to take it for a standby.
        assert Standby("archive", None) in seen(plain)
    finally:
        receiving.terminate()
        receiving.wait(timeout=20)
        wait_until(lambda: sandbox.execute(archive) == [])


def test_doctor_tells_of_standbys(sandbox: Sandbox, standby: Cluster) -> None:
    check = {check.name: check for check in diagnose(sandbox.server()).checks}["standbys"]
    assert check.status is Status.WARNING
    assert "1 standby streams from this server (walreceiver)" in check.message
    assert check.hint is not None
    assert "--replica-url" in check.hint
    assert sandbox.run("doctor").code == 0


# --- servers that take no writes --------------------------------------------------------------------------------------


@pytest.fixture
def read_only(sandbox: Sandbox) -> Iterator[None]:
    sandbox.execute("SET default_transaction_read_only = off")  # for the tests' own session
    sandbox.execute("ALTER SYSTEM SET default_transaction_read_only = on")
    sandbox.execute("SELECT pg_reload_conf()")
    shown = "SELECT reset_val FROM pg_settings WHERE name = 'default_transaction_read_only'"
    wait_until(lambda: sandbox.execute(shown) == [("on",)])
    yield
    sandbox.execute("ALTER SYSTEM RESET default_transaction_read_only")
    sandbox.execute("SELECT pg_reload_conf()")
    wait_until(lambda: sandbox.execute(shown) == [("off",)])


def test_a_read_only_server_says_so_at_once_and_lets_room_be_made(
    sandbox: Sandbox, request: pytest.FixtureRequest
) -> None:
    old = sandbox.back_up().backup.name
    new = sandbox.back_up().backup.name
    request.getfixturevalue("read_only")
    checks = {check.name: check for check in diagnose(sandbox.server()).checks}
    assert checks["server"].status is Status.PROBLEM
    for words in (["backup"], ["backup", "--dry-run"], ["rollback", "--latest"], ["undo"], ["pin", new]):
        ran = sandbox.run(*words, "--json")
        assert ran.code == 1, ran.out
        assert "read-only" in ran.document["error"]["message"]
        assert "ALTER SYSTEM RESET" in ran.document["error"]["hint"]
    assert sandbox.run("list").code == 0
    assert [each["name"] for each in sandbox.run("prune", "--keep", "1", "--json").data["removed"]] == [old]
    assert sandbox.run("recover").code == 0
    assert sandbox.databases() == [sandbox.name, new]


def test_a_role_or_a_database_or_a_client_that_is_read_only_is_not_a_read_only_server(sandbox: Sandbox) -> None:
    role = sandbox.role("careful", "SUPERUSER LOGIN")
    setting = "SET default_transaction_read_only = on"
    url = sandbox.cluster.url(sandbox.name, user=role)
    sandbox.execute(sql.SQL("ALTER ROLE {} " + setting).format(sql.Identifier(role)))
    assert sandbox.run("backup", url=url).code == 0
    sandbox.execute(sql.SQL("ALTER ROLE {} RESET ALL").format(sql.Identifier(role)))
    sandbox.execute(f"ALTER DATABASE postgres {setting}")
    try:
        assert sandbox.run("backup", url=url).code == 0
        checks = {check.name: check for check in diagnose(sandbox.server()).checks}
        assert checks["server"].status is Status.OK
    finally:
        sandbox.execute("ALTER DATABASE postgres RESET default_transaction_read_only")
    assert run_snapkit("backup", url=url, PGOPTIONS="-c default_transaction_read_only=on").code == 0
