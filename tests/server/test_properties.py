"""What belongs to the database as an object comes back with it: the catalogs are compared before and after."""

from __future__ import annotations

import pytest
from psycopg import sql

from snapkit.services.backup import BackupRequest, back_up
from snapkit.services.inventory import adopt_entry
from snapkit.services.rollback import SwapRequest, swap
from tests.sandbox import LOCK_WAIT, Sandbox

STATE = """
SELECT pg_get_userbyid(datdba), datconnlimit, datistemplate, datallowconn,
       (SELECT array_agg(x::text ORDER BY x::text) FROM unnest(datacl) AS x),
       shobj_description(d.oid, 'pg_database'), dattablespace,
       (SELECT array_agg(format('%%s %%s', setrole::regrole, array_to_string(ARRAY(
            SELECT s FROM unnest(setconfig) AS s ORDER BY s), '|')) ORDER BY setrole)
        FROM pg_db_role_setting WHERE setdatabase = d.oid)
FROM pg_database AS d WHERE datname = %s
"""


def _state(sandbox: Sandbox) -> tuple[object, ...]:
    """Everything of the live database that a clone by template would lose."""
    (row,) = sandbox.execute(STATE, sandbox.name)
    return row


def _do(sandbox: Sandbox, *statements: str, **roles: str) -> None:
    names = {key: sql.Identifier(value) for key, value in (roles | {"db": sandbox.name}).items()}
    for statement in statements:
        sandbox.execute(sql.SQL(statement).format(**names))


def _give_odd_properties(sandbox: Sandbox) -> None:
    owner = sandbox.role("Owner é", "LOGIN CREATEDB")
    alice, bob = sandbox.role('al"ice', "LOGIN"), sandbox.role("bob; DROP", "LOGIN")
    _do(
        sandbox,
        "ALTER DATABASE {db} OWNER TO {owner}",
        "REVOKE ALL ON DATABASE {db} FROM PUBLIC",
        "GRANT CONNECT ON DATABASE {db} TO {alice} WITH GRANT OPTION",
        "GRANT TEMPORARY, CREATE ON DATABASE {db} TO {bob}",
        "SET ROLE {alice}",
        "GRANT CONNECT ON DATABASE {db} TO {bob}",
        "RESET ROLE",
        "ALTER DATABASE {db} CONNECTION LIMIT 77",
        "ALTER DATABASE {db} IS_TEMPLATE true",
        'ALTER DATABASE {db} SET search_path TO "$user", public, "we""ird, one", \'\'',
        "ALTER DATABASE {db} SET work_mem TO '7MB'",
        "ALTER DATABASE {db} SET temp_tablespaces TO ''",
        "ALTER DATABASE {db} SET \"app.Secret\" TO 'it''s \\ a \"100%%\" $$ value\nof two lines'",
        "ALTER DATABASE {db} SET TimeZone TO 'Europe/Berlin'",
        "ALTER DATABASE {db} SET DateStyle TO 'ISO, DMY'",
        "ALTER ROLE {bob} IN DATABASE {db} SET search_path TO bob, public",
        "ALTER ROLE {bob} IN DATABASE {db} SET statement_timeout TO '9s'",
        "COMMENT ON DATABASE {db} IS 'the \"shop\", 100%% \\ ''ours'''",
        owner=owner,
        alice=alice,
        bob=bob,
    )


def _spoil(sandbox: Sandbox) -> None:
    _do(
        sandbox,
        "ALTER DATABASE {db} CONNECTION LIMIT 5",
        "ALTER DATABASE {db} IS_TEMPLATE false",
        "ALTER DATABASE {db} RESET ALL",
        "ALTER DATABASE {db} SET work_mem TO '1MB'",
        "GRANT ALL ON DATABASE {db} TO PUBLIC",
        "COMMENT ON DATABASE {db} IS 'spoilt'",
    )


@pytest.mark.smoke
@pytest.mark.parametrize("keep_backup", [False, True])
def test_everything_comes_back_by_rollback_and_undo(sandbox: Sandbox, keep_backup: bool) -> None:
    _give_odd_properties(sandbox)
    before = _state(sandbox)
    receipt = sandbox.back_up()
    assert receipt.cautions == ()
    _spoil(sandbox)
    spoilt = _state(sandbox)
    assert spoilt != before
    assert sandbox.roll_back(keep_backup=keep_backup).cautions == ()
    assert _state(sandbox) == before
    sandbox.undo()
    assert _state(sandbox) == spoilt
    sandbox.undo()
    assert _state(sandbox) == before


def test_a_backup_carries_them_itself_and_is_no_template(sandbox: Sandbox) -> None:
    _give_odd_properties(sandbox)
    source = sandbox.row(sandbox.name)
    backup = sandbox.row(sandbox.back_up().backup.name)
    for key in ("owner", "acl", "datconnlimit"):
        assert backup[key] == source[key]
    assert not backup["datistemplate"]
    assert not backup["datallowconn"]


