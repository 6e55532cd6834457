from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from snapkit.core.comparison.writes import Activity, Rows
from snapkit.core.copying.moment import Moment, Versions
from snapkit.core.deploy.deploy import Deploy
from snapkit.core.inventory import metadata as comments
from snapkit.core.inventory.database import (
    INVALID_CONNECTION_LIMIT,
    OPEN_PARTIAL_CONNECTION_LIMIT,
    PARTIAL_CONNECTION_LIMIT,
    Database,
    check_live,
)
from snapkit.core.inventory.entry import Entry
from snapkit.core.inventory.kinds import Kind, State, Strategy
from snapkit.core.inventory.metadata import MAX_BYTES, Metadata
from snapkit.core.plans.backup import BackupPlan, plan_backup
from snapkit.core.plans.clone import ClonePlan, CopyMethod, choose_method, plan_clone, sharing_failed_last
from snapkit.core.plans.drop import plan_drops, statements_to_drop, statements_to_give_back, statements_to_take
from snapkit.core.plans.identity import Facts, facts_of
from snapkit.core.plans.properties import Privilege, Properties, Setting, statements_to_set
from snapkit.core.plans.seal import plan_adoption
from snapkit.core.plans.statements import (
    AlterDatabase,
    ChangeOwner,
    Checkpoint,
    CommentOnDatabase,
    CreateDatabase,
    DropDatabase,
    GrantOnDatabase,
    Locale,
    RenameDatabase,
    RevokeAllOnDatabase,
    SetCopyMethod,
    Statement,
    Step,
)
from snapkit.core.plans.swap import SwapPlan, is_to_be_kept, plan_swap
from snapkit.errors import SnapkitError, UsageError
from tests.unit.builders import AT, make_database, make_entry, make_metadata, make_properties, utc

LATER = utc("2026-01-11 08:00")
FILE_COPY = CopyMethod(Strategy.FILE_COPY, Strategy.FILE_COPY, None)
PROPERTIES = make_properties(
    connection_limit=7,
    privileges=frozenset([Privilege("alice", "bob", "CONNECT", False)]),
    settings=frozenset([Setting("", "work_mem", "1MB")]),
)


def statements_of(steps: tuple[Step, ...]) -> list[Statement]:
    return [statement for step in steps for statement in step.statements]


def document_in(statements: list[Statement], name: str) -> Metadata:
    (text,) = [s.comment for s in statements if isinstance(s, CommentOnDatabase) and s.name == name]
    metadata = comments.decode(text)
    assert isinstance(metadata, Metadata)
    return metadata


def names_after(steps: tuple[Step, ...], *before: str) -> dict[str, str]:
    """Return, by its name before, each database's name after the renames; PostgreSQL refuses a name that is taken."""
    names = {name: name for name in before}
    for statement in statements_of(steps):
        if isinstance(statement, CreateDatabase):
            assert statement.name not in names.values()
            names[statement.name] = statement.name
        if isinstance(statement, RenameDatabase):
            assert statement.new_name not in names.values()
            (original,) = [was for was, now in names.items() if now == statement.name]
            names[original] = statement.new_name
    return names


# The method


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
    assert "Leave --strategy out" in caught.value.hint


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


# Backup


@pytest.mark.parametrize(
    ("share_blocks", "settings"), [(None, []), (False, [SetCopyMethod(False)]), (True, [SetCopyMethod(True)])]
)
def test_a_clone_is_sealed_and_marked_and_its_copy_method_is_set_before(
    share_blocks: bool | None, settings: list[Statement]
) -> None:
    method = CopyMethod(Strategy.FILE_COPY, Strategy.FILE_COPY, share_blocks)
    plan = plan_clone(make_database("app"), PROPERTIES, "app", method, "fast", AT, [])
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
    assert plan.adorn == statements_to_set("app_partial_20260110_103045", PROPERTIES)


