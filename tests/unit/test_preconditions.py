"""What a run refuses before it touches anything, and that ``doctor`` says the same."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from snapkit.core.checks.doctor import judge
from snapkit.core.checks.facts import Facts, Status, problem
from snapkit.core.checks.in_the_way import (
    locked_by_others,
    prepared_transactions_open,
    session_lines,
    sessions_busy,
    sessions_protected,
)
from snapkit.core.checks.preconditions import (
    RoleRights,
    lacks_ownership,
    lacks_rights,
    missing_grants,
    no_live_database,
    runs_through_pooler,
    takes_no_writes,
)
from snapkit.core.copying.collation import collation_caution
from snapkit.core.inventory.database import INVALID_CONNECTION_LIMIT, unusable
from snapkit.core.inventory.recognition import Inventory, distrusted, recognition_cautions
from snapkit.errors import (
    NOTHING_CHANGED,
    BusyError,
    NotFoundError,
    PrivilegeError,
    SnapkitError,
    UsageError,
)
from tests.unit.builders import make_database, make_entry
from tests.unit.test_checks import HEALTHY, SESSION

MINE = make_database("app", is_mine=True)
PROTECTED = replace(SESSION, may_terminate=False)
INVALID = make_database("app", connection_limit=INVALID_CONNECTION_LIMIT)


@pytest.mark.parametrize(
    ("facts", "refused", "kind"),
    [
        (replace(HEALTHY, is_standby=True), takes_no_writes(is_standby=True, is_read_only=False), SnapkitError),
        (replace(HEALTHY, is_read_only=True), takes_no_writes(is_standby=False, is_read_only=True), SnapkitError),
        (replace(HEALTHY, behind_pooler=True), runs_through_pooler(behind_pooler=True), UsageError),
        (replace(HEALTHY, live=None), no_live_database("app", has_backups=False), NotFoundError),
        (
            replace(HEALTHY, live=None, entries=(make_entry(),)),
            no_live_database("app", has_backups=True),
            NotFoundError,
        ),
        (replace(HEALTHY, live=INVALID), unusable(INVALID), SnapkitError),
        (replace(HEALTHY, grants={"CREATEDB": "x;"}), lacks_rights("app", {"CREATEDB": "x;"}), PrivilegeError),
        (
            replace(HEALTHY, sessions=(SESSION, PROTECTED)),
            sessions_protected((SESSION, PROTECTED), NOTHING_CHANGED, "x"),
            PrivilegeError,
        ),
        (replace(HEALTHY, prepared=("tx1",)), prepared_transactions_open({"app": ["tx1"]}), BusyError),
    ],
)
def test_doctor_says_what_a_run_refuses(facts: Facts, refused: SnapkitError | None, kind: type[SnapkitError]) -> None:
    assert type(refused) is kind
    assert refused.state == NOTHING_CHANGED
    problems = [check for check in judge(facts) if check.status is Status.PROBLEM]
    (check,) = problems
    assert check == problem(check.name, refused)
    assert "\n" not in check.message
    assert check.hint


def test_nothing_is_refused_where_all_is_well() -> None:
    assert takes_no_writes(is_standby=False, is_read_only=False) is None
    assert runs_through_pooler(behind_pooler=False) is None
    assert unusable(MINE) is None
    assert lacks_rights("app", {}) is None
    assert sessions_protected((SESSION,), NOTHING_CHANGED, "x") is None
    assert prepared_transactions_open({"app": [], "other": []}) is None


@pytest.mark.parametrize(
    ("has_backups", "has_distrusted", "words"),
    [
        (False, False, ["Check the database's name"]),
        (True, False, ["Check the database's name", "snapkit rollback --latest"]),
        (False, True, ["Check the database's name", "its whole name"]),
        (True, True, ["snapkit rollback --latest.", "its whole name"]),
    ],
)
def test_where_there_is_no_database_its_backups_are_pointed_out(
    has_backups: bool, has_distrusted: bool, words: list[str]
) -> None:
    hint = no_live_database("app", has_backups=has_backups, has_distrusted=has_distrusted).hint
    assert hint is not None
    assert all(word in hint for word in words)
    assert ("--latest" in hint, "whole name" in hint) == (has_backups, has_distrusted)


ALL = RoleRights("me", inherits=True, may_create=True, may_act_as_owner=True)


def _quote(name: str) -> str:
    return f"<{name}>"


@pytest.mark.parametrize(
    ("rights", "changes", "version", "expected"),
    [
        (ALL, {}, 160000, {}),
        (replace(ALL, may_create=False), {}, 160000, {"CREATEDB": "ALTER ROLE <me> CREATEDB;"}),
        (
            replace(ALL, may_act_as_owner=False),
            {"owner": "boss"},
            160000,
            {"ownership": "GRANT <boss> TO <me> WITH INHERIT TRUE, SET TRUE; (or connect as boss)"},
        ),
        (ALL, {"is_mine": False, "owner": "boss"}, 150000, {"ownership": "GRANT <boss> TO <me>; (or connect as boss)"}),
        (
            replace(ALL, inherits=False),
            {"is_mine": False, "owner": "boss"},
            150000,
            {"ownership": "GRANT <boss> TO <me>; ALTER ROLE <me> INHERIT; (or connect as boss)"},
        ),
        (
            ALL,
            {"is_mine": False, "owner": "root", "owner_is_superuser": True},
            160000,
            {
                "ownership": "ALTER DATABASE <app> OWNER TO <me>; (and the same for the database and each of its "
                "backups, which all need one owner; or connect as root)"
            },
        ),
    ],
)
def test_which_rights_are_missing(
    rights: RoleRights, changes: dict[str, Any], version: int, expected: dict[str, str]
) -> None:
    assert missing_grants(rights, replace(MINE, **changes), version, quote=_quote) == expected


def test_whoever_changes_only_the_document_need_not_create_databases() -> None:
    rights = RoleRights("me", inherits=True, may_create=False, may_act_as_owner=False)
    assert lacks_ownership(rights, MINE, 160000, quote=_quote) is None


@pytest.mark.parametrize(
    ("is_superuser", "hint"),
    [
        (False, "Connect as boss. Or ask an administrator to run: GRANT <boss> TO <me>;"),
        (
            True,
            (
                "Connect as boss. Or ask an administrator to make your role the owner of the database and of each of "
                "its backups: ALTER DATABASE ... OWNER TO <me>;"
            ),
        ),
    ],
)
def test_who_does_not_own_several_is_told_the_same_of_each(is_superuser: bool, hint: str) -> None:
    theirs = replace(MINE, is_mine=False, owner="boss", owner_is_superuser=is_superuser)
    errors = [lacks_ownership(ALL, replace(theirs, name=name), 150000, quote=_quote) for name in ("one", "two")]
    assert [(error.message, error.hint) for error in errors if error] == [
        ("This takes the rights of the owner 'boss', which your role 'me' does not have.", hint)
    ] * 2


def test_sessions_are_listed_and_the_rest_is_counted() -> None:
    many = [replace(SESSION, pid=pid) for pid in range(13)]
    assert len(session_lines(many)) == 11
    assert session_lines(many)[-1] == "  and 3 more"
    assert sessions_busy(many, "x").message.startswith("13 sessions are connected:\n  pid 0, ")
    assert sessions_busy(many[:1], "x").message.startswith("1 session is connected:\n  pid 0, ")
    protected = sessions_protected([*many, PROTECTED], "x", '"me"')
    assert protected is not None
    assert (protected.state, protected.is_passing) == ("x", True)
    assert protected.message == (f"1 session is connected that your role may not disconnect:\n  {PROTECTED.describe()}")
    assert 'GRANT pg_signal_backend TO "me";' in str(protected.hint)


def test_who_holds_a_lock() -> None:
    assert locked_by_others([SESSION], "x").message.endswith(f"1 session is holding it:\n  {SESSION.describe()}")
    assert locked_by_others([], "x").message.endswith("it has just been released.")


def test_all_lines_of_an_error_go_into_one_check() -> None:
    check = problem("sessions", BusyError("Two are:\n  one\n  two", hint="Wait."))
    assert (check.message, check.hint) == ("Two are: one; two", "Wait.")


def test_indexes_are_rebuilt_where_the_database_is_live() -> None:
    live = collation_caution("app", "2.36", quoted='"app"', is_live=True)
    assert live.code == "collation_version"
    assert "'app' was created with version 2.36" in live.message
    assert live.message.endswith('REINDEX DATABASE "app"; ALTER DATABASE "app" REFRESH COLLATION VERSION;')
    assert "after a rollback" in collation_caution("app", "2.36", quoted="app", is_live=False).message


def test_what_looks_like_ours_is_left_alone() -> None:
    entry = make_entry("app_backup_20260110_103045")
    inventory = Inventory({}, (), (make_database("new"),), (entry,))
    newer, untrusted = recognition_cautions(inventory)
    assert recognition_cautions(Inventory({}, (), (), (entry,))) == (untrusted,)
    assert (newer.code, untrusted) == ("newer_version", distrusted(entry))
    assert "ignores them: new." in newer.message
    assert entry.name in untrusted.message
