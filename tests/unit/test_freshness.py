"""Whether there is a backup that is young enough, and how that is told to Prometheus."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from prometheus_client.parser import text_string_to_metric_families

from snapkit.cli.commands.status import exposition
from snapkit.core.inventory.entry import Entry
from snapkit.core.inventory.freshness import StatusReport, judge
from snapkit.core.inventory.kinds import Kind, State
from snapkit.errors import NotFoundError, SnapkitError
from tests.unit.builders import NOW, make_entry, words

DAY = timedelta(days=1)
HOUR = timedelta(hours=1)
SECOND = timedelta(seconds=1)


def _backup(source: str, age: timedelta, **more: object) -> Entry:
    at = NOW - age
    name = f"{source}_backup_{at:%Y%m%d_%H%M%S}"
    return make_entry(name, source=source, at=at, **more)  # type: ignore[arg-type]


def _judge(*entries: Entry, source: str | None = "app", max_age: timedelta | None = DAY) -> StatusReport:
    return judge(entries, source, max_age=max_age, now=NOW)


def test_a_young_backup_is_enough() -> None:
    report = _judge(_backup("app", 3 * DAY), _backup("app", HOUR), _backup("app", 2 * DAY))
    (status,) = report.sources
    assert status.newest is not None
    assert (len(status.backups), status.newest.created_at, status.age(NOW)) == (3, NOW - HOUR, HOUR)
    assert report.shortfall is None


@pytest.mark.parametrize(("age", "is_enough"), [(DAY, True), (DAY + SECOND, False), (-3 * SECOND, True)])
def test_the_age_that_is_allowed_still_is(age: timedelta, is_enough: bool) -> None:
    report = _judge(_backup("app", age))
    assert (report.shortfall is None) is is_enough
    (status,) = report.sources
    assert status.age(NOW) == max(age, timedelta(0))


def test_a_date_still_to_come_is_no_age_and_does_not_count_as_young() -> None:
    ahead = _backup("app", -HOUR)
    report = _judge(ahead)
    error = report.shortfall
    assert type(error) is SnapkitError
    assert "'app' is not known, because its date is in the future" in error.message
    assert report.sources[0].age(NOW) is None
    both = _judge(ahead, _backup("app", 3 * HOUR))
    assert (both.shortfall, both.sources[0].age(NOW), both.sources[0].newest) == (None, 3 * HOUR, ahead)


def test_one_that_is_too_old() -> None:
    error = _judge(_backup("app", 2 * DAY)).shortfall
    assert type(error) is SnapkitError
    assert error.message == "The newest backup of 'app' is older than 1d (max-age)."


@pytest.mark.parametrize(
    "entry",
    [
        _backup("app", HOUR, state=State.INVALID),
        _backup("app", HOUR, state=State.UNMANAGED, managed=False),
        _backup("app", HOUR, kind=Kind.OLD),
        _backup("app", HOUR, kind=Kind.PARTIAL, state=State.INCOMPLETE, managed=False),
    ],
)
def test_what_a_rollback_could_not_take_does_not_count(entry: Entry) -> None:
    error = _judge(entry).shortfall
    assert isinstance(error, NotFoundError)
    assert error.message == "There is no backup of 'app'."
    assert error.hint == "To make a backup: snapkit backup"


def test_of_all_sources_each_counts_of_which_something_is_there() -> None:
    entries = [
        _backup("young", HOUR),
        _backup("stale", 2 * DAY),
        _backup("used_up", HOUR, kind=Kind.OLD),
        _backup("script", HOUR, state=State.UNMANAGED, managed=False),
    ]
    report = _judge(*entries, source=None)
    assert [each.source for each in report.sources] == ["stale", "used_up", "young"]
    assert [each.source for each in report.too_old] == ["stale"]
    assert [each.source for each in report.without] == ["used_up"]
    error = report.shortfall
    assert isinstance(error, NotFoundError)
    assert error.message == (
        "There is no backup of 'used_up'. The newest backup of 'stale' is older than 1d (max-age)."
    )
    nothing = _judge(source=None).shortfall
    assert isinstance(nothing, NotFoundError)
    assert nothing.message == "There is no backup."


def test_without_a_limit_nothing_is_judged() -> None:
    for entries in ([], [_backup("app", 900 * DAY)]):
        report = _judge(*entries, max_age=None)
        assert report.shortfall is None
        assert report.too_old == ()


def test_a_size_is_known_only_if_all_are() -> None:
    sized, other = _backup("app", HOUR, size_bytes=7), _backup("app", DAY, size_bytes=8)
    (status,) = _judge(sized, other, _backup("app", HOUR, kind=Kind.OLD)).sources
    assert (status.size(Kind.BACKUP), status.size(Kind.OLD), status.size(Kind.PARTIAL)) == (15, None, 0)


def _samples(text: str) -> dict[tuple[str, tuple[str, ...]], float]:
    return {
        (sample.name, tuple(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_the_metrics() -> None:
    entries = [
        _backup("app", HOUR, size_bytes=7),
        _backup("app", DAY, size_bytes=8),
        _backup("gone", DAY, kind=Kind.OLD),
    ]
    text = exposition(judge(entries, None, max_age=None, now=NOW, sized=True))
    families = {family.name: family for family in text_string_to_metric_families(text)}
    assert list(families) == [
        "snapkit_backups",
        "snapkit_backup_last_success_timestamp_seconds",
        "snapkit_backup_age_seconds",
        "snapkit_size_bytes",
    ]
    assert all(family.type == "gauge" and family.documentation for family in families.values())
    assert _samples(text) == {
        ("snapkit_backups", ("app",)): 2,
        ("snapkit_backups", ("gone",)): 0,
        ("snapkit_backup_last_success_timestamp_seconds", ("app",)): (NOW - HOUR).timestamp(),
        ("snapkit_backup_age_seconds", ("app",)): 3600,
        ("snapkit_size_bytes", ("app", "backup")): 15,
        ("snapkit_size_bytes", ("app", "old")): 0,
        ("snapkit_size_bytes", ("gone", "backup")): 0,
    }
    assert "snapkit_size_bytes" not in exposition(judge(entries, None, max_age=None, now=NOW))
    assert exposition(_judge(source=None)) == ""
    assert 'snapkit_backup_age_seconds{source="app"} 0.5\n' in exposition(
        _judge(_backup("app", timedelta(seconds=0.5)))
    )


@given(words)
def test_any_name_comes_through(name: str) -> None:
    text = exposition(_judge(source=name))
    assert _samples(text) == {("snapkit_backups", (name,)): 0}
