"""Statements as SQL: one element for SQLAlchemy, and the same text for people and for psql."""

from __future__ import annotations

from collections.abc import Callable
from functools import singledispatch
from typing import Any

from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.schema import ExecutableDDLElement

from snapkit.core.inventory.kinds import Strategy
from snapkit.core.plans import statements as st

STRATEGY_WORDS = {Strategy.FILE_COPY: "FILE_COPY", Strategy.WAL_LOG: "WAL_LOG"}


class DatabaseDDL(ExecutableDDLElement):
    """One statement about a database, executable by a SQLAlchemy connection."""

    inherit_cache = False

    def __init__(self, statement: st.Statement) -> None:
        self.statement = statement


@compiles(DatabaseDDL, "postgresql")
def _compile(element: DatabaseDDL, compiler: Any, **_: Any) -> str:
    # Where the driver's parameter style needs it, the preparer doubles percent signs in names. So do literals.
    doubling = compiler.dialect.paramstyle in ("format", "pyformat")

    def literal(value: str) -> str:
        return quote_literal(value).replace("%", "%%") if doubling else quote_literal(value)

    return _sql(element.statement, compiler.preparer.quote_identifier, literal)


def sql_text(statement: st.Statement) -> str:
    """Return the statement as one types it into psql, without the semicolon."""
    return _sql(statement, quote_name, quote_literal)


def quote_literal(value: str) -> str:
    """Return ``value`` as a string literal that means the same under any standard_conforming_strings.

    https://www.postgresql.org/docs/current/sql-syntax-lexical.html#SQL-SYNTAX-STRINGS-ESCAPE
    """
    quoted = "'" + value.replace("'", "''") + "'"
    return "E" + quoted.replace("\\", "\\\\") if "\\" in value else quoted


def quote_name(name: str) -> str:
    """Return ``name`` as an identifier in double quotes."""
    return _PLAIN.identifier_preparer.quote_identifier(name)


_PLAIN = PGDialect_psycopg(paramstyle="named")  # type: ignore[no-untyped-call]
"""A dialect whose parameter style does not double percent signs."""

Quote = Callable[[str], str]


@singledispatch
def _sql(statement: object, name: Quote, literal: Quote) -> str:
    raise NotImplementedError(statement)


@_sql.register
def _(statement: st.Checkpoint, name: Quote, literal: Quote) -> str:
    return "CHECKPOINT"


@_sql.register
def _(statement: st.CreateDatabase, name: Quote, literal: Quote) -> str:
    options = [
        f"TEMPLATE {name(statement.template)}",
        f"OWNER {name(statement.owner)}",
        "ALLOW_CONNECTIONS false",
        f"CONNECTION LIMIT {statement.connection_limit:d}",
        *(() if statement.locale is None else _locale(statement.locale, literal)),
    ]
    if statement.method is not None:
        options.append(f"STRATEGY {STRATEGY_WORDS[statement.method]}")
    if statement.tablespace is not None:
        options.append(f"TABLESPACE {name(statement.tablespace)}")
    if statement.collation_version is not None:
        options.append(f"COLLATION_VERSION {literal(statement.collation_version)}")
    return f"CREATE DATABASE {name(statement.name)} " + " ".join(options)


def _locale(locale: st.Locale, literal: Quote) -> tuple[str, ...]:
    options = [
        f"ENCODING {literal(locale.encoding)}",
        f"LC_COLLATE {literal(locale.collate)}",
        f"LC_CTYPE {literal(locale.ctype)}",
    ]
    if locale.provider is not None:
        options.append(f"LOCALE_PROVIDER {locale.provider}")
    if locale.name is not None:
        options.append(f"{'ICU' if locale.provider == 'icu' else 'BUILTIN'}_LOCALE {literal(locale.name)}")
    if locale.rules is not None:
        options.append(f"ICU_RULES {literal(locale.rules)}")
    return tuple(options)


@_sql.register
def _(statement: st.SetCopyMethod, name: Quote, literal: Quote) -> str:
    return f"SET file_copy_method TO {'clone' if statement.share_blocks else 'copy'}"


@_sql.register
def _(statement: st.Listen, name: Quote, literal: Quote) -> str:
    return f"{'UNLISTEN' if statement.ends else 'LISTEN'} {name(statement.channel)}"


@_sql.register
def _(statement: st.RenameDatabase, name: Quote, literal: Quote) -> str:
    return f"ALTER DATABASE {name(statement.name)} RENAME TO {name(statement.new_name)}"


