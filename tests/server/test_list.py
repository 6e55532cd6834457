"""List and show, on a real server."""

from __future__ import annotations

import csv
import io
import json
from datetime import UTC, datetime

import pytest
from psycopg import sql

from snapkit.core.inventory.kinds import State
from snapkit.errors import NotFoundError, UsageError
from snapkit.services.list import list_entries, show_entry
from tests.sandbox import Ran, Sandbox, entry_names


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


def _names(ran: Ran) -> list[str]:
    return [entry["name"] for entry in ran.data["entries"]]


def test_list_takes_what_is_asked_for_in_the_order_that_is_asked_for(sandbox: Sandbox) -> None:
    first = sandbox.back_up(label="before 0042").backup.name
    second = sandbox.back_up(label="before 0043").backup.name
    sandbox.ruin()
    displaced = sandbox.roll_back(first, keep_backup=True).displaced
    assert displaced is not None
    old = displaced.name
    for words, expected in (
        ([], [old, second, first]),
        (["--kind", "backup"], [second, first]),
        (["--kind", "old"], [old]),
        (["--kind", "partial"], []),
        (["--label", "0042"], [first]),
        (["--label", "before"], [second, first]),
        (["--since", "1h"], [old, second, first]),
        (["--since", "0s"], []),
        (["--sort", "name"], sorted([old, second, first])),
        (["--sort", "created", "--limit", "2"], [old, second]),
        (["--kind", "backup", "--limit", "1"], [second]),
    ):
        assert _names(sandbox.run("list", *words, "--json")) == expected, words
    by_size = sandbox.run("list", "--sort", "size", "--json").data
    sizes = [entry["size_bytes"] for entry in by_size["entries"]]
    assert sizes == sorted(sizes, reverse=True)
    assert by_size["totals"] == [{"source": sandbox.name, "size_bytes": sum(sizes)}]
    assert by_size["total_size_bytes"] == sum(sizes)
    assert "Shown: 1 of 3 databases." in sandbox.run("list", "--limit", "1").out
    assert f"None of the 3 databases of {sandbox.name} matches." in sandbox.run("list", "--label", "x").err
    for wrong in (["--kind", "x"], ["--sort", "x"], ["--limit", "0"], ["--since", "x"], ["--format", "x"]):
        ran = sandbox.run("list", *wrong)
        assert (ran.code, wrong[0] in ran.err) == (2, True), ran


def test_list_of_another_source(sandbox: Sandbox) -> None:
    other = _create(sandbox, f"{sandbox.prefix}_other")
    own = sandbox.back_up().backup.name
    backup = sandbox.run("backup", "--json", url=sandbox.cluster.url(other)).data["backup"]["name"]
    assert _names(sandbox.run("list", "--source", other, "--json")) == [backup]
    assert _names(sandbox.run("list", "--json")) == [own]
    ran = sandbox.run("list", "--all", "--source", other, "--sizes", "--json")
    assert [total["source"] for total in ran.data["totals"]] == [other]
    both = sandbox.run("list", "--all", "--sizes").out.splitlines()
    assert {sandbox.name, other} <= {line.strip().partition(":")[0] for line in both}
    ran = sandbox.run("list", "--source", f"{sandbox.prefix}_nothing", "--json")
    assert (ran.code, ran.document["error"]["code"]) == (10, "not_found")


def test_list_as_csv_has_all_that_json_has(sandbox: Sandbox) -> None:
    sandbox.back_up(label='long, "quoted" ' + "x" * 150, pinned=True)
    sandbox.back_up()
    ran = sandbox.run("list", "--format", "csv", "--sizes")
    lines = list(csv.DictReader(io.StringIO(ran.out)))
    entries = sandbox.run("list", "--sizes", "--format", "json").data["entries"]
    assert list(lines[0]) == list(entries[0])
    for line, entry in zip(lines, entries, strict=True):
        for key, value in entry.items():
            assert line[key] == ("" if value is None else value if isinstance(value, str) else json.dumps(value)), key
    assert sandbox.run("list", "--format", "csv", "--json").code == 2
    refused = sandbox.run("list", "--bogus", "--format", "json")
    assert refused.document["error"]["code"] == "usage"


def test_a_short_name_or_latest_goes_wherever_a_name_does(sandbox: Sandbox) -> None:
    first, second = sandbox.back_up().backup.name, sandbox.back_up().backup.name
    short = {name: name[-6:] for name in (first, second)}
    if short[first] == short[second]:  # within one second the second one has a number behind it
        pytest.skip("two backups of one second")
    for words in (["show"], ["pin"], ["unpin"], ["adopt"]):
        assert sandbox.run(*words, short[first], "--json").data["entry"]["name"] == first
        assert sandbox.run(*words, "--latest", "--json").data["entry"]["name"] == second
    assert sandbox.run("label", short[first], "one", "--json").data["entry"]["label"] == "one"
    labelled = sandbox.run("label", "--latest", "two", "--json").data["entry"]
    assert (labelled["name"], labelled["label"]) == (second, "two")
    looked = sandbox.run("shell", "--latest", "--json", "--", "true").data
    assert (looked["entry"]["name"], looked["command"]) == (second, ["true"])
    assert sandbox.run("shell", short[first], "--json", "--", "true").data["entry"]["name"] == first
    assert sandbox.run("rollback", short[first], "--dry-run", "--json").data["restored"]["name"] == first
    for words in (["show"], ["show", first, "--latest"], ["pin"], ["adopt"], ["shell"], ["delete"], ["label", first]):
        assert sandbox.run(*words).code == 2, words
    assert sandbox.databases() == [sandbox.name, first, second]
    removed = sandbox.run("delete", short[first], "--latest", "--json").data["removed"]
    assert {entry["name"] for entry in removed} == {first, second}
    assert sandbox.run("show", "--latest").code == 10
