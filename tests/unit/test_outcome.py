from __future__ import annotations

from datetime import timedelta

from snapkit.core.checks.facts import Check, Status
from snapkit.core.outcome import Outcome
from snapkit.errors import BusyError, SnapkitError
from snapkit.services.backup import Copying
from snapkit.services.doctor import Diagnosis
from snapkit.services.entries.drop import Failure, each_error_once
from snapkit.services.list import Listing
from snapkit.services.prune import Removal
from tests.unit.builders import NOW, make_entry


def test_an_outcome_tells_nothing_unless_there_is_something() -> None:
    result = Outcome()
    assert (result.cautions, result.changed, result.complaints) == ((), (), ())
    assert (result.shortfall, result.ran, result.exit_code, result.outage) == (None, None, None, None)
    assert (result.leaves_stdout, result.tells_where) == (False, True)


def test_a_person_is_told_of_a_shortfall_unless_the_result_shows_it() -> None:
    error = SnapkitError("It is too old.")

    class Old(Outcome):
        @property
        def shortfall(self) -> SnapkitError:
            return error

    assert Old().complaints == (error,)
    bad = Diagnosis((Check("x", Status.PROBLEM, "message"),))
    assert bad.shortfall is not None
    assert bad.complaints == ()


def test_a_rate_takes_a_size_and_a_time() -> None:
    assert Copying(1000, timedelta(seconds=2)).rate == 500
    assert Copying(None, timedelta(seconds=2)).rate is None
    assert Copying(1000, timedelta(0)).rate is None


def test_problems_are_counted_and_warnings_are_not() -> None:
    checks = tuple(Check("x", status, "message") for status in (Status.OK, Status.PROBLEM, Status.WARNING))
    assert Diagnosis(checks).problems == 1


def test_totals_count_what_is_known() -> None:
    entries = tuple(make_entry(size_bytes=size) for size in (10, None, 32))
    assert Listing("app", entries, NOW, sized=True).total_bytes == 42
    assert Removal((), entries, (), NOW).freed_bytes == 42
    assert Removal((), (), (), NOW).freed_bytes == 0


def test_what_failed_for_one_reason_is_told_once_and_names_all() -> None:
    entries = [make_entry(f"app_backup_2026011{day}_103045") for day in range(3)]
    own = BusyError("Somebody is inside.", state="It was not dropped.")
    shared = [Failure(entry, BusyError("At work.", state=f"{entry.name}.", hint="Wait.")) for entry in entries[:2]]
    first, second = each_error_once([*shared, Failure(entries[2], own)])
    assert second is own
    assert (type(first), first.message, first.hint) == (BusyError, "At work.", "Wait.")
    assert first.state == f"2 were not dropped for this reason: {entries[0].name}, {entries[1].name}."
