"""What is written to the page is read back from it."""

from __future__ import annotations

from tests.crash.plan import trials_of
from tests.crash.scenarios import SCENARIOS
from tests.crash.table import Result, read, stops_of, write
from tests.crash.trial import Trial
from tests.crash.verdict import Outcome
from tests.crash.ways import Way
from tests.gate import Point

POINTS = [Point(1, "connect", 1), Point(1, "CREATE DATABASE x", 1), Point(1, "COMMIT", 1), Point(1, "COMMIT", 2)]


def test_what_is_written_is_read_back_and_the_rest_of_the_page_stays() -> None:
    page = ""
    expected: dict[Trial, Outcome] = {}
    for scenario in SCENARIOS[:3]:
        results = [
            Result(
                trial, Outcome(None if trial.way is Way.KILL else 12, "nothing", "as before", "the command again"), 0.25
            )
            for trial in trials_of(scenario, POINTS)
        ]
        page = write(page, "18.6", {scenario.name: stops_of(POINTS)}, results)
        expected |= {result.trial: result.outcome for result in results}
        stops, outcomes = read(page)
        assert outcomes == expected
        assert stops[scenario.name] == stops_of(POINTS)
    assert f"**{len(expected)} trials" in page
    assert write(page, "18.6", {}, []) == page
    last = SCENARIOS[2]
    some = [Result(t, o, 0.25) for t, o in expected.items() if t.scenario == last and t.way is Way.CUT]
    assert write(page, "18.6", {last.name: stops_of(POINTS)}, some) == page
