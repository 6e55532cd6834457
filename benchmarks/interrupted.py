"""A rollback that is cut off in the middle: what is there afterwards?"""

from __future__ import annotations

import time

import psycopg

from benchmarks.commands import Running, run_or_fail
from benchmarks.contenders import DUMP, INTERRUPTED, Contender
from benchmarks.scenarios import Bench, Key
from benchmarks.servers import AFTER, BEFORE, SOURCE, State

KILLED = "the command is killed"
CRASHED = "the server is stopped at once"
WAYS = (KILLED, CRASHED)
PATIENCE = 300.0
"""Seconds that the server is given to finish what the killed command had begun."""

LARGEST = 600
"""In MB: it is run on the largest size up to this."""


class Interrupted:
    """Each contender's rollback, cut off at moments spread evenly over the time that it takes uninterrupted."""

    name = "interrupted"
    once = True

    def run(self, bench: Bench) -> None:
        fitting = [size for size in bench.options.sizes if size <= LARGEST] or [min(bench.options.sizes)]
        if bench.megabytes != max(fitting):
            return
        cuts = bench.options.cuts
        for contender in INTERRUPTED:
            wanted: list[Key] = [
                {"contender": contender.name, "way": way, "cut": cut, "cuts": cuts}
                for way in WAYS
                for cut in range(1, cuts + 1)
            ]
            if not bench.pending(self.name, wanted):
                continue
            _get_ready(bench, contender)
            seconds = run_or_fail(_rollback(bench, contender), bench.server.environment()).wall_ms / 1000
            for key in wanted:
                if not bench.results.has(self.name, bench.key | key):
                    self._cut(bench, contender, key, seconds * key["cut"] / (cuts + 1))
        bench.server.restore_source()

    def _cut(self, bench: Bench, contender: Contender, key: Key, seconds: float) -> None:
        server = bench.server
        _get_ready(bench, contender)
        running = Running(_rollback(bench, contender), server.environment())
        ended = running.ended_within(seconds)
        if key["way"] == CRASHED:
            server.crash_and_recover()
        running.kill()
        running.wait()
        at_once = server.state()
        deadline = time.monotonic() + PATIENCE
        while server.others_at_work() and time.monotonic() < deadline:
            time.sleep(0.05)
        finally_ = server.state()
        everywhere = server.everywhere().values()
        values = {
            "after_ms": round(seconds * 1000, 1),
            "had_ended": ended,
            "at_once": str(at_once),
            "finally": str(finally_),
            "live_kept": State(AFTER, complete=True) in everywhere,
            "backup_kept": State(BEFORE, complete=True) in everywhere or contender.name == DUMP,  # a file
        }
        bench.say(f"{contender.name}, {key['way']} after {values['after_ms']} ms: {values['at_once']}, {finally_}")
        bench.add(self.name, key, values)


def _rollback(bench: Bench, contender: Contender) -> str:
    assert contender.rollback is not None
    return contender.rollback(bench.server)


def _get_ready(bench: Bench, contender: Contender) -> None:
    """Have a source that was changed after its backup."""
    server = bench.server
    for _ in range(2):
        try:
            server.restore_source()
            break
        except psycopg.Error:  # an orphaned statement may still be at its end
            time.sleep(1)
    run_or_fail(contender.preparation(server), server.environment())
    server.mark(AFTER)
    assert server.oid_of(SOURCE) is not None
    server.settle()
