from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from snapkit.core.checks.facts import Check, Status
from snapkit.core.client_session import ClientSession
from snapkit.core.outcome import Copying, Diagnosis, Failure, Listing, Removal, each_error_once
from snapkit.errors import (
    BusyError,
    ConnectionFailedError,
    DiskFullError,
    InterruptedRunError,
    NotFoundError,
    PrivilegeError,
    SnapkitError,
    UnknownOutcomeError,
    UsageError,
)
from tests.unit.builders import AT, NOW, make_entry

SESSION = ClientSession(4711, "web", "psql", "10.0.0.7", "active", NOW, NOW, True)


@pytest.mark.parametrize(
    ("session", "text"),
    [
        (SESSION, "pid 4711, user web, psql, from 10.0.0.7"),
        (replace(SESSION, application=None), "pid 4711, user web, from 10.0.0.7"),
        (replace(SESSION, application="", client=None), "pid 4711, user web"),
        (replace(SESSION, user=None, application=None, client=None), "pid 4711, user unknown"),
    ],
)
def test_a_session_is_described_by_what_the_server_shows_of_it(session: ClientSession, text: str) -> None:
    assert session.describe() == text


def test_what_a_session_does_is_told_as_far_as_the_server_shows_it() -> None:
    assert SESSION.doing() == f"active since {NOW:%H:%M:%S} UTC"
    assert replace(SESSION, state_since=None).doing() == "active"
    assert replace(SESSION, state=None).doing() == ""


def test_a_rate_takes_a_size_and_a_time() -> None:
    assert Copying(1000, timedelta(seconds=2)).rate == 500
    assert Copying(None, timedelta(seconds=2)).rate is None
    assert Copying(1000, timedelta(0)).rate is None


def test_problems_are_counted_and_warnings_are_not() -> None:
    checks = tuple(Check("x", status, "message") for status in (Status.OK, Status.PROBLEM, Status.WARNING))
    assert Diagnosis(checks).problems == 1


def test_entries_sort_by_time_then_number_then_name() -> None:
    first = make_entry("app_backup_20260110_103045")
    second = make_entry("app_backup_20260110_103045_2")
    tenth = make_entry("app_backup_20260110_103045_10")
    later = make_entry("app_backup_20260110_103046", at=AT + timedelta(seconds=1))
    other = make_entry("shop_backup_20260110_103045", source="shop")
    expected = [first, other, second, tenth, later]
    assert sorted([tenth, later, other, second, first], key=lambda entry: entry.age_key) == expected


def test_totals_count_what_is_known() -> None:
    entries = tuple(make_entry(size_bytes=size) for size in (10, None, 32))
    assert Listing("app", entries, NOW, sized=True).total_bytes == 42
    assert Removal((), entries, (), NOW).freed_bytes == 42
    assert Removal((), (), (), NOW).freed_bytes == 0


@pytest.mark.parametrize(
    "kind",
    [
        UsageError,
        NotFoundError,
        BusyError,
        ConnectionFailedError,
        PrivilegeError,
        DiskFullError,
        UnknownOutcomeError,
        InterruptedRunError,
    ],
)
def test_every_error_says_what_happened_the_state_and_what_to_do(kind: type[SnapkitError]) -> None:
    error = kind("It broke.", state="Nothing was changed.", hint="Mend it.")
    assert (str(error), error.message, error.state, error.hint) == (
        "It broke.",
        "It broke.",
        "Nothing was changed.",
        "Mend it.",
    )
    assert (kind("It broke.").state, kind("It broke.").hint) == (None, None)
    assert isinstance(error, SnapkitError)


def test_what_failed_for_one_reason_is_told_once_and_names_all() -> None:
    entries = [make_entry(f"app_backup_2026011{day}_103045") for day in range(3)]
    own = BusyError("Somebody is inside.", state="It was not dropped.")
    shared = [Failure(entry, BusyError("At work.", state=f"{entry.name}.", hint="Wait.")) for entry in entries[:2]]
    first, second = each_error_once([*shared, Failure(entries[2], own)])
    assert second is own
    assert (type(first), first.message, first.hint) == (BusyError, "At work.", "Wait.")
    assert first.state == f"For that reason 2 were not dropped: {entries[0].name}, {entries[1].name}."


def test_what_a_backup_could_not_be_given_stands_in_its_document() -> None:
    entry = make_entry("app_backup_20260110_103045")
    assert entry.metadata is not None
    noted = replace(entry, metadata=replace(entry.metadata, not_given=("setting work_mem",)))
    assert noted.not_given == ("setting work_mem",)
    assert replace(entry, metadata=None).not_given == ()
