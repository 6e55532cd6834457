from __future__ import annotations

from dataclasses import replace

import pytest

from snapkit.core.inventory import metadata as comments
from snapkit.core.inventory.database import Database
from snapkit.core.inventory.entry import Entry
from snapkit.core.inventory.kinds import Kind, Strategy
from snapkit.core.inventory.metadata import MAX_BYTES, used_up_by
from snapkit.core.inventory.naming import FreeNames
from snapkit.core.inventory.selection import latest_displaced
from snapkit.core.plans.reinstatement import is_unwritten, plan_returning, was_backup
from snapkit.core.plans.swap import SwapPlan, plan_swap
from tests.unit.builders import AT, make_database, make_entry, make_metadata, utc

LATER = utc("2026-01-11 08:00")
BACKUP = make_entry(metadata=replace(make_metadata(label="good"), strategy=Strategy.FILE_COPY, order=70))


def put_aside(plan: SwapPlan) -> Entry:
    """Return the entry that the live database has become."""
    assert plan.live is not None
    assert plan.displaced_name is not None
    database = replace(plan.live, name=plan.displaced_name, allow_connections=False)
    return make_entry(database.name, kind=Kind.OLD, database=database, metadata=plan.displaced_metadata)


def undone(entry: Entry = BACKUP, comment: str | None = None) -> SwapPlan:
    """Plan the undo of a rollback to ``entry``."""
    rollback = plan_swap(
        "app", make_database("app"), entry, None, FreeNames(AT, ["app", entry.name]), comment=comment, order=100
    )
    live: Database = replace(entry.database, name="app", allow_connections=True)
    aside = put_aside(rollback)
    return plan_swap("app", live, aside, None, FreeNames(LATER, ["app", aside.name]), order=101)


def test_a_backup_gets_back_what_it_was_and_notes_what_it_gave_way_to() -> None:
    plan = undone()
    returning = plan_returning(plan, ["app", plan.entry.name])
    assert returning is not None
    assert BACKUP.metadata is not None
    assert (returning.oid, returning.name, was_backup(plan)) == (BACKUP.database.oid, BACKUP.name, BACKUP.name)
    assert returning.metadata == replace(
        BACKUP.metadata,
        gave_way_to=plan.entry.name,
        gave_way_to_oid=plan.entry.database.oid,
        gave_way_at=101,
        used_up=plan.displaced_metadata.used_up,
    )
    assert comments.decode(comments.encode(returning.metadata)) == returning.metadata
    taken = plan_returning(plan, [BACKUP.name])
    assert taken is not None
    assert taken.name == BACKUP.name + "_2"


def test_what_is_none_any_more_keeps_its_label() -> None:
    metadata = undone().displaced_metadata
    assert (metadata.kind, metadata.label, metadata.gave_way_to_oid is not None) == (Kind.OLD, "good", True)


@pytest.mark.parametrize(
    ("next_transaction", "own", "strategy", "expected"),
    [
        (102, 0, Strategy.FILE_COPY, True),
        (105, 3, Strategy.CLONE, True),
        (103, 0, Strategy.FILE_COPY, False),
        (102, 0, Strategy.WAL_LOG, False),
    ],
)
def test_nothing_was_written_if_every_transaction_id_since_is_our_own(
    next_transaction: int, own: int, strategy: Strategy, expected: bool
) -> None:
    assert BACKUP.metadata is not None
    plan = undone(replace(BACKUP, metadata=replace(BACKUP.metadata, strategy=strategy)))
    returning = plan_returning(plan, [])
    assert returning is not None
    assert is_unwritten(plan, returning, next_transaction, own) is expected
    assert plan.entry.metadata is not None
    unknown = replace(plan, entry=replace(plan.entry, metadata=replace(plan.entry.metadata, order=None)))
    assert not is_unwritten(unknown, returning, next_transaction, own)


def test_where_no_rollback_is_taken_back_nothing_is_given_back() -> None:
    plain = plan_swap("app", make_database("app"), BACKUP, None, FreeNames(LATER, []), order=101)
    assert (plan_returning(plain, []), was_backup(plain)) == (None, None)
    other = replace(undone(), live=make_database("app"))
    assert plan_returning(other, []) is None
    assert plan_returning(replace(undone(), live=None), []) is None


def test_where_a_long_comment_takes_the_room_it_is_not_noted() -> None:
    plan = undone(comment="x" * (MAX_BYTES // 2))
    assert plan.entry.metadata is not None
    assert plan.entry.metadata.used_up is None
    assert used_up_by(plan.entry.metadata, BACKUP.database.oid) is None
    assert plan_returning(plan, []) is None


def test_the_next_undo_finds_what_was_given_back() -> None:
    plan = undone()
    returning = plan_returning(plan, [])
    assert returning is not None
    assert plan.live is not None
    given_back = make_entry(
        returning.name, database=replace(plan.live, name=returning.name), metadata=returning.metadata
    )
    earlier = make_entry("app_old_20260101_000000", kind=Kind.OLD, at=utc("2026-01-01 00:00"))
    live = replace(plan.entry.database, name="app")
    assert latest_displaced([earlier, given_back], "app", live) == given_back
    again = plan_swap("app", live, given_back, None, FreeNames(LATER, []), order=102)
    assert was_backup(again) is None
    assert plan_returning(again, []) is not None, "the displaced database was used up by the undo"
