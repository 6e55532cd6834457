from __future__ import annotations

import itertools
from dataclasses import replace
from datetime import timedelta

import pytest

from snapkit.cli.format import progress_text
from snapkit.core.copying.estimates import (
    Extent,
    Forecast,
    Pace,
    blocks_were_shared,
    foretell,
    is_brief,
    many_files,
    share_done,
)
from snapkit.core.inventory.entry import Entry
from snapkit.core.inventory.kinds import Strategy
from snapkit.core.reporting import Progress
from tests.unit.builders import AT, SECOND, make_entry, make_metadata

MB, GB = 10**6, 10**9


@pytest.mark.parametrize(
    ("strategy", "size", "files", "copying", "expected"),
    [
        (Strategy.CLONE, 2 * GB, 300, 0.3 * SECOND, True),
        (Strategy.CLONE, 2 * GB, None, 0.3 * SECOND, True),
        (Strategy.CLONE, 2 * GB, 300, 4 * SECOND, False),
        (Strategy.CLONE, 2 * GB, None, 4 * SECOND, None),
        (Strategy.CLONE, 2 * GB, 300, SECOND, None),
        (Strategy.CLONE, 2 * GB, 300, 2.5 * SECOND, None),
        (Strategy.CLONE, 300 * MB, 300, 0.6 * SECOND, None),
        (Strategy.CLONE, 10 * MB, 300, 4 * SECOND, None),
        (Strategy.CLONE, 2 * GB, 300, timedelta(0), None),
        (Strategy.CLONE, None, 300, SECOND, None),
        (Strategy.FILE_COPY, 2 * GB, 300, 4 * SECOND, None),
        (Strategy.CLONE, 500 * MB, 85_616, 23 * SECOND, None),
        (Strategy.CLONE, 500 * MB, 85_616, 79 * SECOND, None),
        (Strategy.CLONE, 200 * GB, 85_616, 500 * SECOND, False),
        (Strategy.CLONE, 200 * GB, 85_616, 24 * SECOND, True),
    ],
)
def test_whether_blocks_were_shared_shows_in_the_time_that_files_do_not_explain(
    strategy: Strategy, size: int | None, files: int | None, copying: timedelta, expected: bool | None
) -> None:
    assert blocks_were_shared(strategy, size, files, copying) is expected


def measured(source: str, size: int | None, milliseconds: int | None, *, later: int = 0, **more: object) -> Entry:
    at = AT + later * SECOND
    metadata = replace(make_metadata(source, at=at), strategy=Strategy.CLONE, clone_bytes=size, clone_ms=milliseconds)
    return make_entry(f"{source}_backup", source=source, at=at, metadata=replace(metadata, **more))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("entries", "expected"),
    [
        ([], None),
        ([measured("app", GB, 1000)], 2 * SECOND),
        ([measured("app", GB, 1000), measured("app", GB, 500, later=1)], SECOND),
        ([measured("app", GB, 1000), measured("shop", GB, 500, later=1)], 2 * SECOND),
        ([measured("shop", GB, 500)], SECOND),
        ([measured("shop", MB, 500)], None),
        ([measured("app", MB, 500)], 1000 * SECOND),
        ([measured("app", GB, 0)], timedelta(0)),
        ([measured("app", GB, None), measured("app", None, 1), measured("app", 0, 1)], None),
        ([measured("app", GB, 1000, strategy=Strategy.FILE_COPY)], None),
        ([make_entry(managed=False)], None),
    ],
)
def test_a_copy_takes_as_long_as_the_newest_that_can_tell(entries: list[Entry], expected: timedelta | None) -> None:
    forecast = foretell(entries, "app", Strategy.CLONE, Extent(2 * GB))
    assert (forecast.duration if forecast else None) == expected
    assert forecast is None or not forecast.at_least


