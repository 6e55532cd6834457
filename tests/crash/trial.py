"""One trial: run a command, let something die at one point, and see that every promise holds afterwards."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from tests.cluster import Cluster
from tests.crash.scenarios import Scenario
from tests.crash.stage import Stage, database_directories, normal, staged, url_through
from tests.crash.verdict import Outcome, judge
from tests.crash.ways import Way, die, frozen
from tests.gate import Action, Gate, Link, Phase, Point, Stops, nowhere
from tests.process import Command
from tests.sandbox import command_environment


@dataclass(frozen=True)
class Trial:
    """What to do when."""

    scenario: Scenario
    point: Point
    phase: Phase
    way: Way


class MissedError(Exception):
    """The statement was over before the middle of it was caught."""


def record(cluster: Cluster, scenario: Scenario) -> list[Point]:
    """Run the command undisturbed, and return what it sent."""
    with staged(cluster, scenario) as stage:
        ran = _run(stage, nowhere, lambda link, point: Action.GO, impatient=False)
        assert ran == 0, stage.command and stage.command.output()
        points = list(stage.gate.points)
        _finish(stage)
    return points


def _run(stage: Stage, stops: Stops, act: Callable[[Link, Point], Action], *, impatient: bool) -> int | None:
    stage.gate = Gate(stage.cluster.port, stops, act, shorten=normal(stage.box.name))
    stage.directories = frozenset(database_directories(stage.cluster))
    words = [stage.words[0], "--json", *stage.words[1:]]  # behind "--" it would be the command's
    stage.command = Command(words, command_environment(url_through(stage.gate, stage.box.name)), impatient=impatient)
    stage.command.start()
    code = stage.command.wait(90)
    assert code is not None, "the command has not ended"
    return code


def _finish(stage: Stage) -> None:
    stage.gate.close()
    if stage.command is not None:
        stage.command.end()


def attempt(cluster: Cluster, trial: Trial) -> tuple[Outcome, float]:
    """Carry the trial out; return its outcome and how long the application waited at most, in seconds."""
    for _ in range(40):
        with suppress(MissedError):
            return _attempt(cluster, trial)
    raise AssertionError(f"{trial.phase} {trial.point.label} was not caught")


def _attempt(cluster: Cluster, trial: Trial) -> tuple[Outcome, float]:
    with staged(cluster, trial.scenario, with_standby=trial.way is Way.PROMOTED) as stage:
        try:
            code = _run(
                stage,
                lambda point: trial.phase if point == trial.point else None,
                lambda link, point: _act(stage, trial, link, point),
                impatient=trial.way in (Way.STALL, Way.PROMOTED),
            )
            if not stage.gate.reached.is_set():  # what a watcher asks goes by how long things take
                raise MissedError
            assert stage.over.wait(180), "the server did not come back"
            if stage.problem is not None:
                raise stage.problem
            if trial.way in (Way.STOP, Way.WAL_FULL):
                stage.connect_again()
            return judge(
                stage,
                trial.scenario,
                code,
                killed=trial.way is Way.KILL,
                may_leave_files=trial.way is Way.STOP and _is_amid_clone(trial),
            )
        finally:
            _finish(stage)


def _is_amid_clone(trial: Trial) -> bool:
    """Whether the server may be cloning at this point; while the watcher asks, it is."""
    is_inside = trial.phase is Phase.INSIDE and trial.point.label.startswith("CREATE")
    return is_inside or (trial.point.connection > 1 and "pg_terminate_backend" in trial.point.label)


def _act(stage: Stage, trial: Trial, link: Link, point: Point) -> Action:
    """In the gate's thread: what goes wrong with it is kept for the trial."""
    try:
        if trial.phase is not Phase.INSIDE:
            return die(stage, trial.way, link)
        with frozen(stage, link, point) as caught:
            if not caught:
                raise MissedError
            return die(stage, trial.way, link, inside=True)
    except BaseException as problem:
        stage.problem = problem
        return Action.GO
    finally:
        if trial.way is not Way.WAL_FULL or stage.problem is not None:  # that goes on by itself
            stage.over.set()
