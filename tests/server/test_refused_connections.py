"""A connection that is refused: each with its own reason and remedy, though libpq gives no SQLSTATE."""

from __future__ import annotations

import shutil
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import psycopg
import pytest

from snapkit.cli.exit_codes import ExitCode, exit_code_of
from snapkit.errors import NoSuchDatabaseError
from tests.cluster import SUPERUSER, Cluster, free_port
from tests.sandbox import Sandbox, run_snapkit, wait_until

_TRANSLATIONS = "/usr/share/locale/de/LC_MESSAGES/postgres-{}.mo"


@pytest.fixture(scope="module")
def small(cluster: Cluster) -> Iterator[Cluster]:
    """A server with few slots, a database shop, and roles that are let in by pg_hba.conf or not."""
    server = Cluster(cluster.binaries)
    try:
        server.start(configuration="max_connections = 8\nsuperuser_reserved_connections = 3\n")
        hba = server.data / "pg_hba.conf"
        hba.write_text("host all walled 127.0.0.1/32 reject\nlocal all stranger reject\n" + hba.read_text())
        server.run("pg_ctl", "-D", str(server.data), "reload")
        with psycopg.connect(server.url("postgres"), autocommit=True) as admin:
            for role in ("app", "few", "walled"):
                admin.execute(f"CREATE ROLE {role} LOGIN CREATEDB PASSWORD 'right'")
            admin.execute("ALTER ROLE few CONNECTION LIMIT 0")
            admin.execute("CREATE ROLE nologin")
            for name in ("shop", "limited", "closed", "private"):
                admin.execute(f"CREATE DATABASE {name} OWNER app")
            admin.execute("ALTER DATABASE limited CONNECTION LIMIT 0")
            admin.execute("ALTER DATABASE closed ALLOW_CONNECTIONS false")
            admin.execute("REVOKE CONNECT ON DATABASE private FROM PUBLIC, app")
        yield server
    finally:
        server.remove()


def refused(url: str, *words: str, said: str, hint: str) -> dict[str, Any]:
    """Run a command that is refused; return its error."""
    ran = run_snapkit("list", "--json", *words, url=url)
    error: dict[str, Any] = ran.document["error"]
    assert (ran.code, said in error["message"], hint in error["hint"]) == (12, True, True), error
    assert "Nothing was changed." in error["message"]
    return error


@contextmanager
def all_slots_of(server: Cluster, user: str) -> Iterator[None]:
    with ExitStack() as stack:
        with suppress(psycopg.OperationalError):
            while True:
                stack.enter_context(psycopg.connect(server.url("shop", user=user)))
        yield


def test_all_slots_are_taken(small: Cluster) -> None:
    with all_slots_of(small, "app"):
        refused(small.url("shop", user="app"), said="slots of the server", hint="max_connections")
        with all_slots_of(small, SUPERUSER):
            error = refused(small.url("shop"), said="All connection slots of the server", hint="max_connections")
            assert "too many clients already" in error["message"]


def test_a_limit_of_the_role(small: Cluster) -> None:
    refused(
        small.url("shop", user="few"), said="The role few has as many connections as its limit allows",
        hint='ALTER ROLE "few" CONNECTION LIMIT',
    )  # fmt: skip


@pytest.mark.parametrize(
    ("database", "said", "hint"),
    [
        ("limited", "'limited' has as many connections as its limit allows", 'ALTER DATABASE "limited"'),
        ("closed", "'closed' does not accept connections", 'ALTER DATABASE "closed" ALLOW_CONNECTIONS true;'),
        ("private", "The role app lacks CONNECT", 'GRANT CONNECT ON DATABASE "private" TO "app";'),
        ("nowhere", "There is no database 'nowhere'", "(--maintenance-db)"),
    ],
)
def test_the_database_to_work_from(small: Cluster, database: str, said: str, hint: str) -> None:
    url = small.url("shop", user="app")
    error = refused(url, "--maintenance-db", database, said=said, hint=hint)
    assert "--maintenance-db" in error["hint"]


@pytest.mark.promise("a refused connection has its reason and remedy")
def test_a_wrong_password_and_a_role_that_is_not_there(small: Cluster) -> None:
    for user in ("app", "nobody_at_all"):
        wrong = small.url("shop", user=user, password="wrong", tcp=True)
        error = refused(wrong, said=f"refuses the password of {user}", hint="~/.pgpass")
        assert "wrong" not in error["message"].replace("wrong password", "")
    refused(small.url("shop", user="nobody_at_all"), said="has no role nobody_at_all", hint="PGUSER")
    refused(small.url("shop", user="nologin"), said="nologin may not log in", hint='ALTER ROLE "nologin" LOGIN;')
    without = f"postgresql://app@127.0.0.1:{small.port}/shop"
    refused(without, said="asks for a password, and none was given", hint="PGPASSWORD")


def test_a_wrong_password_is_tried_once_and_told_in_a_few_lines(small: Cluster) -> None:
    ran = run_snapkit("list", "-v", url=small.url("shop", password="wrong", tcp=True))
    assert ran.code == 12
    assert len(ran.err.splitlines()) < 8, ran.err
    assert "Traceback" not in ran.err


def test_pg_hba_conf(small: Cluster) -> None:
    refused(small.url("shop", user="walled", tcp=True), said="does not allow walled to log in", hint="pg_hba.conf")
    refused(small.url("shop", user="stranger"), said="does not allow stranger to log in", hint="pg_hba.conf")


