"""Measure snapkit and the alternatives, or write the page from what was measured.

python -m benchmarks            measure what the results do not hold yet, then write the page
python -m benchmarks page       write the page only
"""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from benchmarks import environment, scale, startup
from benchmarks.crowd import ROOT
from benchmarks.goals import verdicts
from benchmarks.interrupted import Interrupted
from benchmarks.operations import ONLINE_SCENARIO, OPERATIONS_SCENARIO
from benchmarks.overhead import Overhead
from benchmarks.page import write_page
from benchmarks.pooler import Pooled
from benchmarks.results import Results
from benchmarks.scenarios import Bench, Options, Scenario
from benchmarks.servers import BenchServer, server_on
from benchmarks.storage import FILE_SYSTEMS, OWN, NoDiskError, Storage, storage_of
from benchmarks.swaps import Swaps
from tests.binaries import NoBinariesError

SCENARIOS: tuple[Scenario, ...] = (Overhead(), OPERATIONS_SCENARIO, Swaps(), ONLINE_SCENARIO, Interrupted(), Pooled())
ALL = (startup.NAME, *(scenario.name for scenario in SCENARIOS), scale.NAME)
_CACHE = ROOT / ".cache" / "benchmarks"
KEPT = (ROOT / "benchmarks" / "results.jsonl", ROOT / "docs" / "performance.md")
QUICK = (_CACHE / "quick.jsonl", _CACHE / "performance.md")
"""Where results and the page go; a quick run leaves the real ones alone."""


def main(words: Sequence[str] | None = None) -> int:
    arguments = _arguments(words)
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))  # servers and disks are to be removed
    file, page = QUICK if arguments.quick else KEPT
    results = Results(arguments.results or file)
    if arguments.action == "measure":
        options = _options(arguments)
        for wanted in arguments.filesystems:
            try:
                with storage_of(wanted) as storage:
                    _on_storage(storage, wanted, arguments, options, results)
            except NoDiskError as reason:
                print(f"{wanted}: skipped: {reason}", flush=True)
        for verdict in verdicts(results.rows):
            told = "reached" if verdict.reached else "MISSED"
            print(f"{told}: {verdict.goal}: {verdict.found} ({verdict.where})")
    page = arguments.page or page
    write_page(results.rows, page)
    print(f"Written: {page}")
    return 0


def _arguments(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    usual = Options()
    parser.add_argument("action", nargs="?", choices=("measure", "page"), default="measure")
    parser.add_argument("--quick", action="store_true", help="one small size, one round; results and page under .cache")
    parser.add_argument("--only", nargs="+", choices=ALL, default=ALL, metavar="SCENARIO", help=", ".join(ALL))
    parser.add_argument("--sizes", nargs="+", type=int, metavar="MB", help=f"{usual.sizes}")
    parser.add_argument("--postgres", nargs="+", default=["18", "15"], metavar="VERSION", help="18 15")
    parser.add_argument("--filesystems", nargs="+", choices=FILE_SYSTEMS, default=FILE_SYSTEMS)
    parser.add_argument("--rounds", type=int, help=f"{usual.rounds}; each contender has one turn in a round")
    parser.add_argument("--no-warm-up", action="store_true", help="no first round that is not counted")
    parser.add_argument("--clients", type=int, default=usual.clients)
    parser.add_argument("--minutes", type=float, help=f"of load behind PgBouncer: {usual.minutes}")
    parser.add_argument("--databases", type=int, help=f"for the scenario of scale: {usual.databases}")
    parser.add_argument("--cuts", type=int, help=f"moments at which a rollback is cut off: {usual.cuts}")
    parser.add_argument("--results", type=Path, help="a file of JSON lines; what it holds is not measured again")
    parser.add_argument("--page", type=Path, help="where to write the page")
    return parser.parse_args(words)


def _options(arguments: argparse.Namespace) -> Options:
    usual = Options(rounds=1, minutes=0.2, databases=50, cuts=2, sizes=(30,)) if arguments.quick else Options()
    return Options(
        rounds=arguments.rounds or usual.rounds,
        warm_up=not arguments.no_warm_up,
        clients=arguments.clients,
        minutes=arguments.minutes or usual.minutes,
        databases=arguments.databases or usual.databases,
        cuts=arguments.cuts or usual.cuts,
        sizes=tuple(arguments.sizes or usual.sizes),
    )


def _on_storage(
    storage: Storage, wanted: str, arguments: argparse.Namespace, options: Options, results: Results
) -> None:
    described = environment.describe() | {
        "written_per_second": round(storage.written_per_second()),
        "rounds": options.rounds,
        "scenarios": [name for name in ALL if name in arguments.only],
    }
    scenarios = [scenario for scenario in SCENARIOS if scenario.name in arguments.only]
    for postgres in arguments.postgres:
        print(f"PostgreSQL {postgres}, {storage.name}", flush=True)
        try:
            with server_on(storage, postgres) as server:
                key = {"date": environment.today(), "filesystem": storage.name, "postgres": postgres}
                results.add(environment.NAME, key, described | {"version": server.cluster.version})
                first = wanted == arguments.filesystems[0] and postgres == arguments.postgres[0]
                if first and startup.NAME in arguments.only:
                    _measure_startup(server, results, options)
                for size in options.sizes:
                    here = [scenario for scenario in scenarios if first or not scenario.once]
                    _on_size(Bench(server, results, options, size), here)
        except NoBinariesError as reason:
            print(f"PostgreSQL {postgres}: skipped: {reason}", flush=True)
    if scale.NAME in arguments.only and (wanted == OWN or OWN not in arguments.filesystems):
        if all(results.has(scale.NAME, key) for key in scale.keys(options)):
            return
        print(f"{options.databases} databases", flush=True)
        with server_on(storage, arguments.postgres[0], fsync=False) as server:
            scale.measure_scale(server, results, options)


def _measure_startup(server: BenchServer, results: Results, options: Options) -> None:
    if not all(results.has(startup.NAME, key) for key in startup.keys(options)):
        server.execute("CREATE DATABASE app")
        startup.measure_startup(server, results, options)


def _on_size(bench: Bench, scenarios: Sequence[Scenario]) -> None:
    with ExitStack() as stack:
        if scenarios:
            bench.server.make_source(bench.megabytes)
            stack.callback(bench.server.clear, everything=True)
        for scenario in scenarios:
            print(f" {scenario.name}", flush=True)
            scenario.run(bench)


if __name__ == "__main__":
    sys.exit(main())
