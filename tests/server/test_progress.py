"""What the gauges of a clone show is what is there."""

from __future__ import annotations

import pytest
from psycopg import sql

from snapkit.core.inventory.kinds import Strategy
from snapkit.core.reporting import Progress
from snapkit.postgres.catalog.databases import sizes
from snapkit.postgres.copying.progress import CloneGauge, Cloning
from tests.sandbox import Sandbox


@pytest.mark.parametrize("strategy", [Strategy.FILE_COPY, Strategy.WAL_LOG])
def test_a_finished_clone_is_all_there(sandbox: Sandbox, strategy: Strategy) -> None:
    if strategy is Strategy.WAL_LOG and sandbox.version < 15:
        pytest.skip("WAL_LOG came with PostgreSQL 15")
    seen: list[Progress] = []
    with sandbox.server().connect() as connection:
        oid = sandbox.row(sandbox.name)["oid"]
        total = sizes(connection, [oid])[oid]
        assert total is not None
        gauge = CloneGauge(connection, Cloning(0, strategy, total), True, seen.append)
        gauge.look(connection)
        word = sql.SQL(" STRATEGY " + strategy.name) if sandbox.version >= 15 else sql.SQL("")
        create = sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(
            *map(sql.Identifier, (sandbox.prefix + "_c", sandbox.name))
        )
        sandbox.execute(create + word)
        gauge.look(connection)
    before, after = seen
    assert (before.done or 0) < total / 2
    assert after.total == total
    assert after.done is not None
    # The WAL of a small database leaves out the empty part of each page.
    least = 0.4 if strategy is Strategy.WAL_LOG else 0.9
    assert total * least <= after.done <= total


def test_a_role_that_cannot_see_files_is_shown_the_time(sandbox: Sandbox) -> None:
    seen: list[Progress] = []
    role = sandbox.role("owner")
    with sandbox.server(sandbox.cluster.url(sandbox.name, user=role)).connect() as connection:
        CloneGauge(connection, Cloning(0, Strategy.FILE_COPY, 1000), False, seen.append).look(connection)
    assert (seen[0].done, seen[0].total) == (None, None)
