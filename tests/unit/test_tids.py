"""Places of row versions, as bytes that PostgreSQL sends and takes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from snapkit.core.comparison.row_changes import Place
from snapkit.core.comparison.tids import (
    WIDTH,
    as_array,
    batches,
    by_leaf,
    of_array,
    pack,
    place_of,
    places_of,
    unpack,
    without,
)

PLACES = st.lists(st.tuples(st.integers(0, 2**32 - 1), st.integers(0, 2**16 - 1)))


@given(PLACES)
def test_what_is_packed_is_unpacked(places: list[tuple[int, int]]) -> None:
    tids = pack(places)
    assert len(tids) == WIDTH * len(places)
    assert list(unpack(tids)) == places


@given(PLACES)
def test_an_array_holds_what_was_put_into_it(places: list[tuple[int, int]]) -> None:
    assert of_array(as_array(pack(places))) == pack(places)


def test_an_array_is_as_postgresql_sends_it() -> None:
    assert as_array(pack([(1, 2)])).hex() == "0000000100000000" + "0000001b0000000100000001" + "00000006000000010002"
    assert as_array(b"").hex() == "00000000000000000000001b"  # of no dimension
    assert of_array(None) == b""


@given(PLACES, st.integers(1, 5))
def test_batches_are_all_of_it(places: list[tuple[int, int]], size: int) -> None:
    some = list(batches(pack(places), size))
    assert b"".join(some) == pack(places)
    assert all(0 < len(each) <= size * WIDTH for each in some)


def packed(leaf: int, block: int, line: int) -> bytes:
    return leaf.to_bytes(4) + block.to_bytes(4) + line.to_bytes(2)


def test_places_with_their_leaves() -> None:
    some = [packed(7, 1, 2), packed(7, 1, 3), packed(2**32 - 1, 0, 1)]
    assert place_of(some[0]) == Place(7, 1, 2)
    assert places_of(b"".join(some))[2] == Place(2**32 - 1, 0, 1)
    assert list(by_leaf(some)) == [(7, pack([(1, 2), (1, 3)])), (2**32 - 1, pack([(0, 1)]))]


def test_some_places_may_be_left_out() -> None:
    tids = pack([(1, 2), (1, 3), (5, 1)])
    assert without(tids, 7, {packed(7, 1, 3), packed(8, 5, 1)}) == pack([(1, 2), (5, 1)])
