"""A guarded deploy, as its user runs it: in a subprocess, on a real server."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import psycopg
import pytest

import snapkit
from snapkit.core.inventory.kinds import Kind
from snapkit.core.reporting import unobserved
from snapkit.postgres.connection.conninfo import target_of
from snapkit.postgres.connection.server import Server
from snapkit.postgres.sql.entry_locks import Use
from snapkit.postgres.sql.locks import lock_key, others_hold
from snapkit.services.entries.guard_lock import keep_from_others
from snapkit.services.rollback import SwapRequest, swap
from tests.cluster import PASSWORD, SUPERUSER
from tests.gate import Action, Gate, Phase
from tests.sandbox import LOCK_WAIT, Ran, Sandbox, command_environment, run_snapkit, wait_until

pytestmark = pytest.mark.any_version

OF_SNAPKIT = "SELECT pid FROM pg_stat_activity WHERE application_name = 'snapkit' ORDER BY pid"


def python(code: str) -> tuple[str, ...]:
    return ("--", sys.executable, "-c", code)


def written_by_a_shell(sandbox: Sandbox) -> str:
    """A command for a shell that writes something to the source."""
    return shlex.join([*ruining(sandbox, exit_code=0)[1:]])


def ruining(sandbox: Sandbox, *, exit_code: int, first: str = "") -> tuple[str, ...]:
    """A migration that commits half of what it does, and then ends with an exit code."""
    return python(
        f"{first}import psycopg, sys\n"
        f"with psycopg.connect({sandbox.url!r}, autocommit=True) as c:\n"
        "    c.execute('DELETE FROM item WHERE id > 10')\n"
        "    c.execute('CREATE INDEX CONCURRENTLY ON item (name)')\n"
        f"sys.exit({exit_code})"
    )


@contextmanager
def application(*statuses: int) -> Iterator[str]:
    """Yield the URL of an application that answers with these statuses, the last one for ever."""
    left = list(statuses)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(left.pop(0) if len(left) > 1 else left[0])
            self.end_headers()

        def log_message(self, line: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/health?token=s3cret"
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.command("guard")
@pytest.mark.promise("exit code 20", "a guarded command that fails is undone")
def test_a_command_that_fails_is_undone(sandbox: Sandbox) -> None:
    before = sandbox.items()
    with sandbox.reconnecting_clients(2):
        done = sandbox.run("guard", *ruining(sandbox, exit_code=3))
    assert done.code == 20, done
    assert "ended with exit code 3" in done.err
    assert "was rolled back" in done.err
    assert done.out == ""
    assert sandbox.items()[:100] == before
    (displaced,) = sandbox.entries()
    assert displaced.kind is Kind.OLD
    assert displaced.name in done.err


def test_a_command_that_goes_through_leaves_a_backup(sandbox: Sandbox) -> None:
    done = sandbox.run("guard", "--label", "v2", *python("print('migrated')"))
    assert (done.code, done.out) == (0, "migrated\n"), done
    (backup,) = sandbox.entries()
    assert (backup.kind, backup.label) == (Kind.BACKUP, "v2")
    assert f"snapkit rollback {backup.name}" in done.err


def test_old_backups_are_pruned_only_if_all_is_well_and_somebody_said_so(sandbox: Sandbox) -> None:
    for _ in range(3):
        assert sandbox.run("guard", *python("")).code == 0
    assert len(sandbox.entries()) == 3
    assert sandbox.run("guard", "--keep", "2", *ruining(sandbox, exit_code=1)).code == 20
    assert [entry.kind for entry in sandbox.entries()].count(Kind.BACKUP) == 3
    done = sandbox.run("guard", "--json", "--keep", "2", *python(""))
    assert done.code == 0
    assert len(done.data["prune"]["removed"]) == 2
    assert [entry.kind for entry in sandbox.entries()].count(Kind.BACKUP) == 2


def test_keep_old_alone_prunes_displaced_databases_and_no_backup(sandbox: Sandbox) -> None:
    for _ in range(3):
        sandbox.back_up()
        sandbox.roll_back()
    kept = [sandbox.back_up().backup.name for _ in range(2)]

    def guard(*flags: str) -> Ran:
        # The rule for days would drop one of these backups, if it counted.
        return run_snapkit("guard", *flags, *python(""), url=sandbox.url, SNAPKIT_KEEP_DAILY="1")

    said = "If all is well: drop what no rule keeps"
    assert said in guard("--dry-run", "--keep-old", "1").out
    assert said not in guard("--dry-run").out
    done = guard("--json", "--keep-old", "1")
    assert [entry["kind"] for entry in done.data["prune"]["removed"]] == ["old", "old"], done
    assert run_snapkit("guard", *python(""), url=sandbox.url, SNAPKIT_KEEP_OLD="0").code == 0
    left = sandbox.entries()
    assert all(entry.kind is Kind.BACKUP for entry in left)
    assert len(left) == 4
    assert set(kept) < {entry.name for entry in left}


def test_the_database_may_be_kept_as_the_command_left_it(sandbox: Sandbox) -> None:
    done = sandbox.run("guard", "--on-failure", "keep", *ruining(sandbox, exit_code=1))
    assert done.code == 1, done
    (backup,) = sandbox.entries()
    assert "as the command left it" in done.err
    assert f"snapkit rollback {backup.name}" in done.err
    assert len(sandbox.items()) == 10


def test_the_environment_tells_the_command_of_its_backup(sandbox: Sandbox) -> None:
    told = "import os; print(os.environ['SNAPKIT_BACKUP'], os.environ['SNAPKIT_SOURCE'])"
    done = sandbox.run("guard", *python(told))
    assert done.out.split() == [sandbox.entries()[0].name, sandbox.name]


def test_the_document(sandbox: Sandbox) -> None:
    done = sandbox.run("guard", "--json", *ruining(sandbox, exit_code=7, first="print('noise')\n"))
    assert (done.code, done.document["status"], done.document["error"]["code"]) == (20, "error", "rolled_back")
    data = done.document["data"]
    assert (data["command"], data["command_words"], data["command_exit_code"]) == ([sys.executable], 3, 7)
    assert data["health"] == "none"
    assert data["backup"]["name"] == data["rollback"]["restored"]["name"]
    assert data["rollback"]["displaced"]["name"] == sandbox.entries()[0].name
    assert "noise" in done.err


def test_all_words_of_the_command_are_shown_if_somebody_wants_them(sandbox: Sandbox, tmp_path: Path) -> None:
    log = tmp_path / "audit.jsonl"
    words = ["sh", "-c", "exit 3", "--token", "t0ken"]
    for flags in ((), ("--show-command",)):
        done = run_snapkit(
            "guard", "--json", *flags, "--", *words, url=sandbox.url, cwd=tmp_path, SNAPKIT_AUDIT_LOG=str(log)
        )
        shown = words if flags else ["sh"]
        assert (done.code, done.document["data"]["command"], done.document["data"]["command_words"]) == (20, shown, 5)
        line = json.loads(log.read_text().splitlines()[-1])
        assert (line["ran"], line["ran_words"], line["ran_exit_code"]) == (shown, 5, 3)
        assert ("t0ken" in done.document["error"]["message"]) is bool(flags)


def test_health_is_waited_for(sandbox: Sandbox) -> None:
    with application(503, 500, 204) as url:
        done = sandbox.run("guard", "--json", "--health-url", url, *python(""))
    assert (done.code, done.data["health"]) == (0, "passed"), done


@pytest.mark.promise("bad health is undone")
def test_bad_health_is_a_failure_and_says_no_secret(sandbox: Sandbox) -> None:
    with application(503) as url:
        done = sandbox.run("guard", "--health-url", url, "--health-timeout", "500ms", *ruining(sandbox, exit_code=0))
    assert done.code == 20
    assert "answered 503" in done.err
    assert "s3cret" not in done.err
    assert len(sandbox.items()) == 100


def test_a_health_command_is_tried_again(sandbox: Sandbox, tmp_path: Path) -> None:
    marker = tmp_path / "tried"
    second_time = f"test -e {marker} || {{ touch {marker}; echo not yet; exit 1; }}"
    assert sandbox.run("guard", "--health-command", second_time, *python("")).code == 0
    done = sandbox.run(
        "guard", "--health-command", "echo $SNAPKIT_BACKUP is bad; exit 1", "--health-timeout", "100ms", *python("")
    )
    assert done.code == 20
    assert f"{sandbox.name}_backup_" in done.err
    assert "is bad" in done.err


def test_a_health_command_that_hangs_is_ended(sandbox: Sandbox) -> None:
    done = sandbox.run("guard", "--health-command", "sleep 600 & wait", "--health-timeout", "200ms", *python(""))
    assert done.code == 20
    assert "was still running after" in done.err


def test_nothing_is_touched_where_the_words_are_wrong(sandbox: Sandbox) -> None:
    for words in (
        ("guard",),
        ("guard", "--", "no-such-program"),
        ("guard", "--keep", "0", *python("")),
        ("guard", "--health-url", "ftp://example.org/", *python("")),
        ("guard", "--health-url", "nonsense", *python("")),
        ("guard", "--on-failure", "panic", *python("")),
        ("guard", "--health-timeout", "0s", *python("")),
    ):
        done = sandbox.run(*words)
        assert done.code == 2, (words, done)
        assert done.out == ""
    assert sandbox.entries() == ()


def test_a_command_that_replaces_the_database_is_undone(sandbox: Sandbox) -> None:
    replace = python(
        "import psycopg, sys\n"
        f"with psycopg.connect({sandbox.cluster.url('postgres')!r}, autocommit=True) as c:\n"
        f"    c.execute('DROP DATABASE {sandbox.name}')\n"
        f"    c.execute('CREATE DATABASE {sandbox.name}')\n"
        "sys.exit(1)"
    )
    assert sandbox.run("guard", *replace).code == 20
    assert len(sandbox.items()) == 100
    drop = python(
        "import psycopg, sys\n"
        f"with psycopg.connect({sandbox.cluster.url('postgres')!r}, autocommit=True) as c:\n"
        f"    c.execute('DROP DATABASE {sandbox.name}')\n"
        "sys.exit(1)"
    )
    done = sandbox.run("guard", *drop)
    assert done.code == 20, done
    assert len(sandbox.items()) == 100


@pytest.mark.promise("exit code 21")
def test_a_database_that_somebody_else_swapped_is_left_alone(sandbox: Sandbox) -> None:
    other = sandbox.back_up(label="other").backup.name
    done = sandbox.run(
        "guard",
        *python(
            "import subprocess, sys\n"
            f"subprocess.run([sys.executable, '-m', 'snapkit', 'rollback', {other!r}], check=True)\n"
            "sys.exit(1)"
        ),
    )
    assert done.code == 21, done
    assert "somebody swapped it while the command ran" in done.err
    assert "snapkit rollback " in done.err


def test_a_backup_that_is_gone_is_told(sandbox: Sandbox) -> None:
    steal = python(
        "import os, psycopg, sys\n"
        f"with psycopg.connect({sandbox.cluster.url('postgres')!r}, autocommit=True) as c:\n"
        "    c.execute('DROP DATABASE ' + os.environ['SNAPKIT_BACKUP'])\n"
        "sys.exit(5)"
    )
    done = sandbox.run("guard", "--json", *steal)
    assert (done.code, done.document["error"]["code"]) == (21, "rollback_failed")
    assert done.document["data"]["rollback"] is None
    assert "exit code 5" in done.document["error"]["message"]
    assert "snapkit list" in done.document["error"]["hint"]


@pytest.mark.parametrize(
    "number",
    [
        pytest.param(signal.SIGTERM, marks=pytest.mark.promise("a signal does not keep a guard from rolling back")),
        signal.SIGINT,
        signal.SIGHUP,
    ],
)
@pytest.mark.parametrize("kind", ["dies of it", "ends with 0"])
def test_a_signal_reaches_the_command_and_the_database_goes_back(
    sandbox: Sandbox, tmp_path: Path, number: signal.Signals, kind: str
) -> None:
    marker = tmp_path / "ready"
    handler = "signal.SIG_DFL" if kind == "dies of it" else "lambda *_: sys.exit(0)"
    code = (
        "import pathlib, psycopg, signal, sys, time\n"
        f"[signal.signal(n, {handler}) for n in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]\n"
        f"psycopg.connect({sandbox.url!r}, autocommit=True).execute('DELETE FROM item WHERE id > 10')\n"
        f"pathlib.Path({str(marker)!r}).touch()\n"
        "time.sleep(600)"
    )
    process = started(sandbox, *python(code))
    wait_until(marker.exists)
    os.killpg(process.pid, number) if number is signal.SIGINT else process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 20, (out, err)
    assert len(sandbox.items()) == 100
    assert (b"exit code 0" in out) is (kind == "ends with 0")


def started(sandbox: Sandbox, *words: str) -> subprocess.Popen[bytes]:
    """Start a guard with a process group of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "snapkit", "guard", "--json", *words],
        env=command_environment(sandbox.url),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )


