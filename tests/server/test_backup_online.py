"""--strategy online: a copy while clients work, as of one moment, sealed, and the same as its source."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql

from snapkit.core.inventory.database import PARTIAL_CONNECTION_LIMIT
from snapkit.core.inventory.kinds import Kind, Strategy
from snapkit.errors import BusyError, ConnectionFailedError, DiskFullError, PrivilegeError, SnapkitError, UsageError
from snapkit.postgres.copying import snapshot
from snapkit.postgres.copying.programs import VARIABLE, find_programs
from snapkit.postgres.sql import locks
from snapkit.services.backup import BackupRequest, back_up
from snapkit.services.copying.online import run
from snapkit.services.copying.online.build import build
from tests.disks import NoDiskError, SmallDisk
from tests.sandbox import LOCK_WAIT, Sandbox, command_environment, run_snapkit, wait_until
from tests.server.test_sealed import Intruders

pytestmark = pytest.mark.usefixtures("client_programs")

ODDITIES = [
    "CREATE SCHEMA \"Odd \"\"schema\"\"; 'x'\"",
    "CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy')",
    "CREATE DOMAIN positive AS int CHECK (value > 0)",
    "CREATE TYPE pair AS (a int, b text)",
    """CREATE TABLE "Odd ""schema""; 'x'"."Big ""table"" %s ü" (
        id int GENERATED ALWAYS AS IDENTITY, "Col ""umn"" %s" text, raw bytea, list text[], moods mood[], p pair,
        d positive, f float8, n numeric, at timestamptz, j jsonb, kind regclass, amount money,
        twice int GENERATED ALWAYS AS (d * 2) STORED, code varchar(5) CHECK (code IN ('a', 'b')))""",
    """INSERT INTO "Odd ""schema""; 'x'"."Big ""table"" %s ü"
        ("Col ""umn"" %s", raw, list, moods, p, d, f, n, at, j, kind, amount, code)
        SELECT CASE WHEN n % 3 = 0 THEN NULL WHEN n % 3 = 1 THEN E'tab\\t nl\\n back\\\\slash \\\\N ü' ELSE '' END,
        decode(md5(n::text), 'hex'), ARRAY['a,"b', NULL, E'\\\\'], ARRAY['sad', 'happy']::mood[],
        ROW(n, 'x')::pair, n, 1.0 / n, n / 7.0, now() + n * interval '1 h', '{"a": [1, null]}', 'pg_class', n, 'b'
        FROM generate_series(1, 20000) AS n""",
    "CREATE TABLE nothing ()",
    "INSERT INTO nothing DEFAULT VALUES",
    "CREATE TABLE parent (a int, payload text)",
    "CREATE TABLE child (b int) INHERITS (parent)",
    "INSERT INTO parent SELECT n, repeat('p', 200) FROM generate_series(1, 10000) AS n",
    "INSERT INTO child SELECT n, repeat('c', 200), n FROM generate_series(1, 10000) AS n",
    "CREATE TABLE parts (id int, region text, payload text) PARTITION BY LIST (region)",
    "CREATE TABLE parts_a PARTITION OF parts FOR VALUES IN ('a')",
    "CREATE TABLE parts_b PARTITION OF parts FOR VALUES IN ('b') PARTITION BY RANGE (id)",
    "CREATE TABLE parts_b1 PARTITION OF parts_b FOR VALUES FROM (0) TO (10000)",
    "CREATE TABLE parts_b2 PARTITION OF parts_b DEFAULT",
    """INSERT INTO parts SELECT n, CASE n % 2 WHEN 0 THEN 'a' ELSE 'b' END, repeat('x', 200)
        FROM generate_series(1, 20000) AS n""",
    "CREATE TABLE hashed (m mood, payload text) PARTITION BY HASH (m)",
    "CREATE TABLE hashed_0 PARTITION OF hashed FOR VALUES WITH (MODULUS 2, REMAINDER 0)",
    "CREATE TABLE hashed_1 PARTITION OF hashed FOR VALUES WITH (MODULUS 2, REMAINDER 1)",
    """INSERT INTO hashed SELECT (ARRAY['sad', 'ok', 'happy'])[1 + n % 3]::mood, repeat('h', 200)
        FROM generate_series(1, 20000) AS n""",
    "CREATE UNLOGGED TABLE hasty AS SELECT n, repeat('u', 100) AS u FROM generate_series(1, 15000) AS n",
    "CREATE MATERIALIZED VIEW totals AS SELECT region, count(*) FROM parts GROUP BY region",
    "CREATE VIEW happy AS SELECT * FROM hashed WHERE m = 'happy'",
    "CREATE SEQUENCE numbers START 7 INCREMENT 3",
    "SELECT nextval('numbers'), nextval('numbers')",
    "SELECT lo_from_bytea(424242, decode(repeat('ab', 5000), 'hex'))",
    "COMMENT ON LARGE OBJECT 424242 IS 'a large one'",
    """CREATE FUNCTION noted() RETURNS trigger LANGUAGE plpgsql AS
        $$BEGIN\n--\n-- Name: x; Type: TABLE\n--\nRETURN NEW; END$$""",
    "CREATE TRIGGER noting BEFORE INSERT ON parent FOR EACH ROW EXECUTE FUNCTION noted()",
    "CREATE FUNCTION told() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END'",
    "CREATE EVENT TRIGGER telling ON ddl_command_start EXECUTE FUNCTION told()",
    "ALTER TABLE parent ADD COLUMN gone int",
    "ALTER TABLE parent DROP COLUMN gone",
    "ALTER TABLE parent ADD PRIMARY KEY (a)",
    "ALTER TABLE item ADD COLUMN parent int REFERENCES parent (a)",
    "CREATE INDEX lower_payload ON parent (lower(payload)) WHERE a > 10",
    "ALTER TABLE item ENABLE ROW LEVEL SECURITY",
    "CREATE POLICY mine ON item USING (id > 0)",
    "CREATE RULE quiet AS ON DELETE TO nothing DO INSTEAD NOTHING",
    "CREATE PUBLICATION news FOR TABLE item",
    "CREATE STATISTICS together ON a, payload FROM parent",
    "ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO PUBLIC",
    "GRANT SELECT (id) ON item TO PUBLIC",
    "COMMENT ON TABLE item IS 'it''s an \"item\"'",
    "CREATE COLLATION mine FROM \"C\"",
    "CREATE TEXT SEARCH CONFIGURATION words (COPY = simple)",
    "CREATE CAST (pair AS text) WITH INOUT",
    "CREATE AGGREGATE longest (text) (SFUNC = textcat, STYPE = text)",
    "CREATE OPERATOR === (LEFTARG = int, RIGHTARG = int, FUNCTION = int4eq)",
    "REFRESH MATERIALIZED VIEW totals",
]  # fmt: skip

FILLER = "CREATE TABLE filler AS SELECT n, repeat(md5(n::text), 20) AS text FROM generate_series(1, 60000) AS n"
"""Some 40 MB, so that the copy takes long enough to be met in the middle."""


def furnish(sandbox: Sandbox, name: str | None = None) -> None:
    with sandbox.connect(name) as connection:
        for statement in ODDITIES:
            connection.execute(statement.encode())


def content(sandbox: Sandbox, name: str | None = None) -> dict[str, Any]:
    """Everything that a database holds, as text."""
    found: dict[str, Any] = {}
    with sandbox.connect(name) as connection:
        tables = connection.execute(
            "SELECT relnamespace::regnamespace::text, relname, oid::regclass::text FROM pg_class"
            " WHERE relkind IN ('r', 'p', 'm') AND relnamespace::regnamespace::text NOT IN"
            " ('pg_catalog', 'information_schema', 'pg_toast')"
        ).fetchall()
        for _, _, table in tables:
            query = sql.SQL("SELECT md5(string_agg(t::text, ' ' ORDER BY t::text)), count(*) FROM ONLY {} AS t")
            if "hashed_" not in table:  # of these, only the whole is the same
                found[table] = connection.execute(query.format(sql.SQL(table))).fetchall()
        for what in (
            "SELECT m::text, count(*) FROM hashed GROUP BY m ORDER BY m",
            "SELECT last_value, is_called FROM numbers",
            "SELECT oid, md5(lo_get(oid)), obj_description(oid, 'pg_largeobject') FROM pg_largeobject_metadata",
            """SELECT i.relname, indisvalid FROM pg_index JOIN pg_class AS i ON i.oid = indexrelid
                WHERE i.oid >= 16384 AND i.relname !~ '^pg_toast' ORDER BY 1""",
            "SELECT evtname, evtenabled FROM pg_event_trigger",
            "SELECT relname FROM pg_class WHERE relkind = 'r' AND reltuples < 0 AND oid >= 16384",
        ):
            found[what] = connection.execute(what).fetchall()
    return found


def opened(sandbox: Sandbox, name: str) -> str:
    sandbox.execute(sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS true").format(sql.Identifier(name)))
    return name


def online_backup(sandbox: Sandbox, url: str | None = None, **request: Any) -> Any:
    wanted = BackupRequest(strategy=Strategy.ONLINE, **request)
    return back_up(sandbox.server(url), wanted, LOCK_WAIT, lambda progress: None)


class Meanwhile:
    """The command at work on a source that takes it a while."""

    def __init__(self, sandbox: Sandbox, **environment: str) -> None:
        self.sandbox = sandbox
        self.process = subprocess.Popen(
            [sys.executable, "-m", "snapkit", "backup", "--strategy", "online", "--json"],
            env=command_environment(sandbox.url, **{VARIABLE: os.environ[VARIABLE], **environment}),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        wait_until(lambda: self.process.poll() is not None or self.is_copying())
        assert self.process.poll() is None, self.process.communicate()

    def is_copying(self) -> bool:
        query = "SELECT count(*) FROM pg_stat_activity WHERE datname LIKE %s AND query ~ '^COPY .*filler.* FROM STDIN'"
        return self.sandbox.execute(query, f"{self.sandbox.name}\\_partial%") == [(1,)]

    def end(self) -> tuple[int, dict[str, Any], str]:
        out, err = self.process.communicate(timeout=120)
        return self.process.returncode, json.loads(out) if out else {}, err


@pytest.fixture
def slow(sandbox: Sandbox) -> Sandbox:
    """A source with a large table, whose last rows are hard to load."""
    with sandbox.connect() as connection:
        connection.execute(FILLER)
        _take(connection, 0.02)
        connection.execute("ALTER TABLE filler ADD CHECK (slowly(n))")
    return sandbox


@pytest.fixture
def endless(slow: Sandbox) -> Sandbox:
    """The same, for what is not to be over before it is ended."""
    with slow.connect() as connection:
        _take(connection, 1.0)
    return slow


def _take(connection: psycopg.Connection[Any], seconds: float) -> None:
    """Let a copy of the source take so long for each hundred rows."""
    connection.execute(
        "CREATE OR REPLACE FUNCTION slowly(n int) RETURNS bool LANGUAGE plpgsql AS"
        " 'BEGIN IF n % 100 = 0 AND current_database() ~ ''_partial_'' THEN"
        f" PERFORM pg_sleep({seconds}); END IF; RETURN true; END'"
    )


@pytest.mark.promise("an online backup is the same as its source", "an online backup holds nobody")
def test_the_copy_is_the_same_and_so_is_what_comes_back(sandbox: Sandbox) -> None:
    furnish(sandbox)
    before = content(sandbox)
    receipt = online_backup(sandbox)
    assert receipt.backup.strategy is Strategy.ONLINE
    assert (receipt.disconnected, receipt.outage.total_seconds()) == ((), 0)
    assert receipt.cautions == ()
    row = sandbox.row(receipt.backup.name)
    assert (row["datallowconn"], row["datconnlimit"]) == (False, -1)
    assert sandbox.sessions(receipt.backup.name) == 0
    sandbox.ruin()
    sandbox.roll_back()
    after = content(sandbox)
    analyzed = "SELECT relname FROM pg_class WHERE relkind = 'r' AND reltuples < 0 AND oid >= 16384"
    assert after.pop(analyzed) == []
    before.pop(analyzed)
    assert {key: (before.get(key), value) for key, value in after.items() if before.get(key) != value} == {}
    assert after.keys() == before.keys()
    with sandbox.connect() as connection:
        assert connection.execute("SELECT nextval('numbers')").fetchone() == (13,)
    sandbox.undo()
    with sandbox.connect() as connection:
        assert connection.execute("SELECT count(*) FROM item").fetchone() == (10,)


def test_properties_and_an_empty_database(sandbox: Sandbox) -> None:
    owner = sandbox.role("Own\"er '%s", "LOGIN CREATEDB")
    guest = sandbox.role("guest")
    name = f"{sandbox.prefix}_Odd \"name'; %s ü"
    make = sql.SQL("CREATE DATABASE {} OWNER {} TEMPLATE template0 CONNECTION LIMIT 7")
    sandbox.execute(make.format(sql.Identifier(name), sql.Identifier(owner)))
    for statement in (
        "REVOKE ALL ON DATABASE {} FROM PUBLIC",
        "GRANT CONNECT ON DATABASE {} TO {}",
        "ALTER DATABASE {} SET search_path TO a, \"B\"",
        "ALTER DATABASE {} SET default_transaction_read_only TO on",
        "ALTER DATABASE {} SET statement_timeout TO '300ms'",
        "COMMENT ON DATABASE {} IS 'mine'",
    ):  # fmt: skip
        sandbox.execute(sql.SQL(statement).format(sql.Identifier(name), sql.Identifier(guest)))
    before = sandbox.row(name)
    server = sandbox.server(sandbox.cluster.url(name, user=owner))
    receipt = back_up(server, BackupRequest(strategy=Strategy.ONLINE), LOCK_WAIT, lambda progress: None)
    assert receipt.cautions == ()
    row = sandbox.row(receipt.backup.name)
    assert sorted(row["acl"].strip("{}").split(",")) == sorted(before["acl"].strip("{}").split(","))
    assert (row["owner"], row["datconnlimit"]) == (before["owner"], 7)


def test_writers_see_no_error_and_the_copy_is_of_one_moment(sandbox: Sandbox) -> None:
    with sandbox.connect() as connection:
        connection.execute("CREATE TABLE account (id int PRIMARY KEY, balance int, filler text)")
        connection.execute("INSERT INTO account SELECT n, 100, repeat('x', 300) FROM generate_series(1, 20000) AS n")
        connection.execute("CREATE TABLE ledger (id bigint GENERATED ALWAYS AS IDENTITY, moved int)")
    stopped = threading.Event()
    moves = [0, 0, 0]
    failures: list[Exception] = []

    def transfer(number: int) -> None:
        try:
            with sandbox.connect() as connection:
                while not stopped.is_set():
                    with connection.transaction():
                        a, b = (
                            1 + (moves[number] * 7 + number * 5000) % 19999,
                            20000 - (moves[number] * 13 + number) % 9999,
                        )
                        low, high = sorted((a, b)) if a != b else (a, a % 20000 + 1)
                        for account, amount in ((low, 1), (high, -1)):
                            connection.execute(
                                "UPDATE account SET balance = balance + %s WHERE id = %s", (amount, account)
                            )
                        connection.execute("INSERT INTO ledger (moved) VALUES (1), (-1)")
                    moves[number] += 1
        except psycopg.Error as error:
            failures.append(error)

    threads = [threading.Thread(target=transfer, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    try:
        names = []
        for _ in range(3):
            before = list(moves)
            names.append(online_backup(sandbox).backup.name)
            assert all(now > then for now, then in zip(moves, before, strict=True)), (moves, before)
    finally:
        stopped.set()
        for thread in threads:
            thread.join()
    assert failures == []
    for name in names:
        with sandbox.connect(opened(sandbox, name)) as connection:
            assert connection.execute("SELECT sum(balance), count(*) FROM account").fetchone() == (2_000_000, 20000)
            sums = connection.execute("SELECT coalesce(sum(moved), 0), count(*) % 2 FROM ledger").fetchone()
            assert sums == (0, 0)


def test_nobody_gets_in_at_any_moment(sandbox: Sandbox) -> None:
    spy = sandbox.role("spy", "LOGIN CREATEDB")
    sandbox.execute(sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(sql.Identifier(sandbox.name)))
    intruders = Intruders(sandbox, spy)
    try:
        for _ in range(3):
            online_backup(sandbox)
            attempts = intruders.attempts
            wait_until(lambda: intruders.attempts > attempts + 20)  # noqa: B023 - waited for at once
    finally:
        intruders.stop()
    # A superuser gets into whatever is not sealed, and sees to it that no session is left inside.
    assert [each for each in intruders.successes if not each.startswith("postgres got into")] == []
    assert len(sandbox.entries()) == 3


@pytest.mark.any_version
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_leaves_nothing(endless: Sandbox, number: int) -> None:
    running = Meanwhile(endless)
    os.kill(running.process.pid, number)
    code, document, err = running.end()
    assert code == 130, err
    assert "No backup was made" in document["error"]["message"]
    assert "Traceback" not in err
    assert endless.databases() == [endless.name]
    wait_until(lambda: endless.sessions(endless.name) == 0)


@pytest.mark.any_version
def test_killed_in_the_middle_the_next_run_sweeps_it(endless: Sandbox) -> None:
    running = Meanwhile(endless)
    (partial,) = [name for name in endless.databases() if "_partial_" in name]
    assert endless.row(partial)["datconnlimit"] == PARTIAL_CONNECTION_LIMIT - 1
    recovered = endless.run("recover", "--json")
    assert recovered.data["removed"] == []
    assert recovered.document["warnings"][0]["code"] == "at_work"
    assert partial in endless.databases()
    running.process.kill()
    running.end()
    (entry,) = endless.entries()
    assert (entry.name, entry.kind) == (partial, Kind.PARTIAL)
    with endless.connect() as connection:
        connection.execute("ALTER TABLE filler DROP CONSTRAINT filler_n_check")
    receipt = online_backup(endless)
    assert [caution.code for caution in receipt.cautions] == ["swept"]
    assert endless.databases() == [endless.name, receipt.backup.name]
    wait_until(lambda: endless.sessions(endless.name) == 0)


@pytest.mark.any_version
def test_recover_drops_what_a_killed_run_left(slow: Sandbox) -> None:
    running = Meanwhile(slow)
    running.process.kill()
    running.end()

    def removed() -> bool:
        return len(slow.run("recover", "--json").data["removed"]) == 1

    wait_until(removed)
    assert slow.databases() == [slow.name]


@pytest.mark.any_version
@pytest.mark.parametrize("whose", ["postgres", "source", "partial"])
def test_a_connection_that_is_cut_ends_the_run_and_leaves_nothing(slow: Sandbox, whose: str) -> None:
    running = Meanwhile(slow)
    pattern = {"postgres": "postgres", "source": slow.name, "partial": f"{slow.name}\\_partial%"}[whose]
    slow.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname LIKE %s"
        " AND application_name = 'snapkit' AND pid <> pg_backend_pid()",
        pattern,
    )
    code, document, err = running.end()
    assert code in (1, 12), (document, err)
    assert "No backup was made" in document["error"]["message"]
    assert "Traceback" not in err
    wait_until(lambda: slow.databases() == [slow.name] or slow.run("recover").code != 0)
    assert slow.databases() == [slow.name]
    wait_until(lambda: slow.sessions(slow.name) == 0)


def test_a_program_that_dies_ends_the_run_and_leaves_nothing(sandbox: Sandbox, tmp_path: Path) -> None:
    programs = find_programs(sandbox.version * 10000)
    (tmp_path / "pg_dump").symlink_to(programs.dump)
    broken = tmp_path / "pg_restore"
    broken.write_text(
        f'#!/bin/sh\ncase "$*" in *--version*) exec {programs.restore} --version;; esac\n'
        "echo 'pg_restore: error: could not execute query: ERROR:  must be owner of extension x' >&2\n"
        "echo \"Command was: CREATE USER MAPPING OPTIONS (password 'verysecret')\" >&2\nexit 1\n"
    )
    broken.chmod(0o755)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SNAPKIT_PG_BIN", str(tmp_path))
        with pytest.raises(PrivilegeError, match="must be owner of extension x") as caught:
            online_backup(sandbox)
    assert "verysecret" not in f"{caught.value.message} {caught.value.hint}"
    assert caught.value.state is not None
    assert "No backup was made" in caught.value.state
    assert sandbox.databases() == [sandbox.name]


def test_programs_that_are_missing_or_do_not_fit_are_told_beforehand(
    sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SNAPKIT_PG_BIN", str(tmp_path))
    for arguments in ({}, {"label": "x"}):
        with pytest.raises(UsageError, match=f"of PostgreSQL {sandbox.version}") as caught:
            online_backup(sandbox, **arguments)
        assert "SNAPKIT_PG_BIN" in str(caught.value.hint)
    for name in ("pg_dump", "pg_restore"):
        (tmp_path / name).write_text(f"#!/bin/sh\necho '{name} (PostgreSQL) 9.6.1'\n")
        (tmp_path / name).chmod(0o755)
    with pytest.raises(UsageError, match="there are none in"):
        online_backup(sandbox)
    assert sandbox.databases() == [sandbox.name]


@pytest.mark.any_version
def test_who_wants_a_table_wholly_is_given_way_to(slow: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    running = Meanwhile(slow)
    with slow.connect(application_name="migration") as client:
        began = time.monotonic()
        client.execute("ALTER TABLE filler ADD COLUMN new int")
        assert time.monotonic() - began < 20
    code, document, _ = running.end()
    assert code == 11, document
    assert "migration" in document["error"]["message"]
    assert slow.databases() == [slow.name]


def test_a_table_that_is_locked_wholly_is_not_waited_for_long(sandbox: Sandbox) -> None:
    with sandbox.connect(application_name="migration") as client, client.transaction():
        client.execute("LOCK TABLE item")
        with pytest.raises(BusyError, match="migration"):
            online_backup(sandbox)
    assert sandbox.databases() == [sandbox.name]


@pytest.mark.any_version
def test_tables_that_are_locked_one_after_the_other_are_waited_for_awake(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Meanwhile another run comes, which ends what looks forgotten; it looks more closely than runs do."""
    monkeypatch.setattr(locks, "FORGOTTEN", timedelta(seconds=2))
    names = ("held_1", "held_2")
    with sandbox.connect() as connection:
        for name in names:
            connection.execute(f"CREATE TABLE {name} AS SELECT 1 AS n".encode())
    receipts: list[Any] = []
    copying = threading.Thread(target=lambda: receipts.append(online_backup(sandbox)))
    waits = "SELECT count(*) FROM pg_locks WHERE NOT granted AND locktype = 'relation' AND relation = %s::oid"
    with ExitStack() as stack:
        holders, oids = [], []
        for name in names:
            holders.append(stack.enter_context(sandbox.connect()))
            holders[-1].execute("BEGIN")
            holders[-1].execute(f"LOCK TABLE {name} IN ACCESS EXCLUSIVE MODE".encode())
            oids += [row[0] for row in holders[-1].execute(f"SELECT '{name}'::regclass::oid".encode())]
        copying.start()
        for holder, oid in zip(holders, oids, strict=True):
            wait_until(lambda: sandbox.execute(waits, oid) == [(1,)])  # noqa: B023 - waited for at once
            with pytest.raises(BusyError, match="Another run of snapkit"):
                back_up(sandbox.server(), BackupRequest(), timedelta(seconds=3), lambda progress: None)
            holder.execute("COMMIT")
    copying.join(60)
    assert [receipt.backup.strategy for receipt in receipts] == [Strategy.ONLINE]