@pytest.mark.parametrize(
    ("strategy", "extent", "expected"),
    [
        (Strategy.CLONE, Extent(500 * MB, 88_000, shares=True), 13.2 * SECOND),
        (Strategy.CLONE, Extent(4000 << 20, 88_000), 15.2 * SECOND),
        (Strategy.FILE_COPY, Extent(4000 << 20, 400), 2.06 * SECOND),
        (Strategy.FILE_COPY, Extent(None, 88_000), 13.2 * SECOND),
        (Strategy.FILE_COPY, Extent(8 * MB, 300), None),
        (Strategy.FILE_COPY, Extent(100 * GB, None), None),
        (Strategy.CLONE, Extent(100 * GB, 400, shares=True), None),
        (Strategy.WAL_LOG, Extent(500 * MB, 88_000), None),
        (Strategy.ONLINE, Extent(500 * MB, 88_000), None),
    ],
)
def test_before_a_first_backup_the_least_is_foretold_that_files_and_bytes_take(
    strategy: Strategy, extent: Extent, expected: timedelta | None
) -> None:
    assert foretell([], "app", strategy, extent) == (Forecast(expected, at_least=True) if expected else None)


@pytest.mark.parametrize(
    ("before", "size", "files", "expected"),
    [
        (("app", GB, 40_000, 20_000), GB, 80_000, 38.5),  # by the files, almost
        (("app", GB, 40_000, 20_000), 2 * GB, 80_000, 40),
        (("app", GB, 40_000, 2_000), 10 * GB, 80_000, 4),  # quicker than any disk we know: there, too, it goes by files
        (("app", 100 * GB, 400, 1_100), 100 * GB, 80_400, 13.1),  # blocks were shared
        (("shop", 100 * GB, 400, 1_100), 100 * GB, 80_400, 13.1),
        (("app", 100 * GB, 400, 1_100), 200 * GB, 400, 2.14),
        (("app", GB, None, 20_000), 2 * GB, 80_000, 40),  # noted by an earlier version
        (("app", GB, 400, 20_000), 2 * GB, None, 40),  # what is there now could not be counted
        (("app", GB, 0, 20_000), 2 * GB, 80_000, 40),
    ],
)
def test_an_earlier_backup_tells_by_its_files_and_by_its_bytes(
    before: tuple[str, int, int | None, int], size: int, files: int | None, expected: float
) -> None:
    source, bytes_then, files_then, took = before
    earlier = measured(source, bytes_then, took, clone_files=files_then)
    forecast = foretell([earlier], "app", Strategy.CLONE, Extent(size, files, shares=True))
    assert forecast is not None
    assert forecast.duration / SECOND == pytest.approx(expected, rel=0.01)
    assert (forecast.at_least, forecast.is_own) == (False, source == "app")


def test_what_was_noted_of_another_source_without_its_files_does_not_hide_that_there_are_many() -> None:
    entries, many = [measured("shop", GB, 500)], Extent(GB, 80_000, shares=True)
    assert foretell(entries, "app", Strategy.CLONE, many) == Forecast(12 * SECOND, at_least=True)
    assert foretell(entries, "app", Strategy.CLONE, replace(many, files=300)) == Forecast(SECOND / 2)


def test_a_forecast_says_what_it_goes_by() -> None:
    assert Forecast(20 * SECOND, at_least=True).text == "20.0 s or more"
    assert Forecast(20 * SECOND).text == "about 20.0 s"
    assert "files" in Forecast(SECOND, at_least=True).grounds
    assert "earlier backups" in Forecast(SECOND).grounds


@pytest.mark.parametrize(
    ("extent", "duration", "warned"),
    [
        (Extent(500 * MB, 85_616), 23 * SECOND, True),
        (Extent(500 * MB, 85_616), SECOND / 2, False),  # a disk that is quicker than any we know
        (Extent(500 * MB, 300), 23 * SECOND, False),
        (Extent(100 * GB, 85_616), 90 * SECOND, False),  # bytes take more of it
        (Extent(100 * GB, 85_616, shares=True), 23 * SECOND, True),
        (Extent(500 * MB), 23 * SECOND, False),
        (Extent(None, 85_616), 23 * SECOND, True),
    ],
)
def test_files_are_warned_of_where_they_are_what_takes_long(extent: Extent, duration: timedelta, warned: bool) -> None:
    cautions = many_files("app", extent, duration, "clients were held for long")
    assert [caution.code for caution in cautions] == ["many_files"] * warned
    assert not warned or "app has about 85616 files" in cautions[0].message