def test_defaults_stay_defaults(sandbox: Sandbox) -> None:
    before = _state(sandbox)
    assert sandbox.row(sandbox.back_up().backup.name)["acl"] is None
    sandbox.roll_back()
    assert _state(sandbox) == before


def test_a_database_closed_to_everybody_comes_back_closed(sandbox: Sandbox) -> None:
    _do(sandbox, "REVOKE ALL ON DATABASE {db} FROM PUBLIC, postgres")
    before = _state(sandbox)
    sandbox.back_up()
    sandbox.roll_back()
    assert _state(sandbox) == before


def test_grants_that_hang_on_one_another_come_back_in_an_order_that_works(sandbox: Sandbox) -> None:
    a, b, c = (sandbox.role(name, "LOGIN") for name in ("a", "b", "c"))
    _do(
        sandbox,
        "GRANT CONNECT ON DATABASE {db} TO {b} WITH GRANT OPTION",
        "GRANT TEMPORARY ON DATABASE {db} TO {c} WITH GRANT OPTION",
        "SET ROLE {c}",
        "GRANT TEMPORARY ON DATABASE {db} TO {b} WITH GRANT OPTION",
        "SET ROLE {b}",
        "GRANT TEMPORARY ON DATABASE {db} TO {a}",
        "RESET ROLE",
        a=a,
        b=b,
        c=c,
    )
    before = _state(sandbox)
    assert sandbox.back_up().cautions == ()
    sandbox.roll_back()
    assert _state(sandbox) == before


def test_a_list_that_was_stored_in_another_form_means_the_same_afterwards(sandbox: Sandbox) -> None:
    _do(sandbox, "SET search_path TO pg_catalog")
    sandbox.execute("SELECT set_config('search_path', 'a,B , \"C\"', false)")
    _do(sandbox, "ALTER DATABASE {db} SET search_path FROM CURRENT", "RESET search_path")
    with sandbox.connect() as client:
        before = client.execute("SELECT current_schemas(false), current_setting('search_path')").fetchone()
    assert before is not None
    sandbox.back_up()
    sandbox.roll_back()
    with sandbox.connect() as client:
        after = client.execute("SHOW search_path").fetchone()
    assert after == ('a, b, "C"',)


def test_an_ordinary_owner_is_told_what_it_may_not_set_and_how_it_is_set(sandbox: Sandbox) -> None:
    owner = sandbox.role("owner", "LOGIN CREATEDB")
    other = sandbox.role("other", "LOGIN")
    _do(
        sandbox,
        "ALTER DATABASE {db} OWNER TO {owner}",
        "ALTER DATABASE {db} SET work_mem TO '7MB'",
        "ALTER ROLE {other} IN DATABASE {db} SET work_mem TO '8MB'",
        "ALTER DATABASE {db} SET log_min_duration_statement TO '1s'",
        owner=owner,
        other=other,
    )
    before = _state(sandbox)
    server = sandbox.server(sandbox.cluster.url(sandbox.name, user=owner))
    receipt = back_up(server, BackupRequest(), LOCK_WAIT, lambda progress: None)
    (caution,) = receipt.cautions
    assert caution.code == "properties_incomplete"
    remedy = caution.message.partition("An administrator can: ")[2]
    assert f'ALTER ROLE "{other}" IN DATABASE "{receipt.backup.name}" SET "work_mem" TO \'8MB\';' in remedy
    for statement in filter(str.strip, remedy.split(";")):
        sandbox.execute(sql.SQL(statement))  # type: ignore[arg-type]
    swap(server, SwapRequest(), LOCK_WAIT, lambda progress: None)
    assert _state(sandbox) == before


def test_adopt_replaces_the_properties_that_a_backup_has_of_its_own(sandbox: Sandbox) -> None:
    name = f"{sandbox.name}_backup_20260110_103045"
    create = sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), sql.Identifier(sandbox.name))
    sandbox.execute(create)
    role = sandbox.role("somebody", "LOGIN")
    before = _state(sandbox)
    for statement in (
        "ALTER DATABASE {} SET work_mem TO '1MB'",
        "REVOKE CONNECT ON DATABASE {} FROM PUBLIC",
        "GRANT CREATE ON DATABASE {} TO " + f'"{role}"',
        f"ALTER ROLE \"{role}\" IN DATABASE {{}} SET work_mem TO '2MB'",
    ):
        sandbox.execute(sql.SQL(statement).format(sql.Identifier(name)))
    assert adopt_entry(sandbox.server(), name, LOCK_WAIT).cautions == ()
    sandbox.roll_back()
    after = _state(sandbox)
    privileges = 4
    assert after[:privileges] + after[privileges + 1 :] == before[:privileges] + before[privileges + 1 :]
    assert sandbox.execute(
        "SELECT array_agg(x::text ORDER BY x::text) FROM pg_database, unnest(datacl) AS x WHERE datname = %s",
        sandbox.name,
    ) == sandbox.execute("SELECT array_agg(x::text ORDER BY x::text) FROM unnest(acldefault('d', 10)) AS x")
