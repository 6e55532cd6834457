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

from tests.binaries import binaries_of
from tests.cluster import Cluster
from tests.crash.plan import points_of, trials_of
from tests.crash.scenarios import SCENARIOS, Scenario
from tests.crash.stage import ClusterOnSmallDisks
from tests.crash.table import Result, Stop, stops_of, write
from tests.crash.trial import Trial, attempt, record
from tests.crash.ways import Way

PAGE = Path(__file__).parents[2] / "docs" / "crash-table.md"

_clusters: dict[type[Cluster], Cluster] = {}
_postgres = ""


def _set_postgres(wanted: str) -> None:
    global _postgres
    _postgres = wanted


def _cluster_for(scenario: Scenario, way: Way | None) -> Cluster:
    """Return this process's server of the kind that is needed."""
    small = way is Way.WAL_FULL or scenario.name == "backup --tablespace"
    kind = ClusterOnSmallDisks if small else Cluster
    if kind not in _clusters:
        cluster = _clusters[kind] = kind(binaries_of(_postgres))
        Finalize(None, cluster.remove, exitpriority=10)  # a worker runs these, and not atexit's
        cluster.start()
    return _clusters[kind]


def _try(trial: Trial) -> Result | str:
    """Return the result, or what went wrong, in words."""
    cluster = _cluster_for(trial.scenario, trial.way)
    try:
        return Result(trial, *attempt(cluster, trial))
    except Exception:
        if not (cluster.data / "postmaster.pid").exists():
            cluster.launch()
        place = f"{trial.scenario.name}: {trial.way.value} {trial.phase.value} {trial.point}"
        return f"{place}\n{traceback.format_exc()}"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.crash", description=__doc__)
    parser.add_argument("--postgres", default="18", help="as pytest's option")
    parser.add_argument("--workers", type=int, default=5, help="trials at a time, each with a server of its own")
    parser.add_argument("--only", default="", metavar="REGEX", help="only these commands; the rest of the page stays")
    parser.add_argument("--ways", default="", metavar="REGEX", help="only these ways to die; no page is written then")
    parser.add_argument("--every", type=int, default=1, metavar="N", help="only every n-th trial; likewise")
    options = parser.parse_args()
    began = time.monotonic()
    _set_postgres(options.postgres)
    stops: dict[str, list[Stop]] = {}
    trials: list[Trial] = []
    for scenario in SCENARIOS:
        if re.search(options.only, scenario.name):
            points = points_of(record(_cluster_for(scenario, None), scenario))
            stops[scenario.name] = stops_of(points)
            trials += trials_of(scenario, points)
    everything = len(trials)
    trials = [trial for trial in trials if re.search(options.ways, trial.way.value)][:: options.every]
    version = next(iter(_clusters.values())).version
    print(f"PostgreSQL {version}: {len(trials)} trials", flush=True)
    results: list[Result] = []
    failed = 0
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(options.workers, context, _set_postgres, (options.postgres,)) as pool:
        for number, result in enumerate(pool.map(_try, trials), 1):
            if isinstance(result, Result):
                results.append(result)
            else:
                failed += 1
                print(f"FAILED {result}", flush=True)
            if number % 100 == 0:
                print(f"{number} of {len(trials)}, {time.monotonic() - began:.0f} s, {failed} failed", flush=True)
    print(f"{len(results)} passed, {failed} failed in {time.monotonic() - began:.0f} s")
    if not failed and len(results) == everything:
        old = PAGE.read_text(encoding="utf-8") if PAGE.exists() else ""
        PAGE.write_text(write(old, version, stops, results), encoding="utf-8")
    return 1 if failed else 0
