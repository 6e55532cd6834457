"""What a run can know of the deploy that it is part of: git's word on the working directory, CI, who runs it where."""

from __future__ import annotations

import getpass
import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from snapkit.core.deploy import Checkout, Deploy, clean, read_checkout, recognise_ci

_LIMIT = 2.0
"""Seconds that git may take for each of two questions. A large tree may take longer to be compared."""

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


def deploy_at_hand(environment: Mapping[str, str], directory: Path) -> Deploy:
    """Return what is known of the deploy without asking the database; what cannot be found is left out.

    Raises nothing, whatever has become of the directory.
    """
    user = host = None
    with suppress(OSError, KeyError, ImportError):  # a container's user need not have a name
        user = getpass.getuser()
    with suppress(OSError):
        host = socket.gethostname()
    return Deploy(
        git=checkout_at(environment, directory),
        ci=recognise_ci(environment),
        user=clean(user),
        host=clean(host),
    )


def checkout_at(environment: Mapping[str, str], directory: Path) -> Checkout | None:
    """Return what is checked out in the repository that a directory is part of; None if it is part of none.

    Raises nothing: without git, or where it takes too long, there is nothing to be told.
    """
    program = shutil.which("git", path=environment.get("PATH"))
    if program is None:
        return None
    head = _ask(program, _SHOW, environment, directory)
    if not head:
        return None
    return read_checkout(head, _ask(program, _COMPARE, environment, directory))


def _ask(program: str, words: tuple[str, ...], environment: Mapping[str, str], directory: Path) -> str | None:
    """Return what git says; None if it fails or takes too long. It and what it has started are ended in any case."""
    try:
        process = subprocess.Popen(  # noqa: S603 - found on the user's PATH
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
    try:
        said, _ = process.communicate(timeout=_LIMIT)
    except subprocess.TimeoutExpired:
        return None
    finally:
        if process.poll() is None:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        if process.stdout is not None:
            process.stdout.close()
    return said.decode("utf-8", "replace") if process.returncode == 0 else None
