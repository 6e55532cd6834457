"""A server to measure on, with one source database, and what the benchmark itself does there."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import psycopg
from psycopg import sql

from benchmarks.scram import salt_and_iterations, scram_keys
from benchmarks.storage import Storage
from tests.binaries import binaries_of
from tests.cluster import Cluster
from tests.sandbox import command_environment

SOURCE = "app"
SEED = "seed"
"""An untouched copy of the source, from which it is made again when something has spoiled it."""

ROLE = "bench"
_KEPT = frozenset(("postgres", "template0", "template1", SOURCE, SEED))
_CONFIGURATION = """
fsync = {fsync}
wal_level = replica
"""
_ACCOUNTS_OF_A_UNIT = 100_000
_MEGABYTES_OF_A_UNIT = 15.5
_FEW_ACCOUNTS = 20_000
"""With these the database has some 10 MB, most of it the catalogs that every database has."""

BEFORE, AFTER = 1, 2
"""What the mark in the source says: what is to be backed up, and what came after the backup."""


@dataclass(frozen=True)
class State:
    """What a database holds: its mark (None: there is no such database), and whether all its rows are there."""

    mark: int | None
    complete: bool = False

    def __str__(self) -> str:
        if self.mark is None:
            return "missing"
        if not self.complete:
            return "incomplete"
        return "as backed up" if self.mark == BEFORE else "as before the rollback"


class BenchServer:
    """One running server."""

    def __init__(self, cluster: Cluster, storage: Storage, postgres: str, programs: Path) -> None:
        self.cluster = cluster
        self.storage = storage
        self.postgres = postgres
        """The major version."""
        self.programs = programs
        self.rows = 0
        self.size = 0
        """In bytes, of the source as it was made."""
        self.admin = self._connect("postgres")
        self.admin.execute(f"CREATE ROLE {ROLE} SUPERUSER LOGIN PASSWORD '{ROLE}'")

    @property
    def major(self) -> int:
        return int(self.postgres)

    # --- how others reach it ---

    def url(self, database: str = SOURCE) -> str:
        return f"postgresql://{ROLE}:{ROLE}@127.0.0.1:{self.cluster.port}/{database}"

    def clients_url(self) -> str:
        """Return how clients at work reach the source: over TCP, with the keys of the password.

        To derive these takes more of the processor than the server needs to let a client in. In life that is the
        client's own, or was done once, by a pooler; here it would be taken from the server's cores.
        """
        (secret,) = self.execute("SELECT rolpassword FROM pg_authid WHERE rolname = %s", ROLE)[0]
        keys = scram_keys(ROLE, *salt_and_iterations(secret))
        given = urlencode({"scram_client_key": keys.client, "scram_server_key": keys.server})
        return f"postgresql://{ROLE}@127.0.0.1:{self.cluster.port}/{SOURCE}?{given}"

    def environment(self) -> dict[str, str]:
        """Return what a command that is measured runs with: the URL, and libpq's own variables."""
        return command_environment(
            self.url(), PGHOST="127.0.0.1", PGPORT=str(self.cluster.port), PGUSER=ROLE, PGPASSWORD=ROLE
        )

    def program(self, name: str) -> str:
        return str(self.programs / name)

    # --- the source ---

    def make_source(self, megabytes: int) -> None:
        """Fill the source, and put an untouched copy of it aside."""
        self.clear(everything=True)
        self.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(SOURCE)))
        scale = max(1, round(megabytes / _MEGABYTES_OF_A_UNIT))
        subprocess.run(
            [self.program("pgbench"), "-i", "-q", "-s", str(scale), SOURCE],
            env=self.environment(),
            check=True,
            capture_output=True,
        )
        self.rows = scale * _ACCOUNTS_OF_A_UNIT
        with self._connect(SOURCE) as connection:
            if megabytes < _MEGABYTES_OF_A_UNIT:
                connection.execute("DELETE FROM pgbench_accounts WHERE aid > %s", (_FEW_ACCOUNTS,))
                connection.execute("VACUUM FULL pgbench_accounts")
                self.rows = _FEW_ACCOUNTS
            connection.execute("CREATE TABLE mark (value int)")
            connection.execute("INSERT INTO mark VALUES (%s)", (BEFORE,))
            connection.execute("VACUUM ANALYZE")
        (self.size,) = self.execute("SELECT pg_database_size(%s)", SOURCE)[0]
        self.copy(SOURCE, SEED)

    def copy(self, template: str, name: str) -> None:
        strategy = sql.SQL(" STRATEGY file_copy" if self.major >= 15 else "")
        words = sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), sql.Identifier(template))
        if self.major >= 18:
            self.execute("SET file_copy_method = clone")
        self.execute(words + strategy)

    def mark(self, value: int) -> None:
        with self._connect(SOURCE) as connection:
            connection.execute("UPDATE mark SET value = %s", (value,))

    def state(self, database: str = SOURCE) -> State:
        """Look at a database; one that cannot be reached within seconds is as good as missing."""
        try:
            with self._connect(database, connect_timeout=3) as connection:
                found = connection.execute("SELECT value FROM mark").fetchone()
                counted = connection.execute("SELECT count(*) FROM pgbench_accounts").fetchone()
        except psycopg.errors.UndefinedTable:
            return State(0)
        except psycopg.OperationalError:
            return State(None)
        return State(found[0] if found else 0, found is not None and counted == (self.rows,))

    def everywhere(self) -> dict[str, State]:
        """Look into every database but the seed and PostgreSQL's own; sealed ones are opened for that."""
        states = {}
        for name, invalid in self.execute("SELECT datname, datconnlimit = -2 FROM pg_database"):
            if name in _KEPT - {SOURCE} or invalid:
                continue
            self.execute(sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS true").format(sql.Identifier(name)))
            states[str(name)] = self.state(name)
        return states

    def clear(self, *, everything: bool = False) -> None:
        """Drop what the commands made; with ``everything`` the source too."""
        spared = _KEPT - {SOURCE, SEED} if everything else _KEPT
        for name, invalid in self.execute("SELECT datname, datconnlimit = -2 FROM pg_database"):
            if name not in spared:
                force = sql.SQL("" if invalid else " WITH (FORCE)")
                self.execute(sql.SQL("DROP DATABASE {}{}").format(sql.Identifier(name), force))

    def restore_source(self) -> None:
        """Have the source as it was made, with nothing beside it."""
        self.clear()
        if self.state() != State(BEFORE, complete=True):
            self.clear_source()
            self.copy(SEED, SOURCE)

    def empty(self, name: str) -> None:
        """Let nobody into a database any more, and have everybody leave."""
        if self.oid_of(name) is None:
            return
        self.execute(sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS false").format(sql.Identifier(name)))
        query = "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = %s"
        while self.execute(query, name):
            pass

    def open(self, name: str) -> None:
        self.execute(sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS true").format(sql.Identifier(name)))

    def clear_source(self) -> None:
        self.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(SOURCE)))

    # --- measuring ---

    def settle(self) -> None:
        """Write out what earlier commands left to be written, so that the next one does not pay for it."""
        self.execute("CHECKPOINT")
        os.sync()

    def wal(self) -> int:
        return int(self.execute("SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')")[0][0])

    def used(self) -> int:
        return self.storage.used(self.cluster.data)

    def oid_of(self, name: str) -> int | None:
        found = self.execute("SELECT oid FROM pg_database WHERE datname = %s", name)
        return int(found[0][0]) if found else None

    def names(self) -> set[str]:
        return {str(name) for (name,) in self.execute("SELECT datname FROM pg_database")}

    def others_at_work(self) -> bool:
        """Whether sessions of commands, or what they left behind, are still there."""
        query = "SELECT 1 FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
        return bool(self.execute(query))

    def execute(self, statement: Any, *values: Any) -> list[tuple[Any, ...]]:
        """Run a statement as superuser in the maintenance database."""
        cursor = self.admin.execute(statement, values or None)
        return cursor.fetchall() if cursor.description else []

    def crash_and_recover(self) -> None:
        """Stop the server as a power cut would, and start it again."""
        self.cluster.stop("immediate")
        self.cluster.launch()
        self.admin.close()
        self.admin = self._connect("postgres")

    def _connect(self, database: str, **options: Any) -> psycopg.Connection[Any]:
        return psycopg.connect(self.cluster.url(database), autocommit=True, **options)


@contextmanager
def server_on(storage: Storage, postgres: str, *, fsync: bool = True) -> Iterator[BenchServer]:
    """Start a server of that major version, with its data on ``storage``. Raises NoBinariesError."""
    programs = binaries_of(postgres)
    cluster = Cluster(programs, storage.directory)
    try:
        cluster.start(configuration=_CONFIGURATION.format(fsync="on" if fsync else "off"))
        server = BenchServer(cluster, storage, postgres, _with_clients(programs))
        try:
            yield server
        finally:
            with suppress(psycopg.Error):
                server.admin.close()
    finally:
        cluster.remove()


def _with_clients(programs: Path) -> Path:
    """Return where psql, pg_dump and pgbench are: beside the server's programs, but for some packages of it."""
    if (programs / "pgbench").exists():
        return programs
    found = shutil.which("pgbench")
    return Path(found).parent if found else programs
