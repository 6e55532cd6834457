"""The answer says where it acts, in words and in JSON, and warns where more than one database is named."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pexpect
import pytest

from tests.cluster import PASSWORD, SUPERUSER
from tests.sandbox import Sandbox, command_environment, run_snapkit


@pytest.mark.promise("the answer says where it acts")
def test_each_command_says_where(sandbox: Sandbox) -> None:
    url = sandbox.cluster.url(sandbox.name, tcp=True)
    expected = {
        "host": "127.0.0.1",
        "port": sandbox.cluster.port,
        "database": sandbox.name,
        "user": SUPERUSER,
        "named_by": "DATABASE_URL",
    }
    line = f"Server: 127.0.0.1:{sandbox.cluster.port}, database {sandbox.name}, as {SUPERUSER} (DATABASE_URL)"
    sandbox.back_up(label="one")
    for words in (
        ["backup"],
        ["backup", "--dry-run"],
        ["list"],
        ["show", "one"],
        ["status"],
        ["doctor"],
        ["pin", "one"],
        ["unpin", "one"],
        ["rollback", "one", "--dry-run"],
        ["rollback", "one", "--keep-backup"],
        ["undo", "--dry-run"],
        ["undo"],
        ["prune", "--keep", "1"],
        ["recover"],
        ["guard", "--", "true"],
    ):
        ran = sandbox.run(*words, url=url)
        assert ran.code == 0, ran
        assert line in (ran.err if words[0] == "guard" else ran.out).splitlines(), ran
        if words[0] in ("list", "status", "doctor", "show", "undo", "guard"):
            assert sandbox.run(words[0], "--json", *words[1:], url=url).document["server"] == expected
    assert "Server: " not in sandbox.run("list", "--quiet", url=url).out
    assert PASSWORD not in json.dumps(expected) + line


def test_what_other_programs_read_stays_as_it_is(sandbox: Sandbox) -> None:
    sandbox.back_up()
    for words in (["rollback", "--latest", "--sql"], ["status", "--prometheus"]):
        assert "Server: " not in sandbox.run(*words).out


def test_an_error_says_where_too(sandbox: Sandbox, tmp_path: Path) -> None:
    line = f"database {sandbox.name}, as {SUPERUSER} ("
    (said,) = (each for each in sandbox.run("rollback", "nothing").err.splitlines() if each.startswith("Server: "))
    assert line in said
    assert "Server: " not in sandbox.run("rollback").err
    server = sandbox.run("rollback", "nothing", "--json").document["server"]
    assert (server["database"], server["user"]) == (sandbox.name, SUPERUSER)
    nowhere = run_snapkit("list", "--json", "--url", "postgresql://app:s3cret@127.0.0.1:1/shop")
    assert nowhere.document["server"] == {
        "host": "127.0.0.1", "port": 1, "database": "shop", "user": "app", "named_by": "--url"
    }  # fmt: skip
    usage = run_snapkit("prune", "--json", url="postgresql://app:s3cret@127.0.0.1:1/shop")
    assert (usage.code, usage.document["server"]["named_by"]) == (2, "DATABASE_URL")
    malformed = run_snapkit("list", "--json", url="postgresql://a:s3cret@b@c/shop")
    assert malformed.document["server"] == {
        "host": None, "port": None, "database": None, "user": None, "named_by": "DATABASE_URL"
    }  # fmt: skip
    (tmp_path / ".env").write_text("DATABASE_URL=postgresql://app@127.0.0.1:1/shop\n")
    assert run_snapkit("list", "--json").document["server"]["named_by"] == ".env DATABASE_URL"
    assert "server" not in run_snapkit("list", "--json", cwd=Path("/")).document


@pytest.mark.promise("a second database that is named is warned of")
def test_two_databases_are_warned_of(sandbox: Sandbox, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("DATABASE_URL=postgresql://app:s3cret@staging.example/shop\n")
    ran = sandbox.run("list", "--json")
    (warning,) = ran.document["warnings"]
    assert warning["code"] == "two_databases"
    assert ".env (DATABASE_URL) names shop at staging.example:5432" in warning["message"]
    assert "s3cret" not in ran.out
    assert "Warning: DATABASE_URL names" in sandbox.run("list").err


@pytest.mark.parametrize("columns", [60, 140])
def test_the_question_says_where_and_repeats_the_warning(sandbox: Sandbox, tmp_path: Path, columns: int) -> None:
    (tmp_path / ".env").write_text("DATABASE_URL=postgresql://app:s3cret@staging.example/shop\n")
    sandbox.back_up()
    child = pexpect.spawn(
        sys.executable, ["-m", "snapkit", "rollback", "--latest", "--no-color"],
        env=command_environment(sandbox.url, TERM="xterm"), encoding="utf-8", dimensions=(50, columns), timeout=60,
    )  # fmt: skip
    child.expect_exact("Server: ")
    child.expect_exact("Used up")
    child.expect(r"Warning:\S* DATABASE_URL[\s\S]*staging\.example[\s\S]*Roll .* back\?")
    child.sendline("n")
    child.expect(pexpect.EOF)
    assert "Cancelled." in str(child.before)
    assert "Warning" not in str(child.before)
    child.close()
    assert child.exitstatus == 130


def test_after_a_question_it_is_not_said_again(sandbox: Sandbox) -> None:
    sandbox.back_up()
    child = pexpect.spawn(
        sys.executable, ["-m", "snapkit", "rollback", "--latest", "--no-color"],
        env=command_environment(sandbox.url, TERM="xterm"), encoding="utf-8", dimensions=(50, 140), timeout=60,
    )  # fmt: skip
    child.expect_exact("Server: ")
    child.expect(r"Roll .* back\?")
    child.sendline("y")
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 0
    said = str(child.before)
    assert "To take this back" in said
    assert "Server: " not in said


def test_it_is_the_server_that_was_reached_that_is_told_of(sandbox: Sandbox) -> None:
    """Of several hosts, the one; of a service file, what that says."""
    place = sandbox.cluster.root
    url = f"postgresql://{SUPERUSER}@/{sandbox.name}?host=/nonexistent,{place}&port=1,{sandbox.cluster.port}"
    server = run_snapkit("list", "--json", url=url).document["server"]
    assert (server["host"], server["port"]) == (str(place), sandbox.cluster.port)
    file = place / f"{sandbox.prefix}_services"
    file.write_text(f"[it]\nhost={place}\nport={sandbox.cluster.port}\nuser={SUPERUSER}\ndbname={sandbox.name}\n")
    server = run_snapkit("list", "--json", PGSERVICEFILE=str(file), PGSERVICE="it").document["server"]
    assert server == {
        "host": str(place), "port": sandbox.cluster.port, "database": sandbox.name, "user": SUPERUSER,
        "named_by": "libpq",
    }  # fmt: skip


def test_a_dotenv_above_is_pointed_out_and_not_used(tmp_path: Path) -> None:
    here = tmp_path / "my app" / "api"
    here.mkdir(parents=True)
    (here.parent / ".git").mkdir()
    above = here.parent / ".env"
    above.write_text("DATABASE_URL=postgresql://app:s3cret@127.0.0.1:1/shop\n")
    ran = run_snapkit("list", "--json", cwd=here)
    assert (ran.code, ran.document["error"]["code"]) == (2, "usage")
    hint = ran.document["error"]["hint"]
    assert f"There is a .env in {here.parent}." in hint
    assert hint.endswith(f"or give --env-file '{above}'.")
    named = run_snapkit("list", "--json", cwd=here, url="postgresql://app@127.0.0.1:1/other")
    assert ".env" not in str(named.document)
    assert run_snapkit("list", "--json", "--env-file", str(above), cwd=here).document["server"]["database"] == "shop"
