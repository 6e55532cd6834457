"""What opening an entry changes about it, and that all of it comes back."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest
from hypothesis import given

from snapkit.core.comparison.writes import Activity, Rows
from snapkit.core.inventory.metadata import decode, encode
from snapkit.core.inventory.opened import Grant, Opened, decode_opened, encode_opened
from snapkit.core.plans import statements as s
from snapkit.core.plans.opening import (
    named,
    privileges_when_open,
    statement_to_shut,
    statements_to_open,
    statements_to_restore,
    written_while_open,
)
from snapkit.core.plans.properties import Privilege
from tests.unit.builders import AT, make_entry, make_metadata, openings

NAME = "app_backup_20260110_103045"
OPENED = Opened(AT, "alice", "laptop", 4711, (Grant(10, 0, False), Grant(10, 16384, True)))
PRESENT = frozenset((Privilege("alice", "", "CONNECT", False), Privilege("alice", "bob", "CONNECT", True)))


@given(openings)
def test_what_is_noted_is_read_back(opened: Opened) -> None:
    assert decode_opened(encode_opened(opened)) == opened


@pytest.mark.parametrize(
    "changes",
    [
        {"at": "yesterday"},
        {"at": None},
        {"user": None},
        {"host": "a\0b"},
        {"pid": float("inf")},
        {"pid": -1},
        {"connect": None},
        {"connect": [[1, 2]]},
        {"connect": [[1, 2**32, False]]},
        {"read_only": True},
        {"reading": 1},
    ],
)
def test_a_document_whose_note_is_malformed_is_not_ours(changes: dict[str, Any]) -> None:
    metadata = replace(make_metadata(), unknown={"opened": encode_opened(OPENED) | changes})
    assert decode(encode(metadata)) is None
    assert decode(encode(replace(metadata, unknown={"opened": {}}))) is None


def test_the_command_that_has_it_open_is_named() -> None:
    assert (OPENED.by, replace(OPENED, reading="diff").by) == ("snapkit shell", "snapkit diff")


def test_the_document_says_who_has_it_open_and_the_entry_does() -> None:
    metadata = make_metadata().with_opened(OPENED)
    assert decode(encode(metadata)) == metadata
    assert make_entry(NAME, metadata=metadata).opened == OPENED
    assert metadata.with_opened(None) == make_metadata()
    assert make_entry(NAME, managed=False).opened is None
    assert OPENED.describe() == "alice at laptop, pid 4711, since 2026-01-10 10:30:45 UTC"


def test_roles_have_the_names_of_now_and_those_that_are_gone_are_left_out() -> None:
    grants = (Grant(10, 0, False), Grant(10, 16384, True), Grant(16384, 16385, False), Grant(16386, 0, False))
    assert named(grants, {10: "alice", 16384: "robert"}) == {
        Privilege("alice", "", "CONNECT", False),
        Privilege("alice", "robert", "CONNECT", True),
    }


def test_it_is_opened_to_its_owner_alone_and_read_only() -> None:
    assert statements_to_open(NAME, "alice", PRESENT, "document") == (
        s.CommentOnDatabase(NAME, "document"),
        s.RevokeOnDatabase(NAME, ("CONNECT",), (None, "bob")),
        s.GrantOnDatabase(NAME, ("CONNECT",), ("alice",)),
        s.SetParameter(NAME, None, "default_transaction_read_only", ("on",)),
        s.AlterDatabase(NAME, allow_connections=True, is_template=False),
    )
    assert privileges_when_open("alice") == {Privilege("alice", "alice", "CONNECT", False)}


def test_everything_comes_back_grants_in_the_order_in_which_they_can_be_made() -> None:
    wanted = PRESENT | {Privilege("bob", "carol", "CONNECT", False)}
    assert statement_to_shut(NAME) == s.AlterDatabase(NAME, allow_connections=False, is_template=False)
    assert statements_to_restore(
        NAME, "alice", privileges_when_open("alice"), wanted, read_only=None, document="document"
    ) == (
        s.RevokeOnDatabase(NAME, ("CONNECT",), ("alice",)),
        s.GrantOnDatabase(NAME, ("CONNECT",), (None,)),
        s.GrantOnDatabase(NAME, ("CONNECT",), ("bob",), with_grant_option=True),
        s.SetRole("bob"),
        s.GrantOnDatabase(NAME, ("CONNECT",), ("carol",)),
        s.SetRole(None),
        s.ResetParameter(NAME, "default_transaction_read_only"),
        s.CommentOnDatabase(NAME, "document"),
    )


def test_a_setting_that_was_there_comes_back() -> None:
    statements = statements_to_restore(NAME, "alice", (), (), read_only="off", document="document")
    assert statements[0] == s.SetParameter(NAME, None, "default_transaction_read_only", ("off",))


def counters(
    inserted: int = 0, database_reset: datetime | None = None, server_reset: datetime | None = None
) -> Activity:
    return Activity(1, 0, Rows(inserted, 0, 0), database_reset, server_reset)


@pytest.mark.parametrize(
    ("before", "now", "prepared", "early", "said"),
    [
        (counters(), counters(), (), False, None),
        (counters(5), counters(5), (), False, None),
        (
            counters(5),
            counters(7),
            (),
            False,
            "was written to in a snapkit shell (rows: 2 inserted, 0 updated, 0 deleted",
        ),
        (counters(), counters(), ("a'b",), False, 'has prepared transactions from a snapkit shell ("a\'b")'),
        (None, counters(), (), False, "was open in a snapkit shell, and it is not known"),
        (counters(), None, (), False, "was open in a snapkit shell, and it is not known"),
        (counters(5), counters(4), (), False, "was open in a snapkit shell, and it is not known"),
        (counters(), counters(0, AT), (), False, "was open in a snapkit shell, and it is not known"),
        (counters(), counters(0, AT), (), True, None),
        (counters(), counters(1, AT), (), True, "was written to"),
        (counters(1), counters(1, AT), (), True, "was open in a snapkit shell, and it is not known"),
        (counters(), counters(0, None, AT), (), True, "was open in a snapkit shell, and it is not known"),
    ],
)
def test_what_was_done_to_an_entry_while_it_was_open(
    before: Activity | None, now: Activity | None, prepared: tuple[str, ...], early: bool, said: str | None
) -> None:
    found = written_while_open(before, now, prepared, begins_at_first_use=early, by=OPENED.by)
    assert found is None if said is None else found is not None and found.startswith(said)


def test_what_autovacuum_has_written_is_no_alteration() -> None:
    def found(excused: int) -> str | None:
        return written_while_open(
            counters(5), counters(9), (), begins_at_first_use=False, by=OPENED.by, excused=Rows(excused, 0, 0)
        )

    assert (found(4), found(5)) == (None, None)
    assert found(3) == "was written to in a snapkit shell (rows: 1 inserted, 0 updated, 0 deleted, in the catalogs too)"


def test_what_was_counted_when_it_was_opened_comes_back() -> None:
    opened = Opened(AT, "me", "here", 1, (), counted=counters(3, AT, AT))
    assert decode_opened(encode_opened(opened)) == opened
