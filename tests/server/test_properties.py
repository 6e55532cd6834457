"""What belongs to the database as an object comes back with it: the catalogs are compared before and after."""

from __future__ import annotations

import pytest
from psycopg import sql

from snapkit.core.reporting import Caution
from snapkit.errors import SnapkitError
from snapkit.services.adopt import adopt_entry
from snapkit.services.backup import BackupRequest, back_up
from snapkit.services.rollback import SwapRequest, preview_swap, swap
from tests.cluster import SUPERUSER
from tests.sandbox import LOCK_WAIT, Sandbox

STATE = """
SELECT pg_get_userbyid(datdba), datconnlimit, datistemplate, datallowconn,
       datacl::text, shobj_description(d.oid, 'pg_database'), dattablespace,
       (SELECT array_agg(format('%%s %%s', setrole::regrole, setconfig) ORDER BY setrole)
        FROM pg_db_role_setting WHERE setdatabase = d.oid)
FROM pg_database AS d WHERE datname = %s
"""


def _state(sandbox: Sandbox) -> tuple[object, ...]:
    """Everything of the live database that a clone by template would lose, as it is stored."""
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


@pytest.mark.parametrize(
    "keep_backup",
    [pytest.param(False, marks=pytest.mark.promise("privileges, settings, comment and owner come back")), True],
)
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


@pytest.mark.parametrize(
    "stored", ["", 'a,B , "C"', '"public"', "user", '"user"', "public, user", '""', "we'ird, \"it's\""]
)
@pytest.mark.parametrize("keep_backup", [False, True])
def test_a_list_comes_back_as_it_is_stored(sandbox: Sandbox, stored: str, keep_backup: bool) -> None:
    """``FROM CURRENT`` stores whatever text a session has; PostgreSQL's own word for a list has another form."""
    owner = sandbox.role("owner", "LOGIN CREATEDB")
    _do(sandbox, "ALTER DATABASE {db} OWNER TO {owner}", owner=owner)
    with sandbox.connect("postgres") as session:
        session.execute("SELECT set_config('search_path', %s, false)", (stored,))
        for whose in ("DATABASE {db}", "ROLE {owner} IN DATABASE {db}"):
            statement = sql.SQL("ALTER " + whose + " SET search_path FROM CURRENT")
            session.execute(statement.format(db=sql.Identifier(sandbox.name), owner=sql.Identifier(owner)))
    before = _state(sandbox)
    server = sandbox.server(sandbox.cluster.url(sandbox.name, user=owner))
    assert back_up(server, BackupRequest(), LOCK_WAIT, lambda progress: None).cautions == ()
    swap(server, SwapRequest(keep_backup=keep_backup), LOCK_WAIT, lambda progress: None)
    assert _state(sandbox) == before


def test_an_empty_list_of_libraries_shuts_nobody_out(sandbox: Sandbox) -> None:
    with sandbox.connect("postgres") as session:
        for parameter in ("session_preload_libraries", "local_preload_libraries", "temp_tablespaces"):
            session.execute("SELECT set_config(%s, '', false)", (parameter,))
            statement = sql.SQL("ALTER DATABASE {} SET {} FROM CURRENT")
            session.execute(statement.format(sql.Identifier(sandbox.name), sql.Identifier(parameter)))
    before = _state(sandbox)
    sandbox.back_up()
    assert sandbox.roll_back(keep_backup=True).cautions == ()
    assert _state(sandbox) == before
    assert len(sandbox.items()) == 100


@pytest.mark.promise("what a role may not set is named with its statement")
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
    assert f'ALTER ROLE "{other}" IN DATABASE "{receipt.backup.name}" SET "work_mem" TO \'8MB\';' in caution.message
    _paste(sandbox, caution)
    assert swap(server, SwapRequest(), LOCK_WAIT, lambda progress: None).cautions == ()
    assert _state(sandbox) == before


def _paste(sandbox: Sandbox, caution: Caution) -> None:
    """Do as an administrator would who takes the statements from the warning into psql."""
    remedy = caution.message.partition("An administrator can")[2].partition(": ")[2].partition("COMMIT;")
    where = ("-h", str(sandbox.cluster.root), "-p", str(sandbox.cluster.port), "-U", SUPERUSER, "-d", "postgres")
    sandbox.cluster.run("psql", *where, "-X", "-v", "ON_ERROR_STOP=1", "-c", "".join(remedy[:2]))


