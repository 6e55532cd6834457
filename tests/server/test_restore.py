"""Rows of some tables are brought back from an entry, in one transaction, and nothing else is touched."""

from __future__ import annotations

import pytest

from snapkit.core.comparison.patterns import table_pattern
from snapkit.core.inventory.kinds import Kind
from snapkit.core.restoring.restored import TriggerMode
from snapkit.errors import PrivilegeError
from snapkit.services.restore import RestoreRequest, prepared_restore
from snapkit.services.restoring.staging import RestoreChoice
from tests.cluster import PASSWORD
from tests.restoring import conflicts, counts, do, restore, rows, undo_restore
from tests.sandbox import LOCK_WAIT, Sandbox


def test_missing_and_changed_rows_come_back_and_others_stay(sandbox: Sandbox) -> None:
    before = rows(sandbox, "TABLE item ORDER BY id")
    sandbox.back_up()
    do(
        sandbox,
        "DELETE FROM item WHERE id <= 10",
        "UPDATE item SET name = 'damaged' WHERE id BETWEEN 11 AND 15",
        "INSERT INTO item VALUES (1000, 'new')",
    )
    receipt = restore(sandbox, "item")
    assert counts(receipt) == {"public.item": (10, 5, 0)}
    assert receipt.conflicts == ()
    assert rows(sandbox, "TABLE item ORDER BY id") == [*before, (1000, "new")]


def test_exact_deletes_what_the_entry_has_not(sandbox: Sandbox) -> None:
    before = rows(sandbox, "TABLE item ORDER BY id")
    sandbox.back_up()
    do(sandbox, "DELETE FROM item WHERE id <= 10", "INSERT INTO item VALUES (1000, 'new')")
    assert counts(restore(sandbox, "public.*", exact=True)) == {"public.item": (10, 0, 1)}
    assert rows(sandbox, "TABLE item ORDER BY id") == before
    assert counts(restore(sandbox, "public.*", exact=True)) == {}


@pytest.mark.command("restore")
@pytest.mark.promise("a restore brings back the rows of a table, and nothing else")
def test_the_command_brings_rows_back_and_takes_that_back(sandbox: Sandbox) -> None:
    sandbox.back_up()
    do(sandbox, "DELETE FROM item WHERE id <= 3", "UPDATE item SET name = 'damaged' WHERE id = 11")
    damaged = rows(sandbox, "TABLE item ORDER BY id")

    shown = sandbox.run("restore", "--latest", "--table", "item", "--dry-run", "--json").data
    assert shown["tables"][0]["rows"][0] == {
        "change": "updated",
        "key": {"id": "11"},
        "before": {"id": "11", "name": "damaged"},
        "after": {"id": "11", "name": "item 11"},
    }
    assert rows(sandbox, "TABLE item ORDER BY id") == damaged

    data = sandbox.run("restore", "--latest", "--table", "item", "--json").data
    table = {"schema": "public", "table": "item", "rows_inserted": 3, "rows_updated": 1, "rows_deleted": 0}
    assert data["tables"] == [table]
    assert (data["conflicts"], data["triggers"]) == ([], "off")
    assert rows(sandbox, "SELECT name FROM item WHERE id IN (1, 11) ORDER BY id") == [("item 1",), ("item 11",)]

    undone = sandbox.run("restore", "--undo", "--json").data
    assert undone["tables"] == [table | {"rows_inserted": 0, "rows_updated": 1, "rows_deleted": 3}]
    assert rows(sandbox, "TABLE item ORDER BY id") == damaged
    assert sandbox.run("restore", "--undo").code == 10


@pytest.mark.promise("exit code 24")
def test_a_conflict_is_named_and_nothing_is_changed(sandbox: Sandbox) -> None:
    do(sandbox, "ALTER TABLE item ADD UNIQUE (name)")
    sandbox.back_up()
    do(sandbox, "DELETE FROM item WHERE id <= 3", "INSERT INTO item VALUES (1000, 'item 2')")
    before = rows(sandbox, "TABLE item ORDER BY id")
    ran = sandbox.run("restore", "--latest", "--table", "item", "--json")
    assert ran.code == 24
    assert ran.document["error"]["code"] == "conflict"
    data = ran.document["data"]
    assert data["tables"] == []
    assert [each["key"] for each in data["conflicts"]] == [{"id": "2"}]
    assert "item_name_key" in data["conflicts"][0]["reason"]
    assert rows(sandbox, "TABLE item ORDER BY id") == before
    assert rows(sandbox, "SELECT nspname FROM pg_namespace WHERE nspname = 'snapkit_undo'") == []


