"""What clients see of a backup and a rollback: docs/clients.md. Each asks once for every line that it gets."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from tests.sandbox import Sandbox, wait_until

pytestmark = pytest.mark.any_version

_LOOP = """
for line in sys.stdin:
    try:
        print(request(), flush=True)
    except Exception as error:
        print("failed:", type(error).__name__, flush=True)
"""

PROGRAMS = {
    "psycopg_pool": """
import sys, psycopg_pool
url, option = sys.argv[1], sys.argv[2] == "True"
check = psycopg_pool.ConnectionPool.check_connection if option else None
pool = psycopg_pool.ConnectionPool(url, min_size=1, max_size=1, check=check, open=True)
def request():
    with pool.connection(timeout=30) as connection:
        return connection.execute("SELECT count(*) FROM item").fetchone()[0]
""",
    "sqlalchemy": """
import sys, sqlalchemy
url, option = sys.argv[1], sys.argv[2] == "True"
url = url.replace("postgresql:", "postgresql+psycopg:", 1)
engine = sqlalchemy.create_engine(url, pool_size=1, max_overflow=0, pool_pre_ping=option)
def request():
    with engine.connect() as connection:
        return connection.execute(sqlalchemy.text("SELECT count(*) FROM item")).scalar()
""",
    "django": """
import sys, psycopg.conninfo, django
from django.conf import settings
url, option = sys.argv[1], sys.argv[2] == "True"
given = psycopg.conninfo.conninfo_to_dict(url)
settings.configure(DATABASES={"default": {
    "ENGINE": "django.db.backends.postgresql", "NAME": given["dbname"], "USER": given["user"], "HOST": given["host"],
    "PORT": given["port"], "CONN_MAX_AGE": None, "CONN_HEALTH_CHECKS": option,
}})
django.setup()
from django.core import signals
from django.db import connection
def request():
    signals.request_started.send(None)
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM item")
            return cursor.fetchone()[0]
    finally:
        signals.request_finished.send(None)
""",
    "asyncpg": """
import asyncio, sys, asyncpg
loop = asyncio.new_event_loop()
async def begin():
    return await asyncpg.create_pool(sys.argv[1], min_size=1, max_size=1)
pool = loop.run_until_complete(begin())
async def ask():
    return await pool.fetchval("SELECT count(*) FROM item")
def request():
    return loop.run_until_complete(ask())
""",
}

Ask = Callable[[], str]


@contextmanager
def client(sandbox: Sandbox, kind: str, *, option: bool) -> Iterator[Ask]:
    """A program of its own with one connection, kept open; what is returned has it ask, and returns its answer."""
    if importlib.util.find_spec(kind) is None:
        pytest.skip(f"needs {kind}")
    words = [sys.executable, "-c", PROGRAMS[kind] + _LOOP, sandbox.url, str(option)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None

        def ask() -> str:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write("\n")
            process.stdin.flush()
            return process.stdout.readline().strip()

        try:
            yield ask
        finally:
            process.stdin.close()
            process.wait(60)


def _recovers(ask: Ask, expected: str) -> None:
    wait_until(lambda: ask() == expected)


@pytest.mark.parametrize("kind", ["psycopg_pool", "sqlalchemy", "django"])
def test_with_its_option_a_client_that_was_idle_sees_nothing(sandbox: Sandbox, kind: str) -> None:
    with client(sandbox, kind, option=True) as ask:
        assert ask() == "100"
        assert sandbox.back_up().disconnected
        assert ask() == "100"
        sandbox.ruin()
        _recovers(ask, str(len(sandbox.items())))
        sandbox.roll_back()
        assert ask() == "100"


@pytest.mark.parametrize("kind", list(PROGRAMS))
def test_without_it_a_request_fails_and_the_client_recovers_by_itself(sandbox: Sandbox, kind: str) -> None:
    with client(sandbox, kind, option=False) as ask:
        assert ask() == "100"
        assert sandbox.back_up().disconnected
        if kind != "asyncpg":  # which may notice in time that its connection is gone
            assert ask().startswith("failed:")
        _recovers(ask, "100")
        sandbox.roll_back()
        _recovers(ask, "100")