def _give_what_an_owner_may_not(sandbox: Sandbox) -> tuple[str, str, str]:
    owner, other, admin = (sandbox.role(name, "LOGIN CREATEDB") for name in ("owner", "ot'h\"er", "admin"))
    _do(
        sandbox,
        "ALTER DATABASE {db} OWNER TO {owner}",
        "REVOKE ALL ON DATABASE {db} FROM PUBLIC",
        "GRANT CONNECT ON DATABASE {db} TO {admin} WITH GRANT OPTION",
        "SET ROLE {admin}",
        "GRANT CONNECT ON DATABASE {db} TO {other}",
        "RESET ROLE",
        "ALTER DATABASE {db} SET work_mem TO '7MB'",
        'ALTER ROLE {other} IN DATABASE {db} SET search_path TO "$user", \'b;"ad\'',
        "ALTER DATABASE {db} SET log_min_duration_statement TO '1s'",
        owner=owner,
        other=other,
        admin=admin,
    )
    return owner, other, admin


def _not_given(other: str, admin: str) -> set[str]:
    return {
        f"privilege CONNECT to {other} by {admin}",
        "setting log_min_duration_statement",
        f"setting search_path for role {other}",
    }


@pytest.mark.parametrize(
    "keep_backup", [pytest.param(False, marks=pytest.mark.promise("a rollback warns of what its backup lacks")), True]
)
def test_a_rollback_warns_again_of_what_its_backup_lacks(sandbox: Sandbox, keep_backup: bool) -> None:
    owner, other, admin = _give_what_an_owner_may_not(sandbox)
    before = _state(sandbox)
    server = sandbox.server(sandbox.cluster.url(sandbox.name, user=owner))
    backup = back_up(server, BackupRequest(), LOCK_WAIT, lambda progress: None).backup
    assert set(backup.not_given) == _not_given(other, admin)
    assert sandbox.entries()[0].not_given == backup.not_given
    preview = preview_swap(server, SwapRequest(keep_backup=keep_backup))
    assert [each.code for each in preview.cautions] == ["properties_incomplete"]
    (caution,) = swap(server, SwapRequest(keep_backup=keep_backup), LOCK_WAIT, lambda progress: None).cautions
    assert caution.code == "properties_incomplete"
    assert all(name in caution.message for name in backup.not_given)
    assert _state(sandbox) != before
    _paste(sandbox, caution)
    assert _state(sandbox) == before


def test_a_rollback_by_somebody_who_may_gives_what_its_backup_lacks(sandbox: Sandbox) -> None:
    owner, _, _ = _give_what_an_owner_may_not(sandbox)
    before = _state(sandbox)
    server = sandbox.server(sandbox.cluster.url(sandbox.name, user=owner))
    assert back_up(server, BackupRequest(), LOCK_WAIT, lambda progress: None).backup.not_given
    assert sandbox.roll_back().cautions == ()
    assert _state(sandbox) == before


def test_what_the_live_database_has_lost_too_is_told_by_name_and_never_by_value(sandbox: Sandbox) -> None:
    owner, other, _ = _give_what_an_owner_may_not(sandbox)
    _do(sandbox, "ALTER DATABASE {db} SET app.key TO 's3cret'", owner=owner)
    server = sandbox.server(sandbox.cluster.url(sandbox.name, user=owner))
    backup = back_up(server, BackupRequest(), LOCK_WAIT, lambda progress: None).backup
    assert "s3cret" not in str(sandbox.row(backup.name)["comment"])
    _do(sandbox, "ALTER DATABASE {db} RESET ALL", "ALTER ROLE {other} IN DATABASE {db} RESET ALL", other=other)
    (caution,) = sandbox.roll_back().cautions
    assert caution.code == "properties_incomplete"
    assert "Only their name is known" in caution.message
    assert "setting app.key" in caution.message
    assert "s3cret" not in caution.message


