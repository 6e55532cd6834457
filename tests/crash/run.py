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
from tests.crash.table import Result, stops_of, write
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
    parser.add_argument("--ways", default="", metavar="REGEX", help="only these ways to die; likewise")
    parser.add_argument(
        "--every", type=int, default=1, metavar="N", help="only every n-th trial; then no page is written"
    )
    options = parser.parse_args()
    began = time.monotonic()
    _set_postgres(options.postgres)
    passed = failed = 0
    version = ""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(options.workers, context, _set_postgres, (options.postgres,)) as pool:
        for scenario in SCENARIOS:
            if not re.search(options.only, scenario.name):
                continue
            cluster = _cluster_for(scenario, None)
            version = cluster.version
            points = points_of(record(cluster, scenario), scenario)
            everything = list(trials_of(scenario, points))
            trials = [trial for trial in everything if re.search(options.ways, trial.way.value)][:: options.every]
            results = []
            for result in pool.map(_try, trials):
                if isinstance(result, Result):
                    results.append(result)
                else:
                    print(f"FAILED {result}", flush=True)
            passed, failed = passed + len(results), failed + len(trials) - len(results)
            if results and len(results) == len(trials) and options.every == 1:
                old = PAGE.read_text(encoding="utf-8") if PAGE.exists() else ""
                page = write(old, version, {scenario.name: stops_of(points)}, results)
                PAGE.write_text(page, encoding="utf-8")
            print(f"{scenario.name}: {len(results)} of {len(trials)}, {time.monotonic() - began:.0f} s", flush=True)
    print(f"{passed} passed, {failed} failed in {time.monotonic() - began:.0f} s, on PostgreSQL {version}")
    return 1 if failed else 0
