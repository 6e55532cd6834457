"""What differs between the definitions of two databases: a database with everything, and one statement in it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from typing import NamedTuple

import psycopg
import pytest
from psycopg import sql

from snapkit.core.comparison.differences import ChangedDefinition
from snapkit.core.comparison.schema.defined_objects import Definition
from snapkit.core.comparison.schema.schema_changes import schema_changes
from snapkit.postgres.comparison.definitions.read import definitions_in_snapshot
from snapkit.postgres.connection.conninfo import target_of
from snapkit.postgres.connection.driver import driver_connection
from snapkit.postgres.connection.server import Connection, Server
from snapkit.services.comparison.schema import compare_schemas
from snapkit.services.comparison.sides import Sides
from snapkit.services.entries.reading import reading_entries
from tests.cluster import Cluster
from tests.sandbox import LOCK_WAIT, Sandbox

READER, WRITER = "schema_reader", "schema_writer"
BASE = "schema_base"

EVERYTHING = [
    "CREATE SCHEMA shop",
    "CREATE TYPE mood AS ENUM ('sad', 'happy')",
    "CREATE DOMAIN positive AS int DEFAULT 1 CONSTRAINT above CHECK (value > 0)",
    "CREATE TYPE pair AS (a int, b text)",
    "CREATE TYPE span AS RANGE (subtype = float8)",
    "CREATE COLLATION plain FROM \"C\"",
    "CREATE SEQUENCE numbers",
    """CREATE TABLE shop.customer (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, email text NOT NULL,
        feels mood, twice int GENERATED ALWAYS AS (length(email) * 2) STORED)""",
    """CREATE TABLE shop."Order" (id bigserial PRIMARY KEY, customer int REFERENCES shop.customer, note text,
        state varchar(5) DEFAULT 'new' CHECK (state IN ('new', 'old')), at timestamptz)""",
    'CREATE INDEX by_note ON shop."Order" (lower(note)) WHERE id > 10',
    'CREATE UNIQUE INDEX by_at ON shop."Order" (at)',
    "ALTER TABLE shop.customer ADD CONSTRAINT email_once UNIQUE (email)",
    "CREATE TABLE parts (id int NOT NULL, region text, CHECK (id > 0)) PARTITION BY LIST (region)",
    "CREATE TABLE parts_a PARTITION OF parts FOR VALUES IN ('a')",
    "CREATE TABLE parts_b PARTITION OF parts FOR VALUES IN ('b')",
    "CREATE INDEX parts_by_id ON parts (id)",
    "CREATE TABLE loose (id int NOT NULL, region text, CHECK (id > 0))",
    "CREATE TABLE parent (a int)",
    "CREATE TABLE child (b int) INHERITS (parent)",
    "CREATE VIEW happy AS SELECT id, email FROM shop.customer WHERE feels = 'happy'",
    "CREATE MATERIALIZED VIEW totals AS SELECT count(*) FROM shop.customer",
    "CREATE FUNCTION twice(n int) RETURNS int LANGUAGE sql AS 'SELECT n * 2'",
    "CREATE FUNCTION how(m mood) RETURNS text LANGUAGE sql AS 'SELECT m::text'",
    "CREATE FUNCTION noted() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'",
    "CREATE FUNCTION told() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END'",
    "CREATE PROCEDURE work() LANGUAGE sql AS ''",
    "CREATE AGGREGATE longest (text) (SFUNC = textcat, STYPE = text)",
    "CREATE TRIGGER noting BEFORE INSERT ON shop.customer FOR EACH ROW EXECUTE FUNCTION noted()",
    "CREATE TRIGGER noting BEFORE INSERT ON parts FOR EACH ROW EXECUTE FUNCTION noted()",
    "CREATE EVENT TRIGGER telling ON ddl_command_start WHEN TAG IN ('SECURITY LABEL') EXECUTE FUNCTION told()",
    "CREATE RULE quiet AS ON DELETE TO parent DO INSTEAD NOTHING",
    "ALTER TABLE shop.customer ENABLE ROW LEVEL SECURITY",
    "CREATE POLICY mine ON shop.customer USING (id > 0)",
    "CREATE STATISTICS together ON a, b FROM child",
    "CREATE PUBLICATION news FOR TABLE shop.customer",
    f"GRANT SELECT ON shop.customer TO {READER}",
    f"GRANT SELECT (note) ON shop.\"Order\" TO {READER}",
    "COMMENT ON TABLE shop.customer IS 'who buys'",
    "COMMENT ON COLUMN shop.customer.email IS 'where to write'",
    "CREATE OPERATOR === (LEFTARG = int, RIGHTARG = int, FUNCTION = int4eq)",
    "CREATE OPERATOR FAMILY ints USING btree",
    """CREATE OPERATOR CLASS someints FOR TYPE int USING btree FAMILY ints AS
        OPERATOR 1 <, OPERATOR 2 <=, OPERATOR 3 =, OPERATOR 4 >=, OPERATOR 5 >, FUNCTION 1 btint4cmp(int, int)""",
    "CREATE CAST (pair AS text) WITH INOUT",
    "CREATE TEXT SEARCH CONFIGURATION words (COPY = simple)",
    "CREATE TEXT SEARCH DICTIONARY stems (TEMPLATE = snowball, language = 'english')",
    "CREATE FOREIGN DATA WRAPPER far",
    "CREATE SERVER away FOREIGN DATA WRAPPER far OPTIONS (host 'h', password 'sesame')",
    f"CREATE USER MAPPING FOR {READER} SERVER away OPTIONS (user 'me', password 'sesame')",
    "CREATE FOREIGN TABLE beyond (a int OPTIONS (k 'v')) SERVER away OPTIONS (t 'x', apikey 'sesame')",
    "CREATE CONVERSION latin FOR 'LATIN1' TO 'UTF8' FROM iso8859_1_to_utf8",
    f"ALTER DEFAULT PRIVILEGES FOR ROLE {WRITER} GRANT SELECT ON TABLES TO {READER}",
]  # fmt: skip


class Case(NamedTuple):
    """Statements, and what they change: between related databases, and between others if that is not the same."""

    statements: str
    expected: list[str]
    between_strangers: list[str] | None = None


ORDER = "shop.Order"

CASES = [
    Case("SELECT 1", []),
    # schemas and extensions
    Case("CREATE SCHEMA fresh", ["added schema fresh"]),
    Case("ALTER SCHEMA shop OWNER TO schema_writer", ["changed owner shop"]),
    Case("GRANT USAGE ON SCHEMA shop TO schema_reader", ["added privilege shop"]),
    Case("COMMENT ON SCHEMA shop IS 'x'", ["added comment shop"]),
    Case("COMMENT ON SCHEMA public IS NULL", ["removed comment public"]),
    Case("DROP EXTENSION plpgsql CASCADE", [
        "removed extension plpgsql", "removed function public.noted()", "removed function public.told()",
        "removed trigger public.parts.noting", "removed trigger shop.customer.noting",
        "removed event trigger telling",
    ]),
    # tables
    Case("CREATE TABLE fresh (id serial PRIMARY KEY, n int UNIQUE); CREATE INDEX ON fresh (n); "
         "COMMENT ON COLUMN fresh.n IS 'n'; GRANT SELECT ON fresh TO schema_reader", ["added table public.fresh"]),
    Case("DROP TABLE loose", ["removed table public.loose"]),
    Case("DROP TABLE parts", ["removed table public.parts"]),
    Case("DROP TABLE parts_a", ["removed table public.parts_a"]),
    Case("ALTER TABLE loose RENAME TO tight", ["changed table public.tight"],
         ["removed table public.loose", "added table public.tight"]),
    Case("ALTER TABLE shop.customer RENAME TO client", ["changed table shop.client"]),
    Case("ALTER TABLE loose SET SCHEMA shop", ["changed table shop.loose"]),
    Case("ALTER TABLE loose SET UNLOGGED", ["changed table public.loose"]),
    Case("ALTER TABLE loose SET (fillfactor = 70, toast.autovacuum_enabled = off)", ["changed table public.loose"]),
    Case("ALTER TABLE loose REPLICA IDENTITY FULL", ["changed table public.loose"]),
    Case("ALTER TABLE shop.customer REPLICA IDENTITY USING INDEX email_once", ["changed table shop.customer"]),
    Case('ALTER TABLE shop."Order" CLUSTER ON by_at', [f"changed table {ORDER}"]),
    Case("ALTER TABLE shop.customer DISABLE ROW LEVEL SECURITY", ["changed table shop.customer"]),
    Case("ALTER TABLE shop.customer FORCE ROW LEVEL SECURITY", ["changed table shop.customer"]),
    Case("ALTER TABLE loose OWNER TO schema_writer", ["changed owner public.loose"]),
    Case("ALTER TABLE child NO INHERIT parent", ["changed table public.child"]),
    Case("ALTER TABLE parts DETACH PARTITION parts_a",
         ["changed table public.parts_a", "removed trigger public.parts_a.noting"]),
    Case("CREATE TABLE parts_c PARTITION OF parts FOR VALUES IN ('c')", ["added table public.parts_c"]),
    Case("DROP TABLE loose; CREATE TABLE loose (id int NOT NULL, region text, CHECK (id > 0))", []),
    Case("ALTER TABLE loose ADD x int; ALTER TABLE loose DROP x", []),
    Case("ALTER TABLE loose RENAME TO away; CREATE TABLE loose (id int)",
         ["added table public.loose", "changed table public.away"]),
    Case("ALTER FOREIGN TABLE beyond OPTIONS (SET apikey 'open')", ["changed foreign table public.beyond"]),
    Case("ALTER FOREIGN TABLE beyond OPTIONS (SET t 'y')", ["changed foreign table public.beyond"]),
    Case("ALTER FOREIGN TABLE beyond ALTER a OPTIONS (SET k 'w')", ["changed column public.beyond.a"]),
    # columns
    Case("ALTER TABLE loose ADD note text", ["added column public.loose.note"]),
    Case("ALTER TABLE loose ADD n serial", ["added column public.loose.n"]),
    Case("ALTER TABLE loose DROP region", ["removed column public.loose.region"]),
    Case("ALTER TABLE loose RENAME region TO land", ["changed column public.loose.land"],
         ["added column public.loose.land", "removed column public.loose.region"]),
    Case("ALTER TABLE shop.customer RENAME email TO mail", ["changed column shop.customer.mail"]),
    Case("ALTER TABLE loose ALTER id TYPE bigint", ["changed column public.loose.id"]),
    Case("ALTER TABLE loose ALTER id SET DEFAULT 7", ["changed column public.loose.id"]),
    Case('ALTER TABLE shop."Order" ALTER state DROP DEFAULT', [f"changed column {ORDER}.state"]),
    Case("ALTER TABLE loose ALTER id DROP NOT NULL", ["changed column public.loose.id"]),
    Case("ALTER TABLE loose ALTER region SET NOT NULL", ["changed column public.loose.region"]),
    Case("ALTER TABLE loose ALTER id ADD GENERATED BY DEFAULT AS IDENTITY", ["changed column public.loose.id"]),
    Case("ALTER TABLE shop.customer ALTER id SET GENERATED BY DEFAULT", ["changed column shop.customer.id"]),
    Case("ALTER TABLE shop.customer ALTER id SET INCREMENT 5", ["changed column shop.customer.id"]),
    Case("ALTER TABLE shop.customer ALTER id DROP IDENTITY", ["changed column shop.customer.id"]),
    Case("ALTER TABLE shop.customer ALTER twice DROP EXPRESSION", ["changed column shop.customer.twice"]),
    Case("ALTER TABLE loose ALTER region SET STORAGE PLAIN", ["changed column public.loose.region"]),
    Case("ALTER TABLE loose ALTER region SET COMPRESSION pglz", ["changed column public.loose.region"]),
    Case("ALTER TABLE loose ALTER region SET STATISTICS 300", ["changed column public.loose.region"]),
    Case("ALTER TABLE loose ALTER region SET (n_distinct = 5)", ["changed column public.loose.region"]),
    Case('ALTER TABLE loose ALTER region TYPE text COLLATE "C"', ["changed column public.loose.region"]),
    Case("ALTER TABLE parts ADD note text", ["added column public.parts.note"]),
    Case("ALTER TABLE parts RENAME id TO number", ["changed column public.parts.number"]),
    Case("ALTER TABLE parts_a ALTER id SET DEFAULT 1", ["changed column public.parts_a.id"]),
    Case("ALTER TABLE parent ADD x int", ["added column public.parent.x"]),
    # constraints
    Case("ALTER TABLE loose ADD PRIMARY KEY (id)", ["added constraint public.loose.loose_pkey"]),
    Case("ALTER TABLE loose ADD CONSTRAINT big CHECK (id > 5)", ["added constraint public.loose.big"]),
    Case("ALTER TABLE loose ADD CONSTRAINT big CHECK (id > 5) NOT VALID", ["added constraint public.loose.big"]),
    Case('ALTER TABLE shop."Order" DROP CONSTRAINT "Order_customer_fkey"',
         [f"removed constraint {ORDER}.Order_customer_fkey"]),
    Case('ALTER TABLE shop."Order" ALTER CONSTRAINT "Order_customer_fkey" DEFERRABLE',
         [f"changed constraint {ORDER}.Order_customer_fkey"]),
    Case('ALTER TABLE shop."Order" DISABLE TRIGGER ALL', [f"changed constraint {ORDER}.Order_customer_fkey"]),
    Case("ALTER TABLE shop.customer RENAME CONSTRAINT email_once TO once",
         ["changed constraint shop.customer.once"],
         ["added constraint shop.customer.once", "removed constraint shop.customer.email_once"]),
    Case("ALTER INDEX shop.email_once SET (fillfactor = 60)", ["changed constraint shop.customer.email_once"]),
    Case("COMMENT ON CONSTRAINT email_once ON shop.customer IS 'x'", ["added comment shop.customer.email_once"]),
    Case("COMMENT ON INDEX shop.email_once IS 'x'", ["added comment shop.customer.email_once"]),
    Case("ALTER TABLE parts ADD CONSTRAINT big CHECK (id > 5)", ["added constraint public.parts.big"]),
    Case("ALTER TABLE parts ADD PRIMARY KEY (id, region)", [
        "changed column public.parts.region", "added constraint public.parts.parts_pkey",
    ]),
    # indexes
    Case("CREATE INDEX fresh ON loose (id)", ["added index public.loose.fresh"]),
    Case("DROP INDEX shop.by_note", [f"removed index {ORDER}.by_note"]),
    Case('DROP INDEX shop.by_note; CREATE INDEX by_note ON shop."Order" (lower(note)) WHERE id > 11',
         [f"changed index {ORDER}.by_note"]),
    Case('DROP INDEX shop.by_note; CREATE INDEX by_note ON shop."Order" (lower(note)) WHERE id > 10', []),
    Case("ALTER INDEX shop.by_note RENAME TO other", [f"changed index {ORDER}.other"],
         [f"added index {ORDER}.other", f"removed index {ORDER}.by_note"]),
    Case("ALTER INDEX shop.by_note SET (fillfactor = 60)", [f"changed index {ORDER}.by_note"]),
    Case("ALTER INDEX shop.by_note ALTER COLUMN 1 SET STATISTICS 200", [f"changed index {ORDER}.by_note"]),
    Case("CREATE INDEX fresh ON parts (region)", ["added index public.parts.fresh"]),
    Case("DROP INDEX parts_by_id", ["removed index public.parts.parts_by_id"]),
    Case("REINDEX TABLE shop.customer", []),
    # views
    Case("CREATE VIEW fresh AS SELECT 1", ["added view public.fresh"]),
    Case("DROP VIEW happy", ["removed view public.happy"]),
    Case("CREATE OR REPLACE VIEW happy AS SELECT id, email FROM shop.customer", ["changed view public.happy"]),
    Case("CREATE OR REPLACE VIEW happy AS SELECT id, email FROM shop.customer WHERE feels = 'happy'", []),
    Case("ALTER VIEW happy SET (security_barrier = on)", ["changed view public.happy"]),
    Case("ALTER VIEW happy ALTER email SET DEFAULT 'x'", ["changed view public.happy"]),
    Case("ALTER VIEW happy RENAME email TO mail", ["changed view public.happy"]),
    Case("GRANT SELECT (email) ON happy TO schema_reader", ["added privilege public.happy"]),
    Case("COMMENT ON COLUMN happy.email IS 'x'", ["added comment public.happy"]),
    Case("DROP MATERIALIZED VIEW totals", ["removed materialized view public.totals"]),
    Case("CREATE UNIQUE INDEX one ON totals (count)", ["added index public.totals.one"]),
    Case("REFRESH MATERIALIZED VIEW totals", []),
    # functions and what is made of them
    Case("CREATE OR REPLACE FUNCTION twice(n int) RETURNS int LANGUAGE sql AS 'SELECT n + n'",
         ["changed function public.twice(integer)"]),
    Case("CREATE FUNCTION twice(n text) RETURNS int LANGUAGE sql AS 'SELECT 1'",
         ["added function public.twice(text)"]),
    Case("DROP FUNCTION twice(int)", ["removed function public.twice(integer)"]),
    Case("ALTER FUNCTION twice(int) SET work_mem = '1MB'", ["changed function public.twice(integer)"]),
    Case("ALTER FUNCTION twice(int) SECURITY DEFINER", ["changed function public.twice(integer)"]),
    Case("ALTER FUNCTION twice(int) OWNER TO schema_writer", ["changed owner public.twice(integer)"]),
    Case("REVOKE EXECUTE ON FUNCTION twice(int) FROM PUBLIC", ["added privilege public.twice(integer)"]),
    Case("CREATE OR REPLACE PROCEDURE work() LANGUAGE sql AS 'SELECT 1'", ["changed procedure public.work()"]),
    Case("CREATE OR REPLACE AGGREGATE longest (text) (SFUNC = textcat, STYPE = text, INITCOND = 'x')",
         ["changed aggregate public.longest(text)"]),
    Case("DROP OPERATOR === (int, int)", ["removed operator public.===(integer, integer)"]),
    Case("ALTER OPERATOR === (int, int) SET (RESTRICT = eqsel)", ["changed operator public.===(integer, integer)"]),
    Case("DROP OPERATOR CLASS someints USING btree", ["removed operator class public.someints USING btree"]),
    Case("DROP OPERATOR FAMILY ints USING btree CASCADE", [
        "removed operator family public.ints USING btree", "removed operator class public.someints USING btree",
    ]),
    Case("DROP CAST (pair AS text)", ["removed cast (public.pair AS text)"]),
    Case("DROP CONVERSION latin", ["removed conversion public.latin"]),
    # types
    Case("ALTER TYPE mood ADD VALUE 'glad'", ["changed type public.mood"]),
    Case("ALTER TYPE mood RENAME VALUE 'sad' TO 'blue'", ["changed type public.mood"]),
    Case("ALTER TYPE mood RENAME TO feeling", ["changed type public.feeling"], [
        "changed column shop.customer.feels", "added function public.how(public.feeling)", "changed view public.happy",
        "removed function public.how(public.mood)", "added type public.feeling", "removed type public.mood",
    ]),
    Case("COMMENT ON CONSTRAINT above ON DOMAIN positive IS 'x'", ["added comment public.positive"]),
    Case("COMMENT ON SEQUENCE shop.customer_id_seq IS 'x'", ["added comment shop.customer.id"]),
    Case("ALTER DOMAIN positive SET NOT NULL", ["changed type public.positive"]),
    Case("ALTER DOMAIN positive DROP DEFAULT", ["changed type public.positive"]),
    Case("ALTER DOMAIN positive DROP CONSTRAINT above", ["changed type public.positive"]),
    Case("ALTER TYPE pair ADD ATTRIBUTE c int", ["changed type public.pair"]),
    Case("DROP TYPE span", ["removed type public.span"]),
    Case("CREATE TYPE shell", ["added type public.shell"]),
    Case("DROP COLLATION plain", ["removed collation public.plain"]),
    # sequences
    Case("ALTER SEQUENCE numbers INCREMENT 3", ["changed sequence public.numbers"]),
    Case("ALTER SEQUENCE numbers OWNED BY loose.id", ["changed sequence public.numbers"]),
    Case("SELECT nextval('public.numbers'), nextval('shop.customer_id_seq')", []),
    Case("DROP SEQUENCE numbers", ["removed sequence public.numbers"]),
    # what lies on tables
    Case("ALTER TABLE shop.customer DISABLE TRIGGER noting", ["changed trigger shop.customer.noting"]),
    Case("DROP TRIGGER noting ON shop.customer", ["removed trigger shop.customer.noting"]),
    Case("DROP TRIGGER noting ON parts", ["removed trigger public.parts.noting"]),
    Case("ALTER TRIGGER noting ON shop.customer RENAME TO marking", ["changed trigger shop.customer.marking"],
         ["added trigger shop.customer.marking", "removed trigger shop.customer.noting"]),
    Case("DROP RULE quiet ON parent", ["removed rule public.parent.quiet"]),
    Case("ALTER TABLE parent DISABLE RULE quiet", ["changed rule public.parent.quiet"]),
    Case("ALTER POLICY mine ON shop.customer USING (id > 1)", ["changed policy shop.customer.mine"]),
    Case("ALTER POLICY mine ON shop.customer TO schema_reader", ["changed policy shop.customer.mine"]),
    Case("DROP POLICY mine ON shop.customer", ["removed policy shop.customer.mine"]),
    Case("ALTER STATISTICS together SET STATISTICS 300", ["changed statistics public.together"]),
    Case("DROP STATISTICS together", ["removed statistics public.together"]),
    # the database's own
    Case("ALTER EVENT TRIGGER telling DISABLE", ["changed event trigger telling"]),
    Case("DROP EVENT TRIGGER telling", ["removed event trigger telling"]),
    Case("ALTER PUBLICATION news ADD TABLE loose", ["changed publication news"]),
    Case("ALTER PUBLICATION news SET (publish = 'insert')", ["changed publication news"]),
    Case("DROP PUBLICATION news", ["removed publication news"]),
    Case("ALTER SERVER away OPTIONS (SET host 'i')", ["changed foreign server away"]),
    Case("ALTER SERVER away OPTIONS (SET password 'open')", ["changed foreign server away"]),
    Case("ALTER USER MAPPING FOR schema_reader SERVER away OPTIONS (SET password 'open')",
         ["changed user mapping schema_reader@away"]),
    Case("DROP USER MAPPING FOR schema_reader SERVER away", ["removed user mapping schema_reader@away"]),
    Case("DROP FOREIGN DATA WRAPPER far CASCADE", [
        "removed foreign data wrapper far", "removed foreign server away", "removed foreign table public.beyond",
    ]),
    Case("ALTER TEXT SEARCH CONFIGURATION words ALTER MAPPING FOR word WITH stems",
         ["changed text search configuration public.words"]),
    Case("ALTER TEXT SEARCH DICTIONARY stems (stopwords = 'english')",
         ["changed text search dictionary public.stems"]),
    # what is said of objects
    Case("GRANT INSERT ON shop.customer TO schema_reader", ["changed privilege shop.customer"]),
    Case("REVOKE SELECT ON shop.customer FROM schema_reader", ["removed privilege shop.customer"]),
    Case("GRANT SELECT ON shop.customer TO schema_reader WITH GRANT OPTION", ["changed privilege shop.customer"]),
    Case('REVOKE SELECT (note) ON shop."Order" FROM schema_reader', [f"removed privilege {ORDER}.note"]),
    Case("GRANT SELECT ON pg_authid TO schema_reader", ["added privilege TABLE pg_catalog.pg_authid"]),
    Case("REVOKE EXECUTE ON FUNCTION lower(text) FROM PUBLIC",
         ["added privilege FUNCTION pg_catalog.lower(pg_catalog.text)"]),
    Case("COMMENT ON TABLE shop.customer IS 'who pays'", ["changed comment shop.customer"]),
    Case("COMMENT ON COLUMN shop.customer.email IS NULL", ["removed comment shop.customer.email"]),
    Case("ALTER DEFAULT PRIVILEGES FOR ROLE schema_writer GRANT INSERT ON TABLES TO schema_reader",
         ["changed privilege default on TABLES for ROLE schema_writer"]),
    Case("ALTER DEFAULT PRIVILEGES FOR ROLE schema_writer IN SCHEMA shop GRANT USAGE ON TYPES TO schema_reader",
         ["added privilege default on TYPES for ROLE schema_writer IN SCHEMA shop"]),
    # renamed beneath others
    Case("ALTER SCHEMA shop RENAME TO store", ["changed schema store"]),
    # what restore keeps is left out
    Case("CREATE SCHEMA snapkit_undo; CREATE TABLE snapkit_undo.kept (id int PRIMARY KEY); "
         "GRANT SELECT ON snapkit_undo.kept TO PUBLIC; COMMENT ON TABLE snapkit_undo.kept IS 'x'", []),
]  # fmt: skip


@pytest.fixture(scope="module")
def base(cluster: Cluster) -> Iterator[str]:
    """The URL of a database with everything."""
    with psycopg.connect(cluster.url("postgres"), autocommit=True) as admin:
        for role in (READER, WRITER):
            admin.execute(sql.SQL("CREATE ROLE {}").format(sql.Identifier(role)))
        admin.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(BASE)))
        with psycopg.connect(cluster.url(BASE), autocommit=True) as connection:
            for statement in EVERYTHING:
                connection.execute(statement.encode())
        try:
            yield cluster.url(BASE)
        finally:
            admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(BASE)))
            for role in (READER, WRITER):
                admin.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(role)))


@pytest.fixture(scope="module")
def inside(base: str) -> Iterator[Connection]:
    with Server(target_of(base)).enter(BASE, {}) as connection:
        yield connection


@pytest.fixture(scope="module")
def before(inside: Connection) -> list[Definition]:
    return definitions_in_snapshot(inside)


def told(changes: tuple[ChangedDefinition, ...]) -> str:
    return lines(
        f"{each.change} {each.object} {each.schema + '.' if each.schema else ''}{each.name}" for each in changes
    )


def lines(each: Iterable[str]) -> str:
    return "\n".join(sorted(each))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.statements)
def test_a_statement_changes_what_it_says(inside: Connection, before: list[Definition], case: Case) -> None:
    driver = driver_connection(inside)
    with driver.transaction(force_rollback=True):
        driver.execute("SET LOCAL search_path TO public")
        driver.execute(case.statements.encode())
        driver.execute("SET LOCAL search_path TO pg_catalog")
        after = definitions_in_snapshot(inside)
    assert told(schema_changes(before, after, related=True)) == lines(case.expected)
    strangers = told(schema_changes(before, after, related=False))
    if case.between_strangers is not None:
        assert strangers == lines(case.between_strangers)
    else:
        assert bool(strangers) == bool(case.expected)


@pytest.mark.parametrize("related", [True, False])
def test_a_clone_is_the_same_and_what_is_done_to_it_is_told(sandbox: Sandbox, related: bool) -> None:
    clone = f"{sandbox.prefix}_clone"
    sandbox.execute(sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(*map(sql.Identifier, (clone, sandbox.name))))
    server = sandbox.server()
    with server.enter(clone, {}) as entry, server.enter(sandbox.name, {}) as live, closing(Sides(entry, live)) as sides:
        assert compare_schemas(sides, related=related) == ()
        with sandbox.connect() as connection:
            connection.execute("ALTER TABLE item ADD COLUMN ruined bool DEFAULT true")
        (change,) = compare_schemas(sides, related=related)
    assert (change.object, change.schema, change.name) == ("column", "public", "item.ruined")
    assert (change.before, change.after) == (None, "ruined boolean DEFAULT true")


def of_the_database(sandbox: Sandbox, role: str) -> list[str]:
    """Change all that is of the database as a whole."""
    name = sql.Identifier(sandbox.name)
    statements = [
        "COMMENT ON DATABASE {} IS 'mine'",
        "ALTER DATABASE {} SET work_mem = '5MB'",
        "ALTER DATABASE {} SET app.token = 'sesame'",
        f"ALTER ROLE {role} IN DATABASE {{}} SET statement_timeout = 1",
        "GRANT CREATE ON DATABASE {} TO PUBLIC",
        "ALTER DATABASE {} CONNECTION LIMIT 50",
        f"ALTER DATABASE {{}} OWNER TO {role}",
    ]
    for statement in statements:
        sandbox.execute(sql.SQL(statement).format(name))
    return [
        "added comment database",
        "added privilege database",
        "added setting app.token",
        "added setting connection limit",
        f"added setting statement_timeout for role {role}",
        "added setting work_mem",
        "changed owner database",
    ]


def test_an_open_entry_has_the_settings_and_privileges_of_its_source(sandbox: Sandbox) -> None:
    role = sandbox.role("owner")
    sandbox.execute(
        sql.SQL("ALTER DATABASE {} SET default_transaction_read_only = off").format(sql.Identifier(sandbox.name))
    )
    sandbox.back_up()
    with compared(sandbox) as sides:
        assert compare_schemas(sides, related=True) == ()
        expected = of_the_database(sandbox, role)
        found = compare_schemas(sides, related=True)
    assert told(found) == lines(expected)
    assert "sesame" not in repr(found)
    sandbox.back_up()
    with compared(sandbox) as sides:
        assert compare_schemas(sides, related=True) == ()


@contextmanager
def compared(sandbox: Sandbox) -> Iterator[Sides]:
    """The newest entry, opened, and the live database."""
    server = sandbox.server()
    with (
        reading_entries(server, [None], LOCK_WAIT, command="diff") as reading,
        reading.enter(reading.entries[0]) as entry,
        reading.enter_live() as live,
        closing(Sides(entry, live)) as sides,
    ):
        yield sides