def test_what_was_put_right_on_the_backup_is_lacking_no_more(sandbox: Sandbox) -> None:
    owner, _, _ = _give_what_an_owner_may_not(sandbox)
    before = _state(sandbox)
    server = sandbox.server(sandbox.cluster.url(sandbox.name, user=owner))
    receipt = back_up(server, BackupRequest(), LOCK_WAIT, lambda progress: None)
    _paste(sandbox, receipt.cautions[0])
    assert swap(server, SwapRequest(), LOCK_WAIT, lambda progress: None).cautions == ()
    assert _state(sandbox) == before


def test_many_grants_and_settings_take_few_subtransactions(sandbox: Sandbox) -> None:
    """Each would have a transaction ID of its own, and the access list be written anew for each: that is quadratic."""
    number = 250
    roles = [sandbox.role(f"r{n}", "NOLOGIN") for n in range(number)]
    for role in roles:
        _do(sandbox, "GRANT CONNECT ON DATABASE {db} TO {role}", role=role)
        _do(sandbox, "ALTER ROLE {role} IN DATABASE {db} SET work_mem TO '9MB'", role=role)
    before = _state(sandbox)
    ((first,),) = sandbox.execute("SELECT txid_current()")
    sandbox.back_up()
    ((last,),) = sandbox.execute("SELECT txid_current()")
    assert last - first < number / 5
    sandbox.roll_back(keep_backup=True)
    assert _state(sandbox) == before


EXTENSIONS = {"pg_trgm": ("pg_trgm.similarity_threshold", "0.5"), "vector": ("hnsw.ef_search", "77")}


@pytest.mark.parametrize("extension", EXTENSIONS)
@pytest.mark.parametrize(
    "keep_backup",
    [pytest.param(False, marks=pytest.mark.promise("an owner gets the settings of extensions back")), True],
)
def test_an_owner_gets_the_settings_of_extensions_back(sandbox: Sandbox, extension: str, keep_backup: bool) -> None:
    """Those that a session in the database may set for it, once it has used the extension."""
    if not sandbox.execute("SELECT 1 FROM pg_available_extensions WHERE name = %s", extension):
        pytest.skip(f"this server came without {extension}")
    owner, parameter, value = sandbox.role("owner", "LOGIN CREATEDB"), *EXTENSIONS[extension]
    with sandbox.connect() as session:
        session.execute(sql.SQL("CREATE EXTENSION {}").format(sql.Identifier(extension)))
        session.execute("CREATE EXTENSION IF NOT EXISTS plpgsql")
    _do(
        sandbox,
        "ALTER DATABASE {db} OWNER TO {owner}",
        "ALTER DATABASE {db} SET work_mem TO '7MB'",
        f"ALTER DATABASE {{db}} SET {parameter} TO {value}",
        "ALTER DATABASE {db} SET plpgsql.extra_warnings TO 'all'",
        "ALTER DATABASE {db} SET temp_buffers TO '9MB'",
        f"ALTER ROLE {{owner}} IN DATABASE {{db}} SET {parameter} TO {value}",
        owner=owner,
    )
    before = _state(sandbox)
    server = sandbox.server(sandbox.cluster.url(sandbox.name, user=owner))
    backup = back_up(server, BackupRequest(), LOCK_WAIT, lambda progress: None)
    assert (backup.cautions, backup.backup.not_given) == ((), ())
    receipt = swap(server, SwapRequest(keep_backup=keep_backup), LOCK_WAIT, lambda progress: None)
    assert (receipt.cautions, receipt.disconnected) == ((), ())
    assert _state(sandbox) == before


def test_a_setting_that_no_extension_knows_is_not_given_by_an_owner(sandbox: Sandbox) -> None:
    owner = sandbox.role("owner", "LOGIN CREATEDB")
    _do(sandbox, "ALTER DATABASE {db} OWNER TO {owner}", "ALTER DATABASE {db} SET app.tenant TO 'x'", owner=owner)
    server = sandbox.server(sandbox.cluster.url(sandbox.name, user=owner))
    receipt = back_up(server, BackupRequest(), LOCK_WAIT, lambda progress: None)
    assert receipt.backup.not_given == ("setting app.tenant",)


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


# Whether anybody gets in


