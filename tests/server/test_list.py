"""List and show, on a real server."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from psycopg import sql

from snapkit.core.inventory.kinds import State
from snapkit.errors import NotFoundError, UsageError
from snapkit.services.list import list_entries, show_entry
from tests.sandbox import Sandbox, entry_names


def _create(sandbox: Sandbox, name: str, comment: str | None = None, owner: str | None = None) -> str:
    options = sql.SQL("") if owner is None else sql.SQL(" OWNER {}").format(sql.Identifier(owner))
    sandbox.execute(sql.SQL("CREATE DATABASE {}{}").format(sql.Identifier(name), options))
    if comment is not None:
        sandbox.execute(sql.SQL("COMMENT ON DATABASE {} IS {}").format(sql.Identifier(name), sql.Literal(comment)))
    return name


def test_backups_of_the_original_script_are_unmanaged_and_lookalikes_are_strangers(sandbox: Sandbox) -> None:
    script_made = _create(sandbox, f"{sandbox.name}_backup_20260110_103045")
    _create(sandbox, f"{sandbox.name}_backup_20260110_103046", comment="my own database")
    _create(sandbox, f"{sandbox.name}_backup_20261310_103045")  # there is no thirteenth month
    _create(sandbox, f"{sandbox.name}Xbackup_20260110_103045")
    (entry,) = sandbox.entries()
    assert (entry.name, entry.state, entry.source) == (script_made, State.UNMANAGED, sandbox.name)
    assert entry.created_at == datetime(2026, 1, 10, 10, 30, 45, tzinfo=UTC)


def test_an_invalid_database_is_listed_as_invalid(sandbox: Sandbox) -> None:
    name = sandbox.back_up().backup.name
    sandbox.execute("UPDATE pg_database SET datconnlimit = -2 WHERE datname = %s", name)
    (entry,) = sandbox.entries()
    assert entry.state is State.INVALID


def test_a_document_of_a_newer_version_is_left_alone_and_said(sandbox: Sandbox) -> None:
    document = {"snapkit": 2, "kind": "backup", "source": sandbox.name, "created_at": "2026-01-10T10:30:45Z"}
    name = _create(sandbox, f"{sandbox.name}_backup_20260110_103045", json.dumps(document, separators=(",", ":")))
    listing = list_entries(sandbox.server(), sizes=False, all_sources=False)
    assert listing.entries == ()
    assert [caution.code for caution in listing.cautions if name in caution.message] == ["newer_version"]


def test_a_stranger_cannot_pass_his_database_off_as_a_backup(sandbox: Sandbox) -> None:
    stranger = sandbox.role("stranger", "LOGIN CREATEDB")
    document = {"snapkit": 1, "kind": "backup", "source": sandbox.name, "created_at": "2036-01-10T10:30:45Z"}
    text = json.dumps(document, separators=(",", ":"))
    name = _create(sandbox, f"{sandbox.name}_backup_20360110_103045", text, owner=stranger)
    listing = list_entries(sandbox.server(), sizes=False, all_sources=True)
    assert name not in [entry.name for entry in listing.entries]
    assert "not_trusted" in [caution.code for caution in listing.cautions if name in caution.message]
    with pytest.raises(NotFoundError):
        sandbox.roll_back()


def test_sizes_that_the_role_may_not_ask_for_are_unknown(sandbox: Sandbox) -> None:
    sandbox.back_up()
    name = sandbox.entries()[0].name
    for database in (sandbox.name, name):
        sandbox.execute(sql.SQL("REVOKE CONNECT ON DATABASE {} FROM PUBLIC").format(sql.Identifier(database)))
    role = sandbox.role("reader")
    server = sandbox.server(sandbox.cluster.url(sandbox.name, user=role))
    (entry,) = list_entries(server, sizes=True, all_sources=False).entries
    assert entry.size_bytes is None
    sandbox.execute(sql.SQL("GRANT pg_read_all_stats TO {}").format(sql.Identifier(role)))
    (entry,) = list_entries(server, sizes=True, all_sources=False).entries
    assert entry.size_bytes


def test_where_nothing_is_listed_stdout_is_empty(sandbox: Sandbox) -> None:
    told = sandbox.run("list")
    assert (told.code, told.out) == (0, "")
    assert "There are no backups of" in told.err
    for words in (("list",), ("prune", "--keep", "1"), ("recover",)):
        quiet = sandbox.run(*words, "--quiet")
        assert (quiet.code, quiet.out, quiet.err) == (0, "", ""), words
    sandbox.back_up()
    listed = sandbox.run("list", "--quiet").out.split()
    assert listed == entry_names(sandbox.entries())
    assert sandbox.run("rollback", "--latest", "--sql", "--quiet").out.startswith("-- Rolls")


@pytest.mark.command("list")
def test_every_source_or_only_the_one_in_the_url(sandbox: Sandbox) -> None:
    other = _create(sandbox, f"{sandbox.prefix}_other")
    sandbox.back_up()
    assert sandbox.run("backup", url=sandbox.cluster.url(other)).code == 0
    assert {entry.source for entry in sandbox.entries()} == {sandbox.name}
    listing = list_entries(sandbox.server(), sizes=False, all_sources=True)
    assert {sandbox.name, other} <= {entry.source for entry in listing.entries}


def test_list_asks_few_questions(sandbox: Sandbox) -> None:
    """The number of queries does not grow with the number of entries."""
    from sqlalchemy import event

    def count() -> int:
        server = sandbox.server()
        seen: list[str] = []
        event.listen(server._engine, "before_cursor_execute", lambda *arguments: seen.append(arguments[2]))
        list_entries(server, sizes=True, all_sources=True)
        return len(seen)

    before = count()
    for _ in range(3):
        sandbox.back_up()
    assert count() == before <= 8


@pytest.mark.command("show")
def test_show_knows_an_entry_by_name_stamp_and_label(sandbox: Sandbox) -> None:
    name = sandbox.back_up(label="v42").backup.name
    stamp = name.removeprefix(f"{sandbox.name}_backup_")
    for wanted in (name, stamp, "v42"):
        assert show_entry(sandbox.server(), wanted).entry.name == name
    sandbox.back_up(label="v42")
    with pytest.raises(UsageError, match="fits several") as caught:
        show_entry(sandbox.server(), "v42")
    assert name in caught.value.message
    with pytest.raises(NotFoundError):
        show_entry(sandbox.server(), "v43")
