"""A server with very many backups: how long a list with sizes takes, and how much memory."""

from __future__ import annotations

import json
import shlex
import sys
from datetime import UTC, datetime, timedelta

from psycopg import sql

from benchmarks.commands import run_or_fail
from benchmarks.contenders import psql_script, snapkit_script
from benchmarks.results import Results
from benchmarks.scenarios import Key, Options
from benchmarks.servers import SOURCE, BenchServer

NAME = "scale"
SIZES, NAMES, POSTGRES = "snapkit list --sizes --all", "snapkit list --all", "SELECT sum(pg_database_size(oid))"

_PEAK = """
import resource, subprocess, sys
code = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL).returncode
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024)
sys.exit(code)
"""
"""Told by a small process: one that is started by a large one counts the large one's memory as its own."""


def steps(options: Options) -> list[int]:
    """How many databases there are, one after the other."""
    return sorted({max(1, options.databases // 10), options.databases})


def keys(options: Options) -> list[Key]:
    return [
        {"databases": number, "command": command, "round": each}
        for number in steps(options)
        for command in (SIZES, NAMES, POSTGRES)
        for each in range(1, options.rounds + 1)
    ]


def measure_scale(server: BenchServer, results: Results, options: Options) -> None:
    """Make one real backup, the others after its likeness, and list them; fsync is off on this server."""
    server.make_source(10)
    server.clear_source()
    server.copy("template1", SOURCE)
    run_or_fail(snapkit_script("backup")(server), server.environment())
    comment = server.execute("SELECT description FROM pg_shdescription WHERE description LIKE %s", '{"snapkit"%')[0][0]
    scripts = {
        SIZES: snapkit_script("list", "--sizes", "--all")(server),
        NAMES: snapkit_script("list", "--all")(server),
        POSTGRES: psql_script(server, "SELECT sum(pg_database_size(oid)) FROM pg_database"),
    }
    made = 1
    for number in steps(options):
        while made < number:
            _make_likeness(server, str(comment), made)
            made += 1
        server.settle()
        for each in range(options.rounds + 1):
            for command, script in scripts.items():
                key: Key = {"databases": number, "command": command, "round": each}
                if each and results.has(NAME, key):
                    continue
                values = run_or_fail(script, server.environment()).values()
                peak = shlex.join([sys.executable, "-S", "-c", _PEAK, *shlex.split(script)])
                values["max_rss_bytes"] = int(run_or_fail(peak, server.environment()).out.split()[-1])
                print(f"  {number} databases, {command}: {values['wall_ms']:.0f} ms", flush=True)
                if each:
                    results.add(NAME, key, values | {"postgres": server.postgres})


def _make_likeness(server: BenchServer, comment: str, number: int) -> None:
    """Make a database with the comment of a backup, so that it is one."""
    when = datetime(2020, 1, 1, tzinfo=UTC) + timedelta(hours=number)
    document = json.loads(comment) | {"created_at": f"{when:%Y-%m-%dT%H:%M:%SZ}"}
    name = sql.Identifier(f"{SOURCE}_backup_{when:%Y%m%d_%H%M%S}")
    server.execute(sql.SQL("CREATE DATABASE {} TEMPLATE template1 ALLOW_CONNECTIONS false").format(name))
    text = json.dumps(document, separators=(",", ":"))
    server.execute(sql.SQL("COMMENT ON DATABASE {} IS {}").format(name, sql.Literal(text)))
