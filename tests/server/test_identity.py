"""Databases are known by OID: whoever renames or alters them meanwhile makes a run fail with nothing changed."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from psycopg import sql

from snapkit.core.inventory.kinds import Kind, State
from snapkit.core.plans.identity import AlteredMeanwhileError
from snapkit.core.reporting import unobserved
from snapkit.errors import BusyError
from snapkit.postgres.connection.server import Server
from snapkit.services.adopt import adopt_entry
from snapkit.services.label import label_entry, pin_entry, unpin_entry
from snapkit.services.rollback import SwapReceipt, SwapRequest, script_of_swap, swap
from snapkit.services.shell import ShellRequest, opened_entry
from tests.cluster import PASSWORD
from tests.gate import Action, Gate, Phase, Point
from tests.sandbox import LOCK_WAIT, Sandbox

pytestmark = pytest.mark.any_version


@contextmanager
def _stopped_at(box: Sandbox, owner: str, is_it: Callable[[Point], bool], then: Callable[[], object]) -> Iterator[str]:
    """Yield a URL by which ``then`` happens once, just before the server gets a statement."""
    raised: list[Exception] = []

    def act(link: object, point: Point) -> Action:
        try:
            then()
        except Exception as error:  # it would be lost in a thread of the gate's
            raised.append(error)
        return Action.GO

    gate = Gate(box.cluster.port, lambda point: Phase.BEFORE if is_it(point) else None, act)
    try:
        yield f"postgresql://{owner}:{quote(PASSWORD, safe='')}@127.0.0.1:{gate.port}/{box.name}"
        assert not raised, raised
        assert gate.reached.is_set()
    finally:
        gate.close()


def _owner(box: Sandbox) -> str:
    """Give the source to an ordinary owner; return its name."""
    role = box.role("owner", f"LOGIN CREATEDB PASSWORD '{PASSWORD}'")
    box.execute(sql.SQL("ALTER DATABASE {} OWNER TO {}").format(sql.Identifier(box.name), sql.Identifier(role)))
    return role


def _exchange(box: Sandbox, one: str, other: str) -> None:
    """Give two databases each other's names."""
    rename = sql.SQL("ALTER DATABASE {} RENAME TO {}")
    between = sql.Identifier(f"{box.prefix}_between")
    box.execute(rename.format(sql.Identifier(one), between))
    box.execute(rename.format(sql.Identifier(other), sql.Identifier(one)))
    box.execute(rename.format(between, sql.Identifier(other)))


def _rows(box: Sandbox) -> dict[Any, dict[str, Any]]:
    """Return all that pg_database says of each database, by OID; not when that was written."""
    return {box.row(name)["oid"]: {"name": name, **box.row(name)} for name in box.databases()}


def _comments_on(name: str) -> Callable[[Point], bool]:
    return lambda point: point.label.startswith(f'COMMENT ON DATABASE "{name}"')


