"""docs/crash-table.md agrees with the code: the stops are what the commands make, and samples come out the same."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cluster import Cluster
from tests.crash.plan import points_of
from tests.crash.scenarios import SCENARIOS, Scenario
from tests.crash.table import read, stops_of
from tests.crash.trial import Trial, attempt, record
from tests.crash.verdict import Outcome
from tests.crash.ways import Way

PAGE = (Path(__file__).parents[2] / "docs" / "crash-table.md").read_text(encoding="utf-8")
STOPS, OUTCOMES = read(PAGE)
EVERY = 12
"""How many of the page's trials a test run takes: one in so many, and always other ones than their neighbours'."""


def _samples() -> list[Trial]:
    decisive = [trial for trial in OUTCOMES if trial.point.label == "COMMIT" and trial.way in (Way.KILL, Way.CUT)]
    return list(dict.fromkeys([*list(OUTCOMES)[::EVERY], *decisive]))


def _name(trial: Trial) -> str:
    return f"{trial.scenario.name}, {trial.way.value} {trial.phase.value} {trial.point.label[:40]}"


@pytest.fixture
def same_version(cluster: Cluster) -> Cluster:
    """The statements differ a little from version to version, and the page is of one."""
    if cluster.version.split(".")[0] != "18":
        pytest.skip("the page was made on PostgreSQL 18")
    return cluster


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_the_stops_on_the_page_are_those_that_the_command_makes(same_version: Cluster, scenario: Scenario) -> None:
    assert stops_of(points_of(record(same_version, scenario))) == STOPS[scenario.name]


@pytest.mark.parametrize("trial", _samples(), ids=_name)
def test_a_sample_of_the_trials_comes_out_as_the_page_says(same_version: Cluster, trial: Trial) -> None:
    outcome, _ = attempt(same_version, trial)
    if trial.way is Way.INT_TWICE:  # when the second one comes in time, another outcome is as right
        assert outcome.code in (0, 22, 130)
    else:
        assert outcome == OUTCOMES[trial]


def test_the_page_counts_right() -> None:
    assert f"**{len(OUTCOMES)} trials" in PAGE
    assert all(isinstance(outcome, Outcome) for outcome in OUTCOMES.values())
