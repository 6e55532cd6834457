"""The plan of a clone."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

import pytest

from snapkit.core.inventory.database import OPEN_PARTIAL_CONNECTION_LIMIT, PARTIAL_CONNECTION_LIMIT, Database
from snapkit.core.inventory.entry import Entry
from snapkit.core.inventory.kinds import Strategy
from snapkit.core.inventory.naming import FreeNames
from snapkit.core.plans.backup import BackupPlan, plan_backup
from snapkit.core.plans.clone import CopyMethod, Template, choose_method, plan_clone, sharing_failed_last
from snapkit.core.plans.properties import Privilege, Properties, statements_to_set
from snapkit.core.plans.statements import (
    AlterDatabase,
    ChangeOwner,
    CreateDatabase,
    GrantOnDatabase,
    Locale,
    RenameDatabase,
    RevokeAllOnDatabase,
    SetCopyMethod,
    Statement,
    Step,
)
from snapkit.errors import UsageError
from tests.unit.builders import (
    AT,
    FILE_COPY,
    LATER,
    PROPERTIES,
    make_database,
    make_entry,
    make_metadata,
    make_properties,
)


@pytest.mark.parametrize(
    ("asked", "version", "can_share", "expected"),
    [
        (None, 140023, False, CopyMethod(Strategy.FILE_COPY, None, None)),
        (None, 150019, False, CopyMethod(Strategy.FILE_COPY, Strategy.FILE_COPY, None)),
        (None, 160015, False, CopyMethod(Strategy.FILE_COPY, Strategy.FILE_COPY, None)),
        (None, 170011, False, CopyMethod(Strategy.FILE_COPY, Strategy.FILE_COPY, None)),
        (None, 180006, False, CopyMethod(Strategy.FILE_COPY, Strategy.FILE_COPY, False)),
        (None, 180006, True, CopyMethod(Strategy.CLONE, Strategy.FILE_COPY, True, falls_back=True)),
        (Strategy.CLONE, 180006, True, CopyMethod(Strategy.CLONE, Strategy.FILE_COPY, True)),
        (Strategy.FILE_COPY, 140023, False, CopyMethod(Strategy.FILE_COPY, None, None)),
        (Strategy.FILE_COPY, 170011, False, CopyMethod(Strategy.FILE_COPY, Strategy.FILE_COPY, None)),
        (Strategy.FILE_COPY, 180006, True, CopyMethod(Strategy.FILE_COPY, Strategy.FILE_COPY, False)),
        (Strategy.WAL_LOG, 150000, False, CopyMethod(Strategy.WAL_LOG, Strategy.WAL_LOG, None)),
        (Strategy.WAL_LOG, 170011, False, CopyMethod(Strategy.WAL_LOG, Strategy.WAL_LOG, None)),
        (Strategy.WAL_LOG, 180006, True, CopyMethod(Strategy.WAL_LOG, Strategy.WAL_LOG, None)),
        (Strategy.ONLINE, 140023, False, CopyMethod(Strategy.ONLINE, None, None)),
        (Strategy.ONLINE, 150019, False, CopyMethod(Strategy.ONLINE, Strategy.FILE_COPY, None)),
        (Strategy.ONLINE, 180006, True, CopyMethod(Strategy.ONLINE, Strategy.FILE_COPY, False)),
    ],
)
def test_the_method_follows_what_was_asked_and_what_the_server_can(
    asked: Strategy | None, version: int, can_share: bool, expected: CopyMethod
) -> None:
    assert choose_method(asked, version, can_share) == expected


@pytest.mark.parametrize(
    ("asked", "version", "message"),
    [
        (Strategy.CLONE, 140023, "cannot clone by sharing blocks"),
        (Strategy.CLONE, 170011, "cannot clone by sharing blocks"),
        (Strategy.CLONE, 180006, "cannot clone by sharing blocks"),
        (Strategy.WAL_LOG, 140023, "needs PostgreSQL 15 or later"),
    ],
)
def test_a_method_that_the_server_does_not_know_is_refused(asked: Strategy, version: int, message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        choose_method(asked, version, can_share_blocks=False)
    assert caught.value.state == "Nothing was changed."
    assert caught.value.hint is not None
    assert "Leave out --strategy" in caught.value.hint


@pytest.mark.parametrize(
    ("asked", "version", "can_share", "expected"),
    [
        (None, 180006, True, CopyMethod(Strategy.FILE_COPY, Strategy.FILE_COPY, False)),
        (None, 170011, False, CopyMethod(Strategy.FILE_COPY, Strategy.FILE_COPY, None)),
        (Strategy.CLONE, 180006, True, CopyMethod(Strategy.CLONE, Strategy.FILE_COPY, True)),
    ],
)
def test_a_clone_to_another_tablespace_shares_blocks_only_when_asked_to(
    asked: Strategy | None, version: int, can_share: bool, expected: CopyMethod
) -> None:
    assert choose_method(asked, version, can_share, moves=True) == expected


@pytest.mark.parametrize("version", [140023, 150019, 160015, 170011, 180006])
@pytest.mark.parametrize("can_share", [False, True])
def test_wal_log_is_never_chosen_unasked(version: int, can_share: bool) -> None:
    method = choose_method(None, version, can_share)
    assert Strategy.WAL_LOG not in (method.strategy, method.word)


@pytest.mark.parametrize(
    ("share_blocks", "settings"), [(None, []), (False, [SetCopyMethod(False)]), (True, [SetCopyMethod(True)])]
)
def test_a_clone_is_sealed_and_marked_and_its_copy_method_is_set_before(
    share_blocks: bool | None, settings: list[Statement]
) -> None:
    method = CopyMethod(Strategy.FILE_COPY, Strategy.FILE_COPY, share_blocks)
    plan = plan_clone(Template(make_database("app"), PROPERTIES), "app", method, FreeNames(AT, []), tablespace="fast")
    assert plan.steps("Clone") == (
        Step(
            "Clone",
            (
                *settings,
                CreateDatabase(
                    "app_partial_20260110_103045", "app", "alice", PARTIAL_CONNECTION_LIMIT, Strategy.FILE_COPY, "fast"
                ),
            ),
        ),
    )
    assert plan.restore_properties == statements_to_set("app_partial_20260110_103045", PROPERTIES)


LOCALE = Locale("UTF8", "C", "C", "libc")


ONLINE = CopyMethod(Strategy.ONLINE, Strategy.FILE_COPY, None)


def plan_online(
    properties: Properties, tablespace: str | None = None, live: Database | None = None, keeper: str | None = None
) -> BackupPlan:
    live = live or make_database()
    return plan_backup(
        Template(live, properties, locale=LOCALE),
        ONLINE,
        FreeNames(AT, ["app"]),
        tablespace=tablespace,
        keeper=keeper,
        may_checkpoint=True,
    )


def test_an_online_copy_is_sealed_but_while_its_owner_fills_it() -> None:
    plan = plan_online(PROPERTIES)
    name = plan.clone.name
    make, let_in, copy, seal, finish = plan.steps
    assert make.statements == (
        CreateDatabase(name, "template0", "alice", PARTIAL_CONNECTION_LIMIT, Strategy.FILE_COPY, None, LOCALE),
    )
    assert let_in.atomic
    assert let_in.statements == (
        RevokeAllOnDatabase(name, (None,)),
        AlterDatabase(name, allow_connections=True, connection_limit=OPEN_PARTIAL_CONNECTION_LIMIT),
    )
    assert copy.statements == ()
    assert seal.statements == (
        AlterDatabase(name, allow_connections=False, connection_limit=PARTIAL_CONNECTION_LIMIT),
    )  # fmt: skip
    assert finish.atomic
    assert finish.statements[-1] == RenameDatabase(name, plan.name)


def test_what_a_superuser_fills_is_its_owners_once_it_is_complete() -> None:
    plan = plan_online(PROPERTIES, keeper="root")
    make, finish = plan.steps[0].statements, plan.steps[-1].statements
    assert [each.owner for each in make if isinstance(each, CreateDatabase)] == ["root"]
    assert finish[0] == ChangeOwner(plan.clone.name, "alice")
    assert finish[1:] == plan_online(PROPERTIES).steps[-1].statements
    assert plan_online(PROPERTIES).clone.handing_over == ()


@pytest.mark.parametrize(
    ("privileges", "public"),
    [
        (None, [("CONNECT", "TEMPORARY")]),
        (frozenset([Privilege("alice", "", "CONNECT", False)]), [("CONNECT",)]),
        (frozenset([Privilege("alice", "alice", "CONNECT", False)]), []),
    ],
)
def test_the_fence_of_an_online_copy_does_not_outlive_it(
    privileges: frozenset[Privilege] | None, public: list[tuple[str, ...]]
) -> None:
    given = plan_online(make_properties(privileges=privileges)).clone.restore_properties
    assert [each.privileges for each in given if isinstance(each, GrantOnDatabase) and None in each.grantees] == public
    assert given[-1] == AlterDatabase(plan_online(PROPERTIES).clone.name, connection_limit=-1)


@pytest.mark.parametrize(
    ("own", "asked", "expected"),
    [("pg_default", None, None), ("fast", None, "fast"), ("fast", "other", "other"), ("pg_default", "x", "x")],
)
def test_an_online_copy_goes_where_its_source_is(own: str, asked: str | None, expected: str | None) -> None:
    plan = plan_online(PROPERTIES, asked, make_database(tablespace=own))
    assert plan.clone.create.tablespace == expected


def test_a_clone_by_template_has_no_fence() -> None:
    clone = plan_clone(Template(make_database(), PROPERTIES), "app", FILE_COPY, FreeNames(AT, ["app"]))
    assert not clone.is_online
    assert clone.fenced is None
    assert replace(clone, was_open=True).fenced is not None


def test_a_method_that_copies_bears_the_same_name() -> None:
    method = choose_method(None, 180006, True)
    assert method.copying() == CopyMethod(Strategy.CLONE, Strategy.FILE_COPY, False, falls_back=True)


def test_only_auto_falls_back_to_copying() -> None:
    assert choose_method(None, 180006, True).falls_back
    assert not choose_method(Strategy.CLONE, 180006, True).falls_back
    assert not choose_method(None, 180006, True, moves=True).falls_back
    assert not choose_method(None, 170011, False).falls_back


def test_a_clone_that_was_not_let_share_blocks_is_tried_once_more_as_a_copy() -> None:
    def instead(method: CopyMethod) -> tuple[Statement, ...]:
        return plan_clone(Template(make_database("app"), PROPERTIES), "app", method, FreeNames(AT, [])).instead

    auto = choose_method(None, 180006, True)
    assert instead(auto) == (SetCopyMethod(share_blocks=False),)
    assert instead(auto.copying()) == instead(choose_method(Strategy.CLONE, 180006, True)) == ()


def _made(name: str, at: datetime, shares: bool | None, tablespace: str = "pg_default") -> Entry:
    metadata = replace(make_metadata(), strategy=Strategy.CLONE, shares_blocks=shares)
    database = replace(make_database(name), tablespace=tablespace)
    return replace(make_entry(name, at=at), metadata=metadata, database=database)


def test_the_newest_clone_in_a_tablespace_says_whether_it_is_worth_trying() -> None:
    refused, worked = _made("one", AT, False), _made("two", LATER, None)
    assert sharing_failed_last([refused], "pg_default")
    assert not sharing_failed_last([refused], "fast")
    assert not sharing_failed_last([refused, worked], "pg_default")
    assert sharing_failed_last([_made("three", LATER, False), _made("four", AT, None)], "pg_default")
    assert not sharing_failed_last([], "pg_default")


def test_a_clone_notes_the_collation_version_that_it_is_told() -> None:
    clone = plan_clone(Template(make_database("app"), PROPERTIES), "app", FILE_COPY, FreeNames(AT, []))
    assert clone.noting_collation("1.1").create.collation_version == "1.1"
    assert clone.noting_collation(None) == clone
