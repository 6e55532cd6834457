"""Who is compared: each a way to back up, and a way to have the backup live, as scripts of bash."""

from __future__ import annotations

import shlex
import subprocess
import sys
import venv
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.crowd import ROOT
from benchmarks.servers import SOURCE, BenchServer

Script = Callable[[BenchServer], str]

SNAPKIT = "snapkit"
KEEPING = "snapkit, keeping the backup"
ONLINE = "snapkit --strategy online"
DSLR = "DSLR"
MANUAL = "manual procedure"
NOTHING_BUT_LEAVING = "disconnecting alone"
DUMP = "pg_dump | pg_restore"
PARALLEL_DUMP = "pg_dump -j 2, pg_restore -j 2"
FILE_COPY = "CREATE DATABASE, FILE_COPY"
WAL_LOG = "CREATE DATABASE, WAL_LOG"
CLONE = "CREATE DATABASE, clone"
RAW = (FILE_COPY, WAL_LOG, CLONE)

_COPY = "copy"
_ASIDE = "app_old"
_DSLR_RELEASE = "0.6.0"
_CACHE = ROOT / ".cache" / "benchmarks"


@dataclass(frozen=True)
class Contender:
    """``backup`` is measured if there is one; ``rollback`` needs ``prepare`` (else ``backup``) to have been run."""

    name: str
    backup: Script | None = None
    prepare: Script | None = None
    rollback: Script | None = None
    since: int = 14
    """The major version of PostgreSQL that it needs."""

    def preparation(self, server: BenchServer) -> str:
        script = self.prepare or self.backup
        assert script is not None
        return script(server)


# --- snapkit ---


def snapkit_script(*words: str) -> Script:
    program = str(Path(sys.executable).with_name("snapkit"))
    return lambda server: shlex.join([program, *words, "--json"])


# --- DSLR ---


def dslr_program() -> Path:
    """Return DSLR's program, in an environment of its own that is made once; its dependencies clash with ours."""
    directory = _CACHE / f"dslr-{_DSLR_RELEASE}"
    program = directory / "bin" / "dslr"
    if not program.exists():
        venv.create(directory, with_pip=True, clear=True)
        python = str(directory / "bin" / "python")
        pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, f"DSLR[psycopg]=={_DSLR_RELEASE}", "psycopg[binary]"], check=True, capture_output=True)
    return program


def dslr_version() -> str:
    return _DSLR_RELEASE


def _dslr(*words: str) -> Script:
    return lambda server: shlex.join([str(dslr_program()), *words])


# --- by hand ---


def psql_script(server: BenchServer, *statements: str) -> str:
    words = [server.program("psql"), "-X", "-q", "-o", "/dev/null", "-v", "ON_ERROR_STOP=1", "-d", "postgres"]
    return shlex.join([*words, *(word for statement in statements for word in ("-c", statement))])


_TERMINATE = (
    "SELECT pg_terminate_backend(pg_stat_activity.pid) FROM pg_stat_activity"
    f" WHERE pg_stat_activity.datname = '{SOURCE}' AND pid <> pg_backend_pid()"
)


def swap_by_hand(server: BenchServer, coming: str, going: str) -> str:
    """The guide's rollback, in one session, at a speed that nobody types at."""
    return psql_script(
        server,
        _TERMINATE,
        f'ALTER DATABASE "{SOURCE}" RENAME TO "{going}"',
        f'ALTER DATABASE "{coming}" RENAME TO "{SOURCE}"',
    )


def disconnect(server: BenchServer) -> str:
    """What any swap begins with, and nothing else: what clients wait then is what it takes them to come back."""
    return psql_script(server, _TERMINATE)


def _back_up_by_hand(server: BenchServer) -> str:
    return psql_script(server, _TERMINATE, f'CREATE DATABASE "{_COPY}" WITH TEMPLATE "{SOURCE}"')


def _roll_back_by_hand(server: BenchServer) -> str:
    return swap_by_hand(server, _COPY, _ASIDE)


# --- statements alone ---


def _raw(strategy: str, *settings: str) -> Script:
    return lambda server: psql_script(
        server, *settings, f'CREATE DATABASE "{_COPY}" TEMPLATE "{SOURCE}" STRATEGY {strategy}'
    )


# --- logical copies ---


def _dump_and_restore(server: BenchServer) -> str:
    dump = shlex.join([server.program("pg_dump"), "--format=custom", SOURCE])
    restore = shlex.join([server.program("pg_restore"), "--dbname", _COPY])
    return f"{shlex.join([server.program('createdb'), _COPY])}\n{dump} | {restore}"


def _dump_file(server: BenchServer) -> Path:
    return server.storage.directory / "app.dump"


def _dump_to_file(server: BenchServer) -> str:
    return shlex.join([server.program("pg_dump"), "--format=custom", f"--file={_dump_file(server)}", SOURCE])


def _restore_from_file(server: BenchServer) -> str:
    return "\n".join(
        (
            shlex.join([server.program("dropdb"), "--force", SOURCE]),
            shlex.join([server.program("createdb"), SOURCE]),
            shlex.join([server.program("pg_restore"), "--dbname", SOURCE, str(_dump_file(server))]),
        )
    )


def _dump_and_restore_in_parallel(server: BenchServer) -> str:
    directory = str(server.storage.directory / "app.dumped")
    return "\n".join(
        (
            shlex.join(["rm", "-rf", directory]),
            shlex.join([server.program("pg_dump"), "--format=directory", "-j", "2", f"--file={directory}", SOURCE]),
            shlex.join([server.program("createdb"), _COPY]),
            shlex.join([server.program("pg_restore"), "-j", "2", "--dbname", _COPY, directory]),
            shlex.join(["rm", "-rf", directory]),
        )
    )


OPERATIONS = (
    Contender(SNAPKIT, snapkit_script("backup"), rollback=snapkit_script("rollback", "--latest")),
    Contender(
        KEEPING, prepare=snapkit_script("backup"), rollback=snapkit_script("rollback", "--latest", "--keep-backup")
    ),
    Contender(DSLR, _dslr("snapshot", "bench"), rollback=_dslr("restore", "bench")),
    Contender(MANUAL, _back_up_by_hand, rollback=_roll_back_by_hand),
    Contender(CLONE, _raw("file_copy", "SET file_copy_method = clone"), since=18),
    Contender(FILE_COPY, _raw("file_copy"), since=15),
    Contender(WAL_LOG, _raw("wal_log"), since=15),
    Contender(DUMP, _dump_and_restore, prepare=_dump_to_file, rollback=_restore_from_file),
)
"""What makes a backup, or has it live again."""

WITHOUT_HOLDING = (
    Contender(ONLINE, snapkit_script("backup", "--strategy", "online")),
    Contender(DUMP, _dump_and_restore),
    Contender(PARALLEL_DUMP, _dump_and_restore_in_parallel),
)
"""What copies while clients work."""

INTERRUPTED = tuple(each for each in OPERATIONS if each.rollback is not None)
UNDO = snapkit_script("undo")
