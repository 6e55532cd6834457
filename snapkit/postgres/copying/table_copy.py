"""The sessions of a copy that is made while clients work: their settings, the rows of one table, the last steps."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from contextlib import suppress

import psycopg
from psycopg import sql
from sqlalchemy import Boolean, Connection, Text, column, func, select, table

from snapkit.core.copying.division import Table
from snapkit.core.server.version import has_login_triggers
from snapkit.postgres.connection.driver import began_with, driver_connection, server_version
from snapkit.postgres.connection.safe_settings import OF_PLACE
from snapkit.postgres.copying.relay import Stopped, patiently, relay

_FOR_ROWS = {
    # An error, rather than only those rows that a policy lets through.
    "row_security": "off",
    # These sessions hold no client up. A disk that hangs for some seconds must not end a copy of hours.
    "idle_in_transaction_session_timeout": "60s",
}

_CANCELLING = 5.0
"""Seconds in which the server has to accept a request to cancel."""

_AS_IN_SOURCE = "default_text_search_config"
"""These, and those of ``OF_PLACE``, a database may have set. Constraints and definitions may depend on them."""

_PROGRAMS = {
    "statement_timeout": "0",
    "idle_in_transaction_session_timeout": "0",
    "idle_session_timeout": "0",
    "default_transaction_read_only": "off",
    "default_transaction_isolation": "read committed",
    "default_transaction_deferrable": "off",
    # The COMMIT that makes the copy a backup also writes all of it to disk.
    "synchronous_commit": "off",
}


def session_settings(connection: Connection) -> dict[str, str]:
    """Return the settings for programs and sessions, read in a session in the source."""
    names = (_AS_IN_SOURCE, "client_connection_check_interval")
    setting = table("pg_settings", column("name", Text), schema="pg_catalog")
    value = func.current_setting(setting.c.name, type_=Text)
    rows = connection.execute(select(setting.c.name, value).where(setting.c.name.in_(names)))
    found = {name: value for name, value in rows if value}
    return {**_PROGRAMS, **found, **{name: began_with(connection, name).value for name in OF_PLACE}}


def without_event_triggers(connection: Connection) -> dict[str, str]:
    """Return the setting with which no event trigger fires, if the server has it and the role may set it.

    The source's event triggers are copied, login triggers too. None of them is to fire for our sessions, in the source
    or in the copy. The setting and login triggers came with PostgreSQL 17. Only superusers may set it, and whom they
    have granted it to.
    https://www.postgresql.org/docs/current/runtime-config-client.html#GUC-EVENT-TRIGGERS
    """
    if not has_login_triggers(server_version(connection)):
        return {}
    name = "event_triggers"
    may_set = connection.execute(select(func.has_parameter_privilege(name, "SET", type_=Boolean))).scalar_one()
    return {name: "off"} if may_set else {}


def settle(connection: Connection, settings: Mapping[str, str]) -> None:
    """Set up a session to read or load rows. ``settings`` are what ``session_settings`` returns."""
    wanted = {name: value for name, value in settings.items() if not name.endswith("timeout")}  # set already
    for name, value in {**wanted, **_FOR_ROWS}.items():
        connection.execute(select(func.set_config(name, value, False)))


def speak_as_stored(connection: Connection) -> None:
    """Send and receive rows in the encoding of the database. From here on the session is for rows only."""
    stored = select(func.set_config("client_encoding", func.current_setting("server_encoding"), False))
    connection.execute(stored)


def copy_table(source: Connection, copy: Connection, table: Table, stopped: Stopped) -> tuple[int, int]:
    """Copy the rows of a table, which is empty in the copy. Return how many were sent, and how many were received.

    TRUNCATE in the same transaction allows COPY FREEZE: VACUUM need not write the rows again later. https://www.postgresql.org/docs/current/sql-copy.html
    """
    name = sql.Identifier(table.schema, table.name)
    columns = sql.SQL(", ").join(map(sql.Identifier, table.columns))
    reader, writer = driver_connection(source), driver_connection(copy)
    with writer.transaction():
        writer.execute(sql.SQL("TRUNCATE ONLY {}").format(name))
        return relay(
            reader,
            writer,
            sql.SQL("COPY {} ({}) TO STDOUT").format(name, columns),
            sql.SQL("COPY {} ({}) FROM STDIN (FREEZE)").format(name, columns),
            stopped,
        )


def cancel(connection: Connection) -> None:
    """Cancel what another thread is running on a connection, if anything."""
    with suppress(psycopg.Error):
        driver_connection(connection).cancel_safe(timeout=_CANCELLING)


def drop_surplus(connection: Connection, schemas: Collection[str], extensions: Collection[str]) -> None:
    """Drop what a new database has and the source has dropped: the schema public, the extension plpgsql."""
    driver = driver_connection(connection)
    for name in extensions:
        driver.execute(sql.SQL("DROP EXTENSION {}").format(sql.Identifier(name)))
    for name in schemas:
        driver.execute(sql.SQL("DROP SCHEMA {}").format(sql.Identifier(name)))


def analyze(connection: Connection, stopped: Stopped) -> None:
    """ANALYZE the whole database: every table that the role may analyze."""
    patiently(driver_connection(connection), sql.SQL("ANALYZE"), stopped)
