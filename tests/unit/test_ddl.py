from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.dialects import postgresql

from snapkit.core.inventory.database import PARTIAL_CONNECTION_LIMIT
from snapkit.core.inventory.kinds import Strategy
from snapkit.core.plans import statements as s
from snapkit.postgres.sql.ddl import DatabaseDDL, quote_literal, quote_name, sql_text
from tests.unit.builders import texts, words

DRIVER = postgresql.psycopg.dialect()  # type: ignore[no-untyped-call]


def identifier(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


@pytest.mark.parametrize(
    ("statement", "sql"),
    [
        (
            s.RevokeOnDatabase('a"b', ("CONNECT", "CREATE"), (None,)),
            'REVOKE CONNECT, CREATE ON DATABASE "a""b" FROM PUBLIC CASCADE',
        ),
        (s.RevokeOnDatabase("app", ("CONNECT",), ("bob",)), 'REVOKE CONNECT ON DATABASE "app" FROM "bob" CASCADE'),
        (s.ResetParameter("app", "my.own"), 'ALTER DATABASE "app" RESET "my"."own"'),
        (
            s.CreateDatabase("app_partial", "app", "alice", PARTIAL_CONNECTION_LIMIT, None, None),
            (
                'CREATE DATABASE "app_partial" TEMPLATE "app" OWNER "alice" ALLOW_CONNECTIONS false '
                "CONNECTION LIMIT 1397637456"
            ),
        ),
        (
            s.CreateDatabase("p", "app", "alice", 1, Strategy.FILE_COPY, "fast disk"),
            (
                'CREATE DATABASE "p" TEMPLATE "app" OWNER "alice" ALLOW_CONNECTIONS false CONNECTION LIMIT 1 '
                'STRATEGY FILE_COPY TABLESPACE "fast disk"'
            ),
        ),
        (
            s.CreateDatabase("p", "app", "alice", 1, Strategy.WAL_LOG, None),
            (
                'CREATE DATABASE "p" TEMPLATE "app" OWNER "alice" ALLOW_CONNECTIONS false CONNECTION LIMIT 1 '
                "STRATEGY WAL_LOG"
            ),
        ),
        (
            s.CreateDatabase("p", "template0", "a", 1, None, None, s.Locale("UTF8", "C", "it's")),
            (
                'CREATE DATABASE "p" TEMPLATE "template0" OWNER "a" ALLOW_CONNECTIONS false CONNECTION LIMIT 1 '
                "ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE 'it''s'"
            ),
        ),
        (
            s.CreateDatabase("p", "template0", "a", 1, None, "x", s.Locale("UTF8", "C", "C", "icu", "de", "&b < a")),
            (
                'CREATE DATABASE "p" TEMPLATE "template0" OWNER "a" ALLOW_CONNECTIONS false CONNECTION LIMIT 1 '
                "ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE 'C' LOCALE_PROVIDER icu ICU_LOCALE 'de' ICU_RULES '&b < a' "
                'TABLESPACE "x"'
            ),
        ),
        (
            s.CreateDatabase("p", "template0", "a", 1, None, None, s.Locale("UTF8", "C", "C", "builtin", "C.UTF-8")),
            (
                'CREATE DATABASE "p" TEMPLATE "template0" OWNER "a" ALLOW_CONNECTIONS false CONNECTION LIMIT 1 '
                "ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE 'C' LOCALE_PROVIDER builtin BUILTIN_LOCALE 'C.UTF-8'"
            ),
        ),
        (s.DropDatabase("a", force=True), 'DROP DATABASE "a" WITH (FORCE)'),
        (s.SetCopyMethod(True), "SET file_copy_method TO clone"),
        (s.SetCopyMethod(False), "SET file_copy_method TO copy"),
        (s.RenameDatabase("a", "b"), 'ALTER DATABASE "a" RENAME TO "b"'),
        (s.DropDatabase('Drop "me"; --'), 'DROP DATABASE "Drop ""me""; --"'),
        (s.AlterDatabase("a", allow_connections=False), 'ALTER DATABASE "a" ALLOW_CONNECTIONS false'),
        (
            s.AlterDatabase("a", allow_connections=True, connection_limit=-1, is_template=False),
            'ALTER DATABASE "a" ALLOW_CONNECTIONS true CONNECTION LIMIT -1 IS_TEMPLATE false',
        ),
        (s.FreezeDatabase('a"b'), 'ALTER DATABASE "a""b"'),
        (s.AlterDatabase("a", connection_limit=0), 'ALTER DATABASE "a" CONNECTION LIMIT 0'),
        (s.AlterDatabase("a", is_template=True), 'ALTER DATABASE "a" IS_TEMPLATE true'),
        (s.ChangeOwner("a", "Bob"), 'ALTER DATABASE "a" OWNER TO "Bob"'),
        (s.CommentOnDatabase("a", None), 'COMMENT ON DATABASE "a" IS NULL'),
        (s.CommentOnDatabase("a", ""), "COMMENT ON DATABASE \"a\" IS ''"),
        (s.CommentOnDatabase("a", "100% it's"), "COMMENT ON DATABASE \"a\" IS '100% it''s'"),
        (s.CommentOnDatabase("a", "C:\\x"), "COMMENT ON DATABASE \"a\" IS E'C:\\\\x'"),
        (s.LabelDatabase("a", "se", "it's"), "SECURITY LABEL FOR \"se\" ON DATABASE \"a\" IS 'it''s'"),
        (s.GrantOnDatabase("a", ("CONNECT", "CREATE"), (None,)), 'GRANT CONNECT, CREATE ON DATABASE "a" TO PUBLIC'),
        (
            s.GrantOnDatabase("a", ("CONNECT",), ("PUBLIC",), with_grant_option=True),
            'GRANT CONNECT ON DATABASE "a" TO "PUBLIC" WITH GRANT OPTION',
        ),
        (
            s.CreateDatabase("a", "b", "bob", -3, None, None, collation_version="2.3'6"),
            (
                'CREATE DATABASE "a" TEMPLATE "b" OWNER "bob" ALLOW_CONNECTIONS false CONNECTION LIMIT -3 '
                "COLLATION_VERSION '2.3''6'"
            ),
        ),
        (s.RevokeAllOnDatabase("a", (None,)), 'REVOKE ALL ON DATABASE "a" FROM PUBLIC CASCADE'),
        (
            s.GrantOnDatabase("a", ("CONNECT",), (None, "bob")),
            'GRANT CONNECT ON DATABASE "a" TO PUBLIC, "bob"',
        ),
        (
            s.StoreParameter("a", "bob", "search_path", "it's"),
            (
                "SELECT pg_catalog.set_config('search_path', 'it''s', true); "
                'ALTER ROLE "bob" IN DATABASE "a" SET "search_path" FROM CURRENT; '
                'SET LOCAL "search_path" TO pg_catalog'
            ),
        ),
        (
            s.StoreParameter("a", None, "temp_tablespaces", ""),
            (
                "SELECT pg_catalog.set_config('temp_tablespaces', '', true); "
                'ALTER DATABASE "a" SET "temp_tablespaces" FROM CURRENT; SET LOCAL "temp_tablespaces" TO DEFAULT'
            ),
        ),
        (s.RevokeAllOnDatabase("a", ("bob",)), 'REVOKE ALL ON DATABASE "a" FROM "bob" CASCADE'),
        (s.SetRole("bob"), 'SET LOCAL ROLE "bob"'),
        (s.SetRole(None), "RESET ROLE"),
        (s.SetParameter("a", None, "work_mem", ("1MB",)), 'ALTER DATABASE "a" SET "work_mem" TO \'1MB\''),
        (
            s.SetParameter("a", "bob", "my.own.thing", ("it's",)),
            'ALTER ROLE "bob" IN DATABASE "a" SET "my"."own"."thing" TO \'it\'\'s\'',
        ),
        (
            s.SetParameter("a", None, "search_path", ("$user", "public", "")),
            "ALTER DATABASE \"a\" SET \"search_path\" TO '$user', 'public', ''",
        ),
        (s.ResetParameters("a", None), 'ALTER DATABASE "a" RESET ALL'),
        (s.ResetParameters('a"b', "Bob"), 'ALTER ROLE "Bob" IN DATABASE "a""b" RESET ALL'),
    ],
)
def test_a_statement_is_written_as_one_types_it_into_psql(statement: s.Statement, sql: str) -> None:
    assert sql_text(statement) == sql


@given(words, words)
def test_any_name_is_quoted_as_an_identifier(name: str, other: str) -> None:
    assert sql_text(s.RenameDatabase(name, other)) == f"ALTER DATABASE {identifier(name)} RENAME TO {identifier(other)}"
    assert sql_text(s.SetRole(name)) == f"SET LOCAL ROLE {identifier(name)}"
    assert quote_name(name) == identifier(name)


def read_literal(literal: str, standard_conforming_strings: bool) -> str:
    """Read a string literal as PostgreSQL does."""
    escapes = literal.startswith("E") or not standard_conforming_strings
    body = literal.removeprefix("E")
    assert body[0] == body[-1] == "'"
    body, value, position = body[1:-1], "", 0
    while position < len(body):
        if body[position] == "'":
            assert body[position + 1] == "'", "the literal ends early"
            position += 1
        elif body[position] == "\\" and escapes:
            assert body[position + 1] == "\\", "an escape that was not meant"
            position += 1
        value += body[position]
        position += 1
    return value


@given(st.text(alphabet="\\'\"E%:a\n") | texts, st.booleans())
def test_any_text_is_quoted_so_that_it_means_itself_on_every_server(text: str, conforming: bool) -> None:
    assert read_literal(quote_literal(text), conforming) == text


@given(st.text(alphabet="\\'%s:() ") | texts, words)
def test_what_the_driver_sends_is_what_is_shown(text: str, name: str) -> None:
    for statement in (
        s.CommentOnDatabase(name, text),
        s.SetParameter(name, name, "a%s.b", (text, text)),
        s.RenameDatabase(name, "100% %(x)s"),
    ):
        sent = str(DatabaseDDL(statement).compile(dialect=DRIVER))
        assert sent % () == sql_text(statement)


def test_what_is_no_statement_is_refused() -> None:
    with pytest.raises(NotImplementedError):
        sql_text("DROP DATABASE app")  # type: ignore[arg-type]
