"""A PostgreSQL server for the tests: started from whatever binaries are asked for, and deleted at the end."""

from __future__ import annotations

import os
import pwd
import random
import shutil
import socket
import subprocess
import tempfile
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote

SUPERUSER = "postgres"
PASSWORD = "correct-horse-%-battery"

# The WAL is kept for a standby that a test has stopped: each clone's checkpoints would let go of it.
_CONFIGURATION = """
listen_addresses = '127.0.0.1'
fsync = off
max_connections = 150
max_prepared_transactions = 5
wal_level = logical
wal_keep_size = 512MB
log_min_messages = fatal
"""


class Cluster:
    """One running server, on a socket in its own directory and on a free port of 127.0.0.1."""

    def __init__(self, binaries: Path, directory: Path | None = None) -> None:
        """``directory`` is where its own directory is to lie: on which disk, that is."""
        self.root = Path(tempfile.mkdtemp(prefix="snapkit-test-", dir=directory))
        self.user = unprivileged_user()
        self.data = self.root / "data"
        self.port = free_port()
        self.binaries = self._reachable(binaries)
        self.version = ""

    def start(self, *initdb: str, configuration: str = "") -> None:
        """Make the data directory and launch the server; ``initdb`` and ``configuration`` are what is to be special."""
        if self.user is not None:
            shutil.chown(self.root, self.user)
        password_file = self.root / "password"
        password_file.write_text(PASSWORD)
        password_file.chmod(0o644)
        self.run(
            "initdb", "-D", str(self.data), "-U", SUPERUSER, "--encoding=UTF8", "--locale=C", "--no-sync",
            "--auth-local=trust", "--auth-host=scram-sha-256", f"--pwfile={password_file}", *initdb,
        )  # fmt: skip
        self.configure(_CONFIGURATION + configuration)
        self.launch()
        self.version = self.run("postgres", "--version").split()[2]

    def copy_of(self, primary: Cluster, configuration: str = "") -> None:
        """Become a standby of ``primary``, and launch."""
        if self.user is not None:
            shutil.chown(self.root, self.user)
        where = ("-h", str(primary.root), "-p", str(primary.port), "-U", SUPERUSER)
        self.run("pg_basebackup", *where, "-D", str(self.data), "-R", "-c", "fast", "--no-sync")
        # Not what -R has written: the server may find another libpq, which does not know all of its options.
        link = f"primary_conninfo = 'host={primary.root} port={primary.port} user={SUPERUSER}'\n"
        (self.data / "postgresql.auto.conf").write_text(link)
        self.configure(configuration)
        self.launch()
        self.version = primary.version

    def configure(self, lines: str) -> None:
        with (self.data / "postgresql.conf").open("a") as file:
            file.write(f"{lines}\nport = {self.port}\nunix_socket_directories = '{self.root}'\n")

    def launch(self) -> None:
        """Start the server's processes; its data is there."""
        self.run("pg_ctl", "-D", str(self.data), "-w", "-t", "60", "-l", str(self.root / "log"), "start")

    def stop(self, mode: str = "fast") -> None:
        self.run("pg_ctl", "-D", str(self.data), "-w", "-m", mode, "stop")

    def remove(self) -> None:
        with suppress(subprocess.CalledProcessError):
            self.stop("immediate")
        shutil.rmtree(self.root, ignore_errors=True)

    def run(self, program: str, *arguments: str) -> str:
        """Run one of the server's programs as its user, and return what it prints."""
        with tempfile.TemporaryFile("w+") as output:  # not a pipe, which the server that pg_ctl starts would keep open
            subprocess.run(
                [self.binaries / program, *arguments],
                user=self.user,
                group=pwd.getpwnam(self.user).pw_gid if self.user else None,
                extra_groups=[] if self.user else None,
                cwd=self.root,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                check=True,
            )
            output.seek(0)
            return output.read()

    def url(self, database: str, *, user: str = SUPERUSER, password: str | None = None, tcp: bool = False) -> str:
        """Return a URL to a database; over TCP it takes a password."""
        name = quote(database, safe="")
        if not tcp:
            return f"postgresql://{quote(user, safe='')}@/{name}?host={self.root}&port={self.port}"
        secret = quote(password if password is not None else PASSWORD, safe="")
        return f"postgresql://{quote(user, safe='')}:{secret}@127.0.0.1:{self.port}/{name}"

    def _reachable(self, binaries: Path) -> Path:
        """Return the programs where the server's user can run them; a home directory may be closed to others."""
        if self.user is None or _may_run(self.user, binaries / "postgres"):
            return binaries
        package = binaries.parent.parent
        copy = self.root / "programs"
        shutil.copytree(package, copy / package.name)
        libraries = package.with_name(package.name + ".libs")
        if libraries.exists():
            shutil.copytree(libraries, copy / libraries.name)
        return copy / package.name / binaries.parent.name / binaries.name


def unprivileged_user() -> str | None:
    """PostgreSQL refuses to run as root; None where we are somebody else already."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        with suppress(KeyError):
            return pwd.getpwnam(name).pw_name
    raise RuntimeError("running as root, and there is no user 'postgres' or 'nobody' to run the server as")


def _may_run(user: str, program: Path) -> bool:
    try:
        subprocess.run([program, "--version"], user=user, capture_output=True, check=True)
    except (PermissionError, subprocess.CalledProcessError):
        return False
    return True


_given: set[int] = set()


def free_port() -> int:
    """Return a port of 127.0.0.1 that nobody listens on, and that nobody else in this test run is given.

    Each worker of a parallel run has a thousand of its own, below those that the system gives to clients.
    """
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    first = 10_000 + 1_000 * (worker % 20)
    for port in random.sample(range(first, first + 1_000), 1_000):
        if port not in _given and _is_free(port):
            _given.add(port)
            return port
    raise RuntimeError(f"no port of 127.0.0.1 from {first} on is free")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
