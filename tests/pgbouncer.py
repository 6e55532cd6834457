"""A PgBouncer for the tests: in front of a cluster, with an administrator and one who may only look."""

from __future__ import annotations

import shutil
import signal
import subprocess
import threading
import time
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg

from tests.cluster import Cluster, free_port
from tests.sandbox import wait_until

ADMIN = "console-admin"
LOOKER = "console-looker"
PASSWORD = "p@ss:w/rd?%"

Row = dict[str, Any]


def program() -> str | None:
    """Return the program, if it is installed."""
    return shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin")


class PgBouncer:
    """One PgBouncer on a port of 127.0.0.1 that logs in to the server as its superuser.

    ``databases`` are the lines of that section, by name; "*" leads wherever the client says.
    """

    def __init__(
        self,
        cluster: Cluster,
        place: Path,
        *,
        pool_mode: str = "transaction",
        databases: dict[str, str] | None = None,
        port: int | None = None,
        more: str = "",
    ) -> None:
        self.port = port or free_port()
        self._user = cluster.user
        self._ini = place / "pgbouncer.ini"
        place.mkdir()
        (place / "users.txt").write_text(f'"{ADMIN}" "{PASSWORD}"\n"{LOOKER}" "{PASSWORD}"\n"postgres" "{PASSWORD}"\n')
        server = f"host={cluster.root} port={cluster.port} user=postgres"
        lines = [f"{name} = {server} {rest}" for name, rest in (databases or {"*": ""}).items()]
        self._ini.write_text(
            "[databases]\n" + "\n".join(lines) + "\n[pgbouncer]\n"
            f"listen_addr = 127.0.0.1\nlisten_port = {self.port}\nunix_socket_dir =\nauth_type = md5\n"
            f"auth_file = {place}/users.txt\npool_mode = {pool_mode}\nadmin_users = {ADMIN}\nstats_users = {LOOKER}\n"
            f"max_client_conn = 500\n{more}\n"
        )
        if self._user is not None:
            for path in (place, *place.iterdir()):
                shutil.chown(path, self._user)
        self._running: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        found = program()
        assert found is not None
        self._running = subprocess.Popen(
            [found, self._ini],
            user=self._user,
            cwd=self._ini.parent,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        wait_until(self._answers)

    @property
    def pid(self) -> int:
        assert self._running is not None
        return self._running.pid

    def wait(self) -> None:
        """Wait until somebody else has ended it."""
        if self._running is not None:
            self._running.wait(timeout=60)

    def stop(self) -> None:
        if self._running is not None:
            self._running.send_signal(signal.SIGQUIT)  # at once; from 1.23 on SIGTERM waits for clients to leave
            self._running.wait(timeout=20)
            self._running = None

    def console_url(self, user: str = ADMIN, password: str = PASSWORD, database: str = "/pgbouncer") -> str:
        return f"postgresql://{user}:{quote(password, safe='')}@127.0.0.1:{self.port}{database}"

    def url(self, name: str) -> str:
        """Return the URL with which clients reach a database through it."""
        return f"postgresql://postgres:{quote(PASSWORD, safe='')}@127.0.0.1:{self.port}/{quote(name, safe='')}"

    def ask(self, statement: str) -> list[Row]:
        """Run a command on the console; return its rows."""
        with psycopg.connect(self.console_url(), autocommit=True, prepare_threshold=None) as console:
            cursor = console.execute(statement.encode())
            if cursor.description is None:
                return []
            names = [column.name for column in cursor.description]
            return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]

    def paused(self) -> set[str]:
        """Return the names of its databases that are paused at this moment."""
        return {row["name"] for row in self.ask("SHOW DATABASES") if row["paused"]}

    def _answers(self) -> bool:
        try:
            self.ask("SHOW VERSION")
        except psycopg.Error:
            return False
        return True


class Clients:
    """Clients at full speed that take note of each query that fails, and of how long the longest took."""

    def __init__(self, url: str, number: int, *, reconnect: bool = False) -> None:
        self.queries = 0
        self.longest = 0.0
        self.failures: list[str] = []
        self._stopped = threading.Event()
        self._threads = [
            threading.Thread(target=self._work, args=(url, reconnect and each % 2 == 0), daemon=True)
            for each in range(number)
        ]
        for thread in self._threads:
            thread.start()

    def _work(self, url: str, reconnect: bool) -> None:
        while not self._stopped.is_set():
            try:
                self._query(url, reconnect)
            except psycopg.Error as error:
                self.failures.append(f"{time.monotonic():.3f} {type(error).__name__}: {error}")

    def _query(self, url: str, reconnect: bool) -> None:
        began = time.monotonic()
        with psycopg.connect(url, autocommit=True, prepare_threshold=None, application_name="client") as connection:
            while not self._stopped.is_set():
                connection.execute("SELECT count(*) FROM item")
                self.longest = max(self.longest, time.monotonic() - began)
                self.queries += 1
                if reconnect and self.queries % 7 == 0:
                    return
                began = time.monotonic()

    def go_on(self, number: int = 100) -> None:
        """Wait until that many more queries have been answered."""
        before = self.queries
        wait_until(lambda: self.queries > before + number)

    def stop(self) -> None:
        self._stopped.set()
        for thread in self._threads:
            thread.join(timeout=30)
