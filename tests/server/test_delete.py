"""Delete, on a real server."""

from __future__ import annotations

import pytest
from psycopg import sql

from snapkit.errors import NotFoundError, UsageError
from snapkit.services.prune import Removal, choose_by_name, remove
from tests.sandbox import LOCK_WAIT, Sandbox, entry_names


def _delete(sandbox: Sandbox, *names: str) -> Removal:
    return remove(sandbox.server(), choose_by_name(names, sandbox.name), LOCK_WAIT)


@pytest.mark.command("delete")
def test_delete_drops_what_is_named(sandbox: Sandbox) -> None:
    names = [sandbox.back_up(label=f"v{number}").backup.name for number in range(3)]
    assert entry_names(_delete(sandbox, "v0", names[2], names[2]).removed) == [names[0], names[2]]
    assert sandbox.databases() == [sandbox.name, names[1]]


@pytest.mark.promise("one name that is refused keeps all from being dropped")
def test_nothing_is_dropped_when_one_of_several_names_is_refused(sandbox: Sandbox) -> None:
    free = sandbox.back_up().backup.name
    pinned = sandbox.back_up(pinned=True).backup.name
    unmanaged = f"{sandbox.name}_backup_20260110_103045"
    sandbox.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(unmanaged)))
    for refused, error in ((pinned, UsageError), (unmanaged, UsageError), ("nothing", NotFoundError)):
        with pytest.raises(error):
            _delete(sandbox, free, refused)
    assert set(sandbox.databases()) == {sandbox.name, free, pinned, unmanaged}


@pytest.mark.promise("the live database cannot be dropped")
def test_the_live_database_and_other_sources_cannot_be_named(sandbox: Sandbox) -> None:
    for name in (sandbox.name, "postgres"):
        with pytest.raises(NotFoundError):
            _delete(sandbox, name)
    assert sandbox.items()


@pytest.mark.parametrize(
    "words", [["rollback"], ["delete"], ["show"], ["pin"], ["shell"], ["label"], ["rollback", "--dry-run"]]
)
def test_an_entry_of_another_source_is_told_for_what_it_is(sandbox: Sandbox, words: list[str]) -> None:
    name = sandbox.back_up().backup.name
    after = {"label": ["x"], "shell": ["--", "true"]}.get(words[0], [])
    other = f"{sandbox.prefix}_other"
    sandbox.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(other)))
    ran = sandbox.run(*words, name, *after, url=sandbox.cluster.url(other))
    assert ran.code == 10
    assert f"{name!r} is there, but it belongs to {sandbox.name!r}, not to {other!r}." in ran.err
    assert f"with the URL of {sandbox.name!r}: --url URL" in ran.err
    assert name in sandbox.databases()


@pytest.mark.parametrize("words", [["rollback"], ["delete"], ["show"], ["pin"]])
def test_names_that_can_mean_nothing(sandbox: Sandbox, words: list[str]) -> None:
    name = sandbox.back_up().backup.name
    live = sandbox.run(*words, sandbox.name)
    assert (live.code, f"{sandbox.name!r} is the name of the live database" in live.err) == (10, True)
    empty = sandbox.run(*words, "")
    assert (empty.code, "The name of the backup is empty." in empty.err) == (2, True)
    if words != ["delete"]:  # which drops both
        both = sandbox.run(*words, name, "--latest")
        assert (both.code, "Give a name or --latest, not both." in both.err) == (2, True)
    assert sandbox.databases() == [sandbox.name, name]
