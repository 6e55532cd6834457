from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snapkit.core.inventory.kinds import Kind
from snapkit.core.inventory.naming import (
    MAX_NAME_BYTES,
    belongs_to,
    free_name,
    is_passing_name,
    passing_name,
    read_partial_name,
    read_script_name,
    sequence_of,
    stamp_of,
)
from tests.unit.builders import AT, utc, words

kinds = st.sampled_from(Kind)
times = st.datetimes(timezones=st.just(UTC))
sources = words.filter(lambda name: len(name.encode()) <= MAX_NAME_BYTES)


@pytest.mark.parametrize(
    ("source", "kind", "taken", "expected"),
    [
        ("app", Kind.BACKUP, [], "app_backup_20260110_103045"),
        ("app", Kind.OLD, [], "app_old_20260110_103045"),
        ("app", Kind.PARTIAL, [], "app_partial_20260110_103045"),
        ('My "App" 100%', Kind.BACKUP, [], 'My "App" 100%_backup_20260110_103045'),
        ("app", Kind.BACKUP, ["app_backup_20260110_103045"], "app_backup_20260110_103045_2"),
        ("app", Kind.BACKUP, ["app_backup_20260110_103045_2"], "app_backup_20260110_103045_3"),
        (
            "app",
            Kind.BACKUP,
            ["app_backup_20260110_103045", "app_backup_20260110_103045_4"],
            "app_backup_20260110_103045_5",
        ),
        ("app", Kind.BACKUP, [f"app_backup_20260110_103045_{n}" for n in (9, 10, 2)], "app_backup_20260110_103045_11"),
        (
            "app",
            Kind.BACKUP,
            ["app_backup_20260110_103044", "app_backup_20260110_103046"],
            "app_backup_20260110_103045",
        ),
        ("app", Kind.BACKUP, ["app_old_20260110_103045", "APP_backup_20260110_103045"], "app_backup_20260110_103045"),
        ("app", Kind.BACKUP, ["app2_backup_20260110_103045_7"], "app_backup_20260110_103045"),
        ("app", Kind.BACKUP, ["app_backup_20260110_103045_02"], "app_backup_20260110_103045"),
    ],
)
def test_a_name_holds_source_kind_and_time_and_is_numbered_where_taken(
    source: str, kind: Kind, taken: list[str], expected: str
) -> None:
    assert free_name(source, kind, AT, taken) == expected


def test_a_number_of_many_digits_is_still_a_number() -> None:
    taken = "app_backup_20260110_103045_9999999999"
    assert free_name("app", Kind.BACKUP, AT, [taken]) == "app_backup_20260110_103045_10000000000"


def test_a_year_of_fewer_than_four_digits_is_written_with_four() -> None:
    assert free_name("app", Kind.BACKUP, datetime(33, 4, 3, tzinfo=UTC), []) == "app_backup_00330403_000000"


def test_a_name_is_in_utc_whatever_the_zone_of_the_time() -> None:
    local = AT.astimezone(timezone(timedelta(hours=-9, minutes=-30)))
    assert free_name("app", Kind.BACKUP, local, []) == "app_backup_20260110_103045"


def test_a_source_that_just_fits_is_not_cut() -> None:
    tail = "_backup_20260110_103045"
    fits = "x" * (MAX_NAME_BYTES - len(tail))
    assert free_name(fits, Kind.BACKUP, AT, []) == fits + tail
    cut = free_name(fits + "x", Kind.BACKUP, AT, [])
    assert len(cut) == MAX_NAME_BYTES
    assert cut.endswith(tail)
    assert not cut.startswith(fits)


def test_a_name_that_only_its_number_makes_too_long_is_still_numbered_above_the_plain_one() -> None:
    source = "x" * (MAX_NAME_BYTES - len("_backup_20260110_103045"))
    first = free_name(source, Kind.BACKUP, AT, [])
    second = free_name(source, Kind.BACKUP, AT, [first])
    third = free_name(source, Kind.BACKUP, AT, [second])
    assert [sequence_of(name) for name in (first, second, third)] == [1, 2, 3]
    assert all(belongs_to(name, source, Kind.BACKUP) for name in (first, second, third))


def test_long_sources_that_begin_alike_get_different_names() -> None:
    one, two = (free_name("x" * 60 + end, Kind.BACKUP, AT, []) for end in ("1", "2"))
    assert one != two
    assert not belongs_to(one, "x" * 60 + "2", Kind.BACKUP)


@given(sources, kinds, times, st.integers(0, 20))
def test_a_name_fits_is_whole_text_and_is_known_again(source: str, kind: Kind, at: datetime, before: int) -> None:
    taken: list[str] = []
    for _ in range(before + 1):
        name = free_name(source, kind, at, taken)
        assert len(name.encode()) <= MAX_NAME_BYTES
        assert name.encode().decode() == name
        assert name not in taken
        assert belongs_to(name, source, kind)
        taken.append(name)


