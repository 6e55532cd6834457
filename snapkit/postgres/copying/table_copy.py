"""The sessions of a copy that is made while clients work: their settings, one table's rows, the last touches."""

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
    # Rather an error than the rows that a policy leaves over.
    "row_security": "off",
    # They hold no client up. A disk that stands still for some seconds must not end a copy of hours.
    "idle_in_transaction_session_timeout": "60s",
}

_CANCELLING = 5.0
"""Seconds within which the server is to take a request to cancel."""

_AS_IN_SOURCE = "default_text_search_config"
"""With those of ``OF_PLACE`` what a database may have set, and what constraints and definitions may depend on."""

_PROGRAMS = {
    "statement_timeout": "0",
    "idle_in_transaction_session_timeout": "0",
    "idle_session_timeout": "0",
    "default_transaction_read_only": "off",
    "default_transaction_isolation": "read committed",
    "default_transaction_deferrable": "off",
    # The COMMIT that makes the copy a backup makes all of it safe on disk.
    "synchronous_commit": "off",
}


def session_settings(connection: Connection) -> dict[str, str]:
    """Return the settings with which programs and sessions are to work, read in a session at the source."""
    names = (_AS_IN_SOURCE, "client_connection_check_interval")
    setting = table("pg_settings", column("name", Text), schema="pg_catalog")
    value = func.current_setting(setting.c.name, type_=Text)
    rows = connection.execute(select(setting.c.name, value).where(setting.c.name.in_(names)))
    found = {name: value for name, value in rows if value}
    return {**_PROGRAMS, **found, **{name: began_with(connection, name).value for name in OF_PLACE}}


def without_event_triggers(connection: Connection) -> dict[str, str]:
    """Return the setting, if there is one and the role may set it, with which no event trigger fires in a session.

    Those of the source come into the copy; on login, too, there and here, and our sessions are nobody's. PostgreSQL 17
    has the setting, and it is a superuser's, or of whom was granted it. An older one has no triggers on login.
    https://www.postgresql.org/docs/current/runtime-config-client.html#GUC-EVENT-TRIGGERS
    """
    if not has_login_triggers(server_version(connection)):
        return {}
    name = "event_triggers"
    may_set = connection.execute(select(func.has_parameter_privilege(name, "SET", type_=Boolean))).scalar_one()
    return {name: "off"} if may_set else {}


def settle(connection: Connection, settings: Mapping[str, str]) -> None:
    """Make a session fit to read or to load rows; ``settings`` as ``session_settings`` returns them."""
    wanted = {name: value for name, value in settings.items() if not name.endswith("timeout")}  # it has our own
    for name, value in {**wanted, **_FOR_ROWS}.items():
        connection.execute(select(func.set_config(name, value, False)))


def speak_as_stored(connection: Connection) -> None:
    """Let rows come and go in the encoding that they are stored in; from here on the session is for rows only."""
    stored = select(func.set_config("client_encoding", func.current_setting("server_encoding"), False))
    connection.execute(stored)


def copy_table(source: Connection, copy: Connection, table: Table, stopped: Stopped) -> tuple[int, int]:
    """Copy the rows of a table, which is empty in the copy; return how many were sent, and how many have arrived.

    Emptied in the transaction that fills it, a table can be filled with rows that need no later freezing: nothing of it
    is written a second time. https://www.postgresql.org/docs/current/sql-copy.html
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
    """Cancel what another thread has under way on a connection, if it has anything."""
    with suppress(psycopg.Error):
        driver_connection(connection).cancel_safe(timeout=_CANCELLING)


def drop_surplus(connection: Connection, schemas: Collection[str], extensions: Collection[str]) -> None:
    """Drop what a new database has and the source has not any more: the schema public, the extension plpgsql."""
    driver = driver_connection(connection)
    for name in extensions:
        driver.execute(sql.SQL("DROP EXTENSION {}").format(sql.Identifier(name)))
    for name in schemas:
        driver.execute(sql.SQL("DROP SCHEMA {}").format(sql.Identifier(name)))


def analyze(connection: Connection, stopped: Stopped) -> None:
    """Gather the planner's statistics of everything that the role may, as an ANALYZE of the whole database does."""
    patiently(driver_connection(connection), sql.SQL("ANALYZE"), stopped)