@pytest.mark.parametrize(
    ("forecast", "size", "brief"),
    [
        (Forecast(SECOND), 100 * GB, True),
        (Forecast(60 * SECOND), MB, False),
        (Forecast(60 * SECOND, at_least=True), MB, False),
        (Forecast(SECOND, at_least=True), MB, True),
        (Forecast(SECOND, at_least=True), 2 * GB, False),
        (None, MB, True),
        (None, 2 * GB, False),
        (None, None, False),
    ],
)
def test_what_is_brief(forecast: Forecast | None, size: int | None, brief: bool) -> None:
    assert is_brief(forecast, size) is brief


def test_nothing_is_expected_of_an_unknown_size() -> None:
    assert foretell([measured("app", GB, 1000)], "app", Strategy.CLONE, Extent(None)) is None


@pytest.mark.parametrize(
    ("progress", "rate", "remaining"),
    [
        (Progress("Cloning", SECOND), None, None),
        (Progress("Cloning", SECOND, 0, 100), None, None),
        (Progress("Cloning", timedelta(0), 10, 100), None, None),
        (Progress("Cloning", 2 * SECOND, 50, 100), 25.0, 2 * SECOND),
        (Progress("Cloning", 2 * SECOND, 150, 100), 75.0, None),
        (Progress("Cloning", 2 * SECOND, 50), 25.0, None),
        (Progress("Cloning", 2 * SECOND, 50, 100, pace=10.0), 25.0, 5 * SECOND),
        (Progress("Cloning", 2 * SECOND, 99, 100, is_estimate=True, is_late=True), 49.5, None),
    ],
)
def test_the_rate_so_far_tells_how_long_the_rest_takes(
    progress: Progress, rate: float | None, remaining: timedelta | None
) -> None:
    assert progress.rate == rate
    assert progress.remaining == remaining


def test_what_is_left_counts_down_on_a_disk_that_is_slow_after_a_fast_beginning() -> None:
    """A second of memory at 2 GB/s, then a disk at 100 MB/s that stands still for four seconds at a time."""
    pace, total, left = Pace(), 4000, []
    for tick in range(4, 200):
        seconds = tick / 4
        on_disk = max(0.0, seconds - 1.0)
        done = min(2000.0, seconds * 2000) + 100 * (on_disk // 4 * 4 if on_disk >= 4 else on_disk)
        of_late = pace.see(timedelta(seconds=seconds), round(done))
        left.append(Progress("Cloning", timedelta(seconds=seconds), round(done), total, pace=of_late).remaining)
    known = [each for each in left if each is not None]
    settled = known[len(known) // 3 :]
    assert all(later <= earlier for earlier, later in itertools.pairwise(settled))
    assert timedelta(seconds=5) < settled[0] < timedelta(seconds=25)


def test_while_nothing_moves_what_is_left_stays() -> None:
    pace = Pace()
    assert pace.see(timedelta(0), 0) is None
    assert pace.see(SECOND, 50) == 50.0
    assert [pace.see(each * SECOND, 50) for each in range(2, 60)] == [50.0] * 58


def test_what_takes_longer_than_the_last_time_is_said_to() -> None:
    assert share_done(SECOND, 2 * SECOND) == (0.5, False)
    assert share_done(3 * SECOND, 2 * SECOND) == (0.99, True)
    assert share_done(SECOND, timedelta(0)) == (0.99, True)
    late = Progress("Cloning", 3 * SECOND, 99, 100, is_estimate=True, is_late=True)
    assert progress_text(late) == "about 99 bytes of 100 bytes, longer than the last time"
