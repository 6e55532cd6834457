"""From what a command was seen to send to the trials that are made of it."""

from __future__ import annotations

import re
from collections.abc import Iterator

from tests.crash.scenarios import Scenario
from tests.crash.trial import Trial, Way
from tests.gate import Phase, Point

_ACTS = re.compile(r"pg_try_advisory_lock|pg_advisory|pg_terminate_backend|set_config")
"""Functions in a SELECT that change something."""
_BY_CHANCE = re.compile(r"pg_ls_dir|^read pg_database_size|pg_blocking_pids|^read pg_stat_activity$")
"""What the watcher asks now and then, as time goes by: how far the clone is, and who is in its way."""
_TAKES_TIME = re.compile(r"CREATE DATABASE|DROP DATABASE|ALTER DATABASE app RENAME")
_ROUTINE = re.compile(r"read|show|connect|SAVEPOINT|RELEASE")


def points_of(recorded: list[Point]) -> list[Point]:
    """Return the points that come in every run; of the watcher's, which asks the same again and again, the first."""
    return [p for p in recorded if p.connection == 1 or (p.occurrence == 1 and not _BY_CHANCE.search(p.label))]


def phases_of(point: Point) -> list[Phase]:
    """A question that changes nothing is the same to the server before and after it; what acts is stopped at both."""
    phases = [Phase.BEFORE]
    if _ACTS.search(point.label) or not _ROUTINE.match(point.label):
        if _TAKES_TIME.match(point.label):
            phases.append(Phase.INSIDE)
        phases.append(Phase.AFTER)
    return phases


def trials_of(scenario: Scenario, points: list[Point]) -> Iterator[Trial]:
    """Every point, in every phase, in every way."""
    for point in points:
        for phase in phases_of(point):
            for way in Way:
                yield Trial(scenario, point, phase, way)
