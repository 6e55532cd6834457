"""How a copy is compared with its source."""

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


def test_contents_are_compared_by_number_and_by_checksum() -> None:
    wanted = {"same": Contents(1, 7), "other": Contents(2, 8), "fewer": Contents(3, 9), "gone": Contents(1, 1)}
    found = {"same": Contents(1, 7), "other": Contents(2, 9), "fewer": Contents(2, 9), "new": Contents(1, 1)}
    assert compare_contents(wanted, wanted) == ()
    assert compare_contents(wanted, found) == (
        "fewer: 3 in the source, 2 in the copy",
        "gone: 1 in the source, 0 in the copy",
        "new: 0 in the source, 1 in the copy",
        "other: as many in the copy, but other ones",
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


def test_what_pg_dump_leaves_out_is_warned_of() -> None:
    source = LeftOut({"hstore": "alice", "citext": "bob", "gone": "x"}, frozenset(["b of t", "a of t"]))
    copy = LeftOut({"hstore": "root", "citext": "bob", "own": "y"}, frozenset())
    assert cautions_of(source, source) == ()
    owners, keys = cautions_of(source, copy)
    assert (owners.code, keys.code) == ("extension_owners", "keys_enforced")
    assert owners.message.endswith(": hstore ('root' instead of 'alice').")
    assert keys.message.endswith(": a of t, b of t.")


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
