"""What PostgreSQL prints in another way once it has read it again."""

from __future__ import annotations

import pytest

from snapkit.core.comparison.schema.reprinted import by_element, means_the_same

WHOLE = "CHECK (((v)::text = ANY ((ARRAY['a'::character varying, 'b'::character varying])::text[])))"
EACH = "CHECK (((v)::text = ANY (ARRAY[('a'::character varying)::text, ('b'::character varying)::text])))"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (WHOLE, EACH),
        (EACH, EACH),
        ("", ""),
        ("(ARRAY[a])::numeric(10,2)[] x", "ARRAY[(a)::numeric(10,2)] x"),
        ("(ARRAY[a])::character varying(5)[]", "ARRAY[(a)::character varying(5)]"),
        ('(ARRAY[a])::"odd ""s".t[]', 'ARRAY[(a)::"odd ""s".t]'),
        ("(ARRAY['it''s, ]', f(b, c), d[1]])::text[]", "ARRAY[('it''s, ]')::text, (f(b, c))::text, (d[1])::text]"),
        ("(ARRAY[(ARRAY[a])::text[], b])::x[]", "ARRAY[(ARRAY[(a)::text])::x, (b)::x]"),
        (f"(ARRAY[a]) {WHOLE}", f"(ARRAY[a]) {EACH}"),
        (f"{WHOLE} AND {WHOLE}", f"{EACH} AND {EACH}"),
        ("(ARRAY[a", "(ARRAY[a"),
        ("(ARRAY['a", "(ARRAY['a"),
    ],
)
def test_an_array_is_cast_by_element(text: str, expected: str) -> None:
    assert by_element(text) == expected


def test_other_casts_count() -> None:
    assert means_the_same(WHOLE, EACH)
    assert means_the_same(EACH, WHOLE)
    assert means_the_same("x", "x")
    assert not means_the_same("DEFAULT '1'::text", "DEFAULT '1'")
    assert not means_the_same(WHOLE, EACH.replace("'b'", "'c'"))
    assert not means_the_same(WHOLE, WHOLE.replace("::text[]", "::name[]"))
