"""What a backup takes beyond its two parts: the statement alone, and a command that starts and has an answer."""

from __future__ import annotations

from benchmarks.commands import run
from benchmarks.contenders import OPERATIONS, RAW, SNAPKIT, Script, snapkit_script
from benchmarks.scenarios import Bench, Key
from benchmarks.startup import LIST

LARGE = 500
"""MB, from which on the copying outweighs everything else."""
TURNS_IN_A_ROUND = 4
"""The margin is small against how much a machine's speed varies from one second to the next: many turns, in pairs."""


class Overhead:
    """The backup and its parts one right after the other, many times, with nobody connected."""

    name = "overhead"
    once = False

    def run(self, bench: Bench) -> None:
        if bench.megabytes < LARGE:
            return
        scripts: dict[str, Script] = {SNAPKIT: snapkit_script("backup"), LIST: snapkit_script("list")}
        for each in OPERATIONS:
            if each.name in RAW and each.since <= bench.server.major and each.backup is not None:
                scripts[each.name] = each.backup
        last = bench.options.rounds * TURNS_IN_A_ROUND
        keys: list[Key] = [{"round": number, "contender": name} for number in range(1, last + 1) for name in scripts]
        if not bench.pending(self.name, keys):
            return
        warm_up: list[Key] = [{"round": 0, "contender": name} for name in scripts] if bench.options.warm_up else []
        bench.server.restore_source()
        for key in [*warm_up, *keys]:
            if not bench.results.has(self.name, bench.key | key):
                self._turn(bench, key, scripts[key["contender"]])

    def _turn(self, bench: Bench, key: Key, script: Script) -> None:
        bench.server.settle()
        ran = run(script(bench.server), bench.server.environment())
        bench.server.clear()
        bench.say(f"{key['contender']}, turn {key['round']}: {ran.wall_ms:.0f} ms")
        if key["round"]:
            bench.add(self.name, key, ran.values() | {"good": ran.code == 0})
