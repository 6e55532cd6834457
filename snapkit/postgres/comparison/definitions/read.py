"""Read all definitions of the connected database, from its catalogs alone.

Any role can do that. PostgreSQL takes locks of the weakest kind (ACCESS SHARE) while it prints a view or an expression,
until the transaction ends. https://www.postgresql.org/docs/current/explicit-locking.html
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from typing import Any

from sqlalchemy import CompoundSelect, Connection, Select, select, union_all

from snapkit.core.comparison.schema.defined_objects import Definition
from snapkit.core.comparison.schema.said_of_objects import comments_of, default_privileges_of, labels_of, privileges_of
from snapkit.core.server.version import major_version
from snapkit.errors import NOTHING_CHANGED, BusyError
from snapkit.postgres.comparison.definitions import said_of
from snapkit.postgres.comparison.definitions.columns import columns
from snapkit.postgres.comparison.definitions.of_database import of_database, user_mappings
from snapkit.postgres.comparison.definitions.on_tables import on_tables
from snapkit.postgres.comparison.definitions.routines import routines
from snapkit.postgres.comparison.definitions.tables_and_views import relations
from snapkit.postgres.comparison.definitions.types_of_users import types
from snapkit.postgres.connection.driver import driver_connection, server_version
from snapkit.postgres.connection.sqlstates import SERVER_ERRORS, server_errors, sqlstate_of

_ATTEMPTS = 10

_GONE_MEANWHILE = ("XX000", "42P01", "42703", "42704", "42883", "3F000")
"""What PostgreSQL says when it is to print an object that was dropped a moment ago: "cache lookup failed", or that a
table, column, object, function or schema does not exist."""


def read_definitions(connection: Connection) -> list[Definition]:
    """Return all definitions, as of one moment.

    PostgreSQL prints names as they are now, not as they were in the snapshot. So it is asked afterwards whether
    anything was altered meanwhile, and if so everything is read again. Raises BusyError if that happens again and
    again, and what the server says otherwise.
    """
    with server_errors(NOTHING_CHANGED):
        for _ in range(_ATTEMPTS):
            found = _read_once(connection)
            if found is not None:
                return found
    raise BusyError(
        "The definitions of the database are changed again and again.",
        state=NOTHING_CHANGED,
        hint="Run the command again when no migration or other DDL is under way.",
    )


def _read_once(connection: Connection) -> list[Definition] | None:
    """Return all definitions; None if something was altered meanwhile."""
    try:
        with _snapshot(connection):
            found = definitions_in_snapshot(connection)
        with _snapshot(connection):
            now = Counter(connection.execute(_hashes(_version(connection))).scalars())
    except SERVER_ERRORS as error:
        if sqlstate_of(error) in _GONE_MEANWHILE:
            return None
        raise
    return found if now == Counter(each.raw for each in found if not each.is_remark) else None


@contextmanager
def _snapshot(connection: Connection) -> Iterator[None]:
    driver = driver_connection(connection)
    driver.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
    try:
        yield
    finally:
        with suppress(*SERVER_ERRORS):  # the connection is lost, and the transaction with it
            driver.rollback()


def definitions_in_snapshot(connection: Connection) -> list[Definition]:
    """Return all definitions, by the snapshot of the present transaction. Raises what the server says."""
    found = [Definition(*row) for query in _queries(_version(connection)) for row in connection.execute(query)]
    objects = {each.address: each for each in found}
    aliases = {each.address: each for each in said_of.aliases(connection)}
    found += privileges_of(said_of.privileges(connection), objects, aliases)
    found += default_privileges_of(said_of.default_privileges(connection))
    found += comments_of(said_of.comments(connection), objects, aliases)
    found += labels_of(said_of.security_labels(connection), objects, aliases)
    return found


@cache
def _queries(version: int) -> tuple[Select[Any], ...]:
    return (
        *of_database(version),
        user_mappings(),
        *types(version),
        *relations(),
        columns(version),
        *on_tables(),
        *routines(),
    )


@cache
def _hashes(version: int) -> CompoundSelect[Any]:
    """Select the hashes of all objects alone, for which PostgreSQL prints nothing."""
    return union_all(*(select(query.subquery(f"q{n}").c.raw) for n, query in enumerate(_queries(version))))


def _version(connection: Connection) -> int:
    return major_version(server_version(connection))
