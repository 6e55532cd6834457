"""Rows of two sides are joined: in memory or divided on disk, it is the same."""

from __future__ import annotations

import random
from collections import Counter
from itertools import zip_longest

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snapkit.postgres.comparison.rows import HASH, LISTED
from snapkit.services.comparison.methods import joining
from snapkit.services.comparison.methods.joining import Differing, Join

IDENTITIES = st.integers(0, 40)


def place(side: int, number: int) -> bytes:
    return bytes([side, 0, 0, 0]) + number.to_bytes(6)


def row(side: int, number: int, identity: int, value: int) -> bytes:
    spread = random.Random(identity).randbytes(HASH)
    return place(side, number) + spread + value.to_bytes(HASH)


def joined(sides: tuple[list[bytes], list[bytes]], *, by_key: bool, limit: int, waits: bool) -> list[Differing]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(joining, "_IN_MEMORY", limit * LISTED)
        patch.setattr(joining, "_DEEPEST", 2)
        patch.setattr(joining, "_BATCH", 3)
        patch.setattr(joining, "_MOST_WAITING", 4)
        join = Join(by_key=by_key)
        put = join.put_mostly_same if waits else join.put
        for before, after in zip_longest(*sides, fillvalue=b""):
            put(0, before)
            put(1, after)
        return [each for some in join.differing() for each in some]


@given(
    st.dictionaries(IDENTITIES, st.integers(0, 1)),
    st.dictionaries(IDENTITIES, st.integers(0, 1)),
    st.integers(1, 100),
    st.booleans(),
)
def test_rows_with_a_key(before: dict[int, int], after: dict[int, int], limit: int, waits: bool) -> None:
    old = [row(0, at, at, value) for at, value in before.items()]
    new = [row(1, at, at, value) for at, value in after.items()]
    found = joined((old, new), by_key=True, limit=limit, waits=waits)
    expected = [
        (place(0, at) if at in before else None, place(1, at) if at in after else None)
        for at in before.keys() | after.keys()
        if before.get(at) != after.get(at)
    ]
    assert sorted(found, key=repr) == sorted(expected, key=repr)


@given(st.lists(IDENTITIES), st.lists(IDENTITIES), st.integers(1, 100), st.booleans())
def test_rows_without_a_key(before: list[int], after: list[int], limit: int, waits: bool) -> None:
    old = [row(0, at, each, 0) for at, each in enumerate(before)]
    new = [row(1, at, each, 0) for at, each in enumerate(after)]
    found = joined((old, new), by_key=False, limit=limit, waits=waits)
    gone = [before[int.from_bytes(each[4:])] for each, other in found if each and not other]
    came = [after[int.from_bytes(each[4:])] for other, each in found if each and not other]
    assert len(found) == len(gone) + len(came) == len(set(found))
    assert Counter(gone) == Counter(before) - Counter(after)
    assert Counter(came) == Counter(after) - Counter(before)
