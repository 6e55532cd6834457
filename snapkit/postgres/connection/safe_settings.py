"""The settings that each session of ours has, and how a session gets them.

A role or a database may have other values of any of them. Any role may set each of them for its own session.
https://www.postgresql.org/docs/current/runtime-config-client.html, .../runtime-config-compatible.html
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Final, cast

from sqlalchemy import Connection, Text, and_, bindparam, case, column, false, func, or_, select, table
from sqlalchemy.dialects.postgresql import ARRAY

from snapkit.postgres.connection.driver import DriverConnection, SessionDefault, driver_connection

CONVERSIONS: Final = {
    "DateStyle": "ISO, MDY",  # psycopg reads no other
    "IntervalStyle": "postgres",  # nor here
    "extra_float_digits": "3",
    "bytea_output": "hex",
    "array_nulls": "on",  # else the text NULL in an array is a word of four letters
    "xmloption": "content",
    "xmlbinary": "base64",
    "quote_all_identifiers": "off",
    "standard_conforming_strings": "on",
    "backslash_quote": "safe_encoding",
    "escape_string_warning": "on",
    "transform_null_equals": "off",
}
"""How text is written and read: the same for every session and program of ours, whatever database it is in."""

OF_PLACE: Final = {
    "TimeZone": "UTC",  # of an unknown one psycopg complains on stderr
    "lc_monetary": "C",
    "lc_numeric": "C",
    "lc_time": "C",
}
"""How values are shown. Where rows are loaded into a copy, the source's own values hold: constraints may depend on
them."""

LOCK_TIMEOUT = timedelta(seconds=5)
"""How long a statement of ours waits for a lock, such as that of somebody's open ALTER or GRANT on the database.
PostgreSQL itself sets no limit, and clients queue behind us."""

_ABSENCE = timedelta(seconds=10)
"""How long a transaction of ours may be idle before the server ends it. A transaction that has renamed the live
database keeps clients out, and the server does not notice that we are gone when the network fails silently."""


def milliseconds(limit: timedelta) -> str:
    """Return a duration as the value of a setting."""
    return f"{limit // timedelta(milliseconds=1)}ms"


SAFE_SETTINGS = {
    "lock_timeout": milliseconds(LOCK_TIMEOUT),
    # The role or the database may set any of these, and each would end a long clone early.
    "statement_timeout": "0",
    "transaction_timeout": "0",
    # The server ends a session of ours that has lost its client, or whose client was suspended.
    "idle_in_transaction_session_timeout": milliseconds(_ABSENCE),
    "idle_session_timeout": "60s",
    "tcp_keepalives_idle": "30",
    "tcp_keepalives_interval": "10",
    "tcp_keepalives_count": "6",
    # A role may be read-only by default, or acknowledge a COMMIT before it is safe on disk.
    "default_transaction_read_only": "off",
    "synchronous_commit": "on",
    # Under another level, a transaction of ours would not see what others commit meanwhile.
    "default_transaction_isolation": "read committed",
    "default_transaction_deferrable": "off",
    # No name in our statements may resolve to a function or an operator of somebody else's.
    "search_path": "pg_catalog",
    "client_min_messages": "warning",
    **CONVERSIONS,
    **OF_PLACE,
}

READING = {
    "default_transaction_read_only": "on",
    "row_security": "off",  # a policy is code of a table's owner, and hides rows: an error says so instead
    # One session waits for another of ours, or for somebody who reads the result. If snapkit is suspended meanwhile, a
    # snapshot in the live database would keep VACUUM from its work.
    "idle_in_transaction_session_timeout": "10min",
    "idle_session_timeout": "0",
}
"""What a session has, besides the safe settings, in which a command reads a database that it compares."""

SAFE_IN_EVERY_VERSION = {name: value for name, value in SAFE_SETTINGS.items() if name != "transaction_timeout"}
"""Those that every version has. They can be set without asking the server which settings it has."""

_SAFE_SETTINGS_ON_LINUX = {
    # When the client of a clone dies, the server ends the clone within a second, and lets waiting clients in. Without
    # this setting it would notice only when the clone is complete. On other systems it is an error (PostgreSQL 14).
    "client_connection_check_interval": "1s",
}
"""https://www.postgresql.org/docs/current/runtime-config-connection.html#GUC-CLIENT-CONNECTION-CHECK-INTERVAL"""


def startup_options(given: str, settings: Mapping[str, str]) -> str:
    """Return libpq's ``options``: those that were given, and after them these settings."""
    return " ".join(filter(None, [given, *(f"-c {name}={_escaped(value)}" for name, value in settings.items())]))


def _escaped(value: str) -> str:
    """https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-CONNECT-OPTIONS"""
    return "".join(f"\\{char}" if char.isspace() or char == "\\" else char for char in value)


def make_safe(connection: Connection) -> None:
    """Set those of the safe settings that the server has, and note their earlier values.

    pg_settings is read whole before any of them is set.
    """
    columns = (column("name", Text), column("setting", Text), column("source", Text))
    setting = table("pg_settings", *columns, schema="pg_catalog")
    value = case(SAFE_SETTINGS | _SAFE_SETTINGS_ON_LINUX, value=setting.c.name)
    on_linux = and_(setting.c.name.in_(_SAFE_SETTINGS_ON_LINUX), func.version(type_=Text).like("%linux%"))
    rows = connection.execute(
        select(*setting.c, func.set_config(setting.c.name, value, false())).where(
            or_(setting.c.name.in_(SAFE_SETTINGS), on_linux)
        )
    )
    before = {row.name: SessionDefault(row.setting, row.source) for row in rows}
    cast(DriverConnection, driver_connection(connection)).began_with = before


def set_settings(connection: Connection, settings: Mapping[str, str]) -> None:
    """Set just these for the session."""
    names = bindparam("names", list(settings), ARRAY(Text))
    values = bindparam("values", list(settings.values()), ARRAY(Text))
    setting = func.unnest(names, values).table_valued("name", "value", name="setting").render_derived()
    connection.execute(select(func.set_config(setting.c.name, setting.c.value, false())))
