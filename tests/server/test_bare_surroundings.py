"""What is needed only for optional things fails nothing: a working directory, home, names of user and machine, git."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.sandbox import Ran, Sandbox, command_environment

pytestmark = pytest.mark.any_version

_SOMEBODY = "54321"
"""A user that has no entry in the passwd file."""

_AS_SOMEBODY = (
    ["unshare", "--user", f"--map-user={_SOMEBODY}", f"--map-group={_SOMEBODY}"],
    ["setpriv", "--bounding-set=-dac_override,-dac_read_search", "--inh-caps=-all"],
)
"""What makes of root somebody who may not read everything, and has no name; it may still run what is root's own."""

_ALL = "list; backup; backup --strategy online --dry-run; rollback --latest; doctor; guard -- true"


@pytest.fixture(scope="module")
def nobody(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The words in front of a command that make it somebody's without a name and without root's rights."""
    if os.geteuid() != 0:
        return []
    shut = tmp_path_factory.mktemp("shut") / "file"
    shut.touch(0)
    words = [*_AS_SOMEBODY[0], *_AS_SOMEBODY[1]]
    try:
        ran = subprocess.run([*words, "/bin/sh", "-c", f"id -u; cat {shut}"], capture_output=True, text=True)
    except OSError as error:
        pytest.skip(f"needs {error.filename}")
    if ran.stdout.strip() != _SOMEBODY or ran.returncode == 0:
        pytest.skip("root cannot be made somebody else here")
    return words


Run = Callable[..., Ran]


@pytest.fixture
def run(sandbox: Sandbox, nobody: list[str], client_programs: None) -> Run:
    """What runs a shell script, as somebody without a name, in which ``snapkit`` is the command."""

    sandbox.cluster.root.chmod(0o711)

    def run_script(shell: str, **environment: str) -> Ran:
        command = f'snapkit() {{ {shlex.quote(sys.executable)} -m snapkit "$@"; }}\n{shell}'
        done = subprocess.run(
            [*nobody, "/bin/sh", "-euc", command],
            env=command_environment(sandbox.url, SNAPKIT_PG_BIN=str(sandbox.cluster.binaries)) | environment,
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=240, check=False,
        )  # fmt: skip
        return Ran(done.returncode, done.stdout, done.stderr)

    return run_script


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path


def _each(words: str = _ALL) -> str:
    return "\n".join(f"snapkit {each.strip()}" for each in words.split(";"))


def _git(place: Path, script: str) -> str:
    programs = place / "programs"
    programs.mkdir()
    git = programs / "git"
    git.write_text(script)
    git.chmod(0o755)
    return f"PATH={programs}:$PATH"


SURROUNDINGS: dict[str, Callable[[Path], str]] = {
    "a working directory that was removed": lambda place: f"mkdir {place}/gone; cd {place}/gone; rmdir {place}/gone",
    "a working directory that nobody may look into": lambda place: (
        f"mkdir {place}/shut; cd {place}/shut; touch .env; chmod 0 {place}/shut"
    ),
    "a .env that cannot be read": lambda place: f"cd {place}; echo SNAPKIT_KEEP=x > .env; chmod 0 .env",
    "a snapkit.toml that cannot be read": lambda place: f"cd {place}; echo x > snapkit.toml; chmod 0 snapkit.toml",
    "a pyproject.toml that cannot be read": lambda place: (
        f"cd {place}; echo x > pyproject.toml; chmod 0 pyproject.toml"
    ),
    "no home": lambda place: "unset HOME",
    "a home that is not there": lambda place: "HOME=/nonexistent/home; export HOME",
    "a home that nobody may look into": lambda place: (
        f"mkdir {place}/h; chmod 0 {place}/h; HOME={place}/h; export HOME"
    ),
    "XDG directories that are not there": lambda place: "XDG_CONFIG_HOME=/nonexistent; export XDG_CONFIG_HOME",
    "a locale that is not there": lambda place: "LC_ALL=xx_YY.UTF-8; LANG=nonsense; export LC_ALL LANG",
    "a locale of ASCII": lambda place: "LC_ALL=C; PYTHONUTF8=0; PYTHONCOERCECLOCALE=0; export LC_ALL PYTHONUTF8",
    "a time zone and a terminal that are not there": lambda place: "TZ=No/Where; TERM=nope; COLUMNS=x; export TZ TERM",
    "a temporary directory that is not there": lambda place: "TMPDIR=/nonexistent; export TMPDIR",
    "no PATH": lambda place: "unset PATH; PATH=/bin",
    "a git that fails": lambda place: _git(place, "#!/bin/sh\nexit 1\n"),
    "a git that talks nonsense": lambda place: _git(place, "#!/bin/sh\nhead -c 3000 /dev/urandom\n"),
    "a git that cannot be run": lambda place: _git(place, "#!/nonexistent\n"),
    "a closed stdin": lambda place: "exec <&-",
    "a closed stderr": lambda place: "exec 2>&-",
}  # fmt: skip


@pytest.mark.parametrize("surroundings", SURROUNDINGS)
def test_every_command_does_without(run: Run, place: Path, surroundings: str) -> None:
    ran = run(SURROUNDINGS[surroundings](place) + "\n" + _each())
    assert ran.code == 0, ran
    assert "Traceback" not in ran.err
    assert "unexpected" not in ran.err
    if "cannot be read" in surroundings:
        assert "cannot be read (Permission denied), and was ignored" in ran.err


def test_a_closed_stdout_fails_nothing_that_was_done(run: Run, place: Path) -> None:
    ran = run(f"cd {place}; exec >&-\n" + _each("list; backup; rollback --latest; undo"))
    assert (ran.code, "Traceback" in ran.err) == (0, False), ran


def test_a_file_that_was_named_has_to_be_readable(run: Run, place: Path) -> None:
    ran = run(f"cd {place}; touch named; chmod 0 named; snapkit list --env-file named")
    assert (ran.code, "not readable" in ran.err) == (2, True), ran


def test_a_shell_and_the_audit_log_do_without_names(run: Run, place: Path) -> None:
    script = f"cd {place}; snapkit backup --label one; snapkit shell one -- true; snapkit prune --keep 1; cat log"
    ran = run(script, SNAPKIT_AUDIT_LOG=str(place / "log"))
    assert ran.code == 0, ran
    if os.geteuid() == 0:
        assert f'"os_user": "{_SOMEBODY}"' in ran.out
