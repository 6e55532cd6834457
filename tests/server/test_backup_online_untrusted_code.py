"""--strategy online by a superuser runs nothing that somebody with fewer rights has written."""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from psycopg import sql

from snapkit.core.inventory.kinds import Strategy
from snapkit.core.outage.hold_rules import HoldRules
from snapkit.core.reporting import Caution
from snapkit.errors import OutageLimitError, SnapkitError, UsageError
from snapkit.postgres.connection.driver import driver_connection
from snapkit.postgres.copying.untrusted_code import foreign_calls
from snapkit.services.backup import BackupRequest, back_up
from snapkit.services.copying.online import code_check, run
from snapkit.services.copying.online.compare import compare
from snapkit.services.copying.online.context import SourceContents
from snapkit.services.copying.online.read import read
from snapkit.services.outage.clients import Clients
from tests.sandbox import LOCK_WAIT, Sandbox
from tests.server.test_backup_online import online_backup, opened

pytestmark = pytest.mark.usefixtures("client_programs")

DEED = """CREATE FUNCTION mine.deed() RETURNS void LANGUAGE plpgsql AS $$
    BEGIN
        IF current_user <> session_user THEN
            BEGIN EXECUTE 'RESET ROLE'; EXCEPTION WHEN OTHERS THEN NULL; END;
            BEGIN EXECUTE 'RESET SESSION AUTHORIZATION'; EXCEPTION WHEN OTHERS THEN NULL; END;
        END IF;
        IF (SELECT rolsuper FROM pg_roles WHERE rolname = current_user)
            AND current_setting('transaction_read_only') = 'off' THEN
            EXECUTE format('ALTER ROLE %I SUPERUSER', {role});
        END IF;
    END $$"""
CALLER = """CREATE FUNCTION {name} RETURNS {result} LANGUAGE plpgsql IMMUTABLE AS
    $$ BEGIN PERFORM mine.deed(); RETURN {value}; END $$"""

WAYS: dict[str, tuple[str, ...]] = {
    "a CHECK": ("CREATE TABLE bad (n int CHECK (evil(n)))", "INSERT INTO bad VALUES (1)"),
    "a CHECK by an operator": (
        "CREATE OPERATOR ~~~ (LEFTARG = int, RIGHTARG = int, FUNCTION = evil)",
        "CREATE TABLE bad (n int CHECK (n ~~~ 1))",
        "INSERT INTO bad VALUES (1)",
    ),
    "a generated column": (
        "CREATE TABLE bad (n int, g bool GENERATED ALWAYS AS (evil(n)) STORED)",
        "INSERT INTO bad VALUES (1)",
    ),
    "a domain": (
        "CREATE DOMAIN odd AS int CHECK (evil(value))",
        "CREATE TABLE bad (n odd)",
        "INSERT INTO bad VALUES (1)",
    ),
    "a domain and an aggregate": (
        "CREATE DOMAIN odd AS int CHECK (evil(value))",
        "CREATE FUNCTION add(odd, int) RETURNS odd LANGUAGE sql AS 'SELECT $1'",
        "CREATE AGGREGATE total (int) (SFUNC = add, STYPE = odd, INITCOND = '1')",
    ),
    "a partition key": (
        "CREATE TABLE bads (n int) PARTITION BY LIST ((evil(n)))",
        "CREATE TABLE bad PARTITION OF bads FOR VALUES IN (true)",
        "INSERT INTO bad VALUES (1)",
    ),
    "a cast in a foreign key": (
        "CREATE TYPE word AS ENUM ('1')",
        "{number(word)}",
        "CREATE CAST (word AS int) WITH FUNCTION number (word) AS IMPLICIT",
        "CREATE TABLE good (n int PRIMARY KEY)",
        "INSERT INTO good VALUES (1)",
        "CREATE TABLE bad (n word REFERENCES good)",
        "INSERT INTO bad VALUES ('1')",
    ),
    "an index of constants": ("CREATE TABLE bad AS SELECT 1 AS n", "CREATE INDEX ON bad (n) WHERE evil(1)"),
    "statistics of constants": ("CREATE TABLE bad AS SELECT 1 AS n", "CREATE STATISTICS s ON (evil(1)), n FROM bad"),
    "PostgreSQL's own function that runs a query": (
        "CREATE TABLE bad (n int CHECK (query_to_xml('SELECT mine.evil(1)', true, true, '') IS NOT NULL))",
        "INSERT INTO bad VALUES (1)",
    ),
    "PostgreSQL's own function that reads a view": (
        "CREATE VIEW see AS SELECT evil(1)",
        "CREATE TABLE bad (n int CHECK (table_to_xml('mine.see', true, true, '') IS NOT NULL))",
        "INSERT INTO bad VALUES (1)",
    ),
}


