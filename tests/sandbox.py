"""What a server test works with: a source database, the catalogs, clients, and the command itself."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from snapkit.core.inventory.entry import Entry
from snapkit.core.outage.hold_rules import DEFAULT_RULES, HoldRules
from snapkit.postgres.connection.conninfo import target_of
from snapkit.postgres.connection.server import Server
from snapkit.services.backup import BackupReceipt, BackupRequest, back_up
from snapkit.services.list import list_entries
from snapkit.services.outage.clients import Clients
from snapkit.services.rollback import SwapReceipt, SwapRequest, swap
from tests.cluster import Cluster
from tests.process import Command

LOCK_WAIT = timedelta(seconds=60)
Connection = psycopg.Connection[Any]


@dataclass(frozen=True)
class Ran:
    """A command that has ended."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> dict[str, Any]:
        document = json.loads(self.out)
        assert isinstance(document, dict)
        return document

    @property
    def data(self) -> dict[str, Any]:
        assert self.document["status"] == "success", self.document
        data = self.document["data"]
        assert isinstance(data, dict)
        return data


def command_environment(url: str | None = None, **more: str) -> dict[str, str]:
    """Return the environment for a command in a subprocess."""
    environment = {
        key: os.environ[key]
        for key in ("PATH", "HOME", "LANG", "COVERAGE_PROCESS_START", "COVERAGE_PROCESS_CONFIG")
        if key in os.environ
    }
    return environment | ({"DATABASE_URL": url} if url else {}) | more


def run_snapkit(*words: str, url: str | None = None, cwd: Path | None = None, **environment: str) -> Ran:
    """Run the command off a terminal, in a process of its own."""
    command = Command(words, command_environment(url, **environment), cwd or Path.cwd())
    try:
        command.start()
        code = command.wait(120)
        assert code is not None, f"snapkit {words} has not ended"
        return Ran(code, *command.output())
    finally:
        command.end()


def run_installed(*words: str, url: str | None = None, cwd: Path | None = None, **environment: str) -> Ran:
    """Run it as its users do, started anew: slower, and what they get to the last detail."""
    done = subprocess.run(
        [sys.executable, "-m", "snapkit", *words],
        env=command_environment(url, **environment),
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
    )
    return Ran(done.returncode, done.stdout, done.stderr)


