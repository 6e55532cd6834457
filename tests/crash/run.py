"""Run every trial, and write docs/crash-table.md: ``python -m tests.crash``. It takes about an hour on two cores."""

from __future__ import annotations

import argparse
import multiprocessing
import re
import time
import traceback
from concurrent.futures import ProcessPoolExecutor
from multiprocessing.util import Finalize
from pathlib import Path

from tests.cluster import Cluster, binaries_of
from tests.crash.plan import points_of, trials_of
from tests.crash.scenarios import SCENARIOS
from tests.crash.table import Result, Stop, stops_of, write
from tests.crash.trial import Trial, attempt, record

PAGE = Path(__file__).parents[2] / "docs" / "crash-table.md"

_cluster: Cluster


def _start_cluster(postgres: str) -> None:
    global _cluster
    _cluster = Cluster(binaries_of(postgres))
    Finalize(None, _cluster.remove, exitpriority=10)  # a worker runs these, and not atexit's
    _cluster.start()


def _try(trial: Trial) -> Result | str:
    """Return the result, or what went wrong, in words."""
    try:
        return Result(trial, *attempt(_cluster, trial))
    except Exception:
        if not (_cluster.data / "postmaster.pid").exists():
            _cluster.launch()
        place = f"{trial.scenario.name}: {trial.way.value} {trial.phase.value} {trial.point}"
        return f"{place}\n{traceback.format_exc()}"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.crash", description=__doc__)
    parser.add_argument("--postgres", default="18", help="as pytest's option")
    parser.add_argument("--workers", type=int, default=3, help="trials at a time, each with a server of its own")
    parser.add_argument("--only", default="", metavar="REGEX", help="only these commands; the page is not written then")
    parser.add_argument("--every", type=int, default=1, metavar="N", help="only every n-th trial; likewise")
    options = parser.parse_args()
    began = time.monotonic()
    _start_cluster(options.postgres)
    stops: dict[str, list[Stop]] = {}
    trials: list[Trial] = []
    for scenario in SCENARIOS:
        if re.search(options.only, scenario.name):
            points = points_of(record(_cluster, scenario))
            stops[scenario.name] = stops_of(points)
            trials += trials_of(scenario, points)
    trials = trials[:: options.every]
    print(f"PostgreSQL {_cluster.version}: {len(trials)} trials", flush=True)
    results: list[Result] = []
    failed = 0
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(options.workers, context, _start_cluster, (options.postgres,)) as pool:
        for number, result in enumerate(pool.map(_try, trials), 1):
            if isinstance(result, Result):
                results.append(result)
            else:
                failed += 1
                print(f"FAILED {result}", flush=True)
            if number % 100 == 0:
                print(f"{number} of {len(trials)}, {time.monotonic() - began:.0f} s, {failed} failed", flush=True)
    print(f"{len(results)} passed, {failed} failed in {time.monotonic() - began:.0f} s")
    if not failed and not options.only and options.every == 1:
        PAGE.write_text(write(_cluster.version, stops, results, ""), encoding="utf-8")
    return 1 if failed else 0
