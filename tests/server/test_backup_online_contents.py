"""A copy that is made while clients work is compared with its source: rows by what they hold, and what pg_dump takes
for given. What is not the same is named: it fails the backup, or the receipt warns of it."""

from __future__ import annotations

from typing import Any

import pytest
from psycopg import sql

from snapkit.errors import SnapkitError
from snapkit.services.copying.online import run
from snapkit.services.copying.online.build import build
from tests.sandbox import Sandbox
from tests.server.test_backup_online import FILLER, online_backup

pytestmark = pytest.mark.usefixtures("client_programs")


TS_DEBUG = """CREATE OR REPLACE FUNCTION pg_catalog.ts_debug(document text, OUT alias text, OUT description text,
    OUT token text, OUT dictionaries regdictionary[], OUT dictionary regdictionary, OUT lexemes text[])
    RETURNS SETOF record LANGUAGE sql STABLE AS 'SELECT NULL::text, NULL::text, NULL::text,
    NULL::regdictionary[], NULL::regdictionary, NULL::text[] WHERE false'"""
"""Another definition of a function of PostgreSQL's own."""


def _offers(box: Sandbox, extension: str) -> None:
    if not box.execute("SELECT 1 FROM pg_available_extensions WHERE name = %s", extension):
        pytest.skip(f"this server does not offer {extension}")


def _cautions(box: Sandbox) -> dict[str, str]:
    return {caution.code: caution.message for caution in online_backup(box).cautions}


@pytest.mark.parametrize(
    ("statement", "named"),
    [
        ("UPDATE item SET name = 'another' WHERE id = 7", 'rows of "public"."item": as many in the copy'),
        ("UPDATE filler SET text = text || ' ' WHERE n = 7", 'rows of "public"."filler": as many in the copy'),
        ("UPDATE item SET name = NULL WHERE name = ''", 'rows of "public"."item": as many in the copy'),
        ("SELECT lo_put(4711, 5, 'x')", "large objects: as many in the copy"),
        ("ALTER FUNCTION pg_catalog.lower(text) STRICT LEAKPROOF", "function lower(text)"),
    ],
)
def test_what_is_not_the_same_fails_the_backup_though_nothing_is_missing(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, statement: str, named: str
) -> None:
    def spoil(*copying: Any) -> None:
        build(*copying)
        partial = next(name for name in sandbox.databases() if "_partial_" in name)
        with sandbox.connect(partial) as inside:
            inside.execute(statement.encode())

    with sandbox.connect() as connection:
        connection.execute(FILLER)
        connection.execute("UPDATE item SET name = '' WHERE id = 3")
        connection.execute("SELECT lo_from_bytea(4711, 'large')")
    monkeypatch.setattr(run, "build", spoil)
    with pytest.raises(SnapkitError) as caught:
        online_backup(sandbox)
    assert named in caught.value.message
    assert sandbox.databases() == [sandbox.name]


def test_a_copy_of_what_was_not_altered_warns_of_nothing(sandbox: Sandbox) -> None:
    with sandbox.connect() as connection:
        connection.execute(FILLER)
        connection.execute("SELECT lo_from_bytea(4711, convert_to(repeat('large', 5000000), 'UTF8'))")
        connection.execute("SELECT lo_put(4712, 100000, 'sparse') FROM lo_create(4712)")
        connection.execute("GRANT EXECUTE ON FUNCTION pg_catalog.pg_ls_waldir() TO PUBLIC")
        connection.execute("CREATE MATERIALIZED VIEW names AS SELECT name FROM item")
        # A child whose columns come in another order once it is made anew.
        connection.execute("CREATE TABLE parent (a int); CREATE TABLE child (b text) INHERITS (parent)")
        connection.execute("ALTER TABLE parent ADD COLUMN c int; INSERT INTO child VALUES (1, 'b', 3)")
    assert _cautions(sandbox) == {}