def test_ctrl_c_twice_is_no_reason_not_to_roll_back(sandbox: Sandbox, tmp_path: Path) -> None:
    marker, ending = tmp_path / "ready", tmp_path / "ending"
    process = started(
        sandbox, "--", "sh", "-c", f"trap 'touch {ending}; exit 1' INT; touch {marker}; while :; do sleep 0.1; done"
    )
    wait_until(marker.exists)
    os.killpg(process.pid, signal.SIGINT)
    wait_until(ending.exists)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 20, (out, err)


def test_ctrl_c_while_health_is_waited_for(sandbox: Sandbox, tmp_path: Path) -> None:
    marker = tmp_path / "asked"
    asking = f"touch {marker}; sleep 600"
    process = started(sandbox, "--health-command", asking, "--health-timeout", "10m", *python(""))
    wait_until(marker.exists)
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 20, (out, err)
    assert b"it was interrupted" in out


def test_what_cannot_be_backed_up_is_not_run(sandbox: Sandbox, tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    sandbox.role("nobody", "LOGIN")
    done = sandbox.run(
        "guard",
        *python(f"open({str(marker)!r}, 'w')"),
        url=sandbox.cluster.url(sandbox.name, user=f"{sandbox.prefix}_nobody"),
    )
    assert done.code == 13
    assert not marker.exists()


def test_hooks_and_the_audit_log_hear_of_it(sandbox: Sandbox, tmp_path: Path) -> None:
    events = ("before-backup", "after-backup", "before-rollback", "after-rollback", "on-failure")
    lines = [f"{event} = 'echo $SNAPKIT_EVENT $SNAPKIT_OPERATION $SNAPKIT_BACKUP >> events'" for event in events]
    (tmp_path / "snapkit.toml").write_text("\n".join(["audit-log = 'audit.jsonl'", "[hooks]", *lines]))
    done = run_snapkit("guard", "--json", *ruining(sandbox, exit_code=3), url=sandbox.url, cwd=tmp_path)
    assert done.code == 20, done
    backup = done.document["data"]["backup"]["name"]
    assert (tmp_path / "events").read_text().splitlines() == [
        "before_backup backup",
        f"after_backup backup {backup}",
        f"before_rollback rollback {backup}",
        f"after_rollback rollback {backup}",
        f"on_failure guard {backup}",
    ]
    (line,) = (json.loads(each) for each in (tmp_path / "audit.jsonl").read_text().splitlines())
    assert (line["command"], line["exit_code"], line["error"]) == ("guard", 20, "rolled_back")
    assert line["entries"] == [backup, done.document["data"]["rollback"]["displaced"]["name"]]


def test_settings_may_stand_in_the_file(sandbox: Sandbox, tmp_path: Path) -> None:
    (tmp_path / "snapkit.toml").write_text('health-command = "exit 1"\nhealth-timeout = "100ms"\non-failure = "keep"\n')
    done = subprocess.run(
        [sys.executable, "-m", "snapkit", "guard", *python("")],
        env=command_environment(sandbox.url),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1, done
    with psycopg.connect(sandbox.url):
        pass


def test_what_a_shell_was_running_does_not_go_on_in_the_database_that_was_rolled_back(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    """As ``docker stop`` has it: SIGTERM to snapkit alone, and the shell ends at once."""
    marker = tmp_path / "ready"
    migrate = (
        "import os, pathlib, psycopg, signal, time\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        f"pathlib.Path({str(marker)!r}).write_text(str(os.getpid()) + ' ')\n"
        "while True:\n"
        "    try:\n"
        f"        with psycopg.connect({sandbox.url!r}, autocommit=True) as c:\n"
        "            while True:\n"
        "                c.execute('DELETE FROM item WHERE id > 10')\n"
        "                time.sleep(0.05)\n"
        "    except psycopg.Error:\n"
        "        pass\n"
    )
    process = started(sandbox, "--", "sh", "-c", '"$1" -c "$2" && true', "sh", sys.executable, migrate)
    wait_until(lambda: marker.exists() and marker.read_text().endswith(" "))
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 20, (out, err)
    with pytest.raises(ProcessLookupError):
        os.kill(int(marker.read_text()), 0)
    assert len(sandbox.items()) == 100


def test_a_command_that_takes_its_directory_and_the_settings_away_is_undone(sandbox: Sandbox, tmp_path: Path) -> None:
    directory = tmp_path / "release"
    directory.mkdir()
    (directory / "snapkit.toml").write_text("lock-wait = '5s'")
    done = run_snapkit("guard", "--", "sh", "-c", f"rm -r {directory}; exit 3", url=sandbox.url, cwd=directory)
    assert done.code == 20, done


@pytest.mark.parametrize("form", ["text", "json", "keep"])
def test_a_command_that_takes_away_what_snapkit_is_installed_in_is_undone(
    sandbox: Sandbox, tmp_path: Path, form: str
) -> None:
    """A deploy may replace its own environment: all that comes after the command has been loaded before."""
    site = tmp_path / "site"
    site.mkdir()
    for each in Path(psycopg.__file__).parents[1].iterdir():
        (site / each.name).symlink_to(each)
    (site / "snapkit").symlink_to(Path(snapkit.__file__).parent)
    (tmp_path / "snapkit.toml").write_text("audit-log = 'audit.jsonl'\n[hooks]\non-failure = 'cat > told'\n")
    words = {"text": [], "json": ["--json"], "keep": ["--keep", "1"]}[form]
    sandbox.back_up()
    ruin = f"{written_by_a_shell(sandbox)}; rm -r {site}; exit {0 if form == 'keep' else 3}"
    done = subprocess.run(
        [sys.executable, "-S", "-m", "snapkit", "guard", *words, "--", "sh", "-c", ruin],
        env=command_environment(sandbox.url) | {"PYTHONPATH": str(site)},
        cwd=tmp_path,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == (0 if form == "keep" else 20), done
    assert {"text": "Displaced", "json": '"rolled_back"', "keep": "Pruned: 1 database"}[form] in (
        done.stdout + done.stderr
    ), done
    assert "Error: Something" not in done.stderr
    assert (tmp_path / "audit.jsonl").exists()
    if form != "keep":
        assert len(sandbox.items()) == 100
        assert '"rolled_back"' in (tmp_path / "told").read_text()


def test_settings_that_the_command_brings_are_those_of_the_next_run(sandbox: Sandbox, tmp_path: Path) -> None:
    (tmp_path / "snapkit.toml").write_text("[hooks]\nbefore-rollback = 'touch old'")
    for brought in ("nonsense = [", "[hooks]\nbefore-rollback = 'touch new'"):
        (tmp_path / "brought").write_text(brought)
        ruin = f"mv brought snapkit.toml; {written_by_a_shell(sandbox)}; exit 3"
        done = run_snapkit("guard", "--", "sh", "-c", ruin, url=sandbox.url, cwd=tmp_path)
        assert done.code == 20, done
        assert (tmp_path / "old").exists()
        assert not (tmp_path / "new").exists()
        (tmp_path / "snapkit.toml").write_text("[hooks]\nbefore-rollback = 'touch old'")


@pytest.mark.parametrize("forced", [{}, {"FORCE_COLOR": "1", "TERM": "xterm"}])
def test_nobody_who_reads_is_no_reason_not_to_roll_back(
    sandbox: Sandbox, tmp_path: Path, forced: dict[str, str]
) -> None:
    reader, writer = os.pipe()
    go = tmp_path / "go"
    waiting = f"until test -e {go}; do sleep 0.05; done; {written_by_a_shell(sandbox)}; exit 1"
    with os.fdopen(writer, "wb") as stderr:
        process = subprocess.Popen(
            [sys.executable, "-m", "snapkit", "guard", "--", "sh", "-c", waiting],
            env=command_environment(sandbox.url) | forced,
            stdout=subprocess.DEVNULL,
            stderr=stderr,
        )
    with os.fdopen(reader, "rb") as said:
        assert said.read(1)
    go.touch()
    assert process.wait(60) == 20
    assert [entry.kind for entry in sandbox.entries()] == [Kind.OLD]


def test_a_command_that_gives_the_database_to_somebody_else_is_undone(sandbox: Sandbox) -> None:
    other = sandbox.role("other", "")
    give = f'ALTER DATABASE "{sandbox.name}" OWNER TO "{other}"'
    done = sandbox.run(
        "guard", "--", "sh", "-c", 'psql "$1" -c "$2"; exit 3', "sh", sandbox.cluster.url("postgres"), give
    )
    assert done.code == 20, done


def test_a_rollback_that_fails_at_its_plan_is_told_to_the_hook(sandbox: Sandbox, tmp_path: Path) -> None:
    (tmp_path / "snapkit.toml").write_text("[hooks]\non-failure = 'echo $SNAPKIT_ERROR $SNAPKIT_BACKUP >> told'")
    steal = 'psql "$1" -c "DROP DATABASE $SNAPKIT_BACKUP"; exit 3'
    words = ("guard", "--", "sh", "-c", steal, "sh", sandbox.cluster.url("postgres"))
    done = run_snapkit(*words, url=sandbox.url, cwd=tmp_path)
    assert done.code == 21, done
    (said,) = (tmp_path / "told").read_text().splitlines()
    assert said.startswith(f"not_found {sandbox.name}_backup_")


def test_a_command_that_cannot_be_started_is_named_with_its_backup(sandbox: Sandbox, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    broken.write_text("#!/no/such/interpreter\n")
    broken.chmod(0o700)
    done = sandbox.run("guard", "--json", "--", str(broken))
    assert (done.code, done.document["error"]["code"]) == (1, "failed"), done
    assert done.document["data"]["command_exit_code"] is None
    assert sandbox.entries()[0].name in done.document["error"]["message"]


def test_user_and_password_of_a_health_url_are_sent_and_not_to_another_server(sandbox: Sandbox) -> None:
    asked: list[tuple[str, str | None]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append((self.path, self.headers["Authorization"]))
            self.send_response(302 if self.path == "/health" else 204)
            self.send_header("Location", f"http://localhost:{server.server_port}/elsewhere")
            self.end_headers()

        def log_message(self, line: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            url = f"http://us%20er:p%40ss@127.0.0.1:{server.server_port}/health"
            done = sandbox.run("guard", "--health-url", url, *python(""))
        finally:
            server.shutdown()
            thread.join()
    assert done.code == 0, done
    assert asked == [("/health", "Basic dXMgZXI6cEBzcw=="), ("/elsewhere", None)]


def test_the_rollback_waits_for_another_run_longer_than_lock_wait_says(sandbox: Sandbox, tmp_path: Path) -> None:
    go, told = tmp_path / "go", tmp_path / "told"
    waiting = f"until test -e {go}; do sleep 0.05; done; exit 1"
    with sandbox.connect("postgres") as other, told.open("wb") as stderr:
        process = subprocess.Popen(
            [sys.executable, "-m", "snapkit", "guard", "--lock-wait", "0s", "--", "sh", "-c", waiting],
            env=command_environment(sandbox.url),
            stderr=stderr,
        )
        wait_until(lambda: b"is backed up as" in told.read_bytes())
        other.execute("SELECT pg_advisory_lock(%s)", (lock_key(sandbox.name),))
        go.touch()
        wait_until(lambda: b"Waiting for" in told.read_bytes() or process.poll() is not None)
        other.execute("SELECT pg_advisory_unlock_all()")
        assert process.wait(60) == 20, told.read_text()


@pytest.mark.promise("nobody drops the backup of a guard at work")
def test_no_other_run_drops_the_backup_while_the_command_runs(sandbox: Sandbox) -> None:
    """Not by name, not by a policy that would not keep it, not a guard beside it; looking into it does no harm."""
    beside = [
        "backup",
        "shell {} -- true",
        "delete {}",
        "delete {} --maintenance-db template1",
        "prune --keep 1 --yes",
        "guard --keep 1 -- true",
    ]
    script = (
        "import json, os, subprocess, sys\n"
        "def snapkit(words):\n"
        "    words = words.format(os.environ['SNAPKIT_BACKUP']).split()\n"
        "    done = subprocess.run([sys.executable, '-m', 'snapkit', *words], capture_output=True, text=True)\n"
        "    return done.returncode, done.stderr\n"
        f"print(json.dumps([snapkit(words) for words in {beside!r}]))\n"
        "sys.exit(9)"
    )
    done = sandbox.run("guard", *python(script))
    assert done.code == 20, done
    made, opened, *refused, guarded = json.loads(done.out.splitlines()[0])
    assert (made[0], opened[0], guarded[0]) == (0, 0, 0)
    assert [code for code, _ in refused] == [11, 11, 11]
    for _, said in (*refused, guarded):
        assert "is the backup that a running snapkit guard rolls back to (pid " in said
    assert len(sandbox.items()) == 100


def test_a_guard_takes_no_more_sessions_than_a_rollback(sandbox: Sandbox) -> None:
    """A role may not have many. The session that keeps the backup from others is one of them, and keeps its lock."""
    backup = sandbox.back_up().backup
    key = Use.GUARD.key(backup.database.oid)
    server = Server(target_of(sandbox.url))
    with ExitStack() as until, sandbox.server().connect() as other:
        kept = keep_from_others(server, backup, until)
        kept.make_ready(unobserved)
        assert others_hold(other, key)
        before = sandbox.execute(OF_SNAPKIT)
        with sandbox.connect() as client:  # somebody to be sent out
            client.execute("SELECT 1")
            swap(server, SwapRequest(own=backup.database.oid), LOCK_WAIT, unobserved)
        assert sandbox.execute(OF_SNAPKIT) == before, "others were opened than those that were kept ready"
        assert others_hold(other, key)
        kept.let_go()
        assert not others_hold(other, key)


def test_a_guard_that_works_from_template1_is_in_nobodys_way(sandbox: Sandbox) -> None:
    made = f"{sandbox.prefix}_made"
    create = f"psql '{sandbox.url}' -c 'CREATE DATABASE {made}'"
    done = sandbox.run("guard", "--json", "--maintenance-db", "template1", "--", "sh", "-c", create)
    assert done.code == 0, done
    assert [warning["code"] for warning in done.document["warnings"]] == ["not_kept"]


def test_a_hook_may_look_into_the_backup_before_the_command_runs(sandbox: Sandbox, tmp_path: Path) -> None:
    look = f'{sys.executable} -m snapkit shell "$SNAPKIT_BACKUP" -- psql -Atc "SELECT count(*) FROM item" > told'
    (tmp_path / "snapkit.toml").write_text(f"[hooks]\nafter-backup = {look!r}")
    done = run_snapkit("guard", "--", "true", url=sandbox.url, cwd=tmp_path)
    assert (done.code, "Warning" in done.err) == (0, False), done
    assert (tmp_path / "told").read_text() == "100\n"


def test_the_command_is_not_run_if_its_backup_cannot_be_kept_from_others(sandbox: Sandbox, tmp_path: Path) -> None:
    mark = tmp_path / "was run"
    gate = Gate(
        sandbox.cluster.port,
        lambda point: Phase.BEFORE if point.connection > 1 and "pg_try_advisory_lock" in point.label else None,
        lambda link, point: Action.CUT,
    )
    url = f"postgresql://{SUPERUSER}:{PASSWORD.replace('%', '%25')}@127.0.0.1:{gate.port}/{sandbox.name}"
    try:
        done = sandbox.run("guard", "--json", "--", "touch", str(mark), url=url)
        assert gate.reached.is_set()
    finally:
        gate.close()
    assert done.code == 1, done
    (backup,) = sandbox.entries()
    assert done.document["data"]["backup"]["name"] == backup.name
    message = done.document["error"]["message"]
    assert message.startswith("The backup could not be protected from other runs. ")
    assert message.endswith(
        f"The command was not run: '{sandbox.name}' is as it was. The backup {backup.name!r} is there."
    )
    assert not mark.exists()


def test_a_backup_that_somebody_else_rolled_back_to_is_told(sandbox: Sandbox) -> None:
    undone = (
        "import os, subprocess, sys\n" + "subprocess.run([sys.executable, '-m', 'snapkit', 'rollback', '--latest'])\n"
    )
    done = sandbox.run("guard", *python(undone + "sys.exit(1)"))
    assert done.code == 21, done
    assert "Somebody rolled the database back to this backup" in done.err
    assert f"{sandbox.name!r} is as it was before the command" in done.err
    assert "is gone" not in done.err


def test_words_behind_the_command_are_the_commands(sandbox: Sandbox) -> None:
    """Whether or not there is a --: one of snapkit's might drop backups, one that was swallowed spoil a migration."""
    told = "import sys; print(sys.argv[1:])"
    for dashes in ((), ("--",)):
        done = sandbox.run("guard", *dashes, sys.executable, "-c", told, "--keep", "1", "-v", "2", "--", "--json")
        assert (done.code, done.out) == (0, "['--keep', '1', '-v', '2', '--', '--json']\n"), done
    assert len(sandbox.entries()) == 2


def test_the_command_finds_the_database_by_the_same_dotenv(sandbox: Sandbox, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text(f"DATABASE_URL='{sandbox.url}'\nPGOPTIONS='-c work_mem=7MB'\nSECRET=x\n")
    told = "import os; print(*(os.environ.get(name) for name in ('DATABASE_URL', 'PGOPTIONS', 'SECRET')))"
    done = run_snapkit("guard", *python(told), cwd=tmp_path)
    assert (done.code, done.out) == (0, f"{sandbox.url} -c work_mem=7MB None\n"), done
    other = run_snapkit("guard", *python(told), cwd=tmp_path, url=sandbox.url + "&application_name=x")
    assert other.out == f"{sandbox.url}&application_name=x -c work_mem=7MB None\n"