class Owned:
    """A database of an ordinary role, made by itself."""

    def __init__(self, sandbox: Sandbox, *statements: str) -> None:
        self.sandbox = sandbox
        self.role = sandbox.role("Own'er", "LOGIN CREATEDB")
        self.name = f"{sandbox.prefix}_owned"
        make = sql.SQL("CREATE DATABASE {} OWNER {}").format(sql.Identifier(self.name), sql.Identifier(self.role))
        sandbox.execute(make)
        self.url = sandbox.cluster.url(self.name, user=self.role)
        self.superusers = sandbox.cluster.url(self.name)
        with psycopg.connect(self.url, autocommit=True) as own:
            own.execute("CREATE SCHEMA mine")
            own.execute("SET search_path TO mine")
            for statement in statements:
                own.execute(statement.encode())

    def _knows_xml(self) -> bool:
        try:
            return bool(self.sandbox.execute("SELECT xml '<a/>'"))
        except psycopg.errors.FeatureNotSupported:
            return False

    def _written(self, statement: str) -> str:
        if not statement.startswith("{"):
            return statement
        name = statement.strip("{}")
        result, value = ("int", "1") if name.startswith("number") else ("bool", "true")
        return CALLER.format(name=name, result=result, value=value)

    def plant(self, way: str) -> None:
        if "XML" in str(WAYS[way]).upper() and not self._knows_xml():
            pytest.skip("this server was built without XML")
        with psycopg.connect(self.url, autocommit=True) as own:
            own.execute("SET search_path TO mine")
            own.execute(DEED.format(role="'" + self.role.replace("'", "''") + "'").encode())
            for statement in ("{evil(int)}", "{evil(int, int)}", *WAYS[way]):
                own.execute(self._written(statement).encode())

    @property
    def is_superuser(self) -> bool:
        return self.sandbox.execute("SELECT rolsuper FROM pg_roles WHERE rolname = %s", self.role) == [(True,)]


@pytest.mark.parametrize(
    "way",
    [
        pytest.param("a CHECK", marks=pytest.mark.promise("no code of others runs with a superuser's rights")),
        *list(WAYS)[1:],
    ],
)
def test_what_the_owner_has_planted_is_refused_before_anything_is_touched(sandbox: Sandbox, way: str) -> None:
    owned = Owned(sandbox)
    owned.plant(way)
    with pytest.raises(UsageError, match="calls function") as caught:
        online_backup(sandbox, owned.superusers)
    assert not owned.is_superuser
    assert "mine." in caught.value.message
    assert (caught.value.state, "owner" in str(caught.value.hint)) == ("Nothing was changed.", True)
    assert [name for name in sandbox.databases() if name.startswith(owned.name)] == [owned.name]
    online_backup(sandbox, owned.url)
    assert not owned.is_superuser


