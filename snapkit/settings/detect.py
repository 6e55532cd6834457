"""What a run can know of the deploy that it is part of: git's word on the working directory, CI, who runs it where."""

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
"""Seconds that git's answer to each of two questions is waited for. A large tree may take longer to be compared."""

_QUIET = {
    "GIT_OPTIONAL_LOCKS": "0",  # a deploy may be at work in the same tree
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
"""The repository's own configuration names programs to run, and servers to ask. https://git-scm.com/docs/git-config"""

_SHOW = (
    "log", "-1", "--format=%H%n%D", "--no-show-signature", "--no-color",
    "--decorate=full", "--decorate-refs=HEAD", "--decorate-refs=refs/heads/", "--decorate-refs=refs/tags/",
)  # fmt: skip
_COMPARE = ("status", "--porcelain", "--untracked-files=no", "--ignore-submodules=dirty")


@contextmanager
def asking_for_deploy(environment: Mapping[str, str], directory: Path) -> Iterator[Callable[[], Deploy]]:
    """Begin to ask what is known of the deploy without the database; yield what waits for it, and returns it.

    What cannot be found is left out. Raises nothing, whatever has become of the directory.
    """
    with asking_git(environment, directory) as checkout:
        yield lambda: _deploy(environment, checkout())


def _deploy(environment: Mapping[str, str], checkout: Checkout | None) -> Deploy:
    return Deploy(checkout, recognise_ci(environment), user=clean(login_name()), host=clean(host_name()))


@contextmanager
def asking_git(environment: Mapping[str, str], directory: Path) -> Iterator[Callable[[], Checkout | None]]:
    """Begin to ask what is checked out in the repository that a directory is part of; yield what waits for the answer.

    None if it is part of none. Raises nothing: without git, or where it takes too long, there is nothing to be told.
    What has not answered at the end is ended.
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
    """Have git begin to answer; yield what waits for that. If it has not, it is ended, with what it has started."""
    process = _start(program, words, environment, directory) if program is not None else None
    if process is None:
        yield lambda: None
        return
    try:
        yield lambda: _answer(process)
    finally:
        if process.returncode is None:  # not poll(): it may have ended, and left something running
            signal_group(process.pid, signal.SIGKILL)
            wait_for(process, _LIMIT)  # a disk that hangs keeps even what is killed
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
            start_new_session=True,  # no terminal to ask on, and Ctrl-C is ours to answer
        )
    except (OSError, ValueError):  # ValueError: a name in the environment that cannot be handed on
        return None


def _answer(process: subprocess.Popen[bytes]) -> str | None:
    """Return what it says; None if it fails, or takes too long yet."""
    try:
        said, _ = process.communicate(timeout=_LIMIT)
    except subprocess.TimeoutExpired:
        return None
    return said.decode("utf-8", "replace") if process.returncode == 0 else None
