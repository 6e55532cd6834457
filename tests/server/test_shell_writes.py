"""An entry that was written to while it was open is no way back any more, and that is said; one that was read is."""

from __future__ import annotations

import os

import pytest

from tests.sandbox import Ran, Sandbox, wait_until

READ = "select count(*) from item"
WRITES = {
    "rows": "begin read write; update item set name = 'x' where id = 1; commit",
    "definitions": "begin read write; alter table item add column more int; commit",
    "comment": "begin read write; comment on table item is 'x'; commit",
}


@pytest.fixture(autouse=True)
def psql_of_the_server(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", f"{sandbox.cluster.binaries}{os.pathsep}{os.environ['PATH']}")


def _look(box: Sandbox, name: str, statements: str) -> Ran:
    ran = box.run("shell", name, "--json", "--", "psql", "-Xqtc", statements)
    assert ran.code == 0, ran.err
    return ran


def _warned(ran: Ran) -> list[str]:
    return [each["code"] for each in ran.document["warnings"]]


def _writes(box: Sandbox, name: str, statements: str) -> str:
    """Look into a backup so; return why it is no way back."""
    ran = _look(box, name, statements)
    (warning,) = ran.document["warnings"]
    assert warning["code"] == "altered"
    assert ran.data["entry"]["state"] == "altered"
    assert box.run("show", name, "--json").data["entry"]["state"] == "altered"
    assert not box.row(name)["datallowconn"]
    back = box.run("rollback", "--latest", "--yes", "--json")
    assert back.code == 10, back.out
    return str(warning["message"])


def test_who_only_looks_leaves_it_as_it_was(sandbox: Sandbox) -> None:
    name = sandbox.back_up().backup.name
    for _ in range(2):
        assert _warned(_look(sandbox, name, READ)) == []
    assert _warned(_look(sandbox, name, r"\d item")) == []
    assert sandbox.run("show", name, "--json").data["entry"]["state"] == "ready"
    assert sandbox.run("rollback", "--latest", "--yes").code == 0


@pytest.mark.parametrize("what", WRITES)
def test_what_was_written_to_is_no_way_back(sandbox: Sandbox, what: str) -> None:
    name = sandbox.back_up().backup.name
    assert "was written to in a snapkit shell" in _writes(sandbox, name, WRITES[what])
    # Looked at, and found good: it is one again.
    assert sandbox.run("adopt", name, "--json").code == 0
    assert sandbox.run("rollback", name, "--yes").code == 0


def test_large_objects_that_read_only_lets_through(sandbox: Sandbox) -> None:
    if sandbox.version >= 16:
        pytest.skip("read-only transactions cannot write large objects from PostgreSQL 16 on")
    name = sandbox.back_up().backup.name
    assert "was written to in a snapkit shell" in _writes(sandbox, name, "select lo_create(4711)")


def test_a_transaction_that_was_prepared_and_left(sandbox: Sandbox) -> None:
    name = sandbox.back_up().backup.name
    what = "begin; lock item in access share mode" if sandbox.version < 15 else "begin read write; delete from item"
    message = _writes(sandbox, name, f"{what}; prepare transaction 'left'")
    assert "prepared transactions" in message
    assert "'left'" in message
    assert sandbox.run("adopt", name).code == 11
    _look(sandbox, name, "rollback prepared 'left'")
    assert sandbox.run("adopt", name).code == 0
    assert sandbox.run("rollback", name, "--yes").code == 0


def test_what_a_killed_shell_left_open_and_written_to_is_no_way_back_either(sandbox: Sandbox) -> None:
    name = sandbox.back_up().backup.name
    script = f'psql -Xqc "{WRITES["rows"]}"; kill -9 $PPID'
    sandbox.run("shell", name, "--", "sh", "-c", script)
    wait_until(lambda: sandbox.sessions(name) == 0)
    back = sandbox.run("rollback", name, "--yes", "--json")
    assert back.code == 2, back.out
    assert "was written to in a snapkit shell" in back.document["error"]["message"]
    assert sandbox.run("show", name, "--json").data["entry"]["state"] == "altered"


def test_counters_that_began_anew_meanwhile_prove_nothing(sandbox: Sandbox) -> None:
    name = sandbox.back_up().backup.name
    _look(sandbox, name, READ)
    reset = "select pg_stat_reset()"
    assert "it is not known" in _writes(sandbox, name, f"{WRITES['rows']}; {reset}; {reset}")
