"""One server for the whole run, of the version that --postgres asks for; a sandbox of its own for each test."""

from __future__ import annotations

import itertools
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from tests.cluster import Cluster, binaries_of
from tests.sandbox import Sandbox

_numbers = itertools.count(1)
_CLUSTER = pytest.StashKey[Cluster]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--postgres",
        default=os.environ.get("SNAPKIT_TEST_POSTGRES", "18"),
        metavar="VERSION",
        help="the server to test on: 18 (embedded, the default), 15 (the machine's own), or a directory with programs",
    )


def pytest_configure() -> None:
    """Take Ctrl-C again where a shell started the run in the background: commands under test would ignore it too."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_report_header(config: pytest.Config) -> str:
    return f"postgres: {config.getoption('--postgres')} ({binaries_of(config.getoption('--postgres'))})"


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No test reads the connection variables, the .env or the settings of the person who runs it."""
    for name in list(os.environ):
        if name.startswith(("PG", "SNAPKIT_")) or name in ("DATABASE_URL", "DIRECT_URL", "NO_COLOR", "FORCE_COLOR"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="session")
def cluster(pytestconfig: pytest.Config) -> Iterator[Cluster]:
    running = Cluster(binaries_of(pytestconfig.getoption("--postgres")))
    try:
        running.start()
        yield running
    finally:
        running.remove()


@pytest.fixture
def sandbox(cluster: Cluster) -> Iterator[Sandbox]:
    """A source database with some rows, and a way to it; whatever comes of it is dropped afterwards."""
    with psycopg.connect(cluster.url("postgres"), autocommit=True) as admin:
        box = Sandbox(cluster, admin, f"t{next(_numbers)}")
        box.create()
        try:
            yield box
        finally:
            box.remove()