@pytest.mark.parametrize(
    ("statements", "named"),
    [
        (
            (
                "ALTER TEXT SEARCH CONFIGURATION english ALTER MAPPING FOR asciiword WITH simple",
                "CREATE TABLE doc (t text, v tsvector GENERATED ALWAYS AS (to_tsvector('english', t)) STORED)",
                "INSERT INTO doc VALUES ('running dogs')",
            ),
            ("text search configuration english", 'rows of "public"."doc": as many in the copy'),
        ),
        (("ALTER TEXT SEARCH DICTIONARY simple (ACCEPT = false)",), ("text search dictionary simple",)),
        (
            (TS_DEBUG,),
            ("function ts_debug(text)",),
        ),
        (
            ("CREATE FUNCTION public.less(int, text) RETURNS bool LANGUAGE sql IMMUTABLE AS 'SELECT true'",
             "CREATE OPERATOR public.<<< (LEFTARG = int, RIGHTARG = text, FUNCTION = public.less)",
             "ALTER OPERATOR FAMILY integer_ops USING btree ADD OPERATOR 1 public.<<< (int, text)"),
            ("operator family integer_ops for access method btree",),
        ),
    ],
)  # fmt: skip
def test_altered_objects_of_postgresqls_own_are_named(
    sandbox: Sandbox, statements: tuple[str, ...], named: tuple[str, ...]
) -> None:
    with sandbox.connect() as connection:
        for statement in statements:
            connection.execute(statement.encode())
    with pytest.raises(SnapkitError) as caught:
        online_backup(sandbox)
    for each in named:
        assert each in caught.value.message
    assert sandbox.databases() == [sandbox.name]


def test_altered_objects_of_an_extension_are_named(sandbox: Sandbox) -> None:
    _offers(sandbox, "hstore")
    with sandbox.connect() as connection:
        connection.execute("CREATE EXTENSION hstore")
        connection.execute(
            "CREATE OR REPLACE FUNCTION tconvert(text, text) RETURNS hstore LANGUAGE sql IMMUTABLE"
            " AS $$SELECT 'changed=>1'::hstore$$"
        )
    with pytest.raises(SnapkitError, match=r"function public\.tconvert\(text,text\)"):
        online_backup(sandbox)


def test_owners_costs_privileges_and_comments_that_the_copy_lacks_are_warned_of(sandbox: Sandbox) -> None:
    _offers(sandbox, "hstore")
    role = sandbox.role("of functions")
    with sandbox.connect() as connection:
        connection.execute("CREATE EXTENSION hstore")
        connection.execute("ALTER FUNCTION skeys(hstore) COST 7")
        connection.execute(sql.SQL("ALTER FUNCTION svals(hstore) OWNER TO {}").format(sql.Identifier(role)))
        connection.execute("ALTER FUNCTION pg_catalog.lower(text) COST 77")
        connection.execute("COMMENT ON FUNCTION pg_catalog.upper(text) IS 'changed'")
    cautions = _cautions(sandbox)
    assert list(cautions) == ["given_objects_changed"]
    for function in ("public.skeys(public.hstore)", "public.svals(public.hstore)", "lower(text)", "upper(text)"):
        assert f"function {function}" in cautions["given_objects_changed"]
    with sandbox.connect() as connection:
        connection.execute(sql.SQL("ALTER FUNCTION svals(hstore) OWNER TO {}").format(sql.Identifier("postgres")))


def test_views_that_were_computed_anew_are_warned_of(sandbox: Sandbox) -> None:
    with sandbox.connect() as connection:
        connection.execute("CREATE MATERIALIZED VIEW names AS SELECT name FROM item")
        connection.execute("CREATE MATERIALIZED VIEW numbers AS SELECT id FROM item")
        connection.execute("UPDATE item SET name = 'later' WHERE id = 1")
    cautions = _cautions(sandbox)
    assert list(cautions) == ["views_refreshed"]
    assert '"public"."names"' in cautions["views_refreshed"]
    assert "numbers" not in cautions["views_refreshed"]


def test_what_was_made_an_extensions_by_hand_is_not_lost_without_a_word(sandbox: Sandbox) -> None:
    _offers(sandbox, "hstore")
    with sandbox.connect() as connection:
        connection.execute("CREATE EXTENSION hstore")
        connection.execute("CREATE TABLE of_it (a int); INSERT INTO of_it VALUES (1)")
        connection.execute("ALTER EXTENSION hstore ADD TABLE of_it")
    with pytest.raises(SnapkitError, match=r"table public\.of_it"):
        online_backup(sandbox)
