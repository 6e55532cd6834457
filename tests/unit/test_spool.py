"""What is put down is read again, in memory or on disk."""

from __future__ import annotations

import resource
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snapkit.core.comparison.tids import pack, place_of, unpack
from snapkit.errors import SnapkitError
from snapkit.services.comparison import spool
from snapkit.services.comparison.spool import PairSpool, Spool

PLACES = st.tuples(st.integers(0, 2**32 - 1), st.integers(0, 2**16 - 1))


@given(st.lists(st.tuples(st.integers(1, 3), st.lists(PLACES, max_size=7))))
def test_places_come_back_in_their_order(some: list[tuple[int, list[tuple[int, int]]]]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(spool, "_IN_MEMORY", 50)
        patch.setattr(spool, "_BATCH", 3)
        found = Spool()
        for leaf, places in some:
            found.put(leaf, pack(places))
        expected = [(leaf, place) for leaf, places in some for place in places]
        assert [(leaf, place) for leaf, tids in found for place in unpack(tids)] == expected
        assert found.places == len(expected)


@given(st.lists(st.tuples(st.binary(min_size=10, max_size=10), st.binary(min_size=10, max_size=10))))
def test_pairs_come_back_in_their_order(pairs: list[tuple[bytes, bytes]]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(spool, "_BATCH", 3)
        found = PairSpool()
        found.put(pairs)
        again = [each for some in found for each in some]
        assert again == [(place_of(before), place_of(after)) for before, after in pairs]
        assert found.rows == len(pairs)


def test_a_full_disk_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    found = Spool()
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**20, limit[1]))
    try:
        with pytest.raises(
            SnapkitError, match=f"cannot be kept in '{tmp_path}' on this machine: File too large"
        ) as raised:
            found.put(1, bytes(10 * 2**20))
        assert raised.value.hint is not None
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
