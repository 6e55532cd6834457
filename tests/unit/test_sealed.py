"""What tells that an entry is not as it was sealed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from snapkit.core.inventory import metadata as comments
from snapkit.core.inventory.entry import check_usable
from snapkit.core.inventory.kinds import Kind, State
from snapkit.core.inventory.metadata import Metadata, decode, encode
from snapkit.core.inventory.naming import FreeNames, passing_name
from snapkit.core.inventory.opened import Opened
from snapkit.core.inventory.recognition import alteration, take_inventory
from snapkit.core.inventory.sealed import Seal, seal_of
from snapkit.core.inventory.selection import is_leftover, latest_displaced, select_one
from snapkit.core.plans.backup import plan_backup
from snapkit.core.plans.clone import Template
from snapkit.core.plans.seal import plan_adoption, plan_resealing, statements_to_seal
from snapkit.core.plans.statements import AlterDatabase, CommentOnDatabase
from snapkit.core.plans.swap import plan_swap
from snapkit.errors import NotFoundError, UsageError
from tests.unit.builders import AT, FILE_COPY, NOW, make_database, make_entry, make_metadata, make_properties

NAME = "app_backup_20260110_103045"
SEALED = replace(make_metadata(), seal=Seal("alice", 7, -1))
OPENED = Opened(AT, "alice", "here", 1, ())


@pytest.mark.parametrize(
    ("document", "row", "expected"),
    [
        (SEALED, {"row_is_newer": False}, None),
        (SEALED, {"row_is_newer": None}, None),
        (SEALED, {"row_is_newer": True}, "was changed after snapkit had sealed it"),
        (SEALED, {"row_is_newer": True, "owner": "bob"}, None),
        (SEALED, {"row_is_newer": True, "access": 8}, None),
        (SEALED, {"row_is_newer": True, "is_template": True}, None),
        (SEALED, {"row_is_newer": True, "connection_limit": 5}, "has another connection limit (5)"),
        (SEALED, {"row_is_newer": False, "connection_limit": 5}, None),
        (SEALED, {"row_is_newer": False, "allow_connections": True}, "accepts connections"),
        (make_metadata(), {"row_is_newer": True}, None),
        (make_metadata(), {"allow_connections": True}, "accepts connections"),
        (SEALED.with_opened(OPENED), {"row_is_newer": True, "allow_connections": True}, None),
        (SEALED.with_altered("was written to in a shell"), {"row_is_newer": False}, "was written to in a shell"),
        (SEALED.with_altered("was written to").with_altered(None), {"row_is_newer": False}, None),
    ],
)
def test_an_entry_is_altered_if_it_may_have_been_opened(
    document: Metadata, row: dict[str, Any], expected: str | None
) -> None:
    row = {"allow_connections": False, "access": 7, **row}
    database = make_database(NAME, document=encode(document), **row)
    found = alteration(database, document)
    assert found is None if expected is None else found is not None and found.startswith(expected)
    owner = row.get("owner", "alice")
    (entry,) = take_inventory([make_database("app", owner=owner), database], "alice").entries
    assert (entry.state, entry.altered) == (State.ALTERED if expected else State.READY, found)
    if expected:
        with pytest.raises(UsageError, match="is not as it was sealed: it ") as caught:
            check_usable(entry)
        assert caught.value.hint is not None
        assert f"snapkit adopt {NAME}" in caught.value.hint
        assert f"snapkit delete {NAME}" in caught.value.hint


def test_a_seal_takes_down_what_shows_and_both_rows_are_written() -> None:
    assert seal_of(make_database("app", access=9, connection_limit=3)) == Seal("alice", 9, 3)
    assert seal_of(make_database("app")) is None
    assert statements_to_seal("a", "{}") == (
        CommentOnDatabase("a", "{}"),
        AlterDatabase("a", allow_connections=False, is_template=False),
    )


@pytest.mark.parametrize(
    "seal",
    ['{"owner":1,"access":1,"connection_limit":1}', '{"owner":"a"}', '{"owner":"a","access":true,"connection_limit":1}',
     '{"owner":"a\\u0000","access":1,"connection_limit":1}', "5"],
)  # fmt: skip
def test_a_malformed_seal_makes_a_stranger(seal: str) -> None:
    text = encode(make_metadata()).removesuffix("}")
    assert decode(text + "}") is not None
    assert decode(f'{text},"seal":{seal}}}') is None


def test_all_that_is_planned_takes_down_the_seal_and_the_order() -> None:
    live, properties = make_database("app", access=9), make_properties()
    plan = plan_backup(Template(live, properties), FILE_COPY, FreeNames(AT, ["app"]), may_checkpoint=False, order=77)
    assert (plan.metadata.order, plan.metadata.seal) == (77, Seal("alice", 9, -1))
    swap = plan_swap("app", live, make_entry(), None, FreeNames(AT, ["app"]), order=78)
    assert (swap.displaced_metadata.order, swap.displaced_metadata.seal) == (78, Seal("alice", 9, -1))
    script = make_entry(state=State.UNMANAGED, managed=False)
    (comment, *_) = plan_adoption(script, live, None, properties)
    assert isinstance(comment, CommentOnDatabase)
    read = decode(comment.comment)
    assert isinstance(read, Metadata)
    assert read.seal == Seal("alice", 9, -1)


def test_an_altered_entry_is_sealed_again_as_it_is_with_the_limit_that_it_had() -> None:
    document = replace(SEALED, label="v1").with_altered("was written to")
    database = make_database(NAME, access=8, connection_limit=5, document=encode(document))
    entry = replace(make_entry(NAME, database=database, metadata=document), state=State.ALTERED)
    expected = replace(document, altered=None, seal=Seal("alice", 8, -1))
    assert plan_resealing(entry) == (
        AlterDatabase(NAME, allow_connections=False, connection_limit=-1, is_template=False),
        CommentOnDatabase(NAME, comments.encode(expected)),
    )
    without = make_entry(NAME, database=make_database(NAME, connection_limit=5), metadata=make_metadata())
    (alter, comment) = plan_resealing(without)
    assert alter == AlterDatabase(NAME, allow_connections=False, connection_limit=5, is_template=False)
    assert comment == CommentOnDatabase(NAME, comments.encode(make_metadata()))


def test_what_is_being_dropped_can_only_be_dropped_and_is_found_by_its_former_name() -> None:
    document = comments.encode(make_metadata().with_dropping(NAME))
    database = make_database(passing_name("app", AT, 20000), oid=20000, allow_connections=False, document=document)
    inventory = take_inventory([make_database("app"), database], "alice", NOW)
    (entry,) = inventory.entries
    assert (entry.state, entry.kind, entry.bears_its_name) == (State.INVALID, Kind.BACKUP, True)
    assert select_one(inventory.entries, NAME, "app") is entry


@pytest.mark.parametrize(
    ("name", "allow"), [("app_rescued", False), (passing_name("app", AT, 20001), False), (None, True)]
)
def test_what_was_rescued_from_a_drop_is_not_to_be_dropped(name: str | None, allow: bool) -> None:
    document = comments.encode(make_metadata().with_dropping(NAME))
    name = name or passing_name("app", AT, 20000)
    database = make_database(name, oid=20000, allow_connections=allow, document=document)
    inventory = take_inventory([make_database("app"), database], "alice", NOW)
    (entry,) = inventory.entries
    assert (entry.state, is_leftover(entry), entry.bears_its_name) == (State.ALTERED, False, False)
    assert entry.altered == "was renamed or opened after a run had begun to drop it"
    with pytest.raises(NotFoundError):
        select_one(inventory.entries, NAME, "app")
    comment = plan_resealing(entry)[1]
    assert isinstance(comment, CommentOnDatabase)
    sealed = comments.decode(comment.comment)
    assert isinstance(sealed, Metadata)
    assert sealed.dropping is None


def test_an_undo_takes_no_other_in_place_of_an_altered_one() -> None:
    altered = replace(make_entry("app_old_20260110_103045", kind=Kind.OLD), state=State.ALTERED, altered="is")
    earlier = make_entry("app_old_20250110_103045", kind=Kind.OLD, at=AT.replace(year=2025))
    assert latest_displaced([earlier, altered], "app", make_database("app")) is altered
