"""One measurement: a command from beginning to end, and what clients, the disk and the WAL saw of it."""

from __future__ import annotations

import json
from typing import Any

from benchmarks.commands import Ran, run
from benchmarks.crowd import Crowd
from benchmarks.servers import BenchServer


def measure(server: BenchServer, script: str, crowd: Crowd | None) -> tuple[Ran, dict[str, Any]]:
    """Run a script once everything before it is written out; return how it ended, and the figures."""
    server.settle()
    wal, used = server.wal(), server.used()
    if crowd is not None:
        crowd.lap()
    ran = run(script, server.environment())
    values = ran.values()
    if crowd is not None:
        values |= crowd.lap()
    values["wal_bytes"] = server.wal() - wal
    server.execute("CHECKPOINT")
    values["disk_bytes"] = server.used() - used
    return ran, values | told_by(ran)


def told_by(ran: Ran) -> dict[str, Any]:
    """Return what snapkit says of the run itself, and for any command that failed its last words."""
    told: dict[str, Any] = {}
    if '"schema_version"' in ran.out:
        document = json.loads(ran.out)
        data = document["data"] or {}
        if "outage_ms" in data:
            told["reported_outage_ms"] = data["outage_ms"]
        if document["error"] is not None:
            told["said"] = document["error"]["message"][:300]
    elif ran.code != 0:
        told["said"] = (ran.err.strip() or ran.out.strip())[-300:]
    return told