def test_a_backup_is_a_clone_and_then_one_transaction_that_ends_with_its_name() -> None:
    plan = plan_backup(
        make_database("app"), None, PROPERTIES, FILE_COPY, None, "before 4.2", True, AT, ["app"], may_checkpoint=False
    )
    clone, finish = plan.steps
    assert not clone.atomic
    assert finish.atomic
    assert finish.statements == (*plan.clone.adorn, *plan.finish)
    assert finish.statements[-1] == RenameDatabase("app_partial_20260110_103045", "app_backup_20260110_103045")
    assert names_after(plan.steps, "app") == {"app": "app", "app_partial_20260110_103045": plan.name}
    assert document_in(list(plan.finish), plan.clone.name) == plan.metadata
    assert plan.metadata == replace(make_metadata(label="before 4.2", pinned=True), strategy=Strategy.FILE_COPY)
    assert plan.finish[0] == CommentOnDatabase(plan.clone.name, plan.document)


@pytest.mark.parametrize(
    ("method", "may_checkpoint", "before"),
    [
        (FILE_COPY, True, (Checkpoint(),)),
        (CopyMethod(Strategy.CLONE, Strategy.FILE_COPY, True), True, (Checkpoint(),)),
        (CopyMethod(Strategy.WAL_LOG, Strategy.WAL_LOG, None), True, ()),
        (FILE_COPY, False, ()),
    ],
)
def test_a_clone_that_begins_with_a_checkpoint_has_one_before_it(
    method: CopyMethod, may_checkpoint: bool, before: tuple[Statement, ...]
) -> None:
    live = make_database("app")
    plan = plan_backup(live, None, PROPERTIES, method, None, None, False, AT, [], may_checkpoint=may_checkpoint)
    assert plan.before == before
    assert [step.statements for step in plan.steps][:-2] == ([before] if before else [])


@pytest.mark.parametrize("comment", [None, "", "The shop's database", '{"snapkit":"not ours"}'])
@pytest.mark.parametrize(("is_template", "allow_connections"), [(False, True), (True, True), (False, False)])
def test_a_backup_keeps_what_the_seal_takes_away(
    comment: str | None, is_template: bool, allow_connections: bool
) -> None:
    live = make_database("app", is_template=is_template, allow_connections=allow_connections)
    metadata = plan_backup(
        live, comment, PROPERTIES, FILE_COPY, None, None, False, AT, [], may_checkpoint=False
    ).metadata
    assert metadata.comment == comment
    assert metadata.is_template is is_template
    assert metadata.allow_connections is allow_connections
    assert comments.decode(comments.encode(metadata)) == metadata


def test_a_document_that_a_rename_by_hand_left_on_the_live_database_is_not_kept_as_its_comment() -> None:
    left = comments.encode(replace(make_metadata(), comment="The shop's database"))
    plan = plan_backup(
        make_database("app"), left, PROPERTIES, FILE_COPY, None, None, False, AT, [], may_checkpoint=False
    )
    assert plan.metadata.comment == "The shop's database"


def test_what_a_clone_took_is_noted_for_later_estimates() -> None:
    live = make_database("app")
    plan = plan_backup(live, None, PROPERTIES, FILE_COPY, None, None, False, AT, [], may_checkpoint=False)
    measured = plan.measured(4096, timedelta(seconds=1.5), 300)
    noted = measured.metadata
    assert (noted.clone_bytes, noted.clone_ms, noted.clone_files) == (4096, 1500, 300)
    assert document_in(list(measured.finish), plan.clone.name) == measured.metadata


def test_a_backup_tells_of_the_source_as_it_was_copied_not_as_it_was_when_that_was_planned() -> None:
    live = make_database("app")
    plan = plan_backup(live, "before", PROPERTIES, FILE_COPY, None, "v42", True, AT, [], may_checkpoint=False)
    then = replace(live, is_template=True, allow_connections=False)
    properties = replace(PROPERTIES, connection_limit=7)
    found = plan.as_of(Moment(then, "after", properties, Versions("1", None, None, None), {}))
    document = document_in(list(found.finish), plan.clone.name)
    assert (document.comment, document.is_template, document.allow_connections) == ("after", True, False)
    assert (document.label, document.pinned, document.created_at) == ("v42", True, AT)
    assert (found.clone.template, found.clone.properties) == (then, properties)
    assert replace(found.clone, template=live, properties=PROPERTIES) == plan.clone
    with pytest.raises(UsageError):
        plan.as_of(Moment(then, "x" * MAX_BYTES, properties, Versions("1", None, None, None), {}))


