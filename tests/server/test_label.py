"""Label, pin and unpin, on a real server."""

from __future__ import annotations

import json

import pytest
from psycopg import sql

from snapkit.services.label import label_entry, pin_entry, unpin_entry
from tests.sandbox import LOCK_WAIT, Sandbox


@pytest.mark.command("label", "pin", "unpin")
def test_pin_label_and_what_others_wrote_into_the_document(sandbox: Sandbox) -> None:
    name = sandbox.back_up(label="old label").backup.name
    document = json.loads(sandbox.row(name)["comment"]) | {"git_commit": "abc"}
    comment = sql.SQL("COMMENT ON DATABASE {} IS {}")
    text = json.dumps(document, separators=(",", ":"))
    sandbox.execute(comment.format(sql.Identifier(name), sql.Literal(text)))
    server = sandbox.server()
    pin_entry(server, name, "audit", LOCK_WAIT)
    label_entry(server, name, 'it\'s "new"', LOCK_WAIT)
    (entry,) = sandbox.entries()
    assert (entry.pinned, entry.pin_reason, entry.label) == (True, "audit", 'it\'s "new"')
    assert json.loads(sandbox.row(name)["comment"])["git_commit"] == "abc"
    assert unpin_entry(server, 'it\'s "new"', LOCK_WAIT).entry.pinned is False
    assert label_entry(server, name, "", LOCK_WAIT).entry.label is None


def test_a_label_has_a_bound_and_one_beyond_it_breaks_no_list(sandbox: Sandbox) -> None:
    """One that another program, or an earlier version, has written is told of all the same."""
    sandbox.back_up(label="x" * 60_000)
    for words in (["list"], ["list", "--sizes"], ["rollback", "--latest", "--dry-run"], ["prune", "--keep", "1"]):
        ran = sandbox.run(*words)
        assert ran.code == 0
        told = ran.out.partition("ALTER DATABASE")[0]  # the statements of a plan are told whole
        assert max(map(len, told.splitlines())) < 600, words
    assert sandbox.run("list", "--json").data["entries"][0]["label"] == "x" * 60_000
    (name,) = (each for each in sandbox.databases() if each != sandbox.name)
    for words in (["backup", "--label", "y" * 201], ["guard", "--label", "y" * 201, "--", "true"]):
        ran = sandbox.run(*words)
        assert (ran.code, "201 characters" in ran.err) == (2, True), ran
    ran = sandbox.run("label", name, "y" * 201)
    assert (ran.code, "201 characters" in ran.err) == (2, True), ran
    assert sandbox.run("label", name, "y" * 200).code == 0
    assert "is labelled “v7”." in sandbox.run("label", name, "v7").out
    assert sandbox.run("label", name, "").code == 0


def test_an_empty_label_is_none(sandbox: Sandbox) -> None:
    ran = sandbox.run("backup", "--json", "--label", "")
    assert (ran.code, ran.data["backup"]["label"]) == (0, None)
