"""Whatever was done to the live database, an exact restore makes the tables as they were, and its undo takes it back.

SNAPKIT_RESTORE_EXAMPLES says how many examples are tried.
"""

from __future__ import annotations

import os
import threading
from collections import Counter
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, Phase, given, settings

from snapkit.core.comparison.patterns import pattern_for, table_pattern
from snapkit.core.restoring.restored import TriggerMode
from snapkit.services.restore import RestoreReceipt, RestoreRequest, prepared_restore
from snapkit.services.restoring.staging import RestoreChoice
from tests.restoring import do, restore, rows, undo_restore
from tests.sandbox import LOCK_WAIT, Sandbox
from tests.server.test_diff_properties import Read, Step, carry_out, lay_out, read_all, steps, truth

pytestmark = pytest.mark.long

EXAMPLES = int(os.environ.get("SNAPKIT_RESTORE_EXAMPLES", "12"))


def _contents(read: dict[int, Read]) -> dict[str, Counter[tuple[tuple[str, str | None], ...]]]:
    return {each.name: Counter(tuple(sorted(row.items())) for row in each.rows) for each in read.values()}


def _exactly(box: Sandbox, tables: set[str]) -> tuple[RestoreReceipt, list[Any]]:
    patterns = tuple(table_pattern(pattern_for("public", each)) for each in sorted(tables))
    request = RestoreRequest(None, RestoreChoice(patterns, exact=True), TriggerMode.OFF)
    with prepared_restore(box.server(), request, LOCK_WAIT) as prepared:
        return prepared.apply(), [stage.pair for stage in prepared.stages]


@given(steps)
@settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize="SNAPKIT_RESTORE_EXAMPLES" not in os.environ,
    database=None,
    suppress_health_check=list(HealthCheck),
    phases=(Phase.generate, Phase.shrink),
)
def test_an_exact_restore_makes_tables_as_they_were(sandbox: Sandbox, todo: list[Step]) -> None:
    do(sandbox, "DROP SCHEMA IF EXISTS snapkit_undo, public CASCADE", "CREATE SCHEMA public")
    with sandbox.connect() as connection:
        lay_out(connection)
        before = read_all(connection)
    sandbox.back_up()
    with sandbox.connect() as connection:
        for step in todo:
            carry_out(connection, step)
        damaged = read_all(connection)

    wanted = {each.name for each in before.values()}
    receipt, pairs = _exactly(sandbox, wanted)
    if receipt.conflicts:  # then nothing was changed, and without those tables it goes
        with sandbox.connect() as connection:
            assert _contents(read_all(connection)) == _contents(damaged)
        numbers = {each.name: oid for oid, each in damaged.items()}
        stuck = {
            before[numbers[each.table]].name if each.table in numbers else each.table for each in receipt.conflicts
        }
        receipt, pairs = _exactly(sandbox, wanted - stuck) if wanted - stuck else (receipt, [])
        assert not (receipt.conflicts and pairs), receipt.conflicts

    with sandbox.connect() as connection:
        found = truth(before, read_all(connection), pairs)
        assert all(not changes for changes in found.values()), (found, receipt)
    if receipt.tables:
        undo_restore(sandbox)
    with sandbox.connect() as connection:
        assert _contents(read_all(connection)) == _contents(damaged)


def test_eight_writers_go_on(sandbox: Sandbox) -> None:
    do(
        sandbox,
        "CREATE TABLE parent (id int PRIMARY KEY, n int NOT NULL DEFAULT 0)",
        "CREATE TABLE child (id bigserial PRIMARY KEY, parent int NOT NULL REFERENCES parent ON DELETE CASCADE, n int)",
        "INSERT INTO parent SELECT generate_series(1, 2000)",
        "INSERT INTO child (parent, n) SELECT 1 + n % 2000, n FROM generate_series(1, 20000) AS n",
    )
    sandbox.back_up()
    stop, errors, written = threading.Event(), [], Counter[int]()

    def work(number: int) -> None:
        try:
            with sandbox.connect() as connection:
                while not stop.is_set():
                    key = 1001 + number * 100 + written[number] % 100
                    with connection.transaction():
                        connection.execute("INSERT INTO child (parent, n) VALUES (%s, -1)", [key])
                        connection.execute("UPDATE parent SET n = n + 1 WHERE id = %s", [key])
                    written[number] += 1
        except psycopg.Error as error:
            errors.append(error)

    writers = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for each in writers:
        each.start()
    try:
        for _ in range(3):
            do(sandbox, "DELETE FROM parent WHERE id <= 500", "UPDATE child SET n = 0 WHERE parent BETWEEN 501 AND 600")
            with prepared_restore(
                sandbox.server(),
                RestoreRequest(
                    None, RestoreChoice((table_pattern("parent"), table_pattern("child")), changed=True), None
                ),
                LOCK_WAIT,
            ) as prepared:
                receipt = prepared.apply()
            assert not receipt.conflicts
            assert rows(sandbox, "SELECT count(*) FROM parent") == [(2000,)]
            assert rows(sandbox, "SELECT count(*) FROM child WHERE n >= 0 AND id <= 20000") == [(20000,)]
            assert rows(sandbox, "SELECT count(*) FROM child WHERE n <> id AND id <= 20000") == [(0,)]
    finally:
        stop.set()
        for each in writers:
            each.join()
    assert errors == []
    assert rows(sandbox, "SELECT count(*) FROM child WHERE n = -1") == [(written.total(),)]
    assert restore(sandbox, "child", where="false").tables == ()
