"""Servers that are not what they seem: behind a pooler, or a standby; and one that others use too."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from snapkit.core.checks.facts import Status
from snapkit.errors import SnapkitError, UsageError
from snapkit.services.doctor import diagnose
from tests.cluster import Cluster, free_port
from tests.sandbox import Sandbox, run_snapkit, wait_until


@pytest.fixture
def pooled_url(sandbox: Sandbox) -> Iterator[str]:
    """A URL to the source through a PgBouncer that pools by transaction."""
    program = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin")
    if program is None:
        pytest.skip("needs pgbouncer")
    place, port = sandbox.cluster.root / f"{sandbox.prefix}_bouncer", free_port()
    place.mkdir()
    (place / "users.txt").write_text('"postgres" ""\n')
    ini = place / "pgbouncer.ini"
    # With "any", PgBouncer logs in to the server as the user that its database line names.
    ini.write_text(
        f"[databases]\n* = host={sandbox.cluster.root} port={sandbox.cluster.port} user=postgres\n[pgbouncer]\n"
        f"listen_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\nauth_type = any\n"
        f"auth_file = {place}/users.txt\npool_mode = transaction\n"
    )
    user = sandbox.cluster.user
    if user is not None:
        for path in (place, *place.iterdir()):
            shutil.chown(path, user)
    running = subprocess.Popen(
        [program, ini], user=user, cwd=place, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    url = f"postgresql://postgres@127.0.0.1:{port}/{sandbox.name}"

    def answers() -> bool:
        try:
            psycopg.connect(url.replace(sandbox.name, "postgres")).close()
        except psycopg.Error:
            return False
        return True

    try:
        wait_until(answers)
        yield url
    finally:
        running.terminate()
        running.wait(timeout=20)


@pytest.mark.promise("a pooler in between is refused")
def test_a_pooler_in_between_is_noticed_and_refused(sandbox: Sandbox, pooled_url: str) -> None:
    checks = {check.name: check for check in diagnose(sandbox.server(pooled_url)).checks}
    assert checks["connection"].status is Status.PROBLEM
    ran = sandbox.run("backup", "--json", url=pooled_url)
    assert ran.code == 2, ran.out
    assert "DIRECT_URL" in ran.document["error"]["hint"]
    assert sandbox.databases() == [sandbox.name]


def test_a_replica_behind_a_pooler_is_refused(sandbox: Sandbox, pooled_url: str) -> None:
    ran = sandbox.run("backup", "--json", "--replica-url", pooled_url)
    assert ran.code == 2, ran.out
    assert "goes through a pooler" in ran.document["error"]["message"]
    assert "--replica-url" in ran.document["error"]["hint"]


def test_a_direct_url_beside_a_pooled_one_is_taken(sandbox: Sandbox, pooled_url: str, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text(f"DATABASE_URL={pooled_url}?pgbouncer=true\nDIRECT_URL={sandbox.url}\n")
    assert run_snapkit("backup", cwd=tmp_path).code == 0


def test_a_standby_says_so_at_once(sandbox: Sandbox, standby: Cluster) -> None:
    server = sandbox.server(standby.url(sandbox.name))
    checks = {check.name: check for check in diagnose(server).checks}
    assert checks["server"].status is Status.PROBLEM
    for words in (["backup"], ["rollback", "--latest", "--yes"], ["prune", "--keep", "1"]):
        ran = sandbox.run(*words, "--json", url=standby.url(sandbox.name))
        assert ran.code == 1, ran.out
        assert "standby" in ran.document["error"]["message"]
        assert "primary" in ran.document["error"]["hint"]
    assert sandbox.run("list", url=standby.url(sandbox.name)).code == 0


def test_the_workers_of_a_subscription_are_seen_and_do_not_keep_a_backup_from_succeeding(sandbox: Sandbox) -> None:
    publisher = f"{sandbox.prefix}_publisher"
    sandbox.execute(f"CREATE DATABASE {publisher}")
    slot = f"{sandbox.prefix}_slot"
    with sandbox.connect(publisher) as there, sandbox.connect() as here:
        there.execute("CREATE PUBLICATION p FOR ALL TABLES")
        there.execute("SELECT pg_create_logical_replication_slot(%s, 'pgoutput')", (slot,))
        target = f"host={sandbox.cluster.root} port={sandbox.cluster.port} user=postgres dbname={publisher}"
        options = f"(create_slot = false, slot_name = '{slot}', copy_data = false)"
        here.execute(f"CREATE SUBSCRIPTION sub CONNECTION '{target}' PUBLICATION p WITH {options}")

    def checks() -> dict[str, Status]:
        return {check.name: check.status for check in diagnose(sandbox.server()).checks}

    try:
        wait_until(lambda: checks()["background_workers"] is Status.WARNING)
        assert checks()["subscriptions"] is Status.WARNING
        sandbox.back_up()
        sandbox.roll_back(keep_backup=True)
    finally:
        for (name,) in sandbox.execute("SELECT datname FROM pg_database d JOIN pg_subscription s ON s.subdbid = d.oid"):
            sandbox.execute(sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS true").format(sql.Identifier(name)))
            with sandbox.connect(str(name)) as here:
                here.execute("ALTER SUBSCRIPTION sub DISABLE")
                here.execute("ALTER SUBSCRIPTION sub SET (slot_name = NONE)")
                here.execute("DROP SUBSCRIPTION sub")
        active = "SELECT count(*) FROM pg_replication_slots WHERE slot_name = %s AND active"
        wait_until(lambda: sandbox.execute(active, slot) == [(0,)])
        sandbox.execute("SELECT pg_drop_replication_slot(%s)", slot)


def test_an_ordinary_owner_on_a_server_that_others_use_too(sandbox: Sandbox) -> None:
    """Databases that it may not enter, sessions of other roles: first refused by name, then, once allowed, done."""
    owner, colleague = sandbox.role("owner", "LOGIN CREATEDB"), sandbox.role("colleague", "LOGIN")
    closed = f"{sandbox.prefix}_closed"
    sandbox.execute(f"CREATE DATABASE {closed}")
    sandbox.execute(f"REVOKE ALL ON DATABASE {closed} FROM PUBLIC")
    sandbox.execute(
        sql.SQL("ALTER DATABASE {} OWNER TO {}").format(sql.Identifier(sandbox.name), sql.Identifier(owner))
    )
    url = sandbox.cluster.url(sandbox.name, user=owner)
    with psycopg.connect(sandbox.cluster.url(sandbox.name, user=colleague)):
        refused = sandbox.run("backup", "--json", url=url)
        assert refused.code == 13, refused.out
        assert f'GRANT pg_signal_backend TO "{owner}";' in refused.document["error"]["hint"]
        sandbox.execute(sql.SQL("GRANT pg_signal_backend TO {}").format(sql.Identifier(owner)))
        assert sandbox.run("backup", "--json", url=url).data["sessions_disconnected"] == 1
    sandbox.ruin()
    for words in (
        ["list", "--sizes", "--all"],
        ["rollback", "--latest", "--keep-backup"],
        ["undo"],
        ["undo"],
        ["prune", "--keep", "1"],
    ):
        ran = sandbox.run(*words, url=url)
        assert ran.code == 0, ran.err
    assert len(sandbox.items()) == 100


def test_a_server_that_is_too_old_is_refused_in_words(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("snapkit.services.run.survey.MINIMUM_VERSION", 990000)
    with pytest.raises(SnapkitError, match=f"This is PostgreSQL {sandbox.version}; snapkit needs 99 or later"):
        sandbox.back_up()


def test_a_template_database_is_a_usage_error(sandbox: Sandbox) -> None:
    with pytest.raises(UsageError, match="template0"):
        sandbox.server(sandbox.cluster.url("template0"))
