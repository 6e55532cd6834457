"""What every scenario is given, and is asked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from benchmarks.results import Results
from benchmarks.servers import BenchServer

Key = dict[str, Any]


@dataclass(frozen=True)
class Options:
    """How much is to be measured."""

    rounds: int = 5
    warm_up: bool = True
    """Whether a round that is not counted comes first."""
    clients: int = 20
    minutes: float = 10
    """How long the scenario behind PgBouncer goes on."""
    databases: int = 1000
    """How many the scenario of scale makes."""
    cuts: int = 9
    """At how many moments a rollback is cut off."""
    sizes: Sequence[int] = (10, 100, 600, 2000)
    """In MB."""


@dataclass(frozen=True)
class Bench:
    """A server with a source of one size, and where results go."""

    server: BenchServer
    results: Results
    options: Options
    megabytes: int

    @property
    def key(self) -> Key:
        """What a measurement belongs to."""
        return {
            "postgres": self.server.postgres,
            "filesystem": self.server.storage.name,
            "megabytes": self.megabytes,
        }

    def add(self, scenario: str, key: Key, values: dict[str, Any]) -> None:
        self.results.add(scenario, self.key | key, {"size_bytes": self.server.size} | values)

    def pending(self, scenario: str, keys: Sequence[Key]) -> bool:
        return not all(self.results.has(scenario, self.key | key) for key in keys)

    def say(self, text: str) -> None:
        key = self.key
        print(f"  PG {key['postgres']}, {key['filesystem']}, {self.megabytes} MB: {text}", flush=True)


class Scenario(Protocol):
    """One thing that is measured, on one server and one size."""

    name: str
    once: bool
    """Whether the first server on the first file system is enough."""

    def run(self, bench: Bench) -> None:
        """Measure what the results do not hold yet."""
        ...
