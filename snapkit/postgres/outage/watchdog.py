"""A process that outlives snapkit, and resumes a paused pool if snapkit does not.

It runs in a session of its own, where no signal of the terminal reaches it. Before anything is paused, it has its own
connection to each console. snapkit talks to it over its standard input. It resumes when that ends, which means that
snapkit is gone; when snapkit has given no sign of life for a while, since it may be suspended; and when the time is
over for which a pool may be paused.

It is started with ``python -m``, and of other packages it needs psycopg only.
"""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from typing import IO

from snapkit.core.values import dataclass
from snapkit.postgres.outage.login_retry import await_service, put_back
from snapkit.postgres.outage.pgbouncer_console import Console, ConsoleError, ConsoleLostError
from snapkit.processes.deadline import Deadline

SILENCE = 20.0
"""Seconds without a sign of life after which snapkit counts as dead."""

RETRY_FOR = 600.0
"""Seconds for which it tries to reach a console that has something to resume."""

_SIGN_OF_LIFE = 2.0
_SETTLING = 3.0
"""Seconds for which it looks again: a PAUSE that snapkit sent just before it died may arrive after our RESUME."""

_SERVICE_PATIENCE = 1.0
_RETRY_AFTER = 1.0
_START_LIMIT = 30.0
_END_LIMIT = 2.0

_ENVIRONMENT_NAMES = frozenset(
    ("PATH", "HOME", "USER", "LOGNAME", "LANG", "TZ", "VIRTUAL_ENV", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH",
     "SYSTEMROOT", "APPDATA", "USERPROFILE", "TMPDIR", "TEMP")
)  # fmt: skip
_ENVIRONMENT_PREFIXES = ("PG", "PYTHON", "LC_", "KRB5", "SSL_", "OPENSSL_")


class WatchdogError(Exception):
    """The watchdog could not be started. Nothing is paused."""


@dataclass(frozen=True, slots=True)
class Post:
    """A console, and the names of the databases there that are going to be paused.

    ``login_retry`` is the value of server_login_retry there (see ``login_retry``), if that is known.
    """

    parameters: Mapping[str, str]
    names: tuple[str, ...]
    login_retry: str | None = None


# --- on snapkit's side -----------------------------------------------------------------------------------------------


class Watchdog:
    """The process, as snapkit sees it. If it dies, nothing is raised: snapkit itself resumes."""

    def __init__(self, posts: Sequence[Post], limit: float) -> None:
        """Start it. ``limit`` is how many seconds a pool may be paused."""
        try:
            # -P: Python must not import a file of the working directory in place of our module.
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "snapkit.postgres.outage.watchdog"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                bufsize=0,
                env=_environment(os.environ),
                start_new_session=True,
            )
        except OSError as error:
            raise WatchdogError(str(error)) from error
        self._said: queue.Queue[bytes] = queue.Queue()
        threading.Thread(target=self._listen, daemon=True).start()
        consoles = [
            {"parameters": dict(post.parameters), "names": post.names, "login_retry": post.login_retry}
            for post in posts
        ]
        self._tell({"limit": limit, "silence": SILENCE, "posts": consoles})
        self._closed = threading.Event()
        threading.Thread(target=self._give_signs_of_life, daemon=True).start()

    @property
    def pid(self) -> int:
        return self._process.pid

    def wait_until_ready(self) -> None:
        """Wait until it has its connections. Raise WatchdogError if it does not get them."""
        try:
            said = json.loads(self._said.get(timeout=_START_LIMIT) or b'{"problem": "it ended at once"}')
        except (queue.Empty, ValueError):
            said = {"problem": "it does not answer"}
        if "problem" in said:
            self._process.kill()
            self.close()
            raise WatchdogError(said["problem"])

    def arm(self) -> None:
        """Tell it that from now on there may be something to resume."""
        self._tell("armed")

    def resumed(self, numbers: Collection[int]) -> None:
        """Tell it which posts, by number, need not be resumed any more."""
        self._tell(list(numbers))

    def close(self) -> None:
        """Close its standard input. With nothing to resume it ends; otherwise it goes on trying, and outlives us."""
        self._closed.set()
        with suppress(OSError):
            self._pipe.close()
        try:
            self._process.wait(_END_LIMIT)
        except subprocess.TimeoutExpired:
            self._process.returncode = 0  # it is on its own now; Python must not warn that we do not wait for it
        if self._process.stdout is not None:
            with suppress(OSError):
                self._process.stdout.close()

    @property
    def _pipe(self) -> IO[bytes]:
        assert self._process.stdin is not None  # noqa: S101 - it was asked for
        return self._process.stdin

    def _tell(self, message: object) -> None:
        with suppress(OSError, ValueError):  # it has ended, or was closed
            self._pipe.write(json.dumps(message).encode() + b"\n")

    def _listen(self) -> None:
        assert self._process.stdout is not None  # noqa: S101 - it was asked for
        with suppress(OSError, ValueError):
            self._said.put(self._process.stdout.readline())

    def _give_signs_of_life(self) -> None:
        while not self._closed.wait(_SIGN_OF_LIFE):
            self._tell("alive")