def test_a_table_without_a_key_goes_by_whole_rows(sandbox: Sandbox) -> None:
    do(sandbox, "CREATE TABLE t (a int, b text)", "INSERT INTO t VALUES (1, 'x'), (1, 'x'), (2, 'y'), (NULL, NULL)")
    sandbox.back_up()
    do(
        sandbox,
        "DELETE FROM t WHERE a = 2 OR a IS NULL",
        "INSERT INTO t VALUES (1, 'x'), (1, 'x'), (3, 'z')",
    )
    assert counts(restore(sandbox, "t")) == {"public.t": (2, 0, 0)}
    assert counts(restore(sandbox, "t", exact=True)) == {"public.t": (0, 0, 3)}
    same = rows(sandbox, "TABLE t ORDER BY a")
    assert same == [(1, "x"), (1, "x"), (2, "y"), (None, None)]
    assert counts(undo_restore(sandbox)) == {"public.t": (3, 0, 0)}
    assert counts(undo_restore(sandbox)) == {"public.t": (0, 0, 2)}
    assert rows(sandbox, "SELECT a, count(*) FROM t GROUP BY a ORDER BY a") == [(1, 4), (3, 1)]


def test_generated_and_identity_columns_and_sequences(sandbox: Sandbox) -> None:
    do(
        sandbox,
        "CREATE TABLE t (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, n int, twice int GENERATED ALWAYS AS (2 * n)"
        " STORED)",
        "CREATE TABLE s (id serial PRIMARY KEY, down int)",
        "CREATE SEQUENCE falling INCREMENT -1 OWNED BY s.down",
        "ALTER TABLE s ALTER COLUMN down SET DEFAULT nextval('falling')",
        "INSERT INTO t (n) SELECT generate_series(1, 10)",
        "INSERT INTO s SELECT FROM generate_series(1, 10)",
    )
    sandbox.back_up()
    do(
        sandbox,
        "TRUNCATE t, s RESTART IDENTITY",
        "ALTER SEQUENCE falling RESTART",
        "INSERT INTO t OVERRIDING SYSTEM VALUE VALUES (50, 1)",
    )
    assert counts(restore(sandbox, "t", "s")) == {"public.t": (10, 0, 0), "public.s": (10, 0, 0)}
    assert rows(sandbox, "SELECT id, n, twice FROM t WHERE id IN (1, 10) ORDER BY id") == [(1, 1, 2), (10, 10, 20)]
    assert rows(sandbox, "INSERT INTO t (n) VALUES (1) RETURNING id > 10") == [(True,)]
    assert rows(sandbox, "INSERT INTO s DEFAULT VALUES RETURNING id > 10, down < -10") == [(True, True)]
    do(sandbox, "SELECT setval('s_id_seq', 5000)", "DELETE FROM s WHERE id = 4")
    restore(sandbox, "s")
    assert rows(sandbox, "SELECT nextval('s_id_seq')") == [(5001,)]


@pytest.mark.parametrize(("type_", "greatest"), [("serial", 2**31 - 1), ("bigserial", 2**63 - 1)])
def test_a_value_at_the_end_of_a_sequence_does_not_use_it_up(sandbox: Sandbox, type_: str, greatest: int) -> None:
    do(sandbox, f"CREATE TABLE s (id {type_} PRIMARY KEY, n int)")
    do(sandbox, "INSERT INTO s (n) SELECT i FROM generate_series(1, 10) AS i", f"INSERT INTO s VALUES ({greatest}, 0)")
    sandbox.back_up()
    do(sandbox, "DELETE FROM s WHERE id > 5", "ALTER SEQUENCE s_id_seq RESTART WITH 6")
    restore(sandbox, "s")
    do(sandbox, "INSERT INTO s (n) VALUES (1)")
    assert rows(sandbox, "SELECT count(*), max(id) FROM s") == [(12, greatest)]