@pytest.mark.parametrize("length", [0, MAX_BYTES // 2])
def test_what_is_good_to_know_is_noted_where_there_is_room_for_it(length: int) -> None:
    live, comment = make_database("app"), "x" * length
    plan = plan_backup(live, comment, PROPERTIES, FILE_COPY, None, None, False, AT, [], may_checkpoint=False)
    deploy, activity = Deploy(user="me"), Activity(live.oid, 1, Rows(2))
    noted = plan.noting(deploy, activity)
    if length:
        assert noted == plan
        return
    document = document_in(list(noted.measured(4096, timedelta(0)).finish), plan.clone.name)
    assert (document.deploy, document.activity) == (deploy, activity)


def test_a_second_backup_within_one_second_is_numbered() -> None:
    taken = ["app", "app_backup_20260110_103045"]
    plan = plan_backup(
        make_database("app"), None, PROPERTIES, FILE_COPY, None, None, False, AT, taken, may_checkpoint=False
    )
    assert plan.name == "app_backup_20260110_103045_2"


@pytest.mark.parametrize(("label", "comment"), [("x" * MAX_BYTES, None), (None, "x" * MAX_BYTES), ("\udcff", None)])
def test_a_document_that_cannot_be_kept_is_refused_while_planning(label: str | None, comment: str | None) -> None:
    """Not first when the clone has been made."""
    with pytest.raises(UsageError):
        plan_backup(
            make_database("app"), comment, PROPERTIES, FILE_COPY, None, label, False, AT, [], may_checkpoint=False
        )


# Rollback


@pytest.mark.parametrize(
    ("entry", "message", "hint"),
    [
        (make_entry(state=State.UNMANAGED, managed=False), "was not made by snapkit", "snapkit adopt app_backup_"),
        (make_entry(state=State.INVALID), "is invalid", "snapkit list"),
        (make_entry(state=State.INVALID, managed=False), "is invalid", "snapkit list"),
        (
            make_entry("app_partial_20260110_103045", kind=Kind.PARTIAL, state=State.INCOMPLETE, managed=False),
            "was never completed",
            "snapkit list",
        ),
    ],
)
def test_an_entry_that_is_not_ready_is_refused_with_what_to_do(entry: Entry, message: str, hint: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        plan_swap("app", make_database("app"), None, entry, None, AT, [])
    assert entry.name in caught.value.message
    assert caught.value.state == "Nothing was changed."
    assert caught.value.hint is not None
    assert hint in caught.value.hint


def test_a_swap_is_one_transaction_that_renames_the_live_database_as_late_as_can_be() -> None:
    entry = make_entry(metadata=replace(make_metadata(), comment="The shop's"))
    plan = plan_swap("app", make_database("app"), "Now", entry, None, LATER, ["app", entry.name])
    (step,) = plan.steps
    assert step.atomic
    assert step.statements == (*plan.prepare, *plan.swap)
    assert plan.prepare == (
        RenameDatabase(entry.name, "app_partial_20260111_080000"),
        AlterDatabase("app_partial_20260111_080000", allow_connections=True, is_template=False),
        CommentOnDatabase("app_partial_20260111_080000", "The shop's"),
        CommentOnDatabase("app", plan.displaced_document),
        AlterDatabase("app", allow_connections=False, is_template=False),
    )
    assert plan.swap == (
        RenameDatabase("app", "app_old_20260111_080000"),
        RenameDatabase("app_partial_20260111_080000", "app"),
    )
    assert plan.passing_name == "app_partial_20260111_080000"
    assert plan.displaced_document == comments.encode(plan.displaced_metadata)
    assert plan.displaced_metadata == replace(
        make_metadata(kind=Kind.OLD, at=LATER),
        comment="Now",
        gave_way_to=entry.name,
        gave_way_to_oid=entry.database.oid,
        used_up=comments.encode(replace(make_metadata(), comment="The shop's")),
    )
    assert names_after(plan.steps, "app", entry.name) == {"app": plan.displaced_name, entry.name: "app"}


@pytest.mark.parametrize("was", [False, True])
@pytest.mark.parametrize("was_open", [False, True])
def test_a_swap_gives_back_and_puts_away_the_template_flag_and_the_seal(was: bool, was_open: bool) -> None:
    entry = make_entry(metadata=replace(make_metadata(), is_template=was, allow_connections=was_open))
    live = make_database("app", is_template=was, allow_connections=was_open)
    plan = plan_swap("app", live, None, entry, None, LATER, [])
    restored, displaced = (s for s in plan.prepare if isinstance(s, AlterDatabase))
    assert restored.name == plan.passing_name
    assert restored.allow_connections is was_open
    assert restored.is_template is was
    assert displaced.name == "app"
    assert displaced.allow_connections is False
    assert displaced.is_template is False
    assert plan.displaced_metadata.is_template is was
    assert plan.displaced_metadata.allow_connections is was_open


@pytest.mark.parametrize("kept", [False, True])
def test_clients_are_not_held_while_the_swap_is_prepared(kept: bool) -> None:
    """Only a rename takes a lock on the live database that new connections wait for."""
    entry = make_entry()
    plan = plan_swap("app", make_database("app"), None, entry, clone_of(entry) if kept else None, LATER, [])
    renamed = [s for s in plan.prepare if isinstance(s, RenameDatabase)]
    assert all("app" not in (s.name, s.new_name) for s in renamed)
    assert plan.swap == (
        RenameDatabase("app", "app_old_20260111_080000"),
        RenameDatabase(plan.passing_name, "app"),
    )


def test_what_is_in_the_way_of_the_backup_is_waited_for_before_clients_are_held() -> None:
    entry = make_entry()
    plan = plan_swap("app", make_database("app"), None, entry, None, LATER, [])
    assert plan.prepare[0] == RenameDatabase(entry.name, plan.passing_name)


def facts_before(plan: SwapPlan) -> dict[int, Facts]:
    """What another session sees of the databases that a plan was made for, while nothing of it is committed."""
    assert plan.live is not None
    live = facts_of(plan.live, plan.displaced_metadata.comment)
    return {**plan.assumed, plan.live.oid: live}


@pytest.mark.parametrize("kept", [False, True])
def test_what_is_still_as_it_was_is_swapped_as_planned(kept: bool) -> None:
    entry = make_entry()
    plan = plan_swap("app", make_database("app"), "Now", entry, clone_of(entry) if kept else None, LATER, [])
    plan = plan.cloned(16400) if kept else plan
    assert list(plan.assumed) == [16400 if kept else entry.database.oid]
    assert comments.encode(plan.held_against(facts_before(plan), "").displaced_metadata) == plan.displaced_document


def test_what_is_put_aside_is_noted_as_it_was_when_nobody_could_change_it_any_more() -> None:
    plan = plan_swap("app", make_database("app"), "Then", make_entry(), None, LATER, [])
    assert plan.live is not None
    found = facts_before(plan)
    found[plan.live.oid] = replace(
        found[plan.live.oid], comment="Now", is_template=True, allow_connections=False, connection_limit=50
    )
    now = plan.held_against(found, "")
    document = document_in(list(now.seal), "app")
    assert (document.comment, document.is_template, document.allow_connections) == ("Now", True, False)
    assert replace(document, comment="Then", is_template=False, allow_connections=True) == plan.displaced_metadata
    assert now.live is not None
    assert (now.live.connection_limit, now.live.has_comment) == (50, True)


@pytest.mark.parametrize(
    ("which", "field", "value", "error"),
    [
        ("live", "name", "app_blue", "'app' is another database"),
        ("live", "owner", "mallory", "'app' was altered by somebody else meanwhile: owner"),
        ("live", "connection_limit", INVALID_CONNECTION_LIMIT, "'app' is invalid"),
        ("entry", "name", "x", "is another database"),
        ("entry", "comment", "{}", "was altered by somebody else meanwhile: comment"),
        ("entry", "owner", "mallory", "was altered by somebody else meanwhile: owner"),
    ],
)
def test_another_database_or_another_owner_is_not_swapped(which: str, field: str, value: Any, error: str) -> None:
    entry = make_entry()
    plan = plan_swap("app", make_database("app"), "Then", entry, None, LATER, [])
    assert plan.live is not None
    found = facts_before(plan)
    oid = plan.live.oid if which == "live" else entry.database.oid
    found[oid] = replace(found[oid], **{field: value})
    with pytest.raises(SnapkitError, match=error):
        plan.held_against(found, "Nothing was changed.")


def test_where_nothing_is_live_only_the_entry_counts() -> None:
    plan = plan_swap("app", None, None, make_entry(), None, LATER, [])
    assert plan.seal == ()
    assert plan.held_against(plan.assumed, "") == plan
    entry = make_entry()
    assert plan_swap("app", None, None, entry, clone_of(entry), LATER, []).assumed == {}


def test_the_passing_name_is_one_that_is_free() -> None:
    entry = make_entry()
    taken = ["app", entry.name, "app_partial_20260111_080000", "app_old_20260111_080000"]
    plan = plan_swap("app", make_database("app"), None, entry, None, LATER, taken)
    assert plan.passing_name == "app_partial_20260111_080000_2"
    assert names_after(plan.steps, *taken) == {
        "app": "app_old_20260111_080000_2",
        entry.name: "app",
        "app_partial_20260111_080000": "app_partial_20260111_080000",
        "app_old_20260111_080000": "app_old_20260111_080000",
    }


def test_an_invalid_live_database_is_not_swapped() -> None:
    """PostgreSQL renames it without a murmur, and nobody could connect to what undo would bring back."""
    live = make_database("app", connection_limit=INVALID_CONNECTION_LIMIT)
    with pytest.raises(SnapkitError, match="'app' is invalid"):
        plan_swap("app", live, None, make_entry(), None, LATER, [])


def test_a_comment_that_cannot_be_kept_is_refused_while_planning_a_swap() -> None:
    """Not first when clients are held."""
    with pytest.raises(UsageError, match="The comment on 'app'"):
        plan_swap("app", make_database("app"), "x" * MAX_BYTES, make_entry(), None, LATER, [])


def test_where_nothing_is_live_nothing_is_put_aside() -> None:
    entry = make_entry(metadata=replace(make_metadata(), comment="The shop's"))
    plan = plan_swap("app", None, None, entry, None, LATER, [entry.name])
    assert plan.displaced_name is None
    assert statements_of(plan.steps) == [
        RenameDatabase(entry.name, "app_partial_20260111_080000"),
        AlterDatabase("app_partial_20260111_080000", allow_connections=True, is_template=False),
        CommentOnDatabase("app_partial_20260111_080000", "The shop's"),
        RenameDatabase("app_partial_20260111_080000", "app"),
    ]


def clone_of(entry: Entry) -> ClonePlan:
    return plan_clone(entry.database, PROPERTIES, "app", FILE_COPY, None, LATER, [])


def test_a_backup_that_is_kept_is_cloned_first_and_the_clone_swapped_in() -> None:
    entry = make_entry(metadata=replace(make_metadata(), comment="The shop's"))
    clone = clone_of(entry)
    plan = plan_swap("app", make_database("app"), None, entry, clone, LATER, [])
    first, second = plan.steps
    assert (first.atomic, second.atomic) == (False, True)
    assert first.statements == (clone.create,)
    assert clone.create.template == entry.name
    assert plan.passing_name == clone.name == "app_partial_20260111_080000"
    assert second.statements == (*clone.adorn, *plan.prepare, *plan.swap)
    assert plan.prepare == (
        AlterDatabase(clone.name, allow_connections=True, is_template=False),
        CommentOnDatabase(clone.name, "The shop's"),
        CommentOnDatabase("app", plan.displaced_document),
        AlterDatabase("app", allow_connections=False, is_template=False),
    )
    assert names_after(plan.steps, "app", entry.name) == {
        "app": "app_old_20260111_080000",
        entry.name: entry.name,
        clone.name: "app",
    }


def test_what_is_put_aside_for_a_clone_notes_the_clone_once_it_is_made() -> None:
    entry = make_entry()
    plan = plan_swap("app", make_database("app"), None, entry, clone_of(entry), LATER, [])
    assert (plan.displaced_metadata.gave_way_to, plan.displaced_metadata.gave_way_to_oid) == (entry.name, None)
    made = document_in(list(plan.cloned(16400).prepare), "app")
    assert (made.gave_way_to, made.gave_way_to_oid) == (entry.name, 16400)


@pytest.mark.parametrize("kind", [Kind.BACKUP, Kind.OLD])
def test_an_entry_stays_where_that_is_asked_for_or_it_is_pinned(kind: Kind) -> None:
    assert is_to_be_kept(make_entry(kind=kind), asked=True)
    assert is_to_be_kept(make_entry(kind=kind, pinned=True), asked=False)
    assert not is_to_be_kept(make_entry(kind=kind), asked=False)


def test_an_undo_puts_the_live_database_aside_in_its_turn() -> None:
    entry = make_entry("app_old_20260111_080000", kind=Kind.OLD, at=LATER)
    plan = plan_swap("app", make_database("app"), None, entry, None, LATER, ["app", entry.name])
    assert names_after(plan.steps, "app", entry.name) == {"app": "app_old_20260111_080000_2", entry.name: "app"}


def test_a_displaced_database_carries_a_document_that_reads_back() -> None:
    live = make_database("app", is_template=True)
    plan = plan_swap("app", live, 'A "comment"\n', make_entry(), None, LATER, [])
    document = document_in(list(plan.prepare), "app")
    assert document == plan.displaced_metadata
    assert (document.kind, document.source, document.comment) == (Kind.OLD, "app", 'A "comment"\n')


def test_an_invalid_live_database_is_refused_with_the_way_out() -> None:
    check_live(make_database("app"))
    with pytest.raises(SnapkitError, match="is invalid") as caught:
        check_live(make_database("app", connection_limit=INVALID_CONNECTION_LIMIT))
    assert caught.value.state == "Nothing was changed."
    assert caught.value.hint is not None
    assert "Drop it with DROP DATABASE" in caught.value.hint
    assert "snapkit rollback --latest" in caught.value.hint


# Adoption and drops

SCRIPT = make_entry(state=State.UNMANAGED, managed=False, database=make_database("app_backup_20260110_103045"))


def test_adoption_seals_and_notes_what_the_source_is_at_present() -> None:
    live = make_database("app", is_template=True, allow_connections=False)
    statements = plan_adoption(SCRIPT, live, "The shop's", make_properties())
    assert statements[1] == AlterDatabase(SCRIPT.name, allow_connections=False, is_template=False)
    assert document_in(list(statements), SCRIPT.name) == replace(
        make_metadata(), comment="The shop's", is_template=True, allow_connections=False
    )
    assert len(statements) == 2


def test_adoption_without_a_source_notes_ordinary_properties() -> None:
    statements = plan_adoption(SCRIPT, None, None, None)
    assert document_in(list(statements), SCRIPT.name) == make_metadata()
    assert len(statements) == 2


def test_adoption_gives_the_backup_its_sources_owner() -> None:
    statements = plan_adoption(SCRIPT, make_database("app", owner="bob"), None, make_properties(owner="bob"))
    assert statements[2] == ChangeOwner(SCRIPT.name, "bob")
    assert len(statements) == 3


def test_the_plan_of_a_drop_is_what_is_sent_for_an_unfinished_copy_too() -> None:
    copy = make_database("app_partial_20260110_103045", connection_limit=OPEN_PARTIAL_CONNECTION_LIMIT)
    entry = make_entry(kind=Kind.PARTIAL, state=State.INCOMPLETE, managed=False, database=copy)
    (step,) = plan_drops([entry])
    assert step.statements == statements_to_drop(copy)


def test_entries_are_dropped_one_by_one() -> None:
    entries = [make_entry("app_backup_20260110_103045"), make_entry("app_backup_20260111_103045")]
    assert plan_drops(entries) == tuple(Step(f"Drop {e.name}", (DropDatabase(e.name),)) for e in entries)


# A copy while clients work

LOCALE = Locale("UTF8", "C", "C", "libc")
ONLINE = CopyMethod(Strategy.ONLINE, Strategy.FILE_COPY, None)


def plan_online(
    properties: Properties, tablespace: str | None = None, live: Database | None = None, keeper: str | None = None
) -> BackupPlan:
    live = live or make_database()
    return plan_backup(
        live, None, properties, ONLINE, tablespace, None, False, AT, ["app"], LOCALE, keeper, may_checkpoint=True
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
    adorn = plan_online(make_properties(privileges=privileges)).clone.adorn
    assert [each.privileges for each in adorn if isinstance(each, GrantOnDatabase) and None in each.grantees] == public
    assert adorn[-1] == AlterDatabase(plan_online(PROPERTIES).clone.name, connection_limit=-1)


@pytest.mark.parametrize(
    ("own", "asked", "expected"),
    [("pg_default", None, None), ("fast", None, "fast"), ("fast", "other", "other"), ("pg_default", "x", "x")],
)
def test_an_online_copy_goes_where_its_source_is(own: str, asked: str | None, expected: str | None) -> None:
    plan = plan_online(PROPERTIES, asked, make_database(tablespace=own))
    assert plan.clone.create.tablespace == expected


def test_what_was_being_filled_is_closed_before_it_is_dropped() -> None:
    database = make_database("p", connection_limit=OPEN_PARTIAL_CONNECTION_LIMIT)
    assert statements_to_drop(database) == (
        AlterDatabase("p", allow_connections=False),
        DropDatabase("p", force=True),
    )
    assert statements_to_drop(make_database("p")) == (DropDatabase("p"),)


def test_a_clone_by_template_has_no_fence() -> None:
    clone = plan_clone(make_database(), PROPERTIES, "app", FILE_COPY, None, AT, ["app"])
    assert not clone.is_online
    assert clone.fenced is None


def test_a_method_that_copies_bears_the_same_name() -> None:
    method = choose_method(None, 180006, True)
    assert method.copying() == CopyMethod(Strategy.CLONE, Strategy.FILE_COPY, False, falls_back=True)


def test_what_is_to_be_dropped_gets_a_passing_name_and_says_so() -> None:
    database = make_database("a", allow_connections=True, is_template=True, document="{}")
    assert statements_to_take(database, "p", "{d}") == (
        RenameDatabase("a", "p"),
        AlterDatabase("p", allow_connections=False, is_template=False),
        CommentOnDatabase("p", "{d}"),
    )
    assert statements_to_give_back(database, "p") == (
        RenameDatabase("p", "a"),
        AlterDatabase("a", allow_connections=True, is_template=True),
        CommentOnDatabase("a", "{}"),
    )
    assert statements_to_take(make_database("a"), "p", None) == (RenameDatabase("a", "p"),)
    invalid = make_database("a", connection_limit=-2)
    assert statements_to_take(invalid, "p", "{d}") == (RenameDatabase("a", "p"), CommentOnDatabase("p", "{d}"))


# Sharing blocks


def test_only_auto_falls_back_to_copying() -> None:
    assert choose_method(None, 180006, True).falls_back
    assert not choose_method(Strategy.CLONE, 180006, True).falls_back
    assert not choose_method(None, 180006, True, moves=True).falls_back
    assert not choose_method(None, 170011, False).falls_back


def test_a_clone_that_was_not_let_share_blocks_is_tried_once_more_as_a_copy() -> None:
    def instead(method: CopyMethod) -> tuple[Statement, ...]:
        return plan_clone(make_database("app"), PROPERTIES, "app", method, None, AT, []).instead

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


def test_what_was_learnt_is_noted_and_handed_on() -> None:
    method = replace(choose_method(None, 180006, True).copying(), learnt=True)
    plan = plan_backup(make_database("app"), None, PROPERTIES, method, None, None, False, AT, [], may_checkpoint=False)
    assert plan.metadata.shares_blocks is False
    tried = plan_backup(
        make_database("app"), None, PROPERTIES, FILE_COPY, None, None, False, AT, [], may_checkpoint=False
    )
    assert tried.metadata.shares_blocks is None
    assert '"shares_blocks":false' in tried.not_sharing().document


def test_what_a_backup_lacks_is_noted() -> None:
    plan = plan_backup(
        make_database("app"), None, PROPERTIES, FILE_COPY, None, None, False, AT, [], may_checkpoint=False
    ).lacking(("setting jit",), 1)
    assert '"not_given":["setting jit"]' in plan.document


def test_a_clone_notes_the_collation_version_that_it_is_told() -> None:
    clone = plan_clone(make_database("app"), PROPERTIES, "app", FILE_COPY, None, AT, [])
    assert clone.noting_collation("1.1").create.collation_version == "1.1"
    assert clone.noting_collation(None) == clone