CHANGES: dict[str, Callable[..., Any]] = {
    "pin": lambda server, name: pin_entry(server, name, None, LOCK_WAIT),
    "unpin": lambda server, name: unpin_entry(server, name, LOCK_WAIT),
    "label": lambda server, name: label_entry(server, name, "x", LOCK_WAIT),
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_is_said_of_an_entry_is_not_written_onto_another_that_has_taken_its_name(
    sandbox: Sandbox, change: str
) -> None:
    owner = _owner(sandbox)
    name, other = sandbox.back_up(label="one").backup.name, sandbox.back_up(label="other", pinned=True).backup.name
    with (
        _stopped_at(sandbox, owner, _comments_on(name), lambda: _exchange(sandbox, name, other)) as url,
        pytest.raises(BusyError, match="is no longer the same database") as caught,
    ):
        CHANGES[change](sandbox.server(url), name)
    assert caught.value.state == "The transaction was rolled back: nothing was changed."
    assert {entry.name: entry.label for entry in sandbox.entries()} == {other: "one", name: "other"}
    assert {entry.name: entry.pinned for entry in sandbox.entries()} == {other: False, name: True}


@pytest.mark.parametrize("change", CHANGES)
def test_what_is_said_of_an_entry_does_not_write_over_what_was_said_meanwhile(sandbox: Sandbox, change: str) -> None:
    owner = _owner(sandbox)
    name = sandbox.back_up(label="one").backup.name
    write = sql.SQL("COMMENT ON DATABASE {} IS {}")
    newer = sandbox.row(name)["comment"].replace('"one"', '"newer"')
    with (
        _stopped_at(
            sandbox,
            owner,
            _comments_on(name),
            lambda: sandbox.execute(write.format(sql.Identifier(name), sql.Literal(newer))),
        ) as url,
        pytest.raises(AlteredMeanwhileError, match="comment"),
    ):
        CHANGES[change](sandbox.server(url), name)
    assert sandbox.row(name)["comment"] == newer


# --- swaps ----------------------------------------------------------------------------------------------------------


def _alter(box: Sandbox, statement: str, name: str) -> None:
    box.execute(sql.SQL(statement).format(sql.Identifier(name)))


def _statement(beginning: str, name: str) -> Callable[[Point], bool]:
    return lambda point: point.label.startswith(f'{beginning} DATABASE "{name}')


def _green(box: Sandbox, owner: str) -> str:
    """Make another database of the same owner, with a comment of its own."""
    green = f"{box.prefix}_green"
    box.execute(sql.SQL("CREATE DATABASE {} OWNER {}").format(sql.Identifier(green), sql.Identifier(owner)))
    _alter(box, "COMMENT ON DATABASE {} IS 'green'", green)
    return green


def _swap(server: Server, **request: Any) -> SwapReceipt:
    return swap(server, SwapRequest(**request), LOCK_WAIT, unobserved)


@pytest.mark.parametrize(
    "keep_backup",
    [pytest.param(False, marks=pytest.mark.promise("another database under the live name is not put aside")), True],
)
@pytest.mark.parametrize("moment", ["clone or first rename", "comment"])
def test_a_database_that_takes_the_live_ones_name_meanwhile_is_not_put_aside(
    sandbox: Sandbox, keep_backup: bool, moment: str
) -> None:
    owner = _owner(sandbox)
    green = _green(sandbox, owner)
    backup = sandbox.back_up().backup.name
    first = _statement("CREATE", sandbox.name) if keep_backup else _statement("ALTER", backup)
    rows = _rows(sandbox)
    with (
        _stopped_at(
            sandbox,
            owner,
            first if moment == "clone or first rename" else _comments_on(sandbox.name),
            lambda: _exchange(sandbox, sandbox.name, green),
        ) as url,
        pytest.raises(BusyError, match=f"'{sandbox.name}' is no longer the same database") as caught,
    ):
        _swap(sandbox.server(url), keep_backup=keep_backup)
    assert caught.value.state == "The transaction was rolled back: nothing was changed."
    _exchange(sandbox, sandbox.name, green)
    assert _rows(sandbox) == rows


def test_the_backup_whose_name_another_has_taken_is_not_swapped_in(sandbox: Sandbox) -> None:
    owner = _owner(sandbox)
    other, backup = sandbox.back_up(label="other").backup.name, sandbox.back_up(label="one").backup.name
    rows = _rows(sandbox)
    with (
        _stopped_at(sandbox, owner, _statement("ALTER", backup), lambda: _exchange(sandbox, backup, other)) as url,
        pytest.raises(BusyError, match="is no longer the same database"),
    ):
        _swap(sandbox.server(url))
    _exchange(sandbox, backup, other)
    assert _rows(sandbox) == rows


@pytest.mark.parametrize("names_it_back", [False, True])
def test_a_clone_of_what_has_taken_the_backups_name_is_thrown_away(sandbox: Sandbox, names_it_back: bool) -> None:
    """Even where the names are by then what they were."""
    owner = _owner(sandbox)
    other, backup = sandbox.back_up(label="other").backup.name, sandbox.back_up(label="one").backup.name
    rows = _rows(sandbox)

    def exchange() -> None:
        _exchange(sandbox, backup, other)
        if names_it_back:
            _exchange(sandbox, backup, other)

    with (
        _stopped_at(sandbox, owner, _statement("CREATE", sandbox.name), exchange) as url,
        pytest.raises(
            BusyError, match=r"Somebody has changed|is no longer the same database"
        ),  # whichever is seen first
    ):
        _swap(sandbox.server(url), keep_backup=True)
    if not names_it_back:
        _exchange(sandbox, backup, other)
    assert _rows(sandbox) == rows


@pytest.mark.parametrize("keep_backup", [False, True])
def test_what_is_said_of_the_live_database_meanwhile_comes_back_with_an_undo(
    sandbox: Sandbox, keep_backup: bool
) -> None:
    owner = _owner(sandbox)
    _alter(sandbox, "COMMENT ON DATABASE {} IS 'then'", sandbox.name)
    backup = sandbox.back_up().backup.name

    def alter() -> None:
        _alter(sandbox, "COMMENT ON DATABASE {} IS 'now'", sandbox.name)
        _alter(sandbox, "ALTER DATABASE {} IS_TEMPLATE true", sandbox.name)
        _alter(sandbox, "ALTER DATABASE {} CONNECTION LIMIT 50", sandbox.name)
        _alter(sandbox, "GRANT CREATE ON DATABASE {} TO PUBLIC", sandbox.name)

    is_first = _statement("CREATE", sandbox.name) if keep_backup else _statement("ALTER", backup)
    with _stopped_at(sandbox, owner, is_first, alter) as url:
        receipt = _swap(sandbox.server(url), keep_backup=keep_backup)
    assert receipt.displaced is not None
    displaced, live = sandbox.row(receipt.displaced.name), sandbox.row(sandbox.name)
    assert (displaced["datallowconn"], displaced["datistemplate"]) == (False, False)
    assert (live["comment"], live["datistemplate"], live["datconnlimit"]) == ("then", False, -1)
    assert _written_together(sandbox, receipt.displaced.name)
    sandbox.undo()
    live = sandbox.row(sandbox.name)
    assert (live["comment"], live["datistemplate"], live["datconnlimit"]) == ("now", True, 50)
    assert live["acl"] == displaced["acl"]


@pytest.mark.parametrize("target", ["live", "backup"])
def test_a_new_owner_stops_a_swap(sandbox: Sandbox, target: str) -> None:
    owner, other = _owner(sandbox), sandbox.role("other")
    backup = sandbox.back_up().backup.name
    name = sandbox.name if target == "live" else backup
    change = sql.SQL("ALTER DATABASE {} OWNER TO {}").format(sql.Identifier(name), sql.Identifier(other))
    with (
        _stopped_at(sandbox, "postgres", _statement("ALTER", backup), lambda: sandbox.execute(change)) as url,
        pytest.raises(AlteredMeanwhileError, match="owner"),
    ):
        _swap(sandbox.server(url))
    assert sandbox.row(name)["owner"] == other != owner
    assert set(sandbox.databases()) == {sandbox.name, backup}
    assert sandbox.row(sandbox.name)["datallowconn"]


def test_what_was_said_of_a_backup_meanwhile_stops_a_swap(sandbox: Sandbox) -> None:
    owner = _owner(sandbox)
    backup = sandbox.back_up().backup.name
    with (
        _stopped_at(
            sandbox,
            owner,
            _statement("ALTER", backup),
            lambda: _alter(sandbox, "COMMENT ON DATABASE {} IS 'mine'", backup),
        ) as url,
        pytest.raises(AlteredMeanwhileError, match="comment"),
    ):
        _swap(sandbox.server(url))


@pytest.mark.parametrize("keep_backup", [False, True])
def test_a_backup_that_was_marked_as_a_template_can_be_rolled_back_to(sandbox: Sandbox, keep_backup: bool) -> None:
    backup = sandbox.back_up().backup.name
    _alter(sandbox, "ALTER DATABASE {} IS_TEMPLATE true", backup)
    sandbox.roll_back(keep_backup=keep_backup)
    assert not sandbox.row(sandbox.name)["datistemplate"]
    sandbox.undo()
    assert not sandbox.row(sandbox.name)["datistemplate"]


def test_a_guarded_command_is_not_run_on_another_database_than_the_one_that_was_backed_up(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    owner = _owner(sandbox)
    green = _green(sandbox, owner)
    ran = tmp_path / "ran"
    with _stopped_at(
        sandbox,
        owner,
        lambda point: "pg_database_size" in point.label and point.occurrence > 1,
        lambda: _exchange(sandbox, sandbox.name, green),
    ) as url:
        done = sandbox.run("guard", "--json", "--", "touch", str(ran), url=url)
    assert (done.code, done.document["error"]["code"]) == (11, "busy"), done
    assert "The command was not run" in done.document["error"]["message"]
    assert not ran.exists()


# --- the script -----------------------------------------------------------------------------------------------------


def _psql(box: Sandbox, script: str, url: str | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [box.cluster.binaries / "psql", "-Xq", "-d", url or box.cluster.url("postgres")],
        input=script,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


MEANWHILE = {
    "live comment": ("live", "COMMENT ON DATABASE {} IS 'newer'"),
    "live template": ("live", "ALTER DATABASE {} IS_TEMPLATE true"),
    "live owner": ("live", "ALTER DATABASE {} OWNER TO postgres"),
    "backup comment": ("backup", "COMMENT ON DATABASE {} IS 'newer'"),
    "backup template": ("backup", "ALTER DATABASE {} IS_TEMPLATE true"),
    "backup opened": ("backup", "ALTER DATABASE {} ALLOW_CONNECTIONS true"),
}


@pytest.mark.parametrize("what", MEANWHILE)
@pytest.mark.parametrize("keep_backup", [False, True])
def test_a_script_does_nothing_if_what_it_writes_over_has_changed(
    sandbox: Sandbox, what: str, keep_backup: bool
) -> None:
    _owner(sandbox)
    backup = sandbox.back_up().backup.name
    script = script_of_swap(sandbox.server(), SwapRequest(keep_backup=keep_backup))
    which, statement = MEANWHILE[what]
    _alter(sandbox, statement, sandbox.name if which == "live" else backup)
    rows = _rows(sandbox)
    done = _psql(sandbox, script)
    assert (done.returncode, "the databases have changed" in done.stderr) == (3, True), done.stderr
    assert _rows(sandbox) == rows


@pytest.mark.parametrize(
    ("moment", "what"), [("ALTER", "backup comment"), ("DO $snapkit$ BEGIN IF EXISTS", "live comment")]
)
def test_a_script_does_nothing_if_that_changes_while_it_runs(sandbox: Sandbox, moment: str, what: str) -> None:
    """It has looked by then, and looks again when nobody can change it any more."""
    owner = _owner(sandbox)
    sandbox.execute(sql.SQL("GRANT pg_signal_backend TO {}").format(sql.Identifier(owner)))
    backup = sandbox.back_up().backup.name
    script = script_of_swap(sandbox.server(), SwapRequest())
    which, statement = MEANWHILE[what]
    name = sandbox.name if which == "live" else backup
    with _stopped_at(
        sandbox, owner, lambda point: point.label.startswith(moment), lambda: _alter(sandbox, statement, name)
    ) as url:
        done = _psql(sandbox, script, url.replace(f"/{sandbox.name}", "/postgres"))
    assert (done.returncode, "the databases have changed" in done.stderr) == (3, True), done.stderr
    assert set(sandbox.databases()) == {sandbox.name, backup}
    assert (sandbox.row(name)["comment"], sandbox.row(sandbox.name)["datallowconn"]) == ("newer", True)


def test_a_script_of_an_owner_puts_aside_what_an_undo_brings_back(sandbox: Sandbox) -> None:
    owner = _owner(sandbox)
    backup = sandbox.back_up().backup.name
    _alter(sandbox, "COMMENT ON DATABASE {} IS 'it''s 100%\n\\ours $snapkit$'", sandbox.name)
    script = script_of_swap(sandbox.server(), SwapRequest())
    done = _psql(sandbox, script, sandbox.cluster.url("postgres", user=owner))
    assert done.returncode == 0, done.stderr
    (old,) = sandbox.entries()
    assert (old.kind, old.state, old.metadata and old.metadata.gave_way_to) == (Kind.OLD, State.READY, backup)
    assert _written_together(sandbox, old.name)
    sandbox.undo()
    assert sandbox.row(sandbox.name)["comment"] == "it's 100%\n\\ours $snapkit$"


# --- entries that are open ------------------------------------------------------------------------------------------


def _shell(box: Sandbox, name: str, url: str | None = None, then: Callable[[], object] = lambda: None) -> None:
    with opened_entry(box.server(url), ShellRequest(name, ("true",)), LOCK_WAIT):
        then()


def test_another_database_under_an_entrys_name_is_not_opened(sandbox: Sandbox) -> None:
    owner = _owner(sandbox)
    name, other = sandbox.back_up().backup.name, sandbox.back_up().backup.name
    rows = _rows(sandbox)
    with (
        _stopped_at(sandbox, owner, _comments_on(name), lambda: _exchange(sandbox, name, other)) as url,
        pytest.raises(BusyError, match="is no longer the same database"),
    ):
        _shell(sandbox, name, url)
    _exchange(sandbox, name, other)
    assert _rows(sandbox) == rows


def test_an_entry_is_not_opened_over_what_was_said_of_it_meanwhile(sandbox: Sandbox) -> None:
    owner = _owner(sandbox)
    name = sandbox.back_up().backup.name

    def say() -> None:
        _alter(sandbox, "COMMENT ON DATABASE {} IS 'mine'", name)

    with (
        _stopped_at(sandbox, owner, _comments_on(name), say) as url,
        pytest.raises(AlteredMeanwhileError, match="comment"),
    ):
        _shell(sandbox, name, url)
    assert (sandbox.row(name)["comment"], sandbox.row(name)["datallowconn"]) == ("mine", False)


def test_an_entry_that_was_marked_as_a_template_is_none_while_it_is_open_and_afterwards(sandbox: Sandbox) -> None:
    name = sandbox.back_up().backup.name
    _alter(sandbox, "ALTER DATABASE {} IS_TEMPLATE true", name)
    flags: list[bool] = []
    _shell(sandbox, name, then=lambda: flags.append(sandbox.row(name)["datistemplate"]))
    assert (*flags, sandbox.row(name)["datistemplate"]) == (False, False)


@pytest.mark.parametrize("as_owner", [False, True])
def test_a_shell_does_not_say_that_an_entry_is_sealed_whose_comment_was_changed_meanwhile(
    sandbox: Sandbox, as_owner: bool
) -> None:
    owner = _owner(sandbox)
    url = sandbox.cluster.url(sandbox.name, user=owner) if as_owner else sandbox.url
    name = sandbox.back_up().backup.name
    before = sandbox.row(name)
    comment = f"COMMENT ON DATABASE {name} IS 'mine'"
    change = (
        "import os, psycopg; os.environ.pop('PGOPTIONS');"
        f"psycopg.connect({sandbox.cluster.url('postgres')!r}, autocommit=True).execute({comment!r})"
    )
    ran = sandbox.run("shell", "--json", name, "--", sys.executable, "-c", change, url=url)
    error = ran.document["error"]
    assert (ran.code, error["code"], sandbox.row(name)["comment"]) == (11, "busy", "mine")
    assert f"'{name}' was not sealed again" in error["message"]
    assert "still accepts connections of its owner" in error["message"]
    assert sandbox.row(name)["datallowconn"]
    remedy = error["hint"].partition("after: ")[2]
    sandbox.execute(remedy)
    assert sandbox.run("recover", url=url).code == 0
    assert {**sandbox.row(name), "acl": None} == {**before, "acl": None}
    assert sandbox.run("rollback", name, url=url).code == 0


def test_an_entry_that_was_renamed_while_it_was_open_is_sealed_under_its_new_name(sandbox: Sandbox) -> None:
    name = sandbox.back_up().backup.name
    rename = sql.SQL("ALTER DATABASE {} RENAME TO {}").format(sql.Identifier(name), sql.Identifier(name + "x"))
    _shell(sandbox, name, then=lambda: sandbox.execute(rename))
    assert not sandbox.row(name + "x")["datallowconn"]
    assert sandbox.entries()[0].opened is None


def test_an_entry_that_was_made_live_or_dropped_while_it_was_open_is_left_alone_and_told(sandbox: Sandbox) -> None:
    name = sandbox.back_up().backup.name
    live = sandbox.row(sandbox.name)["oid"]
    with pytest.raises(BusyError, match="the live database"):
        _shell(sandbox, name, then=lambda: _exchange(sandbox, sandbox.name, name))
    assert sandbox.row(sandbox.name)["datallowconn"]
    assert sandbox.row(name)["oid"] == live
    name = sandbox.back_up().backup.name
    with pytest.raises(BusyError, match="Somebody dropped"):
        _shell(sandbox, name, then=lambda: _alter(sandbox, "DROP DATABASE {}", name))


def test_an_entry_is_not_sealed_over_what_was_said_of_it_meanwhile(sandbox: Sandbox) -> None:
    owner = _owner(sandbox)
    name = sandbox.back_up().backup.name

    def say() -> None:
        _alter(sandbox, "COMMENT ON DATABASE {} IS 'mine'", name)

    def seals(point: Point) -> bool:
        return _comments_on(name)(point) and point.connection == 1

    with (
        _stopped_at(sandbox, owner, seals, say) as url,
        pytest.raises(BusyError, match=r"could not be sealed again.*comment") as caught,
    ):
        _shell(sandbox, name, url)
    assert (sandbox.row(name)["comment"], sandbox.row(name)["datallowconn"]) == ("mine", False)
    assert caught.value.state == f"'{name}' does not accept connections, but is not yet as it was."


def test_adopting_does_not_write_over_what_was_said_meanwhile(sandbox: Sandbox) -> None:
    owner = _owner(sandbox)
    name = f"{sandbox.name}_backup_20260110_103045"
    sandbox.execute(sql.SQL("CREATE DATABASE {} OWNER {}").format(sql.Identifier(name), sql.Identifier(owner)))

    def say() -> None:
        _alter(sandbox, "COMMENT ON DATABASE {} IS 'mine'", name)

    with (
        _stopped_at(sandbox, owner, _comments_on(name), say) as url,
        pytest.raises(AlteredMeanwhileError, match="comment"),
    ):
        adopt_entry(sandbox.server(url), name, LOCK_WAIT)
    assert (sandbox.row(name)["comment"], sandbox.row(name)["datallowconn"]) == ("mine", True)


def test_both_rows_of_an_entry_are_written_by_one_transaction(sandbox: Sandbox) -> None:
    """So that one that somebody else has written to since it was sealed can be told."""
    owner = _owner(sandbox)
    server = sandbox.server(sandbox.cluster.url(sandbox.name, user=owner))
    name = sandbox.back_up().backup.name
    for change in CHANGES.values():
        change(server, name)
        assert _written_together(sandbox, name)


def _written_together(box: Sandbox, name: str) -> bool:
    ((same,),) = box.execute(
        "SELECT d.xmin = s.xmin FROM pg_database AS d JOIN pg_shdescription AS s"
        " ON s.objoid = d.oid AND s.classoid = 'pg_database'::regclass WHERE d.datname = %s",
        name,
    )
    return bool(same)