def test_only_missing_only_changed_and_where(sandbox: Sandbox) -> None:
    sandbox.back_up()
    do(sandbox, "DELETE FROM item WHERE id <= 4", "UPDATE item SET name = 'damaged' WHERE id BETWEEN 11 AND 14")
    assert counts(restore(sandbox, "item", changed=False, where="id % 2 = 0 -- even")) == {"public.item": (2, 0, 0)}
    assert counts(restore(sandbox, "item", missing=False, where="id < 13 OR name = 'item 13'")) == {
        "public.item": (0, 3, 0)
    }
    assert counts(restore(sandbox, "item")) == {"public.item": (2, 1, 0)}


@pytest.mark.parametrize(
    "where",
    [
        "true; DROP TABLE item",
        "true) UNION SELECT 1 FROM item WHERE (true",
        "true) FOR UPDATE -- (",
        "true /*",
        "true)",
        "(true",
        "id",
        "true THEN 1 ELSE 2",
        "true], ARRAY[true",
        "count(*) > 1",
        "nosuch = 1",
        "'",
        "",
    ],
)
def test_what_is_no_single_condition_is_refused(sandbox: Sandbox, where: str) -> None:
    if not sandbox.entries():
        sandbox.back_up()
    ran = sandbox.run("restore", "--latest", "--table", "item", "--where", where)
    assert ran.code == 2, ran
    assert "--where is no condition over public.item" in ran.err


def test_a_restore_that_was_written_to_since_is_not_taken_back(sandbox: Sandbox) -> None:
    sandbox.back_up()
    do(sandbox, "DELETE FROM item WHERE id <= 3", "UPDATE item SET name = 'damaged' WHERE id IN (11, 12)")
    restore(sandbox, "item")
    do(sandbox, "UPDATE item SET name = 'newer' WHERE id IN (1, 11)", "DELETE FROM item WHERE id IN (2, 12)")
    assert conflicts(undo_restore(sandbox)) == [
        "public.item (id=1): it was changed since the restore",
        "public.item (id=11): it was changed since the restore",
        "public.item (id=12): it was deleted since the restore",
    ]
    do(sandbox, "DELETE FROM item WHERE id = 1", "UPDATE item SET name = 'x' WHERE id = 3")
    assert len(conflicts(undo_restore(sandbox))) == 3


def test_triggers(sandbox: Sandbox) -> None:
    do(
        sandbox,
        "CREATE TABLE log (n int)",
        "CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS"
        " $$BEGIN NEW.name := NEW.name || '!'; INSERT INTO public.log VALUES (1); RETURN NEW; END$$",
        "CREATE TRIGGER note BEFORE INSERT ON item FOR EACH ROW EXECUTE FUNCTION note()",
    )
    sandbox.back_up()
    do(sandbox, "DELETE FROM item WHERE id <= 3")
    receipt = restore(sandbox, "item")
    assert (receipt.triggers, rows(sandbox, "TABLE log")) == (TriggerMode.OFF, [])
    undo_restore(sandbox)
    receipt = restore(sandbox, "item", triggers=TriggerMode.ON)
    assert (receipt.triggers, len(rows(sandbox, "TABLE log"))) == (TriggerMode.ON, 3)
    (caution,) = receipt.cautions
    assert caution.code == "changed_by_triggers"
    assert "(id=1), (id=2), (id=3)" in caution.message


@pytest.fixture
def owner(sandbox: Sandbox) -> str:
    """The URL of a role that owns the database and its tables, and is no superuser."""
    role = sandbox.role("owner", f"LOGIN CREATEDB PASSWORD '{PASSWORD}'")
    do(
        sandbox,
        f'ALTER DATABASE "{sandbox.name}" OWNER TO "{role}"',
        f'ALTER TABLE item OWNER TO "{role}"',
        "CREATE TABLE others (id int PRIMARY KEY)",
        f'GRANT SELECT ON others TO "{role}"',
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RETURN NULL; END$$",
        "CREATE TRIGGER refuse BEFORE INSERT ON item FOR EACH ROW EXECUTE FUNCTION refuse()",
        f'ALTER DEFAULT PRIVILEGES FOR ROLE "{role}" GRANT ALL ON SCHEMAS TO PUBLIC',
        f'ALTER DEFAULT PRIVILEGES FOR ROLE "{role}" GRANT ALL ON TABLES TO PUBLIC',
    )
    sandbox.back_up()
    do(sandbox, "DELETE FROM item WHERE id <= 3", "INSERT INTO others VALUES (1)")
    return sandbox.cluster.url(sandbox.name, user=role, password=PASSWORD)