@pytest.mark.parametrize("way", WAYS)
def test_but_for_that_the_owner_would_be_a_superuser(
    sandbox: Sandbox, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    owned = Owned(sandbox)
    owned.plant(way)
    monkeypatch.setattr(code_check, "foreign_calls", lambda connection: [])
    with suppress(SnapkitError):
        online_backup(sandbox, owned.superusers)
    assert owned.is_superuser


@pytest.mark.parametrize("way", ["a CHECK", "a domain and an aggregate"])
def test_what_is_planted_after_the_first_look_is_noticed_in_time(
    sandbox: Sandbox, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    owned = Owned(sandbox)

    def plant_and_read(*copying: Any) -> SourceContents:
        owned.plant(way)
        return read(*copying)

    monkeypatch.setattr(run, "read", plant_and_read)
    with pytest.raises(UsageError, match="calls function"):
        online_backup(sandbox, owned.superusers)
    assert not owned.is_superuser
    assert [name for name in sandbox.databases() if name.startswith(owned.name)] == [owned.name]


def test_what_comes_to_be_foreign_in_the_copy_is_noticed_before_rows_are_loaded(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[str] = []

    def look(connection: Any) -> Any:
        looks.append(driver_connection(connection).info.dbname)
        return foreign_calls(connection) if "_partial_" in looks[-1] else []

    owned = Owned(sandbox)
    owned.plant("a CHECK")
    monkeypatch.setattr(code_check, "foreign_calls", look)
    with pytest.raises(UsageError, match="calls function"):
        online_backup(sandbox, owned.superusers)
    assert not owned.is_superuser
    assert len(looks) == 3


HARMLESS = (
    "CREATE DOMAIN positive AS int CHECK (value > 0)",
    """CREATE TABLE harmless (n positive CHECK (n BETWEEN 1 AND 99), t text CHECK (t ~ '^a'),
        at timestamptz DEFAULT now() CHECK (at <= now()), d date CHECK (d > '2000-01-01'),
        CHECK (lower(t) IN ('a', 'ab')), CHECK ((n, t) < (100, 'b')),
        twice int GENERATED ALWAYS AS (n * 2) STORED)""",
    "CREATE INDEX ON harmless (lower(t)) WHERE n > 1",
    "INSERT INTO harmless (n, t, d) VALUES (1, 'a', '2001-01-01'), (2, 'ab', '2002-02-02')",
    "CREATE FUNCTION mine() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'",
    "CREATE TRIGGER t BEFORE INSERT ON harmless FOR EACH ROW EXECUTE FUNCTION mine()",
)


def test_a_superuser_copies_what_calls_postgresqls_own_functions(sandbox: Sandbox) -> None:
    owned = Owned(sandbox, *HARMLESS)
    receipt = online_backup(sandbox, owned.superusers)
    assert receipt.cautions == ()
    assert sandbox.row(receipt.backup.name)["owner"] == sandbox.row(owned.name)["owner"]
    with sandbox.connect(opened(sandbox, receipt.backup.name)) as connection:
        assert connection.execute("SELECT count(*), sum(twice) FROM mine.harmless").fetchone() == (2, 6)
    assert receipt.backup.strategy is Strategy.ONLINE


def test_a_superuser_may_use_functions_of_superusers(sandbox: Sandbox) -> None:
    with sandbox.connect() as connection:
        connection.execute("CREATE FUNCTION own(int) RETURNS bool LANGUAGE sql AS 'SELECT true'")
        connection.execute("ALTER TABLE item ADD CHECK (own(id))")
    online_backup(sandbox)


def test_the_owner_does_not_get_into_what_a_superuser_fills(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    owned = Owned(sandbox, *HARMLESS)
    attempts: list[str] = []

    def try_and_compare(*copying: Any) -> tuple[Caution, ...]:
        name = next(each for each in sandbox.databases() if "_partial_" in each)
        with pytest.raises(psycopg.OperationalError, match="permission denied"):
            psycopg.connect(sandbox.cluster.url(name, user=owned.role))
        with psycopg.connect(owned.url, autocommit=True) as own, pytest.raises(psycopg.Error):
            own.execute(sql.SQL("GRANT CONNECT ON DATABASE {} TO PUBLIC").format(sql.Identifier(name)))
            psycopg.connect(sandbox.cluster.url(name, user=owned.role))
        attempts.append(name)
        return compare(*copying)

    monkeypatch.setattr(run, "compare", try_and_compare)
    online_backup(sandbox, owned.superusers)
    assert len(attempts) == 1


def test_auto_takes_online_for_a_superuser_where_nothing_foreign_would_run(sandbox: Sandbox) -> None:
    owned = Owned(sandbox, *HARMLESS)
    server = sandbox.server(owned.superusers)
    back_up(server, BackupRequest(), LOCK_WAIT, lambda progress: None)
    limited = BackupRequest(clients=Clients(HoldRules(limit=timedelta(milliseconds=1))))
    receipt = back_up(server, limited, LOCK_WAIT, lambda progress: None)
    assert receipt.backup.strategy is Strategy.ONLINE
    owned.plant("a CHECK")
    with pytest.raises(OutageLimitError) as caught:
        back_up(server, limited, LOCK_WAIT, lambda progress: None)
    assert "calls function mine.evil" in str(caught.value.hint)
    assert not owned.is_superuser
