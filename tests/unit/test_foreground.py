"""A command in the foreground: its streams, signals and exit code are as if snapkit were not there."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pexpect
import pytest

from snapkit.errors import UsageError
from snapkit.processes.foreground import Ending, find_command, run_command

RUNNER = """
import os, sys
from snapkit.__main__ import end_as_ctrl_c_does
from snapkit.processes.foreground import find_command, run_command
end_as_ctrl_c_does()
environment = {**os.environ, "FROM_SNAPKIT": "yes"}
ending = run_command(find_command(sys.argv[2:]), environment, stdout_to_stderr=sys.argv[1] == "json")
said = " ".join(["ENDED", str(ending.exit_code), *[each.name for each in ending.signals]])
os.write(1, f"{said}\\n".encode())  # at once, also where PYTHONUNBUFFERED is set: others write here, too
"""
"""Runs a command as snapkit's commands do, and tells how it ended."""


TELLING = """
import os, signal
install = signal.signal
def telling(number, handler):
    def take(*came):
        handler(*came)
        os.write(1, b"taken\\n")
    return install(number, take if callable(handler) else handler)
signal.signal = telling
"""
"""In front of RUNNER, has it tell of each signal that it has taken: of two that are pending at once, one is lost."""


def _words(*command: str, json: bool = False, runner: str = RUNNER) -> list[str]:
    return [sys.executable, "-c", runner, "json" if json else "text", *command]


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    numbers = (signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.getsignal(number) for number in numbers}
    yield
    assert {number: signal.getsignal(number) for number in numbers} == before


@pytest.mark.parametrize(
    ("script", "code"), [("exit 0", 0), ("exit 7", 7), ("exit 255", 255), ("kill -9 $$", 137), ("kill -TERM $$", 143)]
)
def test_the_exit_code_is_the_commands_own(script: str, code: int) -> None:
    assert run_command(find_command(["sh", "-c", script]), os.environ) == Ending(code)


def test_streams_and_environment_go_through_untouched() -> None:
    script = 'cat; printf "%s" "$FROM_SNAPKIT"; printf complaint >&2'
    done = subprocess.run(_words("sh", "-c", script), input=b"\0\xff in ", capture_output=True, check=True)
    assert done.stdout == b"\0\xff in yesENDED 0\n"
    assert done.stderr == b"complaint"


def test_stdout_is_kept_for_the_document() -> None:
    done = subprocess.run(_words("echo", "hello", json=True), capture_output=True, check=True)
    assert (done.stdout, done.stderr) == (b"ENDED 0\n", b"hello\n")


def test_descriptors_that_we_were_given_are_open_in_the_command_and_no_others() -> None:
    """As ``<(...)`` has it, whose name is /dev/fd/63."""
    reader, writer = os.pipe()
    os.set_inheritable(writer, True)
    with os.fdopen(reader), os.fdopen(writer, "w"):
        script = f"(: >&{writer}) && ! (: <&{reader}) 2>/dev/null"
        assert run_command(find_command(["bash", "-c", script]), os.environ).exit_code == 0


@pytest.mark.parametrize("name", ["no-such-command", "./no-such-command", ".", "./notes.txt"])
def test_a_command_that_cannot_be_found_is_a_usage_error(name: str) -> None:
    Path("notes.txt").write_text("no program")
    with pytest.raises(UsageError, match=r"cannot be found|is a directory|is not executable") as caught:
        find_command([name, "--flag"])
    assert caught.value.state == "Nothing was changed."


def test_a_script_without_its_first_line_goes_to_the_shell_and_what_is_no_program_is_a_usage_error() -> None:
    script, broken = Path("migrate"), Path("broken")
    script.write_text('exit "$1"')
    broken.write_text("#!/no/such/interpreter\n")
    script.chmod(0o700)
    broken.chmod(0o700)
    assert run_command(find_command(["./migrate", "3"]), os.environ).exit_code == 3
    with pytest.raises(UsageError, match="cannot be run"):
        run_command(find_command(["./broken"]), os.environ)


def _started(process: subprocess.Popen[bytes]) -> None:
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"


TRAPS = "trap 'echo got {0}; exit 5' {0}; echo ready; while :; do sleep 0.05; done"


