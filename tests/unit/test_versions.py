"""Which row versions only one side has."""

from __future__ import annotations

from struct import pack as packed

from hypothesis import given
from hypothesis import strategies as st

from snapkit.core.comparison.row_versions.versions import Versions, only_in_one
from snapkit.core.comparison.tids import pack

Version = tuple[int, int, int]
"""Block, line and XID."""

_places = st.tuples(st.integers(0, 3), st.integers(1, 9))
_sides = st.dictionaries(_places, st.integers(3, 5), max_size=30)


def sent(versions: list[Version]) -> bytes | None:
    """What PostgreSQL makes of array_agg(ctid) and array_agg(xmin)."""
    if not versions:
        return None
    heads = [packed(">iiIii", 1, 0, kind, len(versions), 1) for kind in (27, 28)]
    authors = b"".join(packed(">iI", 4, xid) for _, _, xid in versions)
    return heads[0] + pack((block, line) for block, line, _ in versions) + heads[1] + authors


def received(versions: dict[tuple[int, int], int], runs: int = 1) -> Versions:
    every = sorted((*place, xid) for place, xid in versions.items())
    size = -(-len(every) // runs) or 1
    return Versions.received(sent(every[at : at + size]) for at in range(0, len(every) + 1, size))


@given(_sides, _sides, st.integers(1, 4))
def test_what_only_one_side_has_is_what_sets_say(
    before: dict[tuple[int, int], int], after: dict[tuple[int, int], int], runs: int
) -> None:
    gone, new = only_in_one(received(before, runs), received(after))
    assert gone == pack(sorted(place for place, _ in before.items() - after.items()))
    assert new == pack(sorted(place for place, _ in after.items() - before.items()))


@given(st.sets(st.integers(0, 999), max_size=20), st.sets(st.integers(0, 999), max_size=20))
def test_few_differences_among_many_versions(gone: set[int], updated: set[int]) -> None:
    every = {(number // 50, number % 50 + 1): 7 for number in range(1000)}
    before = dict.fromkeys(every, 7)
    after = {place: 8 if number in updated else 7 for number, place in enumerate(every) if number not in gone} | {
        (20, 1): 9
    }
    lost, new = only_in_one(received(before), received(after))
    assert lost == pack(place for number, place in enumerate(every) if number in gone | updated)
    assert new == pack([*(place for number, place in enumerate(every) if number in updated - gone), (20, 1)])


def test_a_side_without_rows() -> None:
    some = received({(0, 1): 3, (7, 2): 4})
    assert only_in_one(some, received({})) == (pack([(0, 1), (7, 2)]), b"")
    assert only_in_one(received({}), some) == (b"", pack([(0, 1), (7, 2)]))
    assert only_in_one(received({}), received({})) == (b"", b"")