def test_an_owner_restores_without_being_a_superuser(sandbox: Sandbox, owner: str) -> None:
    receipt = restore(sandbox, "item", url=owner, triggers=TriggerMode.ON, where="false")
    assert receipt.triggers is TriggerMode.ON
    with prepared_restore(
        sandbox.server(owner),
        RestoreRequest(None, RestoreChoice((table_pattern("item"),)), TriggerMode.OFF),
        LOCK_WAIT,
    ) as prepared:
        assert [each.code for each in prepared.preview().cautions] == ["locks_writers"]
        receipt = prepared.apply()
    assert counts(receipt) == {"public.item": (3, 0, 0)}
    assert receipt.triggers is TriggerMode.OFF
    assert rows(sandbox, "SELECT tgenabled::text FROM pg_trigger WHERE tgname = 'refuse'") == [("O",)]
    assert (
        rows(
            sandbox,
            "SELECT nspacl::text FROM pg_namespace WHERE nspname = 'snapkit_undo' AND nspacl::text ~ '(^|,|{)='",
        )
        == []
    )
    assert counts(undo_restore(sandbox, url=owner)) == {"public.item": (0, 0, 3)}
    with pytest.raises(PrivilegeError) as error:
        restore(sandbox, "others", url=owner)
    assert "GRANT INSERT, UPDATE, DELETE ON" in (error.value.hint or "")


def test_late_writes_of_a_displaced_database(sandbox: Sandbox) -> None:
    sandbox.back_up()
    do(sandbox, "INSERT INTO item VALUES (1000, 'late')", "UPDATE item SET name = 'late' WHERE id = 1")
    sandbox.roll_back()
    do(sandbox, "DELETE FROM item WHERE id = 50")
    old = next(each for each in sandbox.entries() if each.kind is Kind.OLD)
    receipt = restore(sandbox, "item", wanted=old.name, late_writes=True)
    assert counts(receipt) == {"public.item": (1, 1, 0)}
    assert rows(sandbox, "SELECT id FROM item WHERE name = 'late' ORDER BY id") == [(1,), (1000,)]


def test_recover_drops_what_was_kept_for_too_long(sandbox: Sandbox) -> None:
    sandbox.back_up()
    for _ in range(2):
        do(sandbox, "DELETE FROM item WHERE id <= 3")
        restore(sandbox, "item")
    do(sandbox, "UPDATE snapkit_undo.restores SET at = at - interval '8 days' WHERE id = 1")
    sandbox.run("recover")
    assert rows(sandbox, "SELECT relname FROM pg_class WHERE relname ~ '^rows_[0-9]+_[0-9]+$'") == [("rows_2_1",)]
    sandbox.back_up()
    do(sandbox, "DELETE FROM item WHERE id > 50")
    sandbox.roll_back()
    assert sandbox.run("restore", "--undo").code == 10
    sandbox.run("recover")
    assert rows(sandbox, "SELECT FROM pg_namespace WHERE nspname = 'snapkit_undo'") == []


MANY = (
    "CREATE TABLE parent (id int PRIMARY KEY)",
    "CREATE TABLE many (id bigserial PRIMARY KEY, parent int REFERENCES parent, note text NOT NULL CHECK (note <> ''))",
    "INSERT INTO parent SELECT generate_series(1, 100)",
    "INSERT INTO many (parent, note) SELECT 1 + n % 100, 'note ' || n FROM generate_series(1, 50000) AS n",
)