@pytest.mark.parametrize("name", ["TERM", "HUP", "INT", "QUIT"])
def test_what_is_sent_to_snapkit_alone_is_passed_on_and_the_command_has_its_say(name: str) -> None:
    """As a scheduler or CI does it, where there is no terminal."""
    with subprocess.Popen(
        _words("sh", "-c", TRAPS.format(name)), stdout=subprocess.PIPE, start_new_session=True
    ) as process:
        _started(process)
        process.send_signal(getattr(signal, f"SIG{name}"))
        assert process.stdout is not None
        assert process.stdout.read().decode() == f"got {name}\nENDED 5 SIG{name}\n"


def test_what_is_sent_to_snapkit_alone_reaches_what_a_shell_runs_too() -> None:
    inner = "trap 'echo inner; exit' TERM; echo ready; while :; do sleep 0.05; done"
    with subprocess.Popen(
        _words("sh", "-c", 'sh -c "$1"; true', "sh", inner), stdout=subprocess.PIPE, start_new_session=True
    ) as process:
        _started(process)
        process.send_signal(signal.SIGTERM)
        assert process.stdout is not None
        assert set(process.stdout.read().decode().splitlines()) == {"inner", "ENDED 143 SIGTERM"}


EARLY = """
import os, signal, sys
from snapkit.processes import foreground
start = foreground._start
def start_late(*arguments):
    process = start(*arguments)
    os.read(0, 1)  # the command is at work, and we do not know of it yet
    os.kill(os.getpid(), signal.SIGTERM)
    return process
foreground._start = start_late
ending = foreground.run_command(foreground.find_command(sys.argv[1:]), os.environ)
print("ENDED", ending.exit_code, *(number.name for number in ending.signals))
"""
"""Is told to end when the command has begun to work, and before its start has returned."""


def test_what_comes_while_the_command_is_being_started_reaches_what_a_shell_runs_too() -> None:
    inner = "trap 'echo inner; exit' TERM; echo ready >&2; while :; do sleep 0.05; done"
    reader, writer = os.pipe()
    with subprocess.Popen(
        [sys.executable, "-c", EARLY, "sh", "-c", 'sh -c "$1"; true', "sh", inner],
        stdin=reader, stdout=subprocess.PIPE, stderr=writer, start_new_session=True,
    ) as process:  # fmt: skip
        os.close(reader)
        os.close(writer)
        said, _ = process.communicate(timeout=60)
        assert sorted(said.decode().splitlines()) == ["ENDED 143 SIGTERM", "inner"]


LEAVING = """
import os, signal, subprocess, sys
from snapkit.processes.foreground import find_command, run_command
from snapkit.processes.left_running import adopting, end_what_is_left
with adopting():
    script = sys.argv[1] + " while ! test -s left; do sleep 0.05; done; kill -9 $$"
    ending = run_command(find_command(["sh", "-c", script]), os.environ)
    own_group = subprocess.Popen(["sleep", "600"], start_new_session=True)
    print("GONE", ending.group is not None, end_what_is_left(ending.group), own_group.poll(), flush=True)
    own_group.kill()
"""
"""Runs a command that leaves a process whose number is in the file ``left``, and ends that."""


@pytest.mark.parametrize("on_terminal", [False, True])
@pytest.mark.parametrize("trap", ["", "trap '' TERM; "])
def test_what_a_command_has_left_running_is_ended(on_terminal: bool, trap: str) -> None:
    """Whether or not it takes notice of SIGTERM; what has a session of its own is left alone."""
    words = ["-c", LEAVING, f'sh -c "{trap}echo \\$\\$ > left; while :; do sleep 0.05; done" &']
    if on_terminal:
        child: Any = pexpect.spawn(sys.executable, words, encoding="utf-8", timeout=30, echo=False)
        child.expect("GONE (.*)\r\n")
        said = child.match.group(1)
        child.expect(pexpect.EOF)
    else:
        done = subprocess.run([sys.executable, *words], stdout=subprocess.PIPE, start_new_session=True, check=True)
        said = done.stdout.decode().removeprefix("GONE ").strip()
    assert said == f"{not on_terminal} True None"
    with pytest.raises(ProcessLookupError):
        os.kill(int(Path("left").read_text()), 0)


