"""Backups and rollbacks by each contender in turn, without and with clients."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from benchmarks.commands import Ran, run, run_or_fail
from benchmarks.contenders import OPERATIONS, WITHOUT_HOLDING, Contender
from benchmarks.crowd import Crowd, crowd_of
from benchmarks.measures import measure
from benchmarks.scenarios import Bench, Key
from benchmarks.servers import AFTER, BEFORE, SOURCE, State

BACKUP, ROLLBACK = "backup", "rollback"


class Operations:
    """Contenders that take turns within a round; each begins a round where another began the last one."""

    def __init__(self, name: str, contenders: Sequence[Contender]) -> None:
        self.name = name
        self.once = False
        self._contenders = contenders

    def run(self, bench: Bench) -> None:
        able = [each for each in self._contenders if each.since <= bench.server.major]
        for clients in (0, bench.options.clients):
            wanted = [
                {"clients": clients, "contender": each.name, "operation": operation, "round": number}
                for number in range(1, bench.options.rounds + 1)
                for each in able
                for operation in _operations(each)
            ]
            if not bench.pending(self.name, wanted):
                continue
            bench.server.restore_source()
            with crowd_of(bench.server.clients_url(), clients, bench.server.rows) as crowd:
                for number in range(0 if bench.options.warm_up else 1, bench.options.rounds + 1):
                    for each in _turned(able, number):
                        self._turn(bench, each, crowd, clients, number)

    def _turn(self, bench: Bench, contender: Contender, crowd: Crowd | None, clients: int, number: int) -> None:
        """Let one contender back up and roll back; round 0 is the warm-up, and is not kept."""
        key: Key = {"clients": clients, "contender": contender.name, "round": number}
        if number and not bench.pending(self.name, [key | {"operation": each} for each in _operations(contender)]):
            return
        made = contender.backup is not None and self._back_up(bench, contender, crowd, key)
        if contender.rollback is not None:
            if not made or contender.prepare is not None:
                _prepare(bench, contender, crowd)
            self._roll_back(bench, contender, crowd, key)
        bench.server.restore_source()

    def _back_up(self, bench: Bench, contender: Contender, crowd: Crowd | None, key: Key) -> bool:
        assert contender.backup is not None
        names = bench.server.names()
        ran, values = measure(bench.server, contender.backup(bench.server), crowd)
        good = ran.code == 0 and len(bench.server.names() - names) == 1
        self._keep(bench, key | {"operation": BACKUP}, values | {"good": good}, ran)
        return good

    def _roll_back(self, bench: Bench, contender: Contender, crowd: Crowd | None, key: Key) -> None:
        assert contender.rollback is not None
        bench.server.mark(AFTER)
        live = bench.server.oid_of(SOURCE)
        ran, values = measure(bench.server, contender.rollback(bench.server), crowd)
        state = bench.server.state()
        good = ran.code == 0 and state == State(BEFORE, complete=True) and bench.server.oid_of(SOURCE) != live
        self._keep(bench, key | {"operation": ROLLBACK}, values | {"good": good, "state": str(state)}, ran)

    def _keep(self, bench: Bench, key: Key, values: dict[str, Any], ran: Ran) -> None:
        counted = "" if key["round"] else " (warm-up)"
        worst = f", clients waited {max(values['waits_ms']):.0f} ms" if "waits_ms" in values else ""
        bench.say(
            f"{key['clients']} clients, {key['contender']}, {key['operation']}: {ran.wall_ms:.0f} ms"
            f"{worst}{'' if values['good'] else ', FAILED'}{counted}"
        )
        if key["round"] == 0:
            return
        if ran.code == 2:  # an option that this snapkit does not have
            values = {"skipped": values.get("said", "a usage error")}
        bench.add(self.name, key, values)


def _operations(contender: Contender) -> list[str]:
    ways = {BACKUP: contender.backup, ROLLBACK: contender.rollback}
    return [operation for operation, script in ways.items() if script is not None]


def _turned(contenders: Sequence[Contender], number: int) -> list[Contender]:
    first = number % len(contenders)
    return [*contenders[first:], *contenders[:first]]


def _prepare(bench: Bench, contender: Contender, crowd: Crowd | None) -> None:
    """Have the contender's backup, unmeasured. Where clients would not let it, they are sent out before."""
    server = bench.server
    server.restore_source()
    script = contender.preparation(server)
    if crowd is None or run(script, server.environment()).code == 0:
        if crowd is None:
            run_or_fail(script, server.environment())
        return
    server.restore_source()
    server.empty(SOURCE)
    try:
        run_or_fail(script, server.environment())
    finally:
        server.open(SOURCE)


OPERATIONS_SCENARIO = Operations("operations", OPERATIONS)
ONLINE_SCENARIO = Operations("online", WITHOUT_HOLDING)
