"""What pg_dump and pg_restore say, and what of that is told."""

from __future__ import annotations

import pytest

from snapkit.core.copying.program_messages import event_triggers_last, kind_of, said_by
from snapkit.errors import DiskFullError, PrivilegeError, SnapkitError


def test_event_triggers_are_made_last() -> None:
    head, index = "; Archive created\n", "9; 1259 16402 INDEX public EVENT TRIGGER x alice\n"
    trigger, comment = "7; 3466 16441 EVENT TRIGGER - zz root\n", "8; 0 0 COMMENT - EVENT TRIGGER zz root\n"
    assert event_triggers_last(head + trigger + comment + index) == (head + index, trigger + comment)


def test_what_a_program_said_is_told_without_statements() -> None:
    said = said_by(SAID)
    assert said == (
        "could not execute query: ERROR:  permission denied for table x DETAIL:  Some detail. HINT:  Some hint."
    )
    assert len(said_by("pg_dump: error: " + "x" * 5000)) == 1000


@pytest.mark.parametrize(
    ("complaint", "kind"),
    [
        ("could not extend file: No space left on device", DiskFullError),
        ("ERROR:  permission denied for table x", PrivilegeError),
        ("ERROR:  must be owner of extension x", PrivilegeError),
        ("HINT:  Must be superuser to create an event trigger.", PrivilegeError),
        ("ERROR:  something else", SnapkitError),
    ],
)
def test_the_kind_of_a_complaint(complaint: str, kind: type[SnapkitError]) -> None:
    assert kind_of(complaint) is kind


@pytest.mark.parametrize(
    ("error", "told"),
    [
        ('new row for relation "t" violates check constraint "c"', None),
        ('duplicate key value violates unique constraint "u"', None),
        ('COPY failed for table "t": ERROR:  new row for relation "t" violates check constraint "c"', None),
        (
            'COPY failed for table "t": ERROR:  invalid input syntax for type integer: "bob 42"',
            'COPY failed for table "t": ERROR:  invalid input syntax for type integer: ...',
        ),
        ('COPY failed for table "t": ERROR:  value "bob "42', 'COPY failed for table "t": ERROR:  value ...'),
    ],
)
def test_rows_that_postgresql_quotes_are_not_told(error: str, told: str | None) -> None:
    said = f"pg_restore: error: {error}\nDETAIL:  Failing row contains (bob, 42).\nDETAIL:  Key (email)=(bob).\n"
    assert said_by(said) == (told or error)
    assert said_by(said + SAID).startswith(f"{told or error} could not execute query")


SAID = """pg_restore: while PROCESSING TOC:
pg_restore: from TOC entry 3456; 0 0 USER MAPPING x y
pg_restore: error: could not execute query: ERROR:  permission denied for table x
DETAIL:  Some detail.
HINT:  Some hint.
Command was: CREATE USER MAPPING FOR x SERVER y OPTIONS (
    password 'secret'
);
"""
