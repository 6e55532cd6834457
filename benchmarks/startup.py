"""What it takes to start a program and have it answer, with next to nothing to do."""

from __future__ import annotations

import shlex

from benchmarks.commands import run_or_fail
from benchmarks.contenders import SNAPKIT, dslr_program, psql_script, snapkit_script
from benchmarks.results import Results
from benchmarks.scenarios import Key, Options
from benchmarks.servers import BenchServer

NAME = "startup"
VERSION, HELP, LIST = f"{SNAPKIT} --version", f"{SNAPKIT} --help", f"{SNAPKIT} list"
DSLR_LIST, PSQL = "dslr list", "psql -c 'SELECT 1'"
COMMANDS = (VERSION, HELP, LIST, DSLR_LIST, PSQL)
_ROUNDS_FACTOR = 4
"""It is quick: each round counts for some."""


def keys(options: Options) -> list[Key]:
    return [
        {"command": command, "round": number}
        for number in range(1, options.rounds * _ROUNDS_FACTOR + 1)
        for command in COMMANDS
    ]


def measure_startup(server: BenchServer, results: Results, options: Options) -> None:
    program = shlex.split(snapkit_script("list")(server))[0]
    scripts = {
        VERSION: shlex.join([program, "--version"]),
        HELP: shlex.join([program, "--help"]),
        LIST: shlex.join([program, "list"]),
        DSLR_LIST: shlex.join([str(dslr_program()), "list"]),
        PSQL: psql_script(server, "SELECT 1"),
    }
    for command, script in scripts.items():
        run_or_fail(script, server.environment())
        print(f"  {command}", flush=True)
    for key in keys(options):
        if not results.has(NAME, key):
            ran = run_or_fail(scripts[key["command"]], server.environment())
            results.add(NAME, key, ran.values() | {"postgres": server.postgres})
