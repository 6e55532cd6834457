"""A marked password, good and bad, appears nowhere, whatever the command and however talkative it is."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.cluster import SUPERUSER
from tests.sandbox import Sandbox, command_environment, run_snapkit, wait_until

pytestmark = pytest.mark.any_version

GOOD = "correct-horse-%-battery"  # tests.cluster.PASSWORD, written out so that nobody changes one alone
BAD = "s3cr3t-Tr0ub4dor&3"

COMMANDS = [
    ["backup", "--label", "one"],
    ["backup", "--dry-run"],
    ["list", "--sizes", "--all"],
    ["status", "--max-age", "24h"],
    ["show", "one"],
    ["pin", "one", "--reason", "x"],
    ["unpin", "one"],
    ["label", "one", "two"],
    ["doctor"],
    ["rollback", "--latest", "--dry-run"],
    ["rollback", "--latest", "--sql"],
    ["rollback", "--latest", "--keep-backup"],
    ["undo"],
    ["adopt", "nothing"],
    ["prune", "--keep", "1", "--keep-old", "0"],
    ["delete", "nothing"],
]


def _spellings(password: str) -> set[str]:
    return {password, password.replace("%", "%25"), password.replace("&", "%26"), password.rpartition("-")[2]}


def _ways(sandbox: Sandbox, password: str) -> list[tuple[list[str], dict[str, str]]]:
    """Each way in which a password can be given: in a URL by variable or flag, and in PGPASSWORD."""
    url = sandbox.cluster.url(sandbox.name, password=password, tcp=True)
    plain = f"postgresql://{SUPERUSER}@127.0.0.1:{sandbox.cluster.port}/{sandbox.name}"
    return [([], {"DATABASE_URL": url}), (["--url", url], {}), ([], {"DATABASE_URL": plain, "PGPASSWORD": password})]


@pytest.mark.parametrize("password", [pytest.param(GOOD, marks=pytest.mark.promise("no password is shown")), BAD])
def test_no_command_shows_a_password(sandbox: Sandbox, password: str, tmp_path: Path) -> None:
    for flags, variables in _ways(sandbox, password):
        # Every command with the password where it usually is; the other ways in make no difference to most of them.
        for number, words in enumerate(COMMANDS if "PGPASSWORD" not in variables and not flags else COMMANDS[:3]):
            output = ["--json"] if number % 2 else ["--verbose"]
            ran = run_snapkit(*words, *flags, *output, cwd=tmp_path, **variables)
            for spelling in _spellings(password):
                assert spelling not in ran.out + ran.err, words
            if password == BAD:
                assert ran.code == 12, (words, ran.err)
    comments = sandbox.execute("SELECT shobj_description(oid, 'pg_database') FROM pg_database")
    assert not any(spelling in str(comments) for spelling in _spellings(password))


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://app:{}@127.0.0.1:1:2/app",
        "postgresql://app:{}@@127.0.0.1/app",
        "postgresql://app:{}",
        "postgresql://app:{}@127.0.0.1:port/app",
        "postgresql://app:x?y{}@127.0.0.1/app",
        "postgresql://app:x/y{}@127.0.0.1/app",
        "postgresql://app:x#y{}@127.0.0.1/app",
        "postgresql://127.0.0.1/app?password={}&sslmode=maybe",
        "postgresql://127.0.0.1/app?password={}&ssl={}",
        "mysql://app:{}@127.0.0.1/app",
        "postgresql://app:%zz{}@127.0.0.1/app",
        "postgresql://app:{}@127.0.0.1/template1",
        "{}",
    ],
)
def test_no_malformed_url_is_repeated(url: str) -> None:
    ran = run_snapkit("list", "--verbose", "--json", url=url.replace("{}", "Tr0ub4dor-3"))
    assert ran.code != 0
    assert "Tr0ub4dor-3" not in ran.out + ran.err


@pytest.mark.promise("the process list shows no password")
def test_neither_the_process_list_nor_the_server_s_shows_it(sandbox: Sandbox) -> None:
    with sandbox.connect("postgres") as holder:
        holder.execute("BEGIN")
        holder.execute(f'ALTER DATABASE "{sandbox.name}" RENAME TO "{sandbox.prefix}_x"')
        running = subprocess.Popen(
            [sys.executable, "-m", "snapkit", "backup"],
            env=command_environment(sandbox.cluster.url(sandbox.name, tcp=True)),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        mine = "SELECT query, application_name FROM pg_stat_activity WHERE application_name = 'snapkit'"
        wait_until(lambda: any("CREATE DATABASE" in str(row) for row in sandbox.execute(mine)))
        seen = str(sandbox.execute(mine)) + Path(f"/proc/{running.pid}/cmdline").read_text()
        holder.execute("ROLLBACK")
        assert running.wait(timeout=60) == 0
    assert not any(spelling in seen for spelling in _spellings(GOOD))


@pytest.mark.parametrize(
    "as_json", [pytest.param(False, marks=pytest.mark.promise("no secret of a guarded command is shown")), True]
)
def test_guard_shows_no_secret_of_its_command_and_its_health_check(
    sandbox: Sandbox, tmp_path: Path, as_json: bool
) -> None:
    (tmp_path / "snapkit.toml").write_text("[hooks]\non-failure = 'env; cat'")
    url = f"postgresql://app:{GOOD}@db/app"
    log = tmp_path / "audit.jsonl"
    for words in (
        ["--", "sh", "-c", "exit 3", url, f"password='{GOOD}'", "--password", GOOD],
        ["--", "sh", "-c", f"exit 3 # {GOOD}", "--secret-key", GOOD, "-H", f"Authorization: Bearer {GOOD}"],
        ["--", "sh", "-c", "exit 3", f'{{"password": "{GOOD}"}}'],
        ["--health-url", f"http://app:{GOOD}@127.0.0.1:1/", "--health-timeout", "100ms", "--", "true", url],
        ["--health-command", f"false {url}", "--health-timeout", "100ms", "--", "true"],
        ["--", f"PGPASSWORD={GOOD}"],
    ):
        form = "--json" if as_json else "--verbose"
        ran = run_snapkit("guard", form, *words, url=sandbox.url, cwd=tmp_path, SNAPKIT_AUDIT_LOG=str(log))
        assert ran.code == (2 if words[-1].startswith("PGPASSWORD") else 20), ran
        assert GOOD not in ran.out + ran.err + log.read_text()
