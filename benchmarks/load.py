"""Clients at work: a process of its own, so that what measures does not share a core's turn with what is measured.

Each client wants an answer, and tries until it has it: connecting again at once when it is disconnected, and ten
milliseconds later when it is turned away or its query fails for another reason. The time from the wish to the answer is
what a client waited. A thought of some milliseconds lies between an answer and the next wish, and does not count; being
disconnected ends it.

One line on the standard input is one question, answered by one JSON line: what happened since the last one. It is
answered when every client has had an answer since it was asked, or after a limit. The end of the input is the end.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import select
import sys
import threading
import time
from collections import Counter
from typing import Any

import psycopg

THOUGHT = 0.01
TURNED_AWAY_PAUSE = 0.01
LIMIT = 20.0
"""Seconds after which a client that still waits is reported as not served."""

_READ = "SELECT abalance FROM pgbench_accounts WHERE aid = %s"
_WRITE = "UPDATE pgbench_tellers SET tbalance = tbalance + 1 WHERE tid = %s"
_WRITES = 0.1
"""The part of the queries that write."""


class Client:
    """One client in a thread of its own."""

    def __init__(self, number: int, url: str, rows: int) -> None:
        self._url = url
        self._rows = rows
        self._number = number
        self._connection: psycopg.Connection[Any] | None = None
        self._lock = threading.Lock()
        self._wanted_at: float | None = None
        self._longest = 0.0
        self._queries = 0
        self._failed: Counter[str] = Counter()
        self._turned_away: Counter[str] = Counter()
        self.answered_at = 0.0
        threading.Thread(target=self._work, daemon=True).start()

    def _work(self) -> None:
        chance = random.Random(self._number)
        while True:
            with self._lock:
                self._wanted_at = time.monotonic()
            answered = False
            while not answered:
                answered = self._try(chance)
            with self._lock:
                self.answered_at = time.monotonic()
                self._longest = max(self._longest, self.answered_at - self._wanted_at)
                self._wanted_at = None
                self._queries += 1
            self._think(THOUGHT * 2 * chance.random())

    def _think(self, seconds: float) -> None:
        """Pause, but notice as a pool does when the server hangs up meanwhile: no query fails of that."""
        assert self._connection is not None
        readable, _, _ = select.select([self._connection.fileno()], [], [], seconds)
        if readable:
            self._connection.close()
            self._connection = None

    def _try(self, chance: random.Random) -> bool:
        if self._connection is None:
            try:
                self._connection = psycopg.connect(self._url, autocommit=True, prepare_threshold=None)
            except psycopg.Error as error:
                self._count(self._turned_away, error)
                time.sleep(TURNED_AWAY_PAUSE)
                return False
        try:
            if chance.random() < _WRITES:
                self._connection.execute(_WRITE, (chance.randint(1, 10),))
            else:
                self._connection.execute(_READ, (chance.randint(1, self._rows),))
        except psycopg.Error as error:
            self._count(self._failed, error)
            if not _is_disconnected(error):  # answered, but not with what was asked for: a table may be missing
                time.sleep(TURNED_AWAY_PAUSE)
            self._connection.close()
            self._connection = None
            return False
        return True

    def _count(self, counter: Counter[str], error: psycopg.Error) -> None:
        with self._lock:
            counter[error.sqlstate or "none"] += 1

    def report(self) -> tuple[float, int, Counter[str], Counter[str]]:
        """Return the longest wait, and the counts, since the last report."""
        with self._lock:
            waiting = time.monotonic() - self._wanted_at if self._wanted_at is not None else 0.0
            reported = (max(self._longest, waiting), self._queries, self._failed, self._turned_away)
            self._longest, self._queries, self._failed, self._turned_away = 0.0, 0, Counter(), Counter()
        return reported


def _is_disconnected(error: psycopg.Error) -> bool:
    """The server has ended the session, or the connection is gone: class 57P, class 08, or no SQLSTATE at all."""
    return error.sqlstate is None or error.sqlstate.startswith(("57P", "08"))


def _report(clients: list[Client], begun: float) -> dict[str, Any]:
    asked = time.monotonic()
    while any(client.answered_at < asked for client in clients) and time.monotonic() < asked + LIMIT:
        time.sleep(0.005)
    unserved = sum(client.answered_at < asked for client in clients)
    failed: Counter[str] = Counter()
    turned_away: Counter[str] = Counter()
    queries, waits = 0, []
    for client in clients:
        wait, number, failures, refusals = client.report()
        waits.append(round(wait * 1000, 2))
        queries += number
        failed += failures
        turned_away += refusals
    return {
        "load_seconds": round(time.monotonic() - begun, 3),
        "queries": queries,
        "waits_ms": waits,
        "failed": dict(failed),
        "turned_away": dict(turned_away),
        "unserved": unserved,
    }


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.load", description=__doc__)
    parser.add_argument("--clients", type=int, default=20)
    parser.add_argument("--rows", type=int, required=True, help="of pgbench_accounts")
    arguments = parser.parse_args()
    url = os.environ["DATABASE_URL"]
    clients = [Client(number, url, arguments.rows) for number in range(arguments.clients)]
    begun = time.monotonic()
    for _ in sys.stdin:
        print(json.dumps(_report(clients, begun)), flush=True)
        begun = time.monotonic()


if __name__ == "__main__":
    main()
