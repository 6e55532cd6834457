"""What is known of the deploy at hand: what git says of the working directory, the CI system, who runs it where."""

from __future__ import annotations

import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from snapkit.core.deploy.ci_systems import recognise_ci
from snapkit.core.deploy.deploy import Checkout, Deploy, clean, read_checkout
from snapkit.processes.caller import host_name, login_name
from snapkit.processes.ending import signal_group, wait_for

_LIMIT = 2.0
"""Seconds that git may take for each of two answers. Comparing a large working tree may take longer."""

_QUIET = {
    "GIT_OPTIONAL_LOCKS": "0",  # a deploy may be using git in the same tree
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_ASKPASS": "",
    "SSH_ASKPASS": "",
    "GIT_NO_LAZY_FETCH": "1",
    "GIT_PAGER": "",
    "LC_ALL": "C",
}
_HARMLESS = (
    "-c", "core.fsmonitor=false",
    "-c", "core.hooksPath=/dev/null",
    "-c", "protocol.allow=never",
    "-c", "safe.bareRepository=explicit",
)  # fmt: skip
"""Without these, the repository's own configuration could name programs to run, and servers to ask. https://git-scm.com/docs/git-config"""

_SHOW = (
    "log", "-1", "--format=%H%n%D", "--no-show-signature", "--no-color",
    "--decorate=full", "--decorate-refs=HEAD", "--decorate-refs=refs/heads/", "--decorate-refs=refs/tags/",
)  # fmt: skip
_COMPARE = ("status", "--porcelain", "--untracked-files=no", "--ignore-submodules=dirty")


@contextmanager
def asking_for_deploy(environment: Mapping[str, str], directory: Path) -> Iterator[Callable[[], Deploy]]:
    """Begin to ask git about the deploy. Yield a function that waits for the answer, and returns what is known.

    What cannot be found is left out. Raises nothing, even if the directory is gone.
    """
    with asking_git(environment, directory) as checkout:
        yield lambda: _deploy(environment, checkout())


def _deploy(environment: Mapping[str, str], checkout: Checkout | None) -> Deploy:
    return Deploy(checkout, recognise_ci(environment), user=clean(login_name()), host=clean(host_name()))


@contextmanager
def asking_git(environment: Mapping[str, str], directory: Path) -> Iterator[Callable[[], Checkout | None]]:
    """Begin to ask what is checked out in the repository of a directory. Yield a function that waits for the answer.

    It returns None if the directory is in no repository, if there is no git, or if git takes too long. A git that has
    not answered when the block ends is killed.
    """
    program = shutil.which("git", path=environment.get("PATH"))
    with ExitStack() as asked:
        head, changes = (
            asked.enter_context(_asked(program, words, environment, directory)) for words in (_SHOW, _COMPARE)
        )

        def checkout() -> Checkout | None:
            found = head()
            return read_checkout(found, changes()) if found else None

        yield checkout


@contextmanager
def _asked(
    program: str | None, words: tuple[str, ...], environment: Mapping[str, str], directory: Path
) -> Iterator[Callable[[], str | None]]:
    """Start git. Yield a function that waits for its output. What still runs at the end is killed."""
    process = _start(program, words, environment, directory) if program is not None else None
    if process is None:
        yield lambda: None
        return
    try:
        yield lambda: _answer(process)
    finally:
        if process.returncode is None:  # not poll(): git may have ended, and left a process running
            signal_group(process.pid, signal.SIGKILL)
            wait_for(process, _LIMIT)  # while a disk hangs, even a killed process does not end
        if process.stdout is not None:
            process.stdout.close()


def _start(
    program: str, words: tuple[str, ...], environment: Mapping[str, str], directory: Path
) -> subprocess.Popen[bytes] | None:
    try:
        return subprocess.Popen(  # noqa: S603 - found on the user's PATH
            [program, *_HARMLESS, *words],
            cwd=directory,
            env={**environment, **_QUIET},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # no terminal to ask on, and no Ctrl-C
        )
    except (OSError, ValueError):  # ValueError: a variable whose name cannot be passed on
        return None


def _answer(process: subprocess.Popen[bytes]) -> str | None:
    """Return its output; None if it fails or takes too long."""
    try:
        said, _ = process.communicate(timeout=_LIMIT)
    except subprocess.TimeoutExpired:
        return None
    return said.decode("utf-8", "replace") if process.returncode == 0 else None
