"""What a copy made while clients work is divided into, and how it is compared with its source."""

from __future__ import annotations

import pytest

from snapkit.core.comparison.definitions import (
    Contents,
    Fingerprint,
    LeftOut,
    cautions_of,
    compare_contents,
    compare_definitions,
    compare_given,
    compare_numbers,
    compare_versions,
)
from snapkit.core.copying.division import MOST_RELAYED, WORTH_RELAYING, Counted, Table, divide
from snapkit.core.copying.lock_room import LockTable
from snapkit.core.copying.program_messages import event_triggers_last, kind_of, said_by
from snapkit.core.copying.untrusted_code import Call
from snapkit.core.secrets import without_values
from snapkit.errors import DiskFullError, PrivilegeError, SnapkitError


def make_table(
    oid: int,
    name: str = "t",
    size: int = WORTH_RELAYING,
    columns: tuple[str, ...] = ("a",),
    *,
    is_extensions: bool = False,
    hashed_root: tuple[str, str] | None = None,
) -> Table:
    return Table(oid, "public", name, size, columns, is_extensions, hashed_root)


def test_large_tables_are_relayed_largest_first_and_the_rest_is_counted() -> None:
    small, large, larger = make_table(1, "small", 8192), make_table(2, "large"), make_table(3, "larger", 2**30)
    division = divide([small, large, larger], "UTF8")
    assert division.relayed == (larger, large)
    assert division.rest == (Counted("public", "small", columns=("a",)),)


@pytest.mark.parametrize(
    ("table", "counted"),
    [
        (make_table(1, columns=()), (Counted("public", "t"),)),
        (make_table(1, is_extensions=True), ()),
        (
            make_table(1, hashed_root=("public", "root")),
            (Counted("public", "root", only=False, columns=("a",)),),
        ),
        (make_table(1, "ü"), (Counted("public", "ü", columns=("a",)),)),
        (make_table(1, columns=("ü",)), (Counted("public", "t", columns=("ü",)),)),
    ],
)
def test_what_pg_dump_knows_better_is_left_to_it(table: Table, counted: tuple[Counted, ...]) -> None:
    division = divide([table], "LATIN1")
    assert (division.relayed, division.rest) == ((), counted)


def test_names_that_are_not_ascii_are_relayed_where_all_speak_utf_8() -> None:
    table = make_table(1, "ü")
    assert divide([table], "UTF8").relayed == (table,)


def test_the_command_line_has_an_end() -> None:
    division = divide([make_table(n, f"t{n:04}") for n in range(MOST_RELAYED + 5)], "UTF8")
    assert len(division.relayed) == MOST_RELAYED
    assert [each.name for each in division.rest] == [f"t{n:04}" for n in range(MOST_RELAYED, MOST_RELAYED + 5)]


def test_rows_are_compared_by_all_columns_that_are_stored_in_an_order_of_ours() -> None:
    table = Table(1, "public", "t", 0, ("b", "a"), generated=("aa",))
    assert table.as_compared == Counted("public", "t", columns=("a", "aa", "b"))


def test_contents_are_compared_by_number_and_by_checksum() -> None:
    wanted = {"same": Contents(1, 7), "other": Contents(2, 8), "fewer": Contents(3, 9), "gone": Contents(1, 1)}
    found = {"same": Contents(1, 7), "other": Contents(2, 9), "fewer": Contents(2, 9), "new": Contents(1, 1)}
    assert compare_contents(wanted, wanted) == ()
    assert compare_contents(wanted, found) == (
        "fewer: 3 in the source, 2 in the copy",
        "gone: 1 in the source, 0 in the copy",
        "new: 0 in the source, 1 in the copy",
        "other: as many in the copy, but not the same",
    )


def test_what_postgresql_brings_is_compared_by_what_it_does_and_by_the_rest() -> None:
    wanted = {"a": Fingerprint(1, 1), "b": Fingerprint(1, 1), "c": Fingerprint(1, 1), "d": Fingerprint(1, 1)}
    found = {"a": Fingerprint(1, 1), "b": Fingerprint(2, 2), "c": Fingerprint(1, 2), "e": Fingerprint(1, 1)}
    assert compare_given(wanted, found) == (("b", "d", "e"), ("c",))


def test_what_else_a_copy_has_otherwise_is_warned_of() -> None:
    source = LeftOut(
        {}, frozenset(), {"f": Fingerprint(1, 1)}, {"e": Contents(1, 1)}, {"v": Contents(1, 1), "w": Contents(1, 1)}
    )
    copy = LeftOut(
        {}, frozenset(), {"f": Fingerprint(1, 2)}, {"e": Contents(1, 2)}, {"v": Contents(1, 2), "x": Contents(1, 1)}
    )
    cautions = cautions_of(source, copy)
    assert [each.code for each in cautions] == ["given_objects_changed", "extension_rows", "views_refreshed"]
    assert "comment in the backup: f." in cautions[0].message
    assert "v: as many" in cautions[2].message and "x" not in cautions[2].message.partition(": ")[2]


def test_titles_are_quoted() -> None:
    assert Table(1, 'a"b', "c.d", 0, ()).title == '"a""b"."c.d"'
    assert Counted('a"b', "c.d").title == '"a""b"."c.d"'


def dump(*definitions: tuple[str, str]) -> str:
    head = "--\n-- PostgreSQL database dump\n--\n\n\\restrict abc\n\nSET row_security = off;\n\n"
    return head + "".join(f"--\n-- Name: {title}\n--\n\n{body}\n\n\n" for title, body in definitions) + (
        "--\n-- PostgreSQL database dump complete\n--\n\n\\unrestrict abc\n"
    )  # fmt: skip