def test_ssl_that_the_server_has_not(small: Cluster) -> None:
    url = small.url("shop", user="app", password="right", tcp=True)
    refused(f"{url}?sslmode=require", said=f"the server 127.0.0.1:{small.port} has no SSL", hint="sslmode")


def test_what_cannot_be_reached(small: Cluster) -> None:
    refused("postgresql://u@no-such-host.invalid/shop", said="The host of no-such-host.invalid", hint="PGHOST")
    refused(
        f"postgresql://u@127.0.0.1:{free_port()}/shop", said="Nothing listens at 127.0.0.1", hint="listen_addresses"
    )
    refused("postgresql://u@/shop?host=/nonexistent", said="No server listens on the socket", hint="PGHOST")


@contextmanager
def listening(answer: Callable[[socket.socket], None]) -> Iterator[int]:
    """Something that listens and is no PostgreSQL; who has come is let go of at the end."""
    guests: list[socket.socket] = []
    with socket.socket() as door:
        door.bind(("127.0.0.1", 0))
        door.listen()

        def serve() -> None:
            with suppress(OSError):
                while True:
                    guest, _ = door.accept()
                    guests.append(guest)
                    with suppress(OSError):
                        answer(guest)

        threading.Thread(target=serve, daemon=True).start()
        yield door.getsockname()[1]
    for guest in guests:
        guest.close()


def test_what_is_no_postgresql() -> None:
    def web(guest: socket.socket) -> None:
        guest.recv(100)
        guest.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        guest.close()

    with listening(web) as port:
        refused(f"postgresql://u@127.0.0.1:{port}/shop", said="is not PostgreSQL", hint="port")
    with listening(lambda guest: guest.close()) as port:
        refused(f"postgresql://u@127.0.0.1:{port}/shop", said="closed the connection during the login", hint="log")
    with listening(lambda guest: None) as port:
        url = f"postgresql://u@127.0.0.1:{port}/shop?connect_timeout=2"
        refused(url, said="did not answer the login in time", hint="connect_timeout")


def test_template1_while_a_database_is_made_from_it(small: Cluster) -> None:
    with psycopg.connect(small.url("shop")) as busy:
        busy.execute("ALTER DATABASE postgres RENAME TO elsewhere")
        busy.commit()
        try:
            busy.execute("ALTER DATABASE template1 RENAME TO elsewhere_too")  # newcomers wait, as for a CREATE DATABASE
            url = small.url("shop", user="app") + "&connect_timeout=2"
            refused(
                url, said="did not answer the login in time", hint="from template1, nobody can connect to template1"
            )
        finally:
            busy.rollback()
            busy.execute("ALTER DATABASE elsewhere RENAME TO postgres")


def test_a_server_that_shuts_down(small: Cluster) -> None:
    with psycopg.connect(small.url("shop")):
        small.run("pg_ctl", "-D", str(small.data), "-W", "-m", "smart", "stop")
        url = small.url("shop", user="app")

        def shuts_down() -> bool:
            return "shutting down" in run_snapkit("list", "--json", url=url).out

        wait_until(shuts_down)
        refused(url, said="is shutting down", hint="when the server is back")
    wait_until(lambda: not (small.data / "postmaster.pid").exists())
    small.launch()


def test_a_server_that_starts_up(cluster: Cluster) -> None:
    server = Cluster(cluster.binaries)
    try:
        server.start()
        server.stop()
        signal = server.data / "standby.signal"
        signal.touch()
        if server.user:
            shutil.chown(signal, server.user)
        server.configure("restore_command = 'sleep 60'")
        server.run("pg_ctl", "-D", str(server.data), "-W", "-l", str(server.root / "log"), "start")
        wait_until(lambda: "starting up" in run_snapkit("list", "--json", url=server.url("shop")).out)
        refused(server.url("shop"), said="is starting up", hint="Wait a moment")
    finally:
        server.remove()


def test_a_server_that_speaks_another_language(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its words tell nothing; the SQLSTATE is asked for."""
    major = cluster.version.split(".")[0]
    if not Path(_TRANSLATIONS.format(major)).exists():
        pytest.skip("this server speaks English only")
    monkeypatch.setenv("LANGUAGE", "de")
    server = Cluster(cluster.binaries)
    try:
        server.start()
        server.stop()
        server.configure("lc_messages = 'C.UTF-8'")
        server.launch()
        error = refused(
            server.url("shop", user="nobody_at_all"), said="refuses the login of nobody_at_all", hint="pg_hba.conf"
        )
        assert "existiert nicht" in error["message"]
        refused(server.url("shop", password="wrong", tcp=True), said="refuses the password of", hint="PGPASSWORD")
        refused(
            server.url("shop"), "--maintenance-db", "nowhere",
            said="There is no database 'nowhere'", hint="(--maintenance-db)",
        )  # fmt: skip
    finally:
        server.remove()


def test_a_database_that_a_command_is_about_and_is_not_there(sandbox: Sandbox) -> None:
    """The server is reached; only the look inside finds nobody."""
    server = sandbox.server(sandbox.cluster.url(f"{sandbox.prefix}_nowhere"))
    with pytest.raises(NoSuchDatabaseError, match="There is no database"), server.enter(server.source, {}):
        pytest.fail("nobody gets in")
    assert exit_code_of(NoSuchDatabaseError("")) is ExitCode.NOT_FOUND
