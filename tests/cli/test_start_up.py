"""What is cheap stays cheap: which modules a call loads that does not get as far as the server."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from typer.main import get_command

from snapkit.cli.exit_codes import ExitCode
from snapkit.cli.main import application_for
from tests.sandbox import command_environment, run_snapkit

HEAVY = ("sqlalchemy", "psycopg", "rich.table", "rich.progress", "pydantic", "asyncio", "dotenv")
NOWHERE = "postgresql://app@127.0.0.1:1/app"

_SCRIPT = f"""
import sys
from snapkit.cli.main import main
try:
    code = main(sys.argv[1:])
except SystemExit as left:
    code = left.code
loaded = [name for name in {HEAVY!r} if name in sys.modules]
print("loaded:", code, *loaded, file=sys.stderr)
"""


def _loaded(*words: str, cwd: Path, **environment: str) -> tuple[str, list[str]]:
    """Return the exit code of a call, and which of the heavy modules it has loaded."""
    done = subprocess.run(
        [sys.executable, "-c", _SCRIPT, *words],
        env=command_environment(**environment),
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )
    code, *names = done.stderr.strip().splitlines()[-1].removeprefix("loaded: ").split()
    return code, names


@pytest.mark.parametrize("words", ["--version", "--help", "backup --help", "prune --help"])
def test_version_and_help(words: str, tmp_path: Path) -> None:
    assert _loaded(*words.split(), cwd=tmp_path) == ("0", [])


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
@pytest.mark.parametrize("line", ["snapkit ba", "snapkit rollback --", "snapkit backup --strategy "])
def test_completion(line: str, shell: str, tmp_path: Path) -> None:
    typed = {"_TYPER_COMPLETE_ARGS": line, "COMP_WORDS": line, "COMP_CWORD": str(line.count(" "))}
    asked = typed | {"_SNAPKIT_COMPLETE": f"complete_{shell}", "_TYPER_COMPLETE_FISH_ACTION": "get-args"}
    code, names = _loaded(cwd=tmp_path, **asked)
    assert names == []
    assert code in ("0", "None")
    assert _loaded("--show-completion", cwd=tmp_path, SHELL=f"/bin/{shell}")[1] == []


@pytest.mark.parametrize(
    "words",
    [
        "",
        "no-such-command",
        "--bogus",
        "backup --bogus",
        "backup --json --bogus",
        "rollback",
        "rollback one --latest",
        "delete",
        "list",
        "list --url mysql://app@127.0.0.1/app",
        "list --url postgresql://app:p@ss@127.0.0.1/app",
        "list --url postgresql://app:100%@127.0.0.1/app",
        "list --url postgresql://app@127.0.0.1",
        f"prune --url {NOWHERE}",
        f"prune --url {NOWHERE} --keep x",
        f"prune --url {NOWHERE} --keep 0",
        f"backup --url {NOWHERE} --strategy magic",
        f"backup --url {NOWHERE} --lock-wait 3",
        f"show --url {NOWHERE} one --env-file nowhere",
        f"status --url {NOWHERE} --max-age 3",
    ],
)
def test_usage_errors(words: str, tmp_path: Path) -> None:
    assert _loaded(*words.split(), cwd=tmp_path) == ("2", [])


def test_what_only_libpq_can_tell_takes_no_more_than_libpq(tmp_path: Path) -> None:
    code, names = _loaded("list", "--url", "postgresql://[::1/app", cwd=tmp_path)
    assert code == "2"
    assert "sqlalchemy" not in names


def test_a_settings_file_and_dotenv_are_read_only_where_they_are(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("DATABASE_URL=mysql://app@127.0.0.1/app\n")
    assert _loaded("list", cwd=tmp_path) == ("2", ["dotenv"])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_start_that_is_cut_short_says_nothing(number: signal.Signals, tmp_path: Path) -> None:
    (tmp_path / "typer.py").write_text("print('importing', flush=True)\nimport time\ntime.sleep(60)\n")
    started = subprocess.Popen(
        [sys.executable, "-m", "snapkit", "list"],
        env=command_environment(PYTHONPATH=str(tmp_path)),
        cwd=tmp_path,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert started.stdout is not None
    assert started.stdout.readline() == "importing\n"
    started.send_signal(number)
    assert started.communicate(timeout=60) == ("", "")
    assert started.returncode == -number


def test_the_garbage_collector_has_nothing_to_do(tmp_path: Path) -> None:
    script = (
        "import atexit, gc, sys\nfrom snapkit.__main__ import run\n"
        "before = sum(each['collections'] for each in gc.get_stats())\n"
        "def tell():\n    made = sum(each['collections'] for each in gc.get_stats()) - before\n"
        "    print('collections:', made, gc.get_freeze_count() > 10_000, file=sys.stderr)\n"
        "atexit.register(tell)\nsys.argv = ['snapkit', 'list']\nrun()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=command_environment(NOWHERE),
        cwd=tmp_path,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 12, done.stderr
    collections, is_frozen = done.stderr.splitlines()[-1].removeprefix("collections: ").split()
    assert is_frozen == "True"
    assert int(collections) == 0  # with Python's own threshold it is more than a hundred


def test_of_the_commands_the_one_that_is_named_is_made() -> None:
    def made(*words: str) -> set[str]:
        return set(get_command(application_for(words)).commands)  # type: ignore[attr-defined]

    assert made("ls", "--help") == {"list", "ls"}
    assert made("ls", "prune") == {"list", "ls"}
    for all_are_seen in ((), ("--help",), ("--help", "list"), ("lst",), ("lst", "list"), ("--json", "list")):
        assert {"list", "ls", "prune", "guard"} < made(*all_are_seen)


@pytest.mark.parametrize(
    ("words", "typed"),
    [("--json ls", "list --json"), ("-u postgresql://h/d list", "list -u"), ("--label x backup", "backup --label")],
)
def test_an_option_before_the_command_is_told_where_it_goes(words: str, typed: str, tmp_path: Path) -> None:
    done = run_snapkit(*words.split(), cwd=tmp_path)
    assert done.code == ExitCode.USAGE
    assert f". Options come after the command: snapkit {typed} ..." in done.err + done.out
