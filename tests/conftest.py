"""One server for the whole run, of the version that --postgres asks for; a sandbox of its own for each test."""

from __future__ import annotations

import gc
import itertools
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from tests.binaries import SUPPORTED, NoBinariesError, binaries_of, version_of
from tests.cluster import Cluster
from tests.sandbox import Sandbox

_numbers = itertools.count(1)
_BINARIES = pytest.StashKey[Path]()
_QUICK = "not detail and not acceptance"
_EVERYTHING = "not acceptance"
_NO_DETAIL = ("command", "promise", "acceptance")
_WITHOUT_DETAILS = ("tests", "unit")
"""Folders whose tests are all quick."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--postgres",
        default=os.environ.get("SNAPKIT_TEST_POSTGRES", "18"),
        metavar="VERSION",
        help=f"the server to test on: one of {', '.join(SUPPORTED)} (18 if not said), or a directory with programs",
    )
    parser.addoption("--everything", action="store_true", help="all tests, not one for each promise and command")


def pytest_configure(config: pytest.Config) -> None:
    # What a shell or nohup ignores for a run in the background, commands under test would ignore too. (Of a handler
    # they inherit nothing.)
    for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else lambda *_: None)
    try:
        config.stash[_BINARIES] = binaries_of(config.getoption("--postgres"))
    except NoBinariesError as error:
        raise pytest.UsageError(str(error)) from error
    if not config.option.markexpr:  # with which the workers of a parallel run are told as well
        config.option.markexpr = _EVERYTHING if _has_chosen(config) else _QUICK


def _has_chosen(config: pytest.Config) -> bool:
    """Whether whoever runs the tests has said which: then all that fits is run."""
    named = config.args_source is not pytest.Config.ArgsSource.TESTPATHS
    return named or any(config.getoption(name, False) for name in ("everything", "keyword", "lf"))


def pytest_report_header(config: pytest.Config) -> list[str]:
    binaries = config.stash[_BINARIES]
    lines = [f"postgres: {version_of(binaries)}, from {binaries}"]
    if config.option.markexpr == _QUICK:
        lines.append("tests: the unit tests, and one for each command and promise; all: --everything")
    return lines


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what runs on a server, and what a quick run leaves out; so -m can ask for it."""
    for item in items:
        if "cluster" in getattr(item, "fixturenames", ()):
            item.add_marker("server")
        if item.path.parent.name not in _WITHOUT_DETAILS and not any(map(item.get_closest_marker, _NO_DETAIL)):
            item.add_marker("detail")


def pytest_collection_finish() -> None:
    """What has been made so far stays to the end: it need not be looked through for garbage again and again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """A run in which every test was skipped has shown nothing, and does not pass."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if reporter is None or session.config.option.collectonly:
        return  # a worker of a parallel run, or nothing was to be run
    if session.exitstatus == pytest.ExitCode.OK and "passed" not in reporter.stats:
        session.exitstatus = pytest.ExitCode.NO_TESTS_COLLECTED


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No test reads the connection variables, the .env or the settings of the person who runs it."""
    for name in list(os.environ):
        if name.startswith(("PG", "SNAPKIT_")) or name in ("DATABASE_URL", "DIRECT_URL", "NO_COLOR", "FORCE_COLOR"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="session")
def cluster(pytestconfig: pytest.Config) -> Iterator[Cluster]:
    running = Cluster(pytestconfig.stash[_BINARIES])
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
