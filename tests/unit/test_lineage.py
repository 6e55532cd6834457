"""Where databases come from, and the latest moment at which two of them were the same files."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snapkit.core.comparison.lineage import (
    MAX_ANCESTORS,
    MAX_IN_PROGRESS,
    STRANGERS,
    UNKNOWN,
    Ancestor,
    Boundary,
    Kinship,
    Lineage,
    Lineages,
    boundary_from_document,
    boundary_to_document,
    from_document,
    kinship,
    read_snapshot,
    to_document,
)

SYSTEM = 7_500_000_000_000_000_001


def at(xid: int, lsn: int | None = None) -> Boundary:
    return Boundary(xid, xid, (), lsn)


def line(*path: tuple[int, Boundary | None], oid: int, system: int = SYSTEM) -> Lineage:
    return Lineage(system, oid, tuple(Ancestor(*each) for each in path))


LIVE = line(oid=1)
FIRST = LIVE.cloned(2, at(100, 1000))
SECOND = LIVE.cloned(3, at(200, 2000))
THIRD = SECOND.cloned(4, at(300, 3000))


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        (FIRST, LIVE, Kinship(True, at(100, 1000), (2, 1))),
        (LIVE, FIRST, Kinship(True, at(100, 1000), (1, 2))),
        (FIRST, SECOND, Kinship(True, at(100, 1000), (2, 1, 3))),
        (THIRD, SECOND, Kinship(True, at(300, 3000), (4, 3))),
        (THIRD, LIVE, Kinship(True, at(200, 2000), (4, 3, 1))),
        (THIRD, FIRST, Kinship(True, at(100, 1000), (4, 3, 1, 2))),
        (LIVE, LIVE, Kinship(True, None, (1,))),
        (FIRST, line(oid=9), STRANGERS),
        (FIRST, replace(LIVE, system=5), STRANGERS),
        (None, LIVE, STRANGERS),
        (LIVE, None, STRANGERS),
    ],
)
def test_two_databases_left_their_common_ancestor_at_the_earlier_moment(
    one: Lineage | None, other: Lineage | None, expected: Kinship
) -> None:
    assert kinship(one, other) == expected


def test_where_a_moment_is_not_known_kinship_is_proved_all_the_same() -> None:
    unknown = LIVE.cloned(5, None)
    assert kinship(unknown, LIVE) == Kinship(True, None, (5, 1))
    assert kinship(unknown, FIRST) == Kinship(True, None, (5, 1, 2))


def test_a_position_in_the_wal_counts_only_if_each_moment_has_one() -> None:
    without = LIVE.cloned(5, at(150))
    assert kinship(without, FIRST).boundary == at(100)
    assert kinship(without, SECOND).boundary == at(150)


def test_moments_that_overlap_become_the_earlier_of_each() -> None:
    early, late = Boundary(90, 100, (90,), 1000), Boundary(80, 110, (80,), 900)
    assert kinship(LIVE.cloned(2, early), LIVE.cloned(3, late)).boundary == Boundary(80, 100, (90,), 900)


def test_an_oid_that_was_given_out_twice_proves_nothing() -> None:
    other = line((2, at(400)), (8, at(350)), oid=6)
    assert kinship(other, FIRST) == STRANGERS


def test_the_lineage_of_what_has_no_document_is_found_in_one_that_comes_from_it() -> None:
    known = Lineages(SYSTEM, (FIRST, THIRD, replace(THIRD, oid=40, system=5)))
    assert known.of(3) == SECOND
    assert known.of(1) == LIVE
    assert known.of(2) == FIRST
    assert known.of(77) == line(oid=77)
    assert known.of(40) == line(oid=40)
    assert UNKNOWN.of(1) is None
    assert (hash(known), THIRD.of_ancestor(99)) == (hash(Lineages(SYSTEM)), None)


def test_the_longest_is_taken_since_some_may_have_been_cut() -> None:
    cut = line((3, at(300, 3000)), oid=4)
    assert Lineages(SYSTEM, (cut, THIRD, cut)).of(3) == SECOND


def test_what_comes_from_many_notes_the_nearest_of_them() -> None:
    lineage = LIVE
    for number in range(2, MAX_ANCESTORS + 10):
        lineage = lineage.cloned(number, at(100 * number))
    assert len(lineage.ancestors) == MAX_ANCESTORS
    assert lineage.ancestors[0] == Ancestor(MAX_ANCESTORS + 8, at(100 * (MAX_ANCESTORS + 9)))
    assert kinship(lineage, LIVE) == STRANGERS


def test_a_snapshot_with_very_many_in_progress_is_noted_as_of_before_all_of_them() -> None:
    many = tuple(range(100, 101 + MAX_IN_PROGRESS))
    boundary = Boundary(100, 500, many, 7)
    assert LIVE.cloned(2, boundary).ancestors[0].boundary == Boundary(100, 100, (), 7)
    few = replace(boundary, in_progress=many[:-1])
    assert LIVE.cloned(2, few).ancestors[0].boundary == few


@pytest.mark.parametrize("text", ["10:20:", "10:20:10,14", "4294967300:4294967301:4294967300"])
def test_a_snapshot_is_read_as_postgresql_writes_it(text: str) -> None:
    assert read_snapshot(text).snapshot == text


@pytest.mark.parametrize("text", ["", "1:2", "a:b:", "1:2:x", "-1:2:", "1:2:3:4"])
def test_what_is_no_snapshot_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r".*"):
        read_snapshot(text)


boundaries = st.builds(
    Boundary,
    xmin=st.integers(0, 2**64),
    xmax=st.integers(0, 2**64),
    in_progress=st.lists(st.integers(0, 2**64), max_size=4).map(tuple),
    lsn=st.none() | st.integers(0, 2**64),
)
lineages = st.builds(
    Lineage,
    system=st.integers(0, 2**64),
    oid=st.integers(0, 2**32 - 1),
    ancestors=st.lists(
        st.builds(Ancestor, oid=st.integers(0, 2**32 - 1), boundary=st.none() | boundaries), max_size=4
    ).map(tuple),
)


@given(lineages)
def test_what_is_noted_is_read_back(lineage: Lineage) -> None:
    assert from_document(to_document(lineage)) == lineage


@given(boundaries)
def test_a_moment_that_is_noted_is_read_back(boundary: Boundary) -> None:
    assert boundary_from_document(boundary_to_document(boundary)) == boundary


@pytest.mark.parametrize("found", [None, "", [], {}, [5], ["1:2:", -1], ["1:2"], ["1:2:", 1, 1]])
def test_a_malformed_moment_is_none(found: Any) -> None:
    assert boundary_from_document(found) is None


@pytest.mark.parametrize(
    "found",
    [
        None,
        "",
        [],
        {},
        {"system": 1, "oid": 2, "from": [3]},
        {"system": 1, "oid": 2, "from": [[True]]},
        {"system": 1, "oid": 2, "from": [[3, 4]]},
        {"system": 1, "oid": 2, "from": [[3, "1:2"]]},
        {"system": 1, "oid": 2, "from": [[3, "1:2:", "0/0"]]},
        {"system": 1, "oid": 2, "from": [[3, "1:2:", 1, 1]]},
        {"system": "1", "oid": 2, "from": []},
        {"system": 1, "oid": -2, "from": []},
    ],
)
def test_what_is_malformed_is_nothing(found: Any) -> None:
    assert from_document(found) is None


# --- against a model ------------------------------------------------------------------------------------------------


class _Model:
    """Databases as the sets of the XIDs that have written to their files, and what their documents would note."""

    def __init__(self) -> None:
        self.next_xid = 100
        self.next_oid = 2
        self.files: dict[int, frozenset[tuple[int, int]]] = {1: frozenset()}
        """Of each database: what was written to it, as (XID, the database in which it was written)."""
        self.at_work: dict[int, int] = {}
        """The transactions in progress: XID to database."""
        self.known: dict[int, Lineage] = {}
        """The documents that are there."""
        self.live = 1

    def begin(self, oid: int) -> None:
        self.at_work[self.next_xid] = oid
        self.next_xid += 1

    def write(self, oid: int) -> None:
        for xid in [xid for xid, where in self.at_work.items() if where == oid]:
            self.files[oid] |= {(xid, oid)}

    def end(self, oid: int) -> None:
        """End the transactions of a database: what was rolled back has written to its files, too."""
        self.at_work = {xid: where for xid, where in self.at_work.items() if where != oid}

    def clone(self, oid: int, late: int) -> int:
        """Clone a database; ``late`` transactions of others begin and end after its boundary was noted."""
        boundary = Boundary(min(self.at_work, default=self.next_xid), self.next_xid, tuple(sorted(self.at_work)))
        for _ in range(late):  # clients that are still inside
            self.begin(oid)
            self.write(oid)
        self.end(oid)
        source = Lineages(SYSTEM, tuple(self.known.values())).of(oid)
        assert source is not None
        clone, self.next_oid = self.next_oid, self.next_oid + 1
        self.files[clone] = self.files[oid]
        self.known[clone] = source.cloned(clone, boundary)
        return clone

    def drop(self, oid: int) -> None:
        """Drop a database, as snapkit does: what its document alone told of the live one is noted elsewhere."""
        if oid != self.live and len(self.files) > 2:
            lineage = Lineages(SYSTEM, tuple(self.known.values())).of(self.live)
            self.end(oid)
            del self.files[oid]
            self.known.pop(oid, None)
            assert lineage is not None
            self.known[self.live] = lineage


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["begin", "write", "end", "clone", "drop", "swap"]), st.integers(0, 20), st.integers(0, 2)
        ),
        max_size=40,
    )
)
def test_a_boundary_is_never_later_than_the_last_common_moment(steps: list[tuple[str, int, int]]) -> None:
    model = _Model()
    for what, which, late in steps:
        oid = list(model.files)[which % len(model.files)]
        if what == "clone":
            model.clone(oid, late)
        elif what == "swap":
            model.live = oid
        else:
            getattr(model, what)(oid)
    known = Lineages(SYSTEM, tuple(model.known.values()))
    for one, mine in model.files.items():
        for other, theirs in model.files.items():
            found = kinship(known.of(one), known.of(other))
            if one == other or found is STRANGERS:
                continue
            assert found.boundary is not None
            for xid, where in mine ^ theirs:
                assert xid >= found.boundary.xmin
                assert xid >= found.boundary.xmax or xid in found.boundary.in_progress
                assert where in found.databases


def test_all_that_comes_of_one_database_is_related() -> None:
    model = _Model()
    clones = [model.clone(1, 0), model.clone(1, 1)]
    clones.append(model.clone(clones[0], 0))
    model.live = clones[2]
    model.drop(clones[0])
    known = Lineages(SYSTEM, tuple(model.known.values()))
    assert all(kinship(known.of(one), known.of(other)).proved for one in model.files for other in model.files)
