"""Late rows are written to a live database: what fits is written, what does not is a conflict, each by itself."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from snapkit.core.carrying.three_versions import UNTOUCHED, Values, decide
from snapkit.core.comparison.writes import Rows
from snapkit.core.restoring.restored import RestoredTable
from snapkit.postgres.carrying.live_rows import WrittenTable, turn_triggers_off
from snapkit.postgres.restoring.live_tables import foreign_keys
from snapkit.postgres.sql.execution import transaction
from snapkit.services.carrying.late_rows import Carrier, LateRow, LateTable
from tests.sandbox import Sandbox

pytestmark = pytest.mark.any_version

SCHEMA = """
    CREATE TABLE customer (id int PRIMARY KEY, email text UNIQUE, town text);
    CREATE TABLE "or""der" (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, customer int REFERENCES customer,
                            total numeric(8, 2) CHECK (total >= 0),
                            "twice %" numeric GENERATED ALWAYS AS (total * 2) STORED);
    CREATE TABLE node (id int PRIMARY KEY, parent int REFERENCES node);
    CREATE TABLE seen (what text);
    CREATE FUNCTION see() RETURNS trigger LANGUAGE plpgsql AS
        $$BEGIN INSERT INTO public.seen VALUES (tg_op); RETURN NULL; END$$;
    INSERT INTO customer VALUES (1, 'one@x', 'Ulm'), (2, 'two@x', 'Bonn'), (3, 'three@x', 'Kiel'), (4, 'four@x', NULL);
    INSERT INTO "or""der" (customer, total) VALUES (1, 10), (3, 30);
    INSERT INTO node VALUES (1, NULL);
    CREATE TRIGGER see AFTER INSERT OR UPDATE OR DELETE ON customer FOR EACH ROW EXECUTE FUNCTION see();
"""

COLUMNS = {"customer": ("id", "email", "town"), 'or"der': ("id", "customer", "total"), "node": ("id", "parent")}

Changed = tuple[Values | None, Values | None]
"""A row in the backup, and as it was displaced."""


class Bringing:
    """Brings rows into the sandbox's database, some at a time."""

    def __init__(self, box: Sandbox) -> None:
        self.box = box
        self.carrier: Carrier

    def __call__(self, *, triggers: bool = False, chunk: int = 1000, **changed: Sequence[Changed]) -> None:
        oids = {name: oid for name, oid in self.query("SELECT relname::text, oid::int FROM pg_class")}  # noqa: C416
        server = self.box.server()
        with server.enter(self.box.name, {}) as live, transaction(live):
            keys, _ = foreign_keys(live, [oids[each] for each in COLUMNS], [])
            assert triggers or turn_triggers_off(live)
            self.carrier = Carrier(live, keys, triggers_off=not triggers)
            self.carrier.carry([self._late(oids, name, rows, chunk) for name, rows in changed.items()])

    @staticmethod
    def _late(oids: dict[str, int], name: str, changed: Sequence[Changed], chunk: int) -> LateTable:
        name = 'or"der' if name == "order" else name

        def rows(deleted: bool) -> Iterator[Sequence[LateRow]]:
            found = [
                LateRow(((now or backup or ("",))[0] or "",), backup, now, decide(backup, UNTOUCHED, now))
                for backup, now in changed
                if (now is None) == deleted
            ]
            for first in range(0, len(found), chunk):
                yield found[first : first + chunk]

        return LateTable(WrittenTable(oids[name], "public", name, COLUMNS[name], ("id",)), rows)

    def query(self, statement: str) -> list[tuple[Any, ...]]:
        with self.box.connect() as connection:
            return connection.execute(statement).fetchall()

    def conflicts(self) -> dict[str, str]:
        return {f"{each.table} {(each.key or (('', ''),))[0][1]}": each.reason for each in self.carrier.conflicts}


@pytest.fixture
def bring(sandbox: Sandbox) -> Bringing:
    with sandbox.connect() as connection:
        connection.execute(SCHEMA)
    return Bringing(sandbox)


def test_rows_come_with_all_their_values_and_no_trigger_runs(bring: Bringing) -> None:
    bring(
        order=[(None, ("7", "5", "12.50")), (("1", "1", "10.00"), ("1", "1", "11.00"))],
        customer=[(None, ("5", "new\t\\N@x", None)), (("2", "two@x", "Bonn"), ("2", "two@x", None))],
    )
    assert bring.conflicts() == {}
    assert bring.carrier.written == (
        RestoredTable("public", "customer", Rows(1, 1)),
        RestoredTable("public", 'or"der', Rows(1, 1)),
    )
    assert bring.query("SELECT * FROM customer WHERE id IN (2, 5) ORDER BY id") == [
        (2, "two@x", None),
        (5, "new\t\\N@x", None),
    ]
    assert bring.query('SELECT id, "twice %"::int FROM "or""der" WHERE id IN (1, 7) ORDER BY id') == [(1, 22), (7, 25)]
    assert bring.query("SELECT * FROM seen") == []