def _environment(ours: Mapping[str, str]) -> dict[str, str]:
    """The variables that libpq and Python read. Others may hold passwords, our own URLs among them."""
    return {
        name: value
        for name, value in ours.items()
        if name in _ENVIRONMENT_NAMES or name.startswith(_ENVIRONMENT_PREFIXES)
    }


# --- in the process itself -------------------------------------------------------------------------------------------


class _Guarded:
    """A console that may have something to resume. It is reconnected to as often as necessary."""

    def __init__(self, parameters: Mapping[str, str], names: Sequence[str], login_retry: str | None) -> None:
        self._parameters = parameters
        self._names = names
        self._login_retry = login_retry
        self._console: Console | None = Console(parameters)

    def resume(self) -> bool:
        """Whether every RESUME was answered. "Not paused" is an answer too."""

        def resume_all(console: Console) -> None:
            for name in self._names:
                console.resume(name)

        return self._told(resume_all)

    def serve(self) -> bool:
        """Whether server_login_retry, which snapkit may have set there, has its old value again."""

        def see_to_it(console: Console) -> None:
            await_service(console, self._names, Deadline(_SERVICE_PATIENCE))
            put_back(console, self._login_retry)

        return self._told(see_to_it)

    def _told(self, tell: Callable[[Console], None]) -> bool:
        try:
            if self._console is None:
                self._console = Console(self._parameters)
            tell(self._console)
        except ConsoleError as error:
            if isinstance(error, ConsoleLostError) and self._console is not None:
                self._console.close()
                self._console = None
            return False
        return True


def _read(lines: queue.Queue[bytes]) -> None:
    for line in iter(sys.stdin.buffer.readline, b""):
        lines.put(line)
    lines.put(b"")


def _watch(guarded: dict[int, _Guarded], limit: float, silence: float, lines: queue.Queue[bytes]) -> None:
    """Wait until there is nothing to watch any more, or until it has to resume in place of snapkit."""
    armed_at: float | None = None
    while guarded:
        try:
            line = lines.get(timeout=silence)
        except queue.Empty:
            line = b"" if armed_at is not None else b'"alive"'
        try:
            said = json.loads(line) if line else None
        except ValueError:
            said = None  # the line was cut off
        if said == "armed":
            armed_at = time.monotonic()
        elif isinstance(said, list):
            for number in said:
                guarded.pop(number, None)
        if said is None or (armed_at is not None and time.monotonic() - armed_at > limit):
            break
    if armed_at is None:
        guarded.clear()


def _stand_in(guarded: dict[int, _Guarded]) -> None:
    """Resume on all consoles, and look again for a while."""
    settling = Deadline(_SETTLING)
    deadline = Deadline(RETRY_FOR)
    while guarded and not deadline.is_over:
        resumed = [number for number, each in guarded.items() if each.resume()]
        for number in [number for number in resumed if guarded[number].serve()]:
            if settling.is_over:
                del guarded[number]
        time.sleep(_RETRY_AFTER)


def main() -> None:
    """Run the watchdog."""
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    orders = json.loads(sys.stdin.buffer.readline())
    guarded: dict[int, _Guarded] = {}
    try:
        for number, post in enumerate(orders["posts"]):
            guarded[number] = _Guarded(post["parameters"], post["names"], post["login_retry"])
    except ConsoleError as error:
        _say({"problem": str(error)})
        return
    _say({"ready": True})
    lines: queue.Queue[bytes] = queue.Queue()
    threading.Thread(target=_read, args=(lines,), daemon=True).start()
    _watch(guarded, orders["limit"], orders["silence"], lines)
    _stand_in(guarded)


def _say(message: object) -> None:
    with suppress(OSError):
        os.write(1, json.dumps(message).encode() + b"\n")


if __name__ == "__main__":
    main()
    os._exit(0)  # without closing the consoles, and without waiting for the thread that reads
