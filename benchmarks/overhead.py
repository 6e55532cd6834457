"""What a backup takes beyond its two parts: a command that starts and has an answer, and the statement alone."""

from __future__ import annotations

from random import Random

from benchmarks.commands import run
from benchmarks.contenders import OPERATIONS, RAW, SNAPKIT, Script, snapkit_script
from benchmarks.scenarios import Bench, Key
from benchmarks.startup import LIST

LARGE = 500
"""MB, from which on the copying outweighs everything else."""
TURNS_IN_A_ROUND = 4
"""The margin is small against how much a machine's speed varies from one second to the next: many turns, in pairs."""


def after_startup(statement: str) -> str:
    """Return the name of the two parts one after the other, as one script: a disk that has rested meanwhile, too."""
    return f"{LIST}, then {statement}"


class Overhead:
    """The backup and its two parts, in turn, many times, with nobody connected."""

    name = "overhead"
    once = False

    def run(self, bench: Bench) -> None:
        if bench.megabytes < LARGE:
            return
        scripts: dict[str, Script] = {SNAPKIT: snapkit_script("backup")}
        for each in OPERATIONS:
            if each.name in RAW and each.since <= bench.server.major and each.backup is not None:
                scripts[after_startup(each.name)] = _one_after_the_other(snapkit_script("list"), each.backup)
        numbers = range(0 if bench.options.warm_up else 1, bench.options.rounds * TURNS_IN_A_ROUND + 1)
        keys: dict[int, list[Key]] = {
            number: [{"round": number, "contender": name} for name in _shuffled(list(scripts), number)]
            for number in numbers
        }
        if not any(bench.pending(self.name, keys[number]) for number in numbers if number):
            return
        bench.server.restore_source()
        for number in numbers:
            if bench.pending(self.name, keys[number]):  # a turn is of one piece
                for key in keys[number]:
                    self._run(bench, key, scripts[key["contender"]])

    def _run(self, bench: Bench, key: Key, script: Script) -> None:
        bench.server.settle()
        names = bench.server.names()
        ran = run(script(bench.server), bench.server.environment())
        made = len(bench.server.names() - names)
        bench.server.clear()
        good = ran.code == 0 and made == 1
        bench.say(f"{key['contender']}, turn {key['round']}: {ran.wall_ms:.0f} ms{'' if good else ', FAILED'}")
        if key["round"]:
            bench.add(self.name, key, ran.values() | {"good": good})


def _one_after_the_other(first: Script, second: Script) -> Script:
    return lambda server: f"{first(server)}\n{second(server)}"


def _shuffled(names: list[str], number: int) -> list[str]:
    """Return another order for each turn: what one leaves behind is not always the burden of the same one."""
    return Random(number).sample(names, len(names))