def test_deleted_rows_go_children_first_and_a_row_that_others_need_stays(bring: Bringing) -> None:
    bring(
        customer=[(("1", "one@x", "Ulm"), None), (("3", "three@x", "Kiel"), None), (("4", "four@x", None), None)],
        order=[(("1", "1", "10.00"), None)],
    )
    assert bring.conflicts() == {"customer 3": 'rows in public.or"der refer to it'}
    assert bring.query("SELECT id FROM customer ORDER BY id") == [(2,), (3,)]
    assert bring.query('SELECT id FROM "or""der"') == [(2,)]


def test_a_row_of_an_inheriting_table_is_no_parent(bring: Bringing) -> None:
    """PostgreSQL does not take it for one either."""
    with bring.box.connect() as connection:
        connection.execute("CREATE TABLE vip () INHERITS (customer)")
        connection.execute("INSERT INTO vip VALUES (8, 'eight@x', NULL)")
    bring(order=[(None, ("7", "8", "12.50"))])
    assert bring.conflicts() == {'or"der 7': "its parent row in public.customer is not there"}
    assert bring.query('SELECT id FROM "or""der" WHERE id = 7') == []


def test_what_was_changed_since_is_not_overwritten(bring: Bringing) -> None:
    bring(
        customer=[
            (("2", "two@x", "Hamm"), ("2", "two@x", "Rom")),  # live it is in Bonn
            (("3", "other@x", "Kiel"), ("3", "other@x", "Rom")),  # another column was changed since
            (("4", "other@x", None), None),
            (None, ("1", "mine@x", None)),  # the key is taken
            (("9", "nine@x", None), ("9", "nine@x", "Rom")),  # it is gone
            (None, ("2", "two@x", "Bonn")),  # it is there already
        ]
    )
    assert bring.conflicts() == {
        "customer 2": "the row was changed since the rollback",
        "customer 4": "the row was changed since the rollback",
        "customer 1": "another row has its key by now",
        "customer 9": "the row was deleted since the rollback",
    }
    assert bring.query("SELECT * FROM customer ORDER BY id") == [
        (1, "one@x", "Ulm"),
        (2, "two@x", "Bonn"),
        (3, "three@x", "Rom"),
        (4, "four@x", None),
    ]


@pytest.mark.parametrize("triggers", [False, True], ids=["triggers off", "triggers on"])
def test_a_row_that_is_refused_keeps_no_other_from_coming(bring: Bringing, triggers: bool) -> None:
    good = [(None, (str(number), "1", "1.00")) for number in range(100, 160)]
    bad: list[Changed] = [
        (None, ("200", "1", "-1.00")),  # CHECK
        (None, ("201", "77", "1.00")),  # no such customer
        (None, ("202", "1", "123456789.00")),  # too large
        (None, ("203", "1", "many")),  # no number
    ]
    bring(triggers=triggers, order=[*good[:20], *bad[:2], *good[20:50], *bad[2:], *good[50:]])
    assert set(bring.conflicts()) == {'or"der 200', 'or"der 201', 'or"der 202', 'or"der 203'}
    assert bring.query('SELECT count(*) FROM "or""der" WHERE id >= 100') == [(60,)]


def test_a_child_of_a_conflict_is_one_too(bring: Bringing) -> None:
    bring(
        customer=[(None, ("1", "mine@x", None)), (None, ("6", "one@x", None))],
        order=[(None, ("8", "1", "1.00")), (None, ("9", "6", "1.00")), (None, ("10", "2", "1.00"))],
    )
    assert bring.conflicts() == {
        "customer 1": "another row has its key by now",
        "customer 6": 'duplicate key value violates unique constraint "customer_email_key"',
        'or"der 8': "its parent row in public.customer is a conflict",
        'or"der 9': "its parent row in public.customer is not there",
    }
    assert bring.query('SELECT id FROM "or""der" ORDER BY id') == [(1,), (2,), (10,)]


@pytest.mark.parametrize("chunk", [1, 2, 1000])
@pytest.mark.parametrize("triggers", [False, True], ids=["triggers off", "triggers on"])
def test_parents_in_the_same_table_and_values_that_are_to_go_come_in_any_order(
    bring: Bringing, triggers: bool, chunk: int
) -> None:
    bring(
        triggers=triggers,
        chunk=chunk,
        node=[(None, ("4", "3")), (None, ("3", "2")), (None, ("2", "1")), (None, ("9", "8"))],
        customer=[(None, ("5", "four@x", None)), (("4", "four@x", None), None)],
    )
    assert set(bring.conflicts()) == {"node 9"}
    assert bring.query("SELECT id FROM node ORDER BY id") == [(1,), (2,), (3,), (4,)]
    assert bring.query("SELECT id FROM customer WHERE email = 'four@x'") == [(5,)]
    assert bool(bring.query("SELECT * FROM seen")) == triggers


def test_where_a_table_cannot_be_written_all_its_rows_are_conflicts(bring: Bringing) -> None:
    with bring.box.connect() as connection:
        connection.execute("ALTER TABLE customer DROP COLUMN town CASCADE")
    bring(customer=[(None, ("5", "five@x", None)), (None, ("6", "six@x", None))], node=[(None, ("2", "1"))])
    assert bring.conflicts() == dict.fromkeys(("customer 5", "customer 6"), "column live.town does not exist")
    assert bring.query("SELECT count(*) FROM node") == [(2,)]