@pytest.mark.parametrize("damage", ["TRUNCATE many RESTART IDENTITY", "DELETE FROM many WHERE id <= 45000"])
def test_many_missing_rows_go_straight(sandbox: Sandbox, damage: str) -> None:
    do(sandbox, *MANY)
    before = rows(sandbox, "TABLE many ORDER BY id")
    sandbox.back_up()
    do(sandbox, damage)
    left = rows(sandbox, "SELECT count(*) FROM many")[0][0]
    request = RestoreRequest(None, RestoreChoice((table_pattern("many"),)))
    with prepared_restore(sandbox.server(), request, LOCK_WAIT) as prepared:
        assert prepared.stages[0].straight is not None
        preview = prepared.preview()
        receipt = prepared.apply()
    assert counts(receipt) == {"public.many": (50000 - left, 0, 0)}
    assert preview.tables == receipt.tables
    assert rows(sandbox, "TABLE many ORDER BY id") == before
    assert rows(sandbox, "SELECT nextval('many_id_seq') > 50000") == [(True,)]
    do(sandbox, "UPDATE many SET note = 'newer' WHERE id = 7")
    (found,) = conflicts(undo_restore(sandbox))
    assert found.startswith("public.many: 1 of the rows that were inserted")
    do(sandbox, "DELETE FROM many WHERE id = 7")
    assert len(conflicts(undo_restore(sandbox))) == 1


def test_many_missing_rows_come_back_whole_or_not_at_all(sandbox: Sandbox) -> None:
    do(sandbox, *MANY)
    sandbox.back_up()
    do(sandbox, "TRUNCATE many", "DELETE FROM parent WHERE id = 3")
    found = conflicts(restore(sandbox, "many"))
    assert len(found) == 500
    assert "the row of public.parent that it refers to is gone" in found[0]
    assert rows(sandbox, "SELECT FROM many") == []
    do(sandbox, "INSERT INTO parent VALUES (3)")
    request = RestoreRequest(None, RestoreChoice((table_pattern("many"),)))
    with prepared_restore(sandbox.server(), request, LOCK_WAIT) as prepared:
        do(sandbox, "INSERT INTO many VALUES (7, 3, 'taken meanwhile')")
        receipt = prepared.apply()
    assert [each.table for each in receipt.conflicts] == ["many"]
    assert rows(sandbox, "SELECT id FROM many") == [(7,)]
    assert counts(restore(sandbox, "many")) == {"public.many": (49999, 1, 0)}
    assert counts(undo_restore(sandbox)) == {"public.many": (0, 1, 49999)}


def test_a_schema_of_somebody_else_is_not_taken_for_ours(sandbox: Sandbox) -> None:
    """Whoever may make schemas could have code of theirs run by recover, with the rights of whoever runs it."""
    sandbox.back_up()
    do(sandbox, "DELETE FROM item WHERE id = 1")
    restore(sandbox, "item")
    comment = rows(sandbox, "SELECT obj_description('snapkit_undo'::regnamespace, 'pg_namespace')")[0][0]
    do(sandbox, "DROP SCHEMA snapkit_undo CASCADE")
    stranger = sandbox.role("stranger", f"LOGIN PASSWORD '{PASSWORD}'")
    do(sandbox, f'GRANT CREATE ON DATABASE "{sandbox.name}" TO "{stranger}"')
    do(
        sandbox,
        "CREATE SCHEMA snapkit_undo",
        f"COMMENT ON SCHEMA snapkit_undo IS '{comment}'",
        "CREATE TABLE snapkit_undo.seen (who text)",
        "CREATE FUNCTION snapkit_undo.look() RETURNS bigint LANGUAGE plpgsql AS"
        " 'BEGIN INSERT INTO snapkit_undo.seen VALUES (current_user); RETURN 1; END'",
        "CREATE VIEW snapkit_undo.restores AS SELECT snapkit_undo.look() AS id, '5'::xid8 AS xid, now() AS at,"
        " 'x'::text AS entry, oid AS database, 'on'::text AS triggers FROM pg_database"
        " WHERE datname = current_database() OR datname = 'template1'",
        url=sandbox.cluster.url(sandbox.name, user=stranger, password=PASSWORD),
    )
    assert sandbox.run("recover").code == 0
    assert rows(sandbox, "TABLE snapkit_undo.seen") == []
    assert sandbox.run("restore", "--undo", "--yes").code == 10
    assert rows(sandbox, "TABLE snapkit_undo.seen") == []