def test_locks_are_not_waited_for_without_end(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshot, "LOCKING_LIMIT", timedelta(seconds=1))
    with sandbox.connect(application_name="migration") as client, client.transaction():
        client.execute("LOCK TABLE item")
        with pytest.raises(BusyError, match="migration"):
            online_backup(sandbox)
    assert sandbox.databases() == [sandbox.name]


def test_an_interrupt_cuts_the_wait_for_a_lock_short(sandbox: Sandbox) -> None:
    waits = "SELECT count(*) FROM pg_locks WHERE NOT granted AND locktype = 'relation'"
    with sandbox.connect() as client, client.transaction():
        client.execute("LOCK TABLE item")
        words = [sys.executable, "-m", "snapkit", "backup", "--strategy", "online", "--json"]
        environment = command_environment(sandbox.url, **{VARIABLE: os.environ[VARIABLE]})
        running = subprocess.Popen(words, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        wait_until(lambda: sandbox.execute(waits) == [(1,)])
        running.send_signal(signal.SIGINT)
        out, err = running.communicate(timeout=60)
    assert running.returncode == 130, (out, err)
    assert sandbox.databases() == [sandbox.name]
    wait_until(lambda: sandbox.sessions(sandbox.name) == 0)


def test_an_owner_without_superuser(sandbox: Sandbox) -> None:
    owner = sandbox.role("owner", "LOGIN CREATEDB")
    name = f"{sandbox.prefix}_owned"
    sandbox.execute(sql.SQL("CREATE DATABASE {} OWNER {}").format(sql.Identifier(name), sql.Identifier(owner)))
    url = sandbox.cluster.url(name, user=owner)
    with psycopg.connect(url, autocommit=True) as own:
        own.execute("CREATE SCHEMA mine")
        own.execute("CREATE TABLE mine.t AS SELECT n, repeat('x', 100) FROM generate_series(1, 20000) AS n")
        own.execute("CREATE TABLE mine.small AS SELECT 1 AS a")
    with sandbox.connect(name) as other:
        receipt = online_backup(sandbox, url)
        assert other.execute("SELECT 1").fetchone() == (1,)
        other.execute("CREATE TABLE mine.secret AS SELECT 1 AS a")
        with pytest.raises(PrivilegeError, match="secret"):
            online_backup(sandbox, url)
        other.execute("DROP TABLE mine.secret")
        other.execute("CREATE FUNCTION f() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END'")
        other.execute("CREATE EVENT TRIGGER theirs ON ddl_command_end EXECUTE FUNCTION f()")
        with pytest.raises(SnapkitError, match="pg_restore says") as caught:
            online_backup(sandbox, url)
    assert isinstance(caught.value, PrivilegeError)
    assert [each for each in sandbox.databases() if each.startswith(name)] == [name, receipt.backup.name]


@pytest.mark.parametrize("rows", [10, 20000])
@pytest.mark.parametrize("fails", ["RETURN false", "PERFORM 'secret'::int", "RAISE 'no' USING DETAIL = 'secret'"])
def test_the_contents_of_rows_are_not_told(sandbox: Sandbox, rows: int, fails: str) -> None:
    with sandbox.connect() as connection:
        connection.execute(
            "CREATE TABLE told AS SELECT n, 'secret' || repeat('x', 200) AS t"
            f" FROM generate_series(1, {rows}) AS n".encode()
        )
        connection.execute(
            "CREATE FUNCTION fails(n int) RETURNS bool LANGUAGE plpgsql AS"
            f" $$BEGIN IF current_database() ~ '_partial_' THEN {fails}; END IF; RETURN true; END$$".encode()
        )
        connection.execute("ALTER TABLE told ADD CHECK (fails(n))")
    with pytest.raises(SnapkitError) as caught:
        online_backup(sandbox)
    assert "secret" not in f"{caught.value.message} {caught.value.hint}", caught.value.message
    assert "right" not in (caught.value.hint or "")
    assert sandbox.databases() == [sandbox.name]


def test_what_differs_fails_the_backup_and_is_named(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    def spoil(*copying: Any) -> None:
        build(*copying)
        partial = next(name for name in sandbox.databases() if "_partial_" in name)
        with sandbox.connect(partial) as inside:
            inside.execute("DELETE FROM item WHERE id = 7")
            inside.execute("ALTER TABLE item ALTER name SET DEFAULT 'x'")
            inside.execute("CREATE VIEW surplus AS SELECT 1")

    monkeypatch.setattr(run, "build", spoil)
    with pytest.raises(SnapkitError) as caught:
        online_backup(sandbox)
    for each in ('rows of "public"."item": 100 in the source, 99', "item; Type: TABLE", "surplus", "views: 0 in"):
        assert each in caught.value.message
    assert sandbox.databases() == [sandbox.name]


def test_a_source_that_lets_nobody_in_cannot_be_copied_so(sandbox: Sandbox) -> None:
    sandbox.execute(sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS false").format(sql.Identifier(sandbox.name)))
    with pytest.raises(ConnectionFailedError, match="not currently accepting connections"):
        online_backup(sandbox)
    assert sandbox.databases() == [sandbox.name]


def test_what_a_new_database_has_and_the_source_dropped(sandbox: Sandbox) -> None:
    with sandbox.connect() as connection:
        connection.execute("DROP SCHEMA public CASCADE")
        connection.execute("DROP EXTENSION plpgsql")
        connection.execute("CREATE SCHEMA other; CREATE TABLE other.t AS SELECT 1 AS a")
    name = online_backup(sandbox).backup.name
    with sandbox.connect(opened(sandbox, name)) as connection:
        assert connection.execute("SELECT count(*) FROM pg_namespace WHERE nspname = 'public'").fetchone() == (0,)
        assert connection.execute("SELECT count(*) FROM pg_extension").fetchone() == (0,)


@pytest.mark.any_version
def test_a_password_is_not_on_a_command_line(sandbox: Sandbox, tmp_path: Path) -> None:
    """Everybody on the machine sees those."""
    lines = tmp_path / "lines"
    for program in ("pg_dump", "pg_restore"):
        real = Path(os.environ[VARIABLE]) / program
        (tmp_path / program).write_text(f'#!/bin/sh\necho "$0 $*" >>{lines}\nexec {real} "$@"\n')
        (tmp_path / program).chmod(0o755)
    url = sandbox.cluster.url(sandbox.name, tcp=True) + "?options=-c%20app.token%3Dverysecret"
    ran = run_snapkit("backup", "--strategy", "online", "--json", url=url, SNAPKIT_PG_BIN=str(tmp_path))
    assert ran.code == 0, ran
    assert "--dbname" in lines.read_text()
    assert not any(secret in lines.read_text() + ran.out + ran.err for secret in ("battery", "verysecret"))


def test_options_that_cannot_be_handed_on_in_secret(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """What a service file says goes before the environment."""
    (tmp_path / "services").write_text("[here]\noptions=-c work_mem=1MB\n")
    monkeypatch.setenv("PGSERVICEFILE", str(tmp_path / "services"))
    monkeypatch.setenv("PGSERVICE", "here")
    assert online_backup(sandbox).backup.strategy is Strategy.ONLINE
    with pytest.raises(UsageError, match="options cannot be passed"):
        online_backup(sandbox, sandbox.url + "&options=-c%20app.token%3Dx")
    assert len(sandbox.databases()) == 2


AUDIT = """CREATE FUNCTION audit() RETURNS event_trigger LANGUAGE plpgsql AS
    $$BEGIN INSERT INTO public.audited VALUES (current_database(), tg_event, tg_tag); END$$"""


def test_event_triggers_do_not_fire_in_the_copy(sandbox: Sandbox) -> None:
    events = ["ddl_command_start", "ddl_command_end", *(["login"] if sandbox.version >= 17 else [])]
    with sandbox.connect() as connection:
        connection.execute("CREATE TABLE audited (database text, event text, tag text)")
        connection.execute("CREATE MATERIALIZED VIEW seen AS SELECT count(*) FROM item")
        connection.execute("CREATE INDEX ON item (name)")
        connection.execute(AUDIT)
        for event in events:
            connection.execute(f"CREATE EVENT TRIGGER audit_{event} ON {event} EXECUTE FUNCTION audit()".encode())
            connection.execute(f"ALTER EVENT TRIGGER audit_{event} ENABLE ALWAYS".encode())
            connection.execute(f"COMMENT ON EVENT TRIGGER audit_{event} IS 'x'".encode())
    name = online_backup(sandbox).backup.name
    quiet = "-c event_triggers=off" if sandbox.version >= 17 else ""
    with sandbox.connect(opened(sandbox, name), options=quiet) as connection:
        assert connection.execute("SELECT DISTINCT tag FROM audited WHERE database ~ '_partial_'").fetchall() == []
        assert connection.execute("SELECT count(*) FROM audited WHERE event = 'login'").fetchone() == (0,)
        assert connection.execute("SELECT count(*) FROM pg_event_trigger WHERE evtenabled = 'A'").fetchone() == (
            len(events),
        )
        assert connection.execute("SELECT count FROM seen").fetchone() == (100,)


@pytest.mark.parametrize(
    ("encoding", "locale"), [("LATIN1", "C"), ("SQL_ASCII", "C"), ("UTF8", "C")]
)  # fmt: skip
def test_encodings(sandbox: Sandbox, encoding: str, locale: str) -> None:
    name = f"{sandbox.prefix}_encoded"
    make = sql.SQL("CREATE DATABASE {} TEMPLATE template0 ENCODING {} LC_COLLATE {} LC_CTYPE {}")
    sandbox.execute(make.format(sql.Identifier(name), *map(sql.Literal, (encoding, locale, locale))))
    with sandbox.connect(name) as connection:
        connection.execute("SET client_encoding TO 'UTF8'")
        for table in ("täble", "plain"):
            connection.execute(
                sql.SQL("CREATE TABLE {} AS SELECT n, 'ü' || repeat('x', 200) AS t FROM generate_series(1, 9999) AS n")
                .format(sql.Identifier(table)).as_string(None).encode()
            )  # fmt: skip
        if encoding == "SQL_ASCII":
            connection.execute("INSERT INTO plain VALUES (0, convert_from('\\xff', 'SQL_ASCII'))")
    server = sandbox.server(sandbox.cluster.url(name))
    receipt = back_up(server, BackupRequest(strategy=Strategy.ONLINE), LOCK_WAIT, lambda progress: None)
    sums = []
    for database in (name, opened(sandbox, receipt.backup.name)):
        with sandbox.connect(database) as connection:
            query = "SELECT md5(string_agg(t::text::bytea::text, '' ORDER BY n)) FROM {} AS t"
            sums.append([connection.execute(query.format(f'"{each}"').encode()).fetchall() for each in ("plain",)])
            sums[-1].append(
                connection.execute(
                    "SELECT relname::text::bytea FROM pg_class WHERE relkind = 'r' AND oid > 16384 ORDER BY 1"
                ).fetchall()
            )
    assert sums[0] == sums[1]


@pytest.mark.parametrize(
    ("since", "options"),
    [
        (15, "LOCALE_PROVIDER icu ICU_LOCALE 'de-DE'"),
        (16, "LOCALE_PROVIDER icu ICU_LOCALE 'en' ICU_RULES '&b < a'"),
        (17, "LOCALE_PROVIDER builtin BUILTIN_LOCALE 'C.UTF-8'"),
    ],
)
def test_locale_providers(sandbox: Sandbox, since: int, options: str) -> None:
    if sandbox.version < since:
        pytest.skip(f"PostgreSQL {since} is the first to have it")
    name = f"{sandbox.prefix}_located"
    make = sql.SQL("CREATE DATABASE {} TEMPLATE template0 LOCALE 'C' " + options).format(sql.Identifier(name))
    try:
        sandbox.execute(make)
    except psycopg.errors.FeatureNotSupported:
        pytest.skip("this server was built without ICU")
    located = (
        "SELECT to_jsonb(d) - '{oid,datname,datacl,datfrozenxid,datminmxid,datallowconn}'::text[] FROM pg_database d"
    )
    with sandbox.connect(name) as connection:
        connection.execute("CREATE TABLE word AS SELECT unnest(ARRAY['b', 'a', 'Ä', 'z', 'Z']) AS w")
        before = connection.execute("SELECT upper(w) FROM word ORDER BY w").fetchall()
    receipt = online_backup(sandbox, sandbox.cluster.url(name))
    rows = [sandbox.execute(located + " WHERE datname = %s", each) for each in (name, receipt.backup.name)]
    assert rows[0] == rows[1]
    with sandbox.connect(opened(sandbox, receipt.backup.name)) as connection:
        assert connection.execute("SELECT upper(w) FROM word ORDER BY w").fetchall() == before


def test_extensions(sandbox: Sandbox) -> None:
    offered = {str(name) for (name,) in sandbox.execute("SELECT name FROM pg_available_extensions")}
    wanted = sorted(offered & {"hstore", "pg_trgm", "citext", "btree_gist", "pgcrypto"})
    if not wanted:
        pytest.skip("this server offers no extension")
    with sandbox.connect() as connection:
        connection.execute("CREATE SCHEMA ext")
        for name in wanted:
            connection.execute(sql.SQL("CREATE EXTENSION {} SCHEMA ext").format(sql.Identifier(name)))
        if "hstore" in wanted:
            connection.execute("CREATE TABLE h AS SELECT n, ext.hstore('a', n::text) FROM generate_series(1, 30000) n")
    online_backup(sandbox)
    with sandbox.connect() as connection:
        connection.execute("UPDATE pg_extension SET extversion = '0.1' WHERE extname = %s", (wanted[0],))
    with pytest.raises(UsageError, match=f"{wanted[0]} 0.1"):
        online_backup(sandbox)


def test_what_pg_dump_leaves_out_is_warned_of(sandbox: Sandbox) -> None:
    role = sandbox.role("Ext owner", "SUPERUSER")
    with sandbox.connect() as connection:
        connection.execute("CREATE TABLE of_item (id int REFERENCES item)")
        connection.execute("ALTER TABLE of_item DISABLE TRIGGER ALL")
        connection.execute("DROP EXTENSION plpgsql")
        connection.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(role)))
        connection.execute("CREATE EXTENSION plpgsql SCHEMA pg_catalog")
    receipt = online_backup(sandbox)
    assert {caution.code: role in caution.message for caution in receipt.cautions} == {
        "extension_owners": True,
        "keys_enforced": False,
    }
    assert "of_item_id_fkey of public.of_item" in receipt.cautions[-1].message


def test_a_tablespace(sandbox: Sandbox) -> None:
    directory = sandbox.cluster.root / f"{sandbox.prefix}_space"
    sandbox.cluster.run("postgres", "--version")
    subprocess.run(["mkdir", str(directory)], check=True)
    if sandbox.cluster.user:
        subprocess.run(["chown", sandbox.cluster.user, str(directory)], check=True)
    space = f"{sandbox.prefix}_space"
    sandbox.execute(f"CREATE TABLESPACE {space} LOCATION '{directory}'")
    try:
        name = online_backup(sandbox, tablespace=space).backup.name
        query = "SELECT spcname FROM pg_database d JOIN pg_tablespace t ON t.oid = dattablespace WHERE datname = %s"
        assert sandbox.execute(query, name) == [(space,)]
        sandbox.roll_back(name)
        name = online_backup(sandbox).backup.name
        assert sandbox.execute(query, name) == [(space,)]
    finally:
        sandbox.remove()
        sandbox.execute(f"DROP TABLESPACE {space}")
        sandbox.create()


@pytest.mark.any_version
def test_a_disk_that_fills_leaves_nothing(slow: Sandbox) -> None:
    try:
        disk = SmallDisk(slow.cluster.root / f"{slow.prefix}_disk", 30, slow.cluster.user)
    except NoDiskError as reason:
        pytest.skip(str(reason))
    try:
        space = f"{slow.prefix}_filling"
        slow.execute(f"CREATE TABLESPACE {space} LOCATION '{disk.directory}'")
        with pytest.raises(DiskFullError) as caught:
            online_backup(slow, tablespace=space)
        assert caught.value.state is not None
        assert "untouched" in caught.value.state
        assert slow.databases() == [slow.name]
        slow.execute(f"DROP TABLESPACE {space}")
    finally:
        disk.remove()


def test_the_dry_run_names_every_statement(sandbox: Sandbox) -> None:
    words = ("backup", "--strategy", "online", "--dry-run", "--json")
    plan = run_snapkit(*words, url=sandbox.url, SNAPKIT_PG_BIN=os.environ[VARIABLE]).data["plan"]
    assert 'TEMPLATE "template0"' in plan[0]["sql"][-1]
    assert [step["sql"] for step in plan if "pg_dump" in step["step"]] == [[]]
    assert sandbox.databases() == [sandbox.name]