@pytest.mark.parametrize(
    "keep_backup",
    [pytest.param(False, marks=pytest.mark.promise("a rollback that would let nobody in changes nothing")), True],
)
def test_a_rollback_that_would_let_nobody_in_changes_nothing(sandbox: Sandbox, keep_backup: bool) -> None:
    backup = sandbox.back_up().backup.name
    statement = "ALTER DATABASE {} SET session_preload_libraries TO 'gone_with_the_upgrade'"
    sandbox.execute(sql.SQL(statement).format(sql.Identifier(backup)))
    sandbox.ruin()
    before = sandbox.databases()
    with pytest.raises(SnapkitError, match="session_preload_libraries") as caught:
        sandbox.roll_back(keep_backup=keep_backup)
    assert type(caught.value) is SnapkitError
    assert caught.value.state == "Nothing was changed."
    assert "gone_with_the_upgrade" in caught.value.message
    assert sandbox.databases() == before
    assert len(sandbox.items()) == 10
    reset = (caught.value.hint or "").partition("reset the setting: ")[2]
    assert reset == f'ALTER DATABASE "{backup}" RESET session_preload_libraries;'
    sandbox.execute(reset)
    sandbox.roll_back(keep_backup=keep_backup)
    assert len(sandbox.items()) == 100


def test_a_role_that_would_not_get_in_stops_a_rollback_too(sandbox: Sandbox) -> None:
    client = sandbox.role("client")
    backup = sandbox.back_up().backup.name
    statement = "ALTER ROLE {} IN DATABASE {} SET session_preload_libraries TO 'gone'"
    sandbox.execute(sql.SQL(statement).format(*map(sql.Identifier, (client, backup))))
    with pytest.raises(SnapkitError, match=f"as {client}") as caught:
        sandbox.roll_back()
    assert f'ALTER ROLE "{client}" IN DATABASE "{backup}" RESET session_preload_libraries;' in (caught.value.hint or "")


def test_what_a_role_without_any_right_sets_for_itself_stops_no_rollback_and_no_guard(sandbox: Sandbox) -> None:
    stranger = sandbox.role("stranger")
    backup = sandbox.back_up().backup.name
    sandbox.execute(sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(sql.Identifier(sandbox.name)))
    for name in (sandbox.name, backup):
        statement = "ALTER ROLE CURRENT_USER IN DATABASE {} SET local_preload_libraries TO 'gone'"
        with sandbox.connect("postgres", user=stranger) as session:
            session.execute(sql.SQL(statement).format(sql.Identifier(name)))
    sandbox.ruin()
    assert sandbox.roll_back().cautions == ()
    assert len(sandbox.items()) == 100
    assert sandbox.run("guard", "--", "true").code == 0


def test_a_library_that_is_there_is_in_nobodys_way(sandbox: Sandbox) -> None:
    _do(sandbox, "ALTER DATABASE {db} SET session_preload_libraries TO 'auto_explain'")
    before = _state(sandbox)
    assert sandbox.back_up().cautions == ()
    assert sandbox.roll_back().cautions == ()
    assert _state(sandbox) == before


def test_a_backup_that_lets_nobody_in_is_made_with_a_warning_but_no_guards(sandbox: Sandbox) -> None:
    _do(sandbox, "ALTER DATABASE {db} SET session_preload_libraries TO 'gone_with_the_upgrade'")
    with pytest.raises(SnapkitError, match="Nobody could connect"):
        sandbox.back_up(claim=lambda entry: None)
    assert sandbox.databases() == [sandbox.name]
    assert [each.code for each in sandbox.back_up().cautions] == ["nobody_gets_in"]


def test_what_an_owner_may_not_try_is_told_as_not_proved(sandbox: Sandbox) -> None:
    owner = sandbox.role("owner", "LOGIN CREATEDB")
    _do(
        sandbox,
        "ALTER DATABASE {db} OWNER TO {owner}",
        "ALTER DATABASE {db} SET session_preload_libraries TO 'auto_explain'",
        owner=owner,
    )
    sandbox.back_up()
    server = sandbox.server(sandbox.cluster.url(sandbox.name, user=owner))
    (caution,) = swap(server, SwapRequest(), LOCK_WAIT, lambda progress: None).cautions
    assert caution.code == "entrance_not_proved"
