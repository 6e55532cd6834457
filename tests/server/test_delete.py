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