def test_a_command_that_takes_no_notice_is_not_cut_short() -> None:
    script = "trap '' TERM; echo ready; while ! test -e go; do sleep 0.05; done; exit 6"
    with subprocess.Popen(_words("sh", "-c", script), stdout=subprocess.PIPE) as process:
        _started(process)
        for _ in range(2):
            process.send_signal(signal.SIGTERM)
        Path("go").touch()
        assert process.stdout is not None
        assert process.stdout.read().decode().startswith("ENDED 6 SIGTERM")


def test_what_is_ignored_stays_ignored_for_the_command_too() -> None:
    """As nohup has it."""
    script = "echo ready; while ! test -e go; do sleep 0.05; done"
    words = ["sh", "-c", 'trap "" HUP; exec "$@"', "nohup", *_words("sh", "-c", script)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, start_new_session=True) as process:
        _started(process)
        os.killpg(process.pid, signal.SIGHUP)
        Path("go").touch()
        assert process.stdout is not None
        assert process.stdout.read() == b"ENDED 0\n"


def test_a_signal_that_comes_before_the_command_has_started_reaches_it(monkeypatch: pytest.MonkeyPatch) -> None:
    start = subprocess.Popen

    def late(*words: object, **options: object) -> object:
        signal.raise_signal(signal.SIGTERM)
        return start(*words, **options)  # type: ignore[call-overload]

    monkeypatch.setattr(subprocess, "Popen", late)
    assert run_command(find_command(["sleep", "600"]), os.environ) == Ending(143, (signal.SIGTERM,))


def test_it_is_for_the_main_thread() -> None:
    failed: list[BaseException] = []

    def run() -> None:
        try:
            run_command(find_command(["true"]), os.environ)
        except ValueError as error:
            failed.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert failed


# --- on a terminal --------------------------------------------------------------------------------------------------


def _type(*command: str, runner: str = RUNNER) -> Any:
    words = _words(*command, runner=runner)
    return pexpect.spawn(words[0], words[1:], encoding="utf-8", timeout=30, echo=False, dimensions=(31, 97))


def test_ctrl_c_is_for_the_command_and_comes_once() -> None:
    script = """
import os, signal, sys, time
came = []
def take(number, frame):
    came.append(number)  # first: the next one comes as soon as this is seen
    os.write(1, b"cancelled %d\\n" % len(came))
signal.signal(signal.SIGINT, take)
print("ready", flush=True)
while len(came) < 2:
    time.sleep(0.05)
sys.exit(4)
"""
    child = _type(sys.executable, "-c", script, runner=TELLING + RUNNER)
    child.expect("ready")
    for number in (1, 2):
        child.sendintr()
        awaited = {f"cancelled {number}\r\n", "taken\r\n"}
        while awaited:
            told = list(awaited)
            awaited.remove(told[child.expect_exact(told)])
    child.expect("ENDED 4 SIGINT SIGINT")
    child.expect(pexpect.EOF)


def test_ctrl_backslash_does_not_kill_snapkit() -> None:
    child = _type("sh", "-c", "ulimit -c 0; echo ready; exec sleep 600")
    child.expect("ready")
    child.sendcontrol("\\")
    child.expect("ENDED 131 SIGQUIT")
    child.expect(pexpect.EOF)


def test_the_command_has_the_terminal_itself() -> None:
    child = _type("sh", "-c", "test -t 0 && test -t 1 && test -t 2 && stty size && read answer && echo got $answer")
    child.expect("31 97")
    child.sendline("yes")
    child.expect("got yes")
    child.expect("ENDED 0")
    child.expect(pexpect.EOF)


def test_a_terminal_that_is_closed_ends_the_command_and_then_snapkit(tmp_path: Path) -> None:
    script = f"trap 'exit 0' HUP; trap 'echo told > {tmp_path}/end' EXIT; echo ready; while :; do sleep 0.05; done"
    child = _type("sh", "-c", script)
    child.expect("ready")
    child.ptyproc.fileobj.close()
    child.wait()
    assert (tmp_path / "end").read_text() == "told\n"
