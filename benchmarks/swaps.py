"""Many swaps under clients: snapkit and the manual procedure in turn, for the tail of what clients wait."""

from __future__ import annotations

from psycopg import sql

from benchmarks.commands import run_or_fail
from benchmarks.contenders import MANUAL, NOTHING_BUT_LEAVING, OPERATIONS, SNAPKIT, UNDO, disconnect, swap_by_hand
from benchmarks.crowd import Crowd, crowd_of
from benchmarks.measures import measure
from benchmarks.scenarios import Bench, Key
from benchmarks.servers import SOURCE, BenchServer

SWAPS_IN_A_ROUND = 6
CONTENDERS = (SNAPKIT, MANUAL, NOTHING_BUT_LEAVING)
_SPARE, _ASIDE = "spare", "aside"


class Swaps:
    """An undo is the same swap as a rollback, and can be repeated for ever without a copy."""

    name = "swaps"
    once = False

    def run(self, bench: Bench) -> None:
        clients = bench.options.clients
        wanted: list[Key] = [
            {"clients": clients, "contender": contender, "round": number}
            for number in range(1, bench.options.rounds * SWAPS_IN_A_ROUND + 1)
            for contender in CONTENDERS
        ]
        if not bench.pending(self.name, wanted):
            return
        server = bench.server
        server.restore_source()
        snapkit = OPERATIONS[0]
        assert snapkit.rollback is not None
        run_or_fail(snapkit.preparation(server), server.environment())
        run_or_fail(snapkit.rollback(server), server.environment())
        server.copy(SOURCE, _SPARE)
        with crowd_of(server.clients_url(), clients, server.rows) as crowd:
            warm_up = [key | {"round": 0} for key in wanted[: len(CONTENDERS)]] if bench.options.warm_up else []
            for key in [*warm_up, *wanted]:
                if not bench.results.has(self.name, bench.key | key):
                    self._swap(bench, key, crowd)
        server.restore_source()

    def _swap(self, bench: Bench, key: Key, crowd: Crowd | None) -> None:
        server = bench.server
        live = server.oid_of(SOURCE)
        scripts = {SNAPKIT: UNDO, MANUAL: _by_hand, NOTHING_BUT_LEAVING: disconnect}
        ran, values = measure(server, scripts[key["contender"]](server), crowd)
        swaps = key["contender"] != NOTHING_BUT_LEAVING
        good = ran.code == 0 and server.oid_of(SOURCE) is not None and (server.oid_of(SOURCE) != live) == swaps
        values |= {"good": good, "lost_its_name": server.oid_of(SOURCE) is None}
        if key["contender"] == MANUAL:
            _swap_back(server, live)
        bench.say(
            f"{key['contender']}, swap {key['round']}: {ran.wall_ms:.0f} ms, clients waited"
            f" {max(values.get('waits_ms', [0])):.0f} ms{'' if good else ', FAILED'}"
        )
        if key["round"]:
            bench.add(self.name, key, values)


def _by_hand(server: BenchServer) -> str:
    return swap_by_hand(server, _SPARE, _ASIDE)


def _swap_back(server: BenchServer, live: int | None) -> None:
    """Undo what the manual procedure did, or began; nobody can connect meanwhile, and so nobody can be in the way."""
    server.empty(SOURCE)
    if server.oid_of(SOURCE) not in (None, live):
        _rename(server, SOURCE, _SPARE)
    if server.oid_of(_ASIDE) is not None:
        _rename(server, _ASIDE, SOURCE)
    server.open(SOURCE)
    if server.oid_of(_SPARE) is not None:
        server.open(_SPARE)


def _rename(server: BenchServer, old: str, new: str) -> None:
    server.execute(sql.SQL("ALTER DATABASE {} RENAME TO {}").format(sql.Identifier(old), sql.Identifier(new)))