CHECK = "c; Type: CHECK"
ACL = "TABLE t; Type: ACL; Schema: public"
SETS = "SET default_tablespace = '';\n\nSET default_table_access_method = heap;\n\n"
IN = "CHECK (((x)::text = ANY ((ARRAY['a'::character varying, 'b'::character varying])::text[])))"
IN_AGAIN = "CHECK (((x)::text = ANY (ARRAY[('a'::character varying)::text, ('b'::character varying)::text])))"
TABLE = ("t; Type: TABLE; Schema: public; Owner: a", "CREATE TABLE t (a integer);")
VIEW = ("v; Type: VIEW; Schema: public; Owner: a", "CREATE VIEW v AS SELECT 1;")


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ([TABLE, VIEW], [VIEW, TABLE]),
        ([TABLE], [(TABLE[0], SETS + TABLE[1])]),
        ([(CHECK, IN)], [(CHECK, IN_AGAIN)]),
        ([(CHECK, "x = '1'::\"My\".\"type\"(3,2)[]")], [(CHECK, "x = '1'::public.other")]),
        ([(ACL, "GRANT ALL ON t TO a;\nGRANT ALL ON t TO b;")], [(ACL, "GRANT ALL ON t TO b;\nGRANT ALL ON t TO a;")]),
    ],
)  # fmt: skip
def test_definitions_that_mean_the_same(before: list[tuple[str, str]], after: list[tuple[str, str]]) -> None:
    assert compare_definitions(dump(*before), dump(*after).replace("abc", "xyz")) == ()


def test_definitions_that_differ_are_named() -> None:
    changed = (TABLE[0], "CREATE TABLE t (a bigint);")
    other = ("w; Type: VIEW; Schema: public; Owner: a", "CREATE VIEW w AS SELECT 1;")
    assert compare_definitions(dump(TABLE, VIEW), dump(changed, other)) == (
        f"{TABLE[0]}: differs",
        f"{VIEW[0]}: not in the copy",
        f"{other[0]}: not in the source",
    )


def test_a_definition_too_many_of_the_same_name_is_noticed() -> None:
    assert compare_definitions(dump(VIEW), dump(VIEW, VIEW)) == (f"{VIEW[0]}: differs",)


def test_calls_are_told() -> None:
    assert Call("CHECK c of t", "function f(int)", "o'b").describe() == (
        """CHECK c of t calls function f(int), which belongs to "o'b\""""
    )
    assert Call("CHECK c of t", "function random()", None).describe() == (
        "CHECK c of t calls function random(), which is not immutable"
    )


def test_what_pg_dump_leaves_out_is_warned_of() -> None:
    source = LeftOut({"hstore": "alice", "citext": "bob", "gone": "x"}, frozenset(["b of t", "a of t"]))
    copy = LeftOut({"hstore": "root", "citext": "bob", "own": "y"}, frozenset())
    assert cautions_of(source, source) == ()
    owners, keys = cautions_of(source, copy)
    assert (owners.code, keys.code) == ("extension_owners", "keys_enforced")
    assert owners.message.endswith(": hstore ('root' instead of 'alice').")
    assert keys.message.endswith(": a of t, b of t.")


def test_event_triggers_are_made_last() -> None:
    head, index = "; Archive created\n", "9; 1259 16402 INDEX public EVENT TRIGGER x alice\n"
    trigger, comment = "7; 3466 16441 EVENT TRIGGER - zz root\n", "8; 0 0 COMMENT - EVENT TRIGGER zz root\n"
    assert event_triggers_last(head + trigger + comment + index) == (head + index, trigger + comment)


def test_numbers() -> None:
    assert compare_numbers({"a": 1, "b": 2}, {"a": 1, "b": 3, "c": 1}) == (
        "b: 2 in the source, 3 in the copy",
        "c: 0 in the source, 1 in the copy",
    )


def test_versions() -> None:
    installed = {"hstore": "1.7", "citext": "1.6", "gone": "1.0"}
    assert compare_versions(installed, {"hstore": "1.8", "citext": "1.6"}) == (
        "gone 1.0 (the server does not offer it)",
        "hstore 1.7 (the server would install 1.8)",
    )


SAID = """pg_restore: while PROCESSING TOC:
pg_restore: from TOC entry 3456; 0 0 USER MAPPING x y
pg_restore: error: could not execute query: ERROR:  permission denied for table x
DETAIL:  Some detail.
HINT:  Some hint.
Command was: CREATE USER MAPPING FOR x SERVER y OPTIONS (
    password 'secret'
);
"""


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


def test_values_are_left_out_and_names_are_not() -> None:
    assert without_values('value "4" of "5\n" is too large') == "value ..."
    assert without_values('invalid: "4') == "invalid: ..."
    assert without_values('new row for relation "t" violates "c"') == 'new row for relation "t" violates "c"'


@pytest.mark.parametrize(
    ("locks", "is_too_small"),
    [
        (LockTable(64, 100, 1000, 2000), False),
        (LockTable(64, 100, 22_000, 63_000), True),
        (LockTable(10, 100, 750, 0), True),
        (LockTable(10, 100, 250, 300), False),
    ],
)
def test_a_copy_is_not_begun_where_there_is_no_room_for_its_locks(locks: LockTable, is_too_small: bool) -> None:
    assert locks.is_too_small is is_too_small
    enough = LockTable(locks.enough_per_transaction, locks.sessions, locks.tables, locks.others)
    assert not enough.is_too_small
    assert f"locks {locks.tables} tables" in locks.room
    assert f"to {locks.enough_per_transaction} or more (now {locks.per_transaction})" in locks.remedy
