"""SQLAlchemy's dialect, without the questions that it asks the server when an engine first connects.

It asks four: the version, the current schema, the isolation level and standard_conforming_strings. libpq knows the
version from the start of the session, and the rest is settled by ``server``: every connection is in autocommit mode,
looks names up in pg_catalog alone, and has standard_conforming_strings on before it runs a statement with a literal in
it. So the answers are given here, and every run has four round trips to the server less, each connection of it that is
the first of its engine.
https://www.postgresql.org/docs/current/libpq-status.html#LIBPQ-PQSERVERVERSION
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection
from sqlalchemy.dialects import registry
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg

URL = "postgresql+snapkit://"
"""The URL by which ``create_engine`` finds the dialect."""


class KnowingDialect(PGDialect_psycopg):
    """Answers what ``initialize`` would ask the server. SQLAlchemy draws its own conclusions from the answers.

    If a later SQLAlchemy asks in another way, it asks the server again. Nothing else changes then.
    """

    driver = "snapkit"
    supports_statement_cache = True

    def _get_server_version_info(self, connection: Connection) -> tuple[int, ...]:
        driver: Any = connection.connection.dbapi_connection
        major, minor = divmod(driver.info.server_version, 10000)
        return major, minor

    def _get_default_schema_name(self, connection: Connection) -> str:
        return "pg_catalog"

    def get_default_isolation_level(self, dbapi_conn: Any) -> Any:
        return "READ COMMITTED"  # what ``reset_isolation_level`` would go back to, which nothing of ours calls

    def _set_backslash_escapes(self, connection: Connection) -> None:
        self._backslash_escapes = False


registry.register("postgresql.snapkit", __name__, KnowingDialect.__name__)
