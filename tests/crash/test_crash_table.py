"""docs/crash-table.md agrees with the code: the stops are what the commands make, and samples come out the same."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cluster import Cluster
from tests.crash.plan import points_of, trials_of
from tests.crash.scenarios import SCENARIOS, Scenario
from tests.crash.table import Stop, read, stops_of
from tests.crash.trial import Trial, attempt, record
from tests.crash.verdict import Outcome
from tests.crash.ways import Way

PAGE = (Path(__file__).parents[2] / "docs" / "crash-table.md").read_text(encoding="utf-8")
STOPS, OUTCOMES = read(PAGE)
EVERY = 40
"""A test run takes one in so many of the page's trials, and besides those at the COMMITs."""
ON_SMALL_DISKS = (Way.TABLESPACE_FULL, Way.WAL_FULL)
"""These need another server than the tests have."""
BY_CHANCE = (Way.TERM, Way.INT, Way.INT_TWICE)
"""Where the signal meets snapkit decides what is still done; either is right, if it is told as it is."""


def _samples() -> list[Trial]:
    decisive = [trial for trial in OUTCOMES if trial.point.label == "COMMIT" and trial.way in (Way.KILL, Way.CUT)]
    samples = dict.fromkeys([*list(OUTCOMES)[::EVERY], *decisive])
    return [trial for trial in samples if trial.way not in ON_SMALL_DISKS and trial.point.connection == 1]


def _name(trial: Trial) -> str:
    return f"{trial.scenario.name}, {trial.way.value} {trial.phase.value} {trial.point.label[:40]}"


@pytest.fixture
def same_version(cluster: Cluster) -> Cluster:
    """The statements differ a little from version to version, and the page is of one."""
    if cluster.version.split(".")[0] != "18":
        pytest.skip("the page was made on PostgreSQL 18")
    return cluster


def _is_first(stop: Stop) -> bool:
    return stop[0].connection == 1


@pytest.mark.parametrize("scenario", SCENARIOS[:-1], ids=lambda scenario: scenario.name)
def test_the_stops_on_the_page_are_those_that_the_command_makes(same_version: Cluster, scenario: Scenario) -> None:
    """Those of the watchers come and go with the time that things take; the first connection's are the same."""
    made = stops_of(points_of(record(same_version, scenario), scenario))
    assert [stop for stop in made if _is_first(stop)] == [stop for stop in STOPS[scenario.name] if _is_first(stop)]


def _marked(trial: Trial) -> object:
    """The trials that decide most, in a quick run too."""
    if trial.scenario.name == "rollback" and trial.way is Way.KILL and trial.point.label == "COMMIT":
        return pytest.param(trial, marks=pytest.mark.promise("the crash table is true"))
    return trial


@pytest.mark.parametrize("trial", list(map(_marked, _samples())), ids=_name)
def test_a_sample_of_the_trials_comes_out_as_the_page_says(same_version: Cluster, trial: Trial) -> None:
    """That the promises hold, and that what is said is so, ``attempt`` has seen to in any case."""
    outcome, _ = attempt(same_version, trial)
    expected = OUTCOMES[trial]
    if trial.way not in BY_CHANCE:
        assert (outcome.code, outcome.state) == (expected.code, expected.state)


def test_the_page_counts_right() -> None:
    assert f"**{len(OUTCOMES)} trials" in PAGE
    assert all(isinstance(outcome, Outcome) for outcome in OUTCOMES.values())


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_every_stop_on_the_page_was_tried_in_every_way_that_is_for_it(scenario: Scenario) -> None:
    """A run of some ways leaves a page that lacks the others, where the stops have changed."""
    points = list(dict.fromkeys(point for point, _ in STOPS[scenario.name]))
    assert {trial for trial in OUTCOMES if trial.scenario == scenario} == set(trials_of(scenario, points))
