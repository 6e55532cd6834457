"""Libraries of extensions, loaded into a session so that it knows the parameters that they define.

PostgreSQL lets an ordinary role set a parameter for a database only if the session knows it; those of an extension are
known once its library is loaded, as it is by the first use of one of its functions. A function is only prepared for
here, and never called: EXPLAIN makes ready what it explains, for which the library has to be loaded.
https://www.postgresql.org/docs/current/runtime-config-custom.html
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import suppress
from typing import Any

import psycopg
from psycopg import sql

from snapkit.postgres.connection.driver import driver_connection
from snapkit.postgres.connection.server import Connection

_MOST = 100
"""At most so many libraries are loaded."""

_FUNCTIONS = """
    SELECT DISTINCT ON (p.probin) p.probin, n.nspname, p.proname,
           ARRAY(SELECT format_type(a.type, NULL) FROM unnest(p.proargtypes) WITH ORDINALITY AS a (type, n) ORDER BY n)
    FROM pg_proc AS p
    JOIN pg_namespace AS n ON n.oid = p.pronamespace
    JOIN pg_language AS l ON l.oid = p.prolang
    JOIN pg_type AS r ON r.oid = p.prorettype
    WHERE l.lanname = 'c' AND p.prokind = 'f' AND p.provariadic = 0 AND n.nspname <> 'pg_catalog'
      AND r.typtype <> 'p' AND (p.pronargs > 0 OR p.provolatile = 'v')
      AND NOT EXISTS (SELECT FROM pg_type AS t WHERE t.oid = ANY (p.proargtypes) AND t.typtype = 'p')
      AND has_function_privilege(p.oid, 'EXECUTE') AND has_schema_privilege(n.oid, 'USAGE')
    ORDER BY p.probin, p.oid
"""
"""One function of each library that can be named in a query."""

_KNOWN = "SELECT lower(name) FROM pg_settings WHERE lower(name) = ANY (%s)"
_PLPGSQL = "DO LANGUAGE plpgsql 'BEGIN END'"


def load_libraries_of(session: Connection, parameters: Collection[str]) -> None:
    """Load libraries of the database's extensions until the session knows these parameters, or all are loaded.

    The session is in a transaction. A library that cannot be loaded is skipped. Only the loss of the connection is
    raised.
    """
    driver = driver_connection(session)
    wanted = sorted({parameter.lower() for parameter in parameters})
    prefixes = {parameter.partition(".")[0] for parameter in wanted}
    for statement in _loading(driver, prefixes):
        if len(driver.execute(_KNOWN, (wanted,)).fetchall()) == len(wanted):
            return
        with suppress(psycopg.DatabaseError), driver.transaction():
            driver.execute(statement)
        if driver.closed:
            raise psycopg.OperationalError("the connection was lost")


def _loading(driver: psycopg.Connection[Any], prefixes: Collection[str]) -> Iterator[sql.SQL | sql.Composed]:
    if "plpgsql" in prefixes:
        yield sql.SQL(_PLPGSQL)
    functions = driver.execute(_FUNCTIONS).fetchall()
    functions.sort(key=lambda row: str(row[0]).rpartition("/")[2] not in prefixes)  # most are named like their library
    for _, schema, name, types in functions[:_MOST]:
        yield _explained(schema, name, types)


def _explained(schema: str, name: str, types: list[str]) -> sql.Composed:
    """Prepare a query that names a function. The planner must not know its arguments, or it could call the function."""
    columns = [sql.Identifier(f"a{number}") for number in range(len(types))]
    nulls = [sql.SQL(f"NULL::{kind} AS ") + column for kind, column in zip(types, columns, strict=True)]
    return sql.SQL("EXPLAIN SELECT {}({}) FROM (SELECT {} OFFSET 0) AS x WHERE false").format(
        sql.Identifier(schema, name), sql.SQL(", ").join(columns), sql.SQL(", ").join(nulls)
    )
