"""What the shells complete: the names of entries, and the words that an option can be; and that it is quiet."""

from __future__ import annotations

import shlex
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from psycopg import sql

from tests.sandbox import Ran, Sandbox, command_environment, run_installed, wait_until


def _offered(line: str, url: str | None = None, shell: str = "zsh", cwd: Path | None = None) -> Ran:
    """Complete the last word of a line, as the script does that --show-completion prints for the shell."""
    asked = {
        "_SNAPKIT_COMPLETE": f"complete_{shell}",
        "_TYPER_COMPLETE_ARGS": line,
        "_TYPER_COMPLETE_FISH_ACTION": "get-args",
        "COMP_WORDS": line,
        "COMP_CWORD": str(line.count(" ")),
    }
    ran = run_installed(url=url, cwd=cwd, **asked)
    assert ran.err == ""
    return ran


def _words(line: str, url: str | None = None) -> list[str]:
    return _offered(line, url, "bash").out.split()


def _wait_for(line: str, words: list[str], url: str) -> None:
    """On a machine that is busy with something else, it may give up now and then, as it should."""
    wait_until(lambda: _words(line, url) == words)


def test_names_are_those_of_the_source_and_of_use_to_the_command(sandbox: Sandbox) -> None:
    first = sandbox.back_up(pinned=True).backup.name
    second = sandbox.back_up().backup.name
    unmanaged = f"{sandbox.name}_backup_20260110_103045"
    sandbox.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(unmanaged)))
    for line, expected in (
        ("show ", [second, first, unmanaged]),
        ("rollback --keep-backup ", [second, first]),
        (f"rollback {second[:2]}", [second, first]),
        ("delete ", [second]),
        ("pin ", [second, first]),
        ("unpin ", [first]),
        ("label ", [second, first]),
        ("adopt ", [unmanaged]),
    ):
        _wait_for(f"snapkit {line}", expected, sandbox.url)
    assert _words("snapkit rollback x", sandbox.url) == []
    assert _words(f"snapkit delete {second} ", sandbox.url) == []


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_say_besides_what_a_name_is(sandbox: Sandbox, shell: str) -> None:
    name = sandbox.back_up().backup.name
    wait_until(lambda: name in _offered("snapkit rollback ", sandbox.url, shell).out)
    wait_until(lambda: "backup, " in _offered("snapkit rollback ", sandbox.url, shell).out)


@pytest.mark.promise("names are completed")
def test_it_reads_the_connection_from_where_the_command_does(sandbox: Sandbox, tmp_path: Path) -> None:
    name = sandbox.back_up().backup.name
    (tmp_path / "other.env").write_text(f"DATABASE_URL={sandbox.url}\n")
    wait_until(lambda: name in _offered("snapkit show --env-file other.env ", cwd=tmp_path).out)
    wait_until(lambda: name in _offered("snapkit show --maintenance-db template1 ", sandbox.url).out)
    assert name not in _offered("snapkit show --maintenance-db nope ", sandbox.url).out


def test_a_name_that_a_shell_would_take_for_more_than_a_name_is_not_offered(sandbox: Sandbox) -> None:
    odd = f"{sandbox.prefix}_$(touch x);`touch y`"
    sandbox.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(odd)))
    url = sandbox.cluster.url(odd)
    assert sandbox.run("backup", url=url).code == 0
    for shell in ("bash", "zsh", "fish"):
        assert "touch" not in _offered("snapkit show ", url, shell).out


def test_strategies() -> None:
    assert _words("snapkit backup --strategy ") == ["auto", "clone", "file-copy", "wal-log", "online"]
    assert _words("snapkit backup --strategy w") == ["wal-log"]


@pytest.mark.parametrize("url", [None, "postgresql://app@127.0.0.1:1/app", "mysql://x", "postgresql://[::1/app"])
def test_where_no_server_can_be_reached_nothing_is_offered_or_said(url: str | None, tmp_path: Path) -> None:
    for shell in ("bash", "zsh", "fish"):
        ran = _offered("snapkit rollback ", url, shell, tmp_path)
        assert "backup" not in ran.out
        assert "rror" not in ran.out


def test_a_server_that_does_not_answer_is_given_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        ran = _offered(
            "snapkit rollback ", f"postgresql://app@127.0.0.1:{silent.getsockname()[1]}/app?connect_timeout=0"
        )
    assert (ran.code, ran.out) == (0, "")  # as the end of the process leaves it


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
def test_in_bash_itself(sandbox: Sandbox) -> None:
    name = sandbox.back_up().backup.name
    press_tab = f"""
        {run_installed(_SNAPKIT_COMPLETE="source_bash").out}
        COMP_WORDS=(snapkit rollback {sandbox.name[:2]}); COMP_CWORD=2
        _snapkit_completion {shlex.quote(str(Path(sys.executable).with_name("snapkit")))}
        printf '%s\\n' "${{COMPREPLY[@]}}"
    """

    def pressed() -> str:
        done = subprocess.run(
            ["bash", "--norc", "-c", press_tab],
            env=command_environment(sandbox.url),
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.stderr == ""
        return done.stdout

    wait_until(lambda: pressed().split() == [name])
