"""What is left of two sides when known versions are taken away."""

from __future__ import annotations

from struct import pack as packed

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snapkit.core.comparison.row_versions import balance as module
from snapkit.core.comparison.row_versions.balance import AFTER, BEFORE, Balance, Marks, Tally, marks_of
from snapkit.core.comparison.tids import pack, unpack

Versions = dict[tuple[int, int], int]
"""Places, and the hash of the version at each."""

_versions = st.dictionaries(
    st.tuples(st.integers(0, 29), st.integers(1, 4)), st.integers(-(2**63), 2**63 - 1), max_size=30
)


def marks(versions: Versions) -> Marks:
    return {pack([place]): mark for place, mark in versions.items()}


def tally(versions: Versions, known: set[tuple[int, int]]) -> Tally:
    all_of_them = 0
    for mark in versions.values():
        all_of_them ^= mark
    return Tally(len(versions), all_of_them, marks({place: versions[place] for place in known & versions.keys()}))


def test_marks_as_they_are_sent() -> None:
    hashes = b"".join(packed(">iq", 8, mark) for mark in (-5, 7))
    assert marks_of(pack([(1, 2), (3, 4)]), hashes) == {pack([(1, 2)]): -5, pack([(3, 4)]): 7}
    assert marks_of(b"", b"") == {}


def chosen(versions: Versions, known: set[tuple[int, int]]) -> Versions:
    return {place: versions[place] for place in known & versions.keys()}


@given(_versions, _versions, _versions, st.data())
def test_all_that_differs_is_told_or_the_range_is_to_be_listed(
    common: Versions, before: Versions, after: Versions, data: st.DataObject
) -> None:
    sides = {**before, **common}, {**after, **common}
    every = sorted(sides[BEFORE].keys() | sides[AFTER].keys())
    recent, found = ([data.draw(st.sets(st.sampled_from(every))) if every else set() for _ in sides] for _ in range(2))
    balance = Balance(1000, 0)
    balance.put(0, (tally(sides[BEFORE], recent[BEFORE]), tally(sides[AFTER], recent[AFTER])))
    for side in (BEFORE, AFTER):
        balance.add(side, marks(chosen(sides[side], found[side])))
    ((number, told),) = balance.settled()
    assert number == 0
    if told is not None:
        assert all(only <= {*unpack(told[side])} for side, only in enumerate(only_on(sides)))


@given(_versions, _versions, _versions)
def test_where_just_that_is_known_which_differs_nothing_is_listed(
    common: Versions, before: Versions, after: Versions
) -> None:
    sides = {**before, **common}, {**after, **common}
    gone, came = only_on(sides)
    balance = Balance(1000, 0)
    balance.put(0, (tally(sides[BEFORE], set()), tally(sides[AFTER], came)))
    balance.add(BEFORE, marks(chosen(sides[BEFORE], gone)))
    ((_, told),) = balance.settled()
    assert told is not None
    assert tuple({*unpack(tids)} for tids in told) == (gone, came)


def only_on(sides: tuple[Versions, Versions]) -> tuple[set[tuple[int, int]], set[tuple[int, int]]]:
    before, after = sides
    return {place for place, _ in before.items() - after.items()}, {
        place for place, _ in after.items() - before.items()
    }


def test_what_lies_in_a_range_that_does_not_differ_is_passed_over() -> None:
    balance = Balance(10, 2)
    balance.put(1, (tally({(12, 1): 5, (13, 1): 6}, set()), tally({(13, 1): 6}, set())))
    balance.add(BEFORE, marks({(2, 1): 9, (12, 1): 5}))
    assert list(balance.settled()) == [(1, (pack([(12, 1)]), b""))]


def test_the_last_range_has_no_end() -> None:
    balance = Balance(10, 2)
    balance.put(2, (tally({}, set()), tally({(99, 1): 5}, {(99, 1)})))
    assert balance.known(AFTER) == pack([(99, 1)])
    assert list(balance.settled()) == [(2, (b"", pack([(99, 1)])))]


def test_what_is_known_on_both_sides_alike_is_not_taken_away() -> None:
    versions = {(0, 1): 5, (0, 2): 6}
    balance = Balance(10, 0)
    balance.put(0, (tally(versions, {(0, 1)}), tally(versions, {(0, 1)})))
    assert balance.known(BEFORE) == balance.known(AFTER) == b""


def test_another_version_at_the_same_place_is_taken_away_on_both_sides() -> None:
    balance = Balance(10, 0)
    balance.put(0, (tally({(0, 1): 5, (0, 2): 6}, {(0, 1)}), tally({(0, 1): 7, (0, 2): 6}, {(0, 1)})))
    assert balance.known(BEFORE) == balance.known(AFTER) == pack([(0, 1)])
    assert balance.is_even


def test_what_is_known_may_be_too_much(monkeypatch: pytest.MonkeyPatch) -> None:
    versions = {(0, line): line for line in range(1, 9)}
    balance = Balance(10, 0)
    monkeypatch.setattr(module, "_MOST", 2)
    assert balance.takes((tally(versions, {(0, 1)}), tally(versions, {(0, 3)})))
    assert not balance.takes((tally(versions, {(0, 1)}), tally(versions, {(0, 3), (0, 4)})))
    balance.put(0, (tally(versions, {(0, 1)}), tally(versions, set())))
    assert not balance.takes((tally(versions, {(0, 1)}), tally(versions, {(0, 3)})))
    assert not balance.is_even
