"""What was written since a backup, by counters, and when those are not to be relied on."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snapkit.core.comparison.writes import (
    MAX_NOTED_TABLES,
    MAX_TABLES,
    Activity,
    Doubt,
    Present,
    Rows,
    TableName,
    TableWrites,
    Written,
    from_document,
    to_document,
    written_since,
)
from snapkit.core.inventory.metadata import Metadata, decode, encode
from tests.unit.builders import AT, NOW, make_metadata

STARTED = datetime(2026, 1, 1, 1, 2, 3, 456789, tzinfo=UTC)
NOTED = Activity(
    16384,
    10,
    Rows(100, 20, 3),
    None,
    STARTED,
    own=Rows(50, 5, 1),
    tables={1: Rows(40, 10, 0), 2: Rows(1)},
    complete=True,
)
NAMES = {1: TableName("public", "item"), 2: TableName("public", "user"), 3: TableName("s", "new")}

numbers = st.integers(0, 2**40)
rows = st.builds(Rows, numbers, numbers, numbers)
times = st.none() | st.datetimes(timezones=st.just(UTC))
tables = st.dictionaries(st.integers(1, 50), rows, max_size=8)
activities = st.builds(Activity, numbers, numbers, rows, times, times) | st.builds(
    Activity, numbers, numbers, rows, times, times, own=rows, tables=tables, complete=st.booleans()
)


def present(**changes: Any) -> Present:
    return Present(replace(NOTED, **changes), NAMES)


def cost(now: Present, noted: Activity | None = NOTED, oid: int = 16384) -> Written:
    return written_since(AT, noted, oid, now)


def test_nothing_was_written() -> None:
    assert cost(present()) == Written(AT, 0, Rows(), (), True, None, None)


def test_what_was_written_by_table_the_most_first_and_without_the_catalogs() -> None:
    now = present(
        transactions=15,
        rows=Rows(120, 25, 4),
        own=Rows(60, 6, 1),
        tables={1: Rows(42, 10, 0), 2: Rows(1), 3: Rows(0, 3, 1)},
    )
    assert cost(now) == Written(
        AT,
        5,
        Rows(10, 4, 1),
        (TableWrites(NAMES[3], Rows(0, 3, 1)), TableWrites(NAMES[1], Rows(2))),
        True,
    )


def test_of_tables_that_were_not_noted_nothing_is_told() -> None:
    now = Present(replace(NOTED, tables={1: Rows(42, 10, 0), 3: Rows(9)}, own=Rows(50, 5, 1)), NAMES)
    written = cost(now, replace(NOTED, complete=False))
    assert (written.tables, written.all_tables) == ((TableWrites(NAMES[1], Rows(2)),), False)
    assert cost(replace(now, names={})).tables == ()


@pytest.mark.parametrize("side", ["noted", "now"])
def test_where_nobody_could_look_inside_the_whole_database_counts(side: str) -> None:
    blind = {"own": Rows(), "tables": None, "complete": False}
    noted = replace(NOTED, **blind) if side == "noted" else NOTED  # type: ignore[arg-type]
    now = present(rows=Rows(107, 20, 3), **(blind if side == "now" else {}))
    assert cost(now, noted) == Written(AT, 0, Rows(7), (), False)


def test_the_time_of_the_last_write_is_passed_on() -> None:
    assert cost(replace(present(), last_commit=NOW)).last_commit == NOW


@pytest.mark.parametrize(
    ("now", "noted", "oid", "doubt"),
    [
        (present(), None, 16384, Doubt.NOT_NOTED),
        (present(), NOTED, 7, Doubt.OTHER_DATABASE),
        (Present(None, {}), NOTED, 16384, Doubt.UNREADABLE),
        (replace(present(), counting=False), NOTED, 16384, Doubt.NOT_COUNTED),
    ],
)
def test_nothing_can_be_said(now: Present, noted: Activity | None, oid: int, doubt: Doubt) -> None:
    written = cost(now, noted, oid)
    assert (written.rows, written.transactions, written.tables, written.doubt) == (None, None, (), doubt)
    assert doubt.describe()


@pytest.mark.parametrize(
    ("changes", "doubt", "least", "item"),
    [
        ({"server_reset": NOW, "rows": Rows(9), "own": Rows(2), "transactions": 1, "tables": {1: Rows(5)}},
         Doubt.STATISTICS_LOST, Rows(7), Rows(5)),
        ({"database_reset": NOW, "rows": Rows(9), "own": Rows(), "transactions": 1, "tables": {1: Rows(5)}},
         Doubt.STATISTICS_RESET, Rows(9), Rows(5)),
        ({"database_reset": NOW, "rows": Rows(105, 20, 3), "tables": {1: Rows(5)}},
         Doubt.STATISTICS_RESET, Rows(5), Rows(5)),
        ({"transactions": 9, "tables": {1: Rows(40, 10, 0)}, "own": Rows()},
         Doubt.COUNTER_LOWER, Rows(100, 20, 3), Rows(40, 10)),
        ({"tables": {1: Rows(39, 10, 0)}}, Doubt.COUNTER_LOWER, Rows(), Rows(39, 10)),
    ],
)  # fmt: skip
def test_counters_that_began_anew_tell_the_least(
    changes: dict[str, Any], doubt: Doubt, least: Rows, item: Rows
) -> None:
    written = cost(present(**changes))
    assert (written.doubt, written.rows, written.tables) == (doubt, least, (TableWrites(NAMES[1], item),))


@given(activities, rows, numbers, tables)
def test_what_is_added_is_what_is_told(noted: Activity, more: Rows, commits: int, added: dict[int, Rows]) -> None:
    def plus(a: Rows, b: Rows) -> Rows:
        return Rows(a.inserted + b.inserted, a.updated + b.updated, a.deleted + b.deleted)

    noted = replace(noted, own=Rows())
    before = noted.tables
    after = None
    if before is not None:
        after = {**before, **{oid: plus(before.get(oid, Rows()), each) for oid, each in added.items()}}
    now = replace(noted, rows=plus(noted.rows, more), transactions=noted.transactions + commits, tables=after)
    names = {oid: TableName("s", str(oid)) for oid in range(51)}
    written = written_since(AT, noted, noted.oid, Present(now, names))
    assert (written.doubt, written.rows, written.transactions) == (None, more, commits)
    told = {each.table.name: each.rows for each in written.tables}
    if before is not None:
        known = added if noted.complete else {oid: each for oid, each in added.items() if oid in before}
        assert told == {str(oid): each for oid, each in known.items() if each.total}


@given(activities | st.none(), activities | st.none(), st.booleans())
def test_no_counters_make_it_fail_or_less_than_nothing(
    noted: Activity | None, now: Activity | None, counting: bool
) -> None:
    names = {oid: TableName("s", str(oid)) for oid in range(51)}
    written = written_since(AT, noted, noted.oid if noted else 1, Present(now, names, counting=counting))
    assert (written.rows is None) == (written.transactions is None)
    for each in (written.rows, *(table.rows for table in written.tables)):
        assert each is None or min(each.inserted, each.updated, each.deleted) >= 0
    assert written.transactions is None or written.transactions >= 0


def test_many_tables_are_cut() -> None:
    names = {oid: TableName("s", f"t{oid}") for oid in range(1000)}
    now = replace(NOTED, tables={oid: Rows(oid + 50, 60, 60) for oid in range(1000)})
    written = written_since(AT, NOTED, NOTED.oid, Present(now, names))
    assert len(written.tables) == MAX_TABLES
    assert not written.all_tables
    assert written.tables[0].table.name == "t999"


@given(activities)
def test_what_is_noted_reads_back(activity: Activity) -> None:
    assert from_document(json.loads(json.dumps(to_document(activity)))) == activity
    metadata = Metadata(make_metadata().kind, "app", AT, activity=activity)
    assert decode(encode(metadata)) == metadata
    assert hash(metadata) == hash(decode(encode(metadata)))


@pytest.mark.parametrize(
    "changes",
    [
        {"oid": "x"},
        {"oid": -1},
        {"oid": True},
        {"rows": [1, 2]},
        {"rows": 3},
        {"rows": [1, 2, 2**63]},
        {"transactions": 1.5},
        {"server_reset": "yesterday"},
        {"server_reset": "2026-01-01T00:00:00"},
        {"tables": [[1, 2]]},
        {"tables": {"a": 1}},
        {"own": None},
    ],
)
def test_what_is_not_what_we_note_is_nothing_and_stays(changes: dict[str, Any]) -> None:
    document = to_document(NOTED) | changes
    assert from_document(document) is None
    read = decode(encode(make_metadata())[:-1] + f',"activity":{json.dumps(document)}}}')
    assert isinstance(read, Metadata)
    assert json.loads(encode(read))["activity"] == document


def test_a_comment_of_somebody_s_making_is_cut() -> None:
    document = to_document(NOTED) | {"tables": [[oid, 1, 1, 1] for oid in range(10_000)]}
    read = from_document(document)
    assert read is not None
    assert len(read.tables or {}) == MAX_NOTED_TABLES
    assert from_document("x") is from_document(None) is from_document([]) is None
