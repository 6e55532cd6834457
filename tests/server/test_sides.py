"""Two sessions that read two databases at the same time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest
from psycopg import errors

from snapkit.postgres.comparison.relations import relations
from snapkit.postgres.connection.driver import driver_connection
from snapkit.postgres.connection.server import Connection
from snapkit.services.comparison.sides import Sides
from tests.sandbox import Sandbox, wait_until
from tests.server.comparing import TwoDatabases, two_databases

FOR_EVER = "SELECT pg_sleep(3600)"


def running(statement: str) -> Callable[[Connection], object]:
    return lambda connection: driver_connection(connection).execute(statement).fetchall()


def is_idle(both: TwoDatabases) -> bool:
    """Whether neither session is at work; the server may take a moment to say so."""
    query = "SELECT FROM pg_stat_activity WHERE query = %s AND state = 'active'"
    return not both.sandbox.execute(query, FOR_EVER)


def test_both_are_at_work_at_the_same_time(sandbox: Sandbox) -> None:
    met = threading.Barrier(2, timeout=60)

    def work(connection: Connection) -> str:
        met.wait()
        return str(driver_connection(connection).info.dbname)

    with two_databases(sandbox) as both, both.sides() as sides:
        assert sides.both(work) == (both.before, both.after)
        assert sides.one(running("SELECT current_database()"), is_before=False) == [(both.after,)]


@pytest.mark.parametrize("fails", ["before", "after"])
def test_where_one_fails_the_other_is_cancelled(sandbox: Sandbox, fails: str) -> None:
    works = [running("SELECT 1 / 0"), running(FOR_EVER)]
    with two_databases(sandbox) as both, both.sides() as sides:
        with pytest.raises(errors.DivisionByZero):
            sides.both(*(works if fails == "before" else reversed(works)))
        wait_until(lambda: is_idle(both))
        assert sides.both(running("SELECT 1")) == ([(1,)], [(1,)])


def test_what_interrupts_stops_both(sandbox: Sandbox) -> None:
    with two_databases(sandbox) as both:
        server = sandbox.server()

        def beat() -> None:
            raise KeyboardInterrupt

        with server.enter(both.before, {}) as before, server.enter(both.after, {}) as after:
            sides = Sides(before, after, beat)
            with pytest.raises(KeyboardInterrupt):
                sides.both(running(FOR_EVER))
            wait_until(lambda: is_idle(both))
            sides.close()


def test_a_snapshot_holds_on_both_sides_and_keeps_tables_as_they_are(sandbox: Sandbox) -> None:
    with two_databases(sandbox) as both, both.sides() as sides:
        pair = both.pairs(sides, related=True)["item"]
        count = running("SELECT count(*) FROM public.item")
        with sides.snapshot(pair.before, pair.after) as as_of:
            assert as_of.timestamp() <= time.time()
            both.run(both.after, "DELETE FROM item")
            both.run(both.before, "DELETE FROM item")
            assert sides.both(count) == ([(100,)], [(100,)])
            with sandbox.connect() as another, pytest.raises(errors.LockNotAvailable):
                another.execute("SET lock_timeout = '100ms'")
                another.execute("TRUNCATE item")
        assert sides.both(count) == ([(0,)], [(0,)])
        both.run(both.after, "TRUNCATE item")


def test_a_table_that_is_gone_is_an_error_and_the_sessions_go_on(sandbox: Sandbox) -> None:
    with two_databases(sandbox) as both, both.sides() as sides:
        pair = both.pairs(sides, related=True)["item"]
        both.run(both.after, "DROP TABLE item")
        with pytest.raises(errors.UndefinedTable), sides.snapshot(pair.before, pair.after):
            pytest.fail("it was locked")
        assert [len(each) for each in sides.both(relations)] == [1, 0]
