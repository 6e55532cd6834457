"""The command as a person sees it: on a terminal, with questions, colours and narrow windows."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import pexpect
import pytest
from psycopg import sql

from tests.sandbox import Sandbox, command_environment, wait_until


def _type(sandbox: Sandbox, *words: str, width: int = 120, **environment: str) -> Any:
    environment = {"TERM": "xterm-256color"} | environment
    return pexpect.spawn(
        sys.executable,
        ["-m", "snapkit", *words],
        env=command_environment(sandbox.url, **environment),
        dimensions=(40, width),
        encoding="utf-8",
        timeout=60,
    )


def _finish(child: Any) -> tuple[int, str]:
    child.expect(pexpect.EOF)
    child.close()
    return int(child.exitstatus if child.exitstatus is not None else -1), str(child.before)


def _wait_till_it_reads(pid: int) -> None:
    state = Path(f"/proc/{pid}/stat")
    if state.exists():  # on Linux
        wait_until(lambda: state.read_text().rpartition(")")[2].split()[0] == "S")


@pytest.mark.promise("a person is shown what will be done, and asked")
def test_rollback_shows_what_it_will_do_and_asks(sandbox: Sandbox) -> None:
    backup = sandbox.back_up(label="before v42").backup.name
    with sandbox.connect(application_name="billing"):
        child = _type(sandbox, "rollback", "--latest")
        child.expect(r"\[y/N\]")
        for expected in (backup, "before v42", "nothing is dropped", "1 session (billing), will be disconnected"):
            assert expected in child.before
        child.sendline("maybe")
        child.expect(r"Answer y \(yes\) or n \(no\)\.")
        child.expect(r"\[y/N\]: ")
        child.sendline("n")
        code, output = _finish(child)
    assert code == 130
    assert "Nothing was changed." in output
    assert sandbox.databases() == [sandbox.name, backup]

    child = _type(sandbox, "rollback", "--latest")
    child.expect(r"\[y/N\]")
    child.sendline("y")
    code, output = _finish(child)
    assert code == 0
    assert "is now as it was at" in output
    assert backup not in sandbox.databases()


@pytest.mark.parametrize("words", [["rollback", "--latest"], ["undo"], ["prune", "--keep", "1"], ["delete", "one"]])
def test_the_four_that_ask_are_left_with_ctrl_c_and_ctrl_d(sandbox: Sandbox, words: list[str]) -> None:
    sandbox.back_up(label="gone")
    sandbox.roll_back()
    sandbox.back_up(label="one")
    sandbox.back_up(label="two")
    names = sandbox.databases()
    for leave in ("sendintr", "sendeof"):
        child = _type(sandbox, *words)
        child.expect(r"\[y/N\]: ")
        _wait_till_it_reads(child.pid)  # Python overlooks a signal that comes on the way from the prompt to the read
        getattr(child, leave)()
        code, output = _finish(child)
        assert code == 130
        assert "Nothing was changed." in output
        assert "Traceback" not in output
    assert sandbox.databases() == names


def test_yes_answers_the_question(sandbox: Sandbox) -> None:
    sandbox.back_up()
    code, output = _finish(_type(sandbox, "rollback", "--latest", "--yes"))
    assert code == 0
    assert "[y/N]" not in output


def test_colour_on_a_terminal_and_none_where_it_is_not_wanted(sandbox: Sandbox) -> None:
    sandbox.back_up()
    assert "\x1b[32m" in _finish(_type(sandbox, "list"))[1]
    assert "\x1b[3" not in _finish(_type(sandbox, "list", "--no-color"))[1]
    assert "\x1b[3" not in _finish(_type(sandbox, "list", NO_COLOR="1"))[1]
    assert "\x1b" not in _finish(_type(sandbox, "list", TERM="dumb"))[1]


@pytest.mark.parametrize("width", [30, 50, 80, 160])
def test_no_width_cuts_a_name_off(sandbox: Sandbox, width: int) -> None:
    name = sandbox.back_up(label="before v42", pinned=True).backup.name
    for words, expected in (
        ("list --sizes", (name[-15:], "ready", "Total")),
        ("status --all --sizes --max-age 1d", (sandbox.name, name, "ok")),
        ("prune --keep 1 --dry-run", (name, "stays", "pinned")),
    ):
        output = _finish(_type(sandbox, *words.split(), "--no-color", width=width))[1]
        lines = [line.rstrip() for line in re.sub(r"\x1b\[\d*m|\r", "", output).split("\n")]
        assert max(map(len, lines)) <= width, words
        flat = "".join(line.strip() for line in lines)
        for each in expected:
            assert each in flat, words


def test_an_empty_inventory_says_what_to_type_first(sandbox: Sandbox) -> None:
    assert "snapkit backup" in _finish(_type(sandbox, "list"))[1]


@pytest.mark.promise("progress is shown")
def test_progress_is_shown_while_a_clone_waits_or_runs(sandbox: Sandbox) -> None:
    with sandbox.connect("postgres") as holder:
        # A rename in an open transaction holds the database, so that CREATE DATABASE waits.
        holder.execute("BEGIN")
        rename = sql.SQL("ALTER DATABASE {} RENAME TO {}")
        holder.execute(rename.format(sql.Identifier(sandbox.name), sql.Identifier(sandbox.prefix + "_x")))
        child = _type(sandbox, "backup")
        child.expect("Cloning")
        child.expect("0:00:0[1-9]")
        holder.execute("ROLLBACK")
    code, output = _finish(child)
    assert code == 0
    assert "Backup completed." in output


def test_prune_shows_its_table_once(sandbox: Sandbox) -> None:
    names = [sandbox.back_up().backup.name for _ in range(3)]
    child = _type(sandbox, "prune", "--keep", "1", "--quiet")
    child.expect(r"\[y/N\]")
    assert all(name in child.before for name in names)
    child.sendline("n")
    _finish(child)
    child = _type(sandbox, "prune", "--keep", "1", "--no-color")
    child.expect(r"\[y/N\]")
    assert all(name in child.before for name in names)
    child.sendline("y")
    code, output = _finish(child)
    assert code == 0
    assert "2 databases dropped" in output
    assert "WHY" not in output
    assert sandbox.databases() == [sandbox.name, names[-1]]


def test_prune_says_what_became_of_it_where_that_is_not_what_was_shown(sandbox: Sandbox) -> None:
    names = [sandbox.back_up().backup.name for _ in range(3)]
    child = _type(sandbox, "prune", "--keep", "1", "--no-color")
    child.expect(r"\[y/N\]")
    sandbox.run("pin", names[0])
    child.sendline("y")
    code, output = _finish(child)
    assert code == 0
    assert "1 database dropped" in output
    assert "WHY" in output
    assert "pinned" in output
    assert sandbox.databases() == [sandbox.name, names[0], names[2]]


def test_prune_shows_how_many_drops_it_has_done(sandbox: Sandbox) -> None:
    for _ in range(4):
        sandbox.back_up()
    code, output = _finish(_type(sandbox, "prune", "--keep", "1", "--yes", width=160))
    assert code == 0
    assert "Dropping 3 of 3: " in output
    assert "3 databases dropped" in output


@pytest.mark.promise("exit code 130")
def test_ctrl_c_during_a_clone(sandbox: Sandbox) -> None:
    with sandbox.connect("postgres") as holder:
        holder.execute("BEGIN")
        rename = sql.SQL("ALTER DATABASE {} RENAME TO {}")
        holder.execute(rename.format(sql.Identifier(sandbox.name), sql.Identifier(sandbox.prefix + "_x")))
        child = _type(sandbox, "backup")
        child.expect("Cloning")
        child.sendintr()
        code, output = _finish(child)
        holder.execute("ROLLBACK")
    assert code == 130
    assert "No backup was made" in output
    assert "Traceback" not in output
    wait_until(lambda: sandbox.databases() == [sandbox.name])


def test_a_person_whose_stderr_goes_elsewhere_is_asked_all_the_same(sandbox: Sandbox) -> None:
    sandbox.back_up()
    for script in ('"$0" -m snapkit rollback --latest 2>&1 | cat', '"$0" -m snapkit rollback --latest 2>/dev/null'):
        child = pexpect.spawn(
            "/bin/sh", ["-c", script, sys.executable], env=command_environment(sandbox.url, TERM="xterm"),
            encoding="utf-8", timeout=60,
        )  # fmt: skip
        child.expect(r"\[y/N\]")
        child.sendline("n")
        _finish(child)
        assert len(sandbox.entries()) == 1


@pytest.mark.parametrize("width", [50, 60, 80, 100, 160])
def test_list_is_a_table_down_to_fifty_columns(sandbox: Sandbox, width: int) -> None:
    label = "before the migration that takes the e-mail addresses out of the customers' table"
    name = sandbox.back_up(label=label).backup.name
    for words in (["list"], ["list", "--sizes"], ["list", "--all", "--source", sandbox.name]):
        code, output = _finish(_type(sandbox, *words, width=width, NO_COLOR="1"))
        title, line, *_ = re.sub(r"\x1b\[[\d;]*m", "", output).splitlines()
        assert code == 0
        assert title.split()[0] == "NAME"
        assert ("AGE" if line.split()[0] == name else "KIND") in title  # what a shortened name does not tell
        assert max(map(len, (title, line))) <= width
        assert line.split()[0] in (name, name[-15:])
        if width >= 80:
            assert "LABEL" in title
            assert label in line or line.endswith("…")
    code, output = _finish(_type(sandbox, "list", "--wide", width=200, NO_COLOR="1"))
    assert label in output


def test_on_a_narrower_terminal_entries_stand_below_one_another(sandbox: Sandbox) -> None:
    name = sandbox.back_up(label="before 0042").backup.name
    code, output = _finish(_type(sandbox, "list", width=49, NO_COLOR="1"))
    assert code == 0
    assert "NAME" not in output
    assert name in output.replace("\r\n", "")


def test_diff_tells_its_story_page_by_page(sandbox: Sandbox, tmp_path: Path) -> None:
    backup = sandbox.back_up(label="before v42").backup.name
    with sandbox.connect() as connection:
        connection.execute("UPDATE item SET name = E'\\x1b[2J' || id WHERE id <= 30")
        connection.execute("CREATE INDEX item_name ON item (name)")
    pager = tmp_path / "paged"
    code, output = _finish(_type(sandbox, "diff", "--rows", "30", width=60, PAGER=f"tee {pager}"))
    assert code == 0
    told = re.sub(r"\x1b\[[\d;]*m", "", pager.read_text())
    assert all(len(line.rstrip()) <= 60 for line in told.splitlines())
    assert "\x1b" not in told
    parts = (
        "differs from",
        "Definitions: 1 added",
        "+ index item_name",
        "Tables",
        "~30",
        "30 changed rows",
        "x1b[2J30",
    )
    places = [told.index(part) for part in parts]
    assert places == sorted(places)
    after = re.sub(r"\x1b\[[\d;]*m", "", output).partition("x1b[2J30")[2]
    assert f"snapkit restore {backup} --table public.item --dry-run" in after
    assert f"snapkit rollback {backup}" in after