@_sql.register
def _(statement: st.DropDatabase, name: Quote, literal: Quote) -> str:
    return f"DROP DATABASE {name(statement.name)}" + (" WITH (FORCE)" if statement.force else "")


@_sql.register
def _(statement: st.AlterDatabase, name: Quote, literal: Quote) -> str:
    options = []
    if statement.allow_connections is not None:
        options.append(f"ALLOW_CONNECTIONS {str(statement.allow_connections).lower()}")
    if statement.connection_limit is not None:
        options.append(f"CONNECTION LIMIT {statement.connection_limit:d}")
    if statement.is_template is not None:
        options.append(f"IS_TEMPLATE {str(statement.is_template).lower()}")
    return f"ALTER DATABASE {name(statement.name)} " + " ".join(options)


@_sql.register
def _(statement: st.FreezeDatabase, name: Quote, literal: Quote) -> str:
    return f"ALTER DATABASE {name(statement.name)}"


@_sql.register
def _(statement: st.ChangeOwner, name: Quote, literal: Quote) -> str:
    return f"ALTER DATABASE {name(statement.name)} OWNER TO {name(statement.owner)}"


@_sql.register
def _(statement: st.CommentOnDatabase, name: Quote, literal: Quote) -> str:
    comment = "NULL" if statement.comment is None else literal(statement.comment)
    return f"COMMENT ON DATABASE {name(statement.name)} IS {comment}"


@_sql.register
def _(statement: st.LabelDatabase, name: Quote, literal: Quote) -> str:
    provider, database = name(statement.provider), name(statement.name)
    label = "NULL" if statement.label is None else literal(statement.label)
    return f"SECURITY LABEL FOR {provider} ON DATABASE {database} IS {label}"


@_sql.register
def _(statement: st.GrantOnDatabase, name: Quote, literal: Quote) -> str:
    to, option = _roles(statement.grantees, name), " WITH GRANT OPTION" if statement.with_grant_option else ""
    return f"GRANT {', '.join(statement.privileges)} ON DATABASE {name(statement.name)} TO {to}{option}"


def _roles(roles: tuple[str | None, ...], name: Quote) -> str:
    return ", ".join("PUBLIC" if role is None else name(role) for role in roles)


@_sql.register
def _(statement: st.RevokeAllOnDatabase, name: Quote, literal: Quote) -> str:
    return f"REVOKE ALL ON DATABASE {name(statement.name)} FROM {_roles(statement.grantees, name)} CASCADE"


@_sql.register
def _(statement: st.RevokeOnDatabase, name: Quote, literal: Quote) -> str:
    database, privileges = name(statement.name), ", ".join(statement.privileges)
    return f"REVOKE {privileges} ON DATABASE {database} FROM {_roles(statement.grantees, name)} CASCADE"


@_sql.register
def _(statement: st.SetRole, name: Quote, literal: Quote) -> str:
    return "RESET ROLE" if statement.role is None else f"SET LOCAL ROLE {name(statement.role)}"


@_sql.register
def _(statement: st.SetParameter, name: Quote, literal: Quote) -> str:
    parameter = _parameter(statement.parameter, name)
    values = ", ".join(literal(value) for value in statement.values)
    return f"{_settings_of(statement, name)} SET {parameter} TO {values}"


@_sql.register
def _(statement: st.StoreParameter, name: Quote, literal: Quote) -> str:
    parameter = _parameter(statement.parameter, name)
    # The session's own search_path stays: our names must resolve to PostgreSQL's own functions only.
    back = "pg_catalog" if statement.parameter.lower() == "search_path" else "DEFAULT"
    setting = f"SELECT pg_catalog.set_config({literal(statement.parameter)}, {literal(statement.text)}, true)"
    return f"{setting}; {_settings_of(statement, name)} SET {parameter} FROM CURRENT; SET LOCAL {parameter} TO {back}"


@_sql.register
def _(statement: st.ResetParameters, name: Quote, literal: Quote) -> str:
    return f"{_settings_of(statement, name)} RESET ALL"


@_sql.register
def _(statement: st.ResetParameter, name: Quote, literal: Quote) -> str:
    return f"ALTER DATABASE {name(statement.name)} RESET {_parameter(statement.parameter, name)}"


def _parameter(parameter: str, name: Quote) -> str:
    return ".".join(name(part) for part in parameter.split("."))


def _settings_of(statement: st.SetParameter | st.StoreParameter | st.ResetParameters, name: Quote) -> str:
    if statement.role is None:
        return f"ALTER DATABASE {name(statement.name)}"
    return f"ALTER ROLE {name(statement.role)} IN DATABASE {name(statement.name)}"