def written_out(source: str, kind: Kind, at: datetime, number: int) -> str:
    """The rule once more, character by character: cut until it fits."""
    stamp = f"{at.year:04}{at:%m%d_%H%M%S}"  # how %Y writes a year below 1000 depends on the platform
    tail = f"_{kind}_{stamp}" + (f"_{number}" if number > 1 else "")
    if len((source + tail).encode()) <= MAX_NAME_BYTES:
        return source + tail
    tail = f"_{hashlib.sha256(source.encode()).hexdigest()[:8]}{tail}"
    while len((source + tail).encode()) > MAX_NAME_BYTES:
        source = source[:-1]
    return source + tail


@given(sources, kinds, times, st.sets(st.integers(1, 10**6), max_size=8))
def test_the_number_is_above_every_one_that_is_taken(source: str, kind: Kind, at: datetime, numbers: set[int]) -> None:
    taken = {written_out(source, kind, at, number) for number in numbers}
    newest = max(numbers, default=0) + 1
    name = free_name(source, kind, at, taken)
    assert name == written_out(source, kind, at, newest)
    assert sequence_of(name) == newest
    assert name not in taken


@given(sources, sources, kinds, kinds, times)
def test_a_name_belongs_to_no_other_source_or_kind(
    source: str, other: str, kind: Kind, other_kind: Kind, at: datetime
) -> None:
    name = free_name(source, kind, at, [])
    assert belongs_to(name, other, other_kind) == (source == other and kind == other_kind)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "app",
        "app_backup_",
        "app_backup_20260110",
        "app_backup_20260110_103045x",
        "a_20260110_103045_",
        "app_backup_20260110_103045\n",
        "app_backup_20260110_103045_2\n",
    ],
)
def test_a_name_without_a_timestamp_at_its_end_is_not_one_of_ours(name: str) -> None:
    assert stamp_of(name) is None
    assert sequence_of(name) == 1
    assert not belongs_to(name, "app", Kind.BACKUP)


@pytest.mark.parametrize(
    ("name", "stamp", "sequence"),
    [
        ("app_backup_20260110_103045", "20260110_103045", 1),
        ("app_old_20260110_103045_2", "20260110_103045_2", 2),
        ("app_backup_20260110_103045_12", "20260110_103045_12", 12),
        ("app_backup_20260110_103045_12345678901", "20260110_103045_12345678901", 12345678901),
        ("app_backup_20260110_103045_backup_20260111_000000", "20260111_000000", 1),
    ],
)
def test_the_timestamp_part_includes_the_number(name: str, stamp: str, sequence: int) -> None:
    assert stamp_of(name) == stamp
    assert sequence_of(name) == sequence


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("app_backup_20260110_103045", ("app", AT)),
        ("my_backup_db_backup_20260110_103045", ("my_backup_db", AT)),
        ("a\nb_backup_20260110_103045", ("a\nb", AT)),
        ("app_backup_20240229_000000", ("app", utc("2024-02-29"))),
        ("app_backup_20260229_000000", None),
        ("app_backup_20261301_000000", None),
        ("app_backup_20260100_000000", None),
        ("app_backup_20260110_240000", None),
        ("app_backup_20260110_106000", None),
        ("app_backup_20260110_103060", None),
        ("app_backup_00000110_103045", None),
        ("app_backup_20260110_103045_2", None),
        ("app_backup_20260110_103045\n", None),
        ("app_old_20260110_103045", None),
        ("appXbackupX20260110X103045", None),
        ("_backup_20260110_103045", None),
        ("app_backup_２０２６0110_103045", None),
        ("app", None),
    ],
)
def test_a_name_of_the_original_script_holds_source_and_an_existing_time(
    name: str, expected: tuple[str, datetime] | None
) -> None:
    assert read_script_name(name) == expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("app_partial_20260110_103045", AT),
        ("app_partial_20260110_103045_2", AT),
        ("app_partial_20260230_103045", None),
        ("app_partial_20260110_103045_", None),
        ("app_partial_20260110_103045\n", None),
        ("app_backup_20260110_103045", None),
        ("_partial_20260110_103045", None),
    ],
)
def test_a_name_of_a_clone_under_construction_holds_an_existing_time(name: str, expected: datetime | None) -> None:
    assert read_partial_name(name) == expected


@given(sources, times)
def test_names_of_ours_are_read_back(source: str, at: datetime) -> None:
    second = at.replace(microsecond=0)
    assert read_partial_name(free_name(source, Kind.PARTIAL, at, [])) == second
    script = read_script_name(free_name(source, Kind.BACKUP, at, []))
    assert script is not None
    assert script[1] == second


@given(st.text(max_size=80))
def test_no_name_upsets_the_readers(name: str) -> None:
    read_script_name(name)
    read_partial_name(name)
    assert sequence_of(name) >= 0
    stamp_of(name)


@given(sources, times, st.integers(16384, 2**32 - 1))
def test_a_passing_name_is_that_of_something_under_construction(source: str, at: datetime, oid: int) -> None:
    name = passing_name(source, at, oid)
    assert len(name.encode()) <= MAX_NAME_BYTES
    assert read_partial_name(name) == at.replace(microsecond=0)
    assert belongs_to(name, source, Kind.PARTIAL)
    assert passing_name(source, at, oid + 1) != name
    assert is_passing_name(name, source, oid)
    assert not is_passing_name(name, source, oid + 1)
