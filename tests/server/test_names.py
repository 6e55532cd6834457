"""Any name that PostgreSQL accepts, through the whole lifecycle."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg import sql

from snapkit.core.inventory.kinds import Kind
from snapkit.core.inventory.retention import Policy
from snapkit.postgres.connection.conninfo import Target, target_of
from snapkit.postgres.connection.server import Server
from snapkit.services.backup import BackupRequest, back_up
from snapkit.services.label import label_entry
from snapkit.services.list import list_entries
from snapkit.services.prune import choose_by_policy, remove
from snapkit.services.rollback import SwapRequest, script_of_swap, swap
from tests.sandbox import LOCK_WAIT, Sandbox

NASTY = [
    'quo"te',
    "apo'strophe",
    "per%cent %s %(x)s %%",
    "dollar $1 $$ $snapkit$ $tag$",
    "back\\slash \\n",
    "new\nline\r\ttab",
    "; DROP DATABASE postgres; --",
    "naïve 日本語 🐘",
    " leading and trailing ",
    "x_backup_20260110_103045",
    "x_old_20260110_103045_2",
    ":x :'y' :\"z\"",
    "{braces} [and] <more>",
    "é" * 40,
    "日" * 30,
    "x" * 63,
]


def _named(sandbox: Sandbox, name: str) -> str:
    """Return ``name`` behind the sandbox's prefix, cut to what PostgreSQL holds."""
    return f"{sandbox.prefix}_{name}".encode()[:63].decode(errors="ignore")


def _server(sandbox: Sandbox, source: str) -> Server:
    return Server(target_of(sandbox.cluster.url(source)))


def _live(sandbox: Sandbox, source: str) -> None:
    """Take a source of that name through everything, and check what is there after each step."""
    server = _server(sandbox, source)

    def present() -> bool:
        return bool(sandbox.execute("SELECT 1 FROM pg_database WHERE datname = %s AND datallowconn", source))

    labels = []
    for label in ("one", "two", "three"):
        back_up(server, BackupRequest(label=label), LOCK_WAIT, lambda progress: None)
        labels.append(label)
        entries = list_entries(server, sizes=True, all_sources=False).entries
        assert [entry.label for entry in entries] == labels[::-1]
        assert all(entry.source == source and len(entry.name.encode()) <= 63 for entry in entries)
    label_entry(server, "one", source, LOCK_WAIT)
    newest = "two"
    for request in (SwapRequest(), SwapRequest(undo=True), SwapRequest(wanted="two", keep_backup=True)):
        receipt = swap(server, request, LOCK_WAIT, lambda progress: None)
        assert present()
        if (
            request.undo and receipt.displaced and receipt.displaced.kind is Kind.BACKUP
        ):  # nothing was written while it was live
            newest = "three"
    removal = remove(server, choose_by_policy(Policy(last=1, old=0), source), LOCK_WAIT)
    assert removal.failed == ()
    assert [entry.label for entry in list_entries(server, sizes=False, all_sources=False).entries] == [newest]
    assert present()


@pytest.mark.parametrize(
    "name", [pytest.param(NASTY[0], marks=pytest.mark.promise("a name with a quote in it is a name")), *NASTY[1:]]
)
def test_a_nasty_name_goes_through_the_whole_lifecycle(sandbox: Sandbox, name: str, tmp_path: Path) -> None:
    source = _named(sandbox, name)
    sandbox.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(source)))
    _live(sandbox, source)
    server = _server(sandbox, source)
    script = tmp_path / "rollback.sql"
    script.write_text(script_of_swap(server, SwapRequest(keep_backup=True)), newline="")
    psql: list[str | Path] = [
        sandbox.cluster.binaries / "psql",
        "-X",
        "-q",
        "-d",
        sandbox.cluster.url("postgres"),
        "-f",
        script,
    ]
    done = subprocess.run(psql, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert {entry.kind for entry in list_entries(server, sizes=False, all_sources=False).entries} == {"old", "backup"}


@pytest.mark.any_version
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=70))
def test_any_name_goes_through_the_whole_lifecycle(sandbox: Sandbox, name: str) -> None:
    source = _named(sandbox, "p" + name)
    sandbox.execute(sql.SQL("DROP DATABASE IF EXISTS {}").format(sql.Identifier(source)))
    sandbox.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(source)))
    _live(sandbox, source)
    for database in sandbox.databases():
        if database != sandbox.name:
            sandbox.execute(sql.SQL("DROP DATABASE {}").format(sql.Identifier(database)))


def test_two_long_names_with_the_same_beginning_keep_their_own(sandbox: Sandbox) -> None:
    sources = [_named(sandbox, "long" * 13 + ending) for ending in ("aaaa", "bbbb")]
    for source in sources:
        sandbox.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(source)))
        back_up(_server(sandbox, source), BackupRequest(label=source), LOCK_WAIT, lambda progress: None)
    for source in sources:
        (entry,) = list_entries(_server(sandbox, source), sizes=False, all_sources=False).entries
        assert (entry.source, entry.label) == (source, source)


def test_names_that_look_like_backups_of_each_other(sandbox: Sandbox) -> None:
    first = sandbox.name
    second = f"{first}_backup_20260110_103045"
    sandbox.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(second)))
    third = back_up(_server(sandbox, second), BackupRequest(), LOCK_WAIT, lambda progress: None).backup.name
    back_up(_server(sandbox, first), BackupRequest(), LOCK_WAIT, lambda progress: None)
    assert {entry.name for entry in list_entries(_server(sandbox, second), sizes=False, all_sources=False).entries} == {
        third
    }
    remove(_server(sandbox, first), choose_by_policy(Policy(last=1), first), LOCK_WAIT)
    assert {first, second, third} <= set(sandbox.databases())


def test_the_target_of_a_url_is_the_name_it_holds(sandbox: Sandbox) -> None:
    for name in NASTY:
        target: Target = target_of(sandbox.cluster.url(name[:20]))
        assert target.source == name[:20]