def wait_until(condition: Callable[[], bool], seconds: float = 60) -> None:
    """Wait for a condition; fail if it does not come."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come"
        time.sleep(0.02)


class Sandbox:
    """A source database of its own, named by a prefix that everything that comes of it bears too."""

    def __init__(self, cluster: Cluster, admin: Connection, prefix: str) -> None:
        self.cluster = cluster
        self.admin = admin
        self.prefix = prefix
        self.name = f"{prefix}_app"
        self._roles: list[str] = []
        self._servers: dict[str, Server] = {}

    # --- life ---

    def create(self) -> None:
        self.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(self.name)))
        with self.connect() as connection:
            connection.execute("CREATE TABLE item (id int PRIMARY KEY, name text)")
            connection.execute("INSERT INTO item SELECT n, 'item ' || n FROM generate_series(1, 100) AS n")

    def remove(self) -> None:
        self._end_what_holds_them()
        for name in self.databases():
            # ALTER DATABASE on one marked as invalid ends the session (FATAL), and FORCE is refused.
            invalid = self.row(name)["datconnlimit"] == -2
            if not invalid:
                self.execute(sql.SQL("ALTER DATABASE {} IS_TEMPLATE false").format(sql.Identifier(name)))
            force = sql.SQL("" if invalid else " WITH (FORCE)")
            self.execute(sql.SQL("DROP DATABASE {}{}").format(sql.Identifier(name), force))
        for role in reversed(self._roles):
            self.execute(sql.SQL("DROP OWNED BY {}").format(sql.Identifier(role)))
            self.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(role)))

    def _end_what_holds_them(self) -> None:
        """End transactions that a test which failed has left open on its databases: nothing waits for them."""
        self.execute(
            "SELECT pg_terminate_backend(pid, 10000) FROM pg_locks JOIN pg_database AS d ON objid = d.oid"
            " WHERE classid = 'pg_database'::regclass AND datname LIKE %s AND pid <> pg_backend_pid()",
            self.prefix.replace("_", r"\_") + r"\_%",
        )

    # --- the server, seen from outside ---

    def execute(self, statement: str | sql.Composed, *values: Any) -> list[tuple[Any, ...]]:
        """Run a statement as superuser in the maintenance database."""
        cursor = self.admin.execute(statement, values or None)
        return cursor.fetchall() if cursor.description else []

    def databases(self) -> list[str]:
        """Return the names of all databases of this sandbox."""
        names = [str(name) for (name,) in self.execute("SELECT datname FROM pg_database ORDER BY oid")]
        return [name for name in names if name.startswith(self.prefix + "_")]

    def row(self, name: str) -> dict[str, Any]:
        """Return what pg_database says of a database, and its comment."""
        cursor = self.admin.execute(
            "SELECT oid, datallowconn, datconnlimit, datistemplate, datdba::regrole::text AS owner,"
            " datacl::text AS acl, shobj_description(oid, 'pg_database') AS comment"
            " FROM pg_database WHERE datname = %s",
            (name,),
        )
        found = cursor.fetchone()
        assert found is not None, f"no database {name}"
        assert cursor.description is not None
        return dict(zip((column.name for column in cursor.description), found, strict=True))

    def sessions(self, name: str) -> int:
        ((number,),) = self.execute("SELECT count(*) FROM pg_stat_activity WHERE datname = %s", name)
        return int(number)

    @property
    def version(self) -> int:
        return self.admin.info.server_version // 10000

    def connect(self, name: str | None = None, **options: Any) -> Connection:
        return psycopg.connect(self.cluster.url(name or self.name), autocommit=True, **options)

    def items(self, name: str | None = None) -> list[tuple[Any, ...]]:
        """Return the rows of the table that every sandbox has."""
        with self.connect(name) as connection:
            return connection.execute("SELECT * FROM item ORDER BY id").fetchall()

    def ruin(self) -> None:
        """Do what a migration gone wrong does."""
        with self.connect() as connection:
            connection.execute("DELETE FROM item WHERE id > 10")
            connection.execute("ALTER TABLE item ADD COLUMN ruined bool DEFAULT true")

    def date(self, name: str, at: str) -> None:
        """Make an entry one of another date, as of another clock: its row and its comment written at once."""
        document = json.dumps(json.loads(self.row(name)["comment"]) | {"created_at": at}, separators=(",", ":"))
        with self.admin.transaction():
            self.execute(sql.SQL("COMMENT ON DATABASE {} IS {}").format(sql.Identifier(name), sql.Literal(document)))
            self.execute(sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS false").format(sql.Identifier(name)))

    def role(self, name: str, options: str = "LOGIN") -> str:
        """Create a role; return its name."""
        full = f"{self.prefix}_{name}"
        self.execute(sql.SQL("CREATE ROLE {} {}").format(sql.Identifier(full), sql.SQL(options)))
        self._roles.append(full)
        return full

    # --- snapkit ---

    @property
    def url(self) -> str:
        return self.cluster.url(self.name)

    def server(self, url: str | None = None) -> Server:
        """The server, one for all that a test asks of it: what SQLAlchemy has compiled once is not compiled again."""
        url = url or self.url
        if url not in self._servers:
            self._servers[url] = Server(target_of(url))
        return self._servers[url]

    def back_up(self, hold: HoldRules = DEFAULT_RULES, **request: Any) -> BackupReceipt:
        return back_up(self.server(), BackupRequest(clients=Clients(hold), **request), LOCK_WAIT, lambda progress: None)

    def roll_back(self, wanted: str | None = None, hold: HoldRules = DEFAULT_RULES, **request: Any) -> SwapReceipt:
        wish = SwapRequest(wanted=wanted, clients=Clients(hold), **request)
        return swap(self.server(), wish, LOCK_WAIT, lambda progress: None)

    def undo(self) -> SwapReceipt:
        return swap(self.server(), SwapRequest(undo=True), LOCK_WAIT, lambda progress: None)

    def entries(self) -> tuple[Entry, ...]:
        return list_entries(self.server(), sizes=False, all_sources=False).entries

    def run(self, *words: str, url: str | None = None) -> Ran:
        """Run the installed command on this sandbox's source."""
        return run_snapkit(*words, url=url or self.url)

    @contextmanager
    def reconnecting_clients(self, number: int, url: str | None = None) -> Iterator[Crowd]:
        """Keep clients at work in the source that come back at once whenever they are disconnected."""
        crowd = Crowd(url or self.url, number)
        try:
            wait_until(lambda: crowd.queries > number)
            yield crowd
        finally:
            crowd.stop()


class Crowd:
    """Clients that insert rows, and reconnect at once."""

    def __init__(self, url: str, number: int) -> None:
        self.queries = 0
        self._stopped = threading.Event()
        self._threads = [threading.Thread(target=self._work, args=(url,), daemon=True) for _ in range(number)]
        for thread in self._threads:
            thread.start()

    def _work(self, url: str) -> None:
        while not self._stopped.is_set():
            try:
                with psycopg.connect(url, autocommit=True, application_name="crowd") as connection:
                    while not self._stopped.is_set():
                        connection.execute(
                            "INSERT INTO item SELECT coalesce(max(id), 0) + 1 FROM item ON CONFLICT DO NOTHING"
                        )
                        self.queries += 1
            except psycopg.Error:
                continue

    def stop(self) -> None:
        self._stopped.set()
        for thread in self._threads:
            thread.join(timeout=30)


def entry_names(entries: Sequence[Entry]) -> list[str]:
    return [entry.name for entry in entries]
