"""Read all definitions of the connected database, from its catalogs alone.

Any role can do that. PostgreSQL takes locks of the weakest kind (ACCESS SHARE) while it prints a view or an expression,
until the transaction ends. https://www.postgresql.org/docs/current/explicit-locking.html
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from functools import cache
from typing import Any

from sqlalchemy import CompoundSelect, Connection, Select, Text, bindparam, func, select, union_all
from sqlalchemy.dialects.postgresql import ARRAY

from snapkit.core.comparison.schema.defined_objects import Definition
from snapkit.core.comparison.schema.overview import Overview
from snapkit.core.comparison.schema.said_of_objects import (
    Granted,
    Remark,
    comments_of,
    default_privileges_of,
    labels_of,
    privileges_of,
)
from snapkit.core.server.version import major_version
from snapkit.postgres.comparison.definitions import said_of
from snapkit.postgres.comparison.definitions.columns import columns
from snapkit.postgres.comparison.definitions.of_database import of_database, user_mappings
from snapkit.postgres.comparison.definitions.on_tables import on_tables
from snapkit.postgres.comparison.definitions.routines import routines
from snapkit.postgres.comparison.definitions.tables_and_views import relations
from snapkit.postgres.comparison.definitions.types_of_users import types
from snapkit.postgres.connection.driver import server_version
from snapkit.postgres.connection.sqlstates import sqlstate_of

_GONE_MEANWHILE = ("XX000", "42P01", "42703", "42704", "42883", "3F000")
"""What PostgreSQL says when it is to print an object that was dropped a moment ago: "cache lookup failed", or that a
table, column, object, function or schema does not exist."""


def is_gone_meanwhile(error: BaseException) -> bool:
    """Whether an error can come of an object that was dropped while it was to be printed."""
    return sqlstate_of(error) in _GONE_MEANWHILE


def overview(connection: Connection) -> Overview:
    """Return what there is in the database, by the snapshot of the present transaction."""
    return Overview(
        stamps(connection),
        said_of.privileges(connection),
        said_of.default_privileges(connection),
        said_of.comments(connection),
        said_of.security_labels(connection),
    )


def stamps(connection: Connection) -> dict[str, str]:
    """Return the stamp of each object by its address, by the snapshot of the present transaction."""
    return {row[0]: row[1] for row in connection.execute(_stamps(_version(connection)))}


def printed(connection: Connection, wanted: Overview, *, all_of_it: bool) -> list[Definition]:
    """Return the definitions of what is wanted.

    The snapshot of the transaction says which objects there are. But PostgreSQL prints names as they are now. So ask
    for the stamps again in a later snapshot: if they are others, what was returned may be of no one moment.
    """
    said_of_them: list[Granted | Remark] = [*wanted.privileges, *wanted.comments, *wanted.labels]
    aliases = {each.address: each for each in said_of.aliases(connection)} if said_of_them else {}
    told_as = {aliases[each.address].told_as for each in said_of_them if each.address in aliases}
    found = list(_objects(connection, None if all_of_it else wanted.objects | told_as))
    objects = {each.address: each for each in found}
    found = [each for each in found if each.address in wanted.stamps]
    found += privileges_of(wanted.privileges, objects, aliases)
    found += default_privileges_of(wanted.default_privileges)
    found += comments_of(wanted.comments, objects, aliases)
    found += labels_of(wanted.labels, objects, aliases)
    return found


def definitions_in_snapshot(connection: Connection) -> list[Definition]:
    """Return all definitions, by the snapshot of the present transaction. Raises what the server says."""
    return printed(connection, overview(connection), all_of_it=True)


def _objects(connection: Connection, only: Collection[str] | None) -> Iterator[Definition]:
    """Yield the objects with these addresses, or all."""
    for query in _queries(_version(connection)):
        if only is not None:
            address: Any = query.selected_columns["address"]
            query = query.where(address == func.any(bindparam("only", list(only), ARRAY(Text))))
        for row in connection.execute(query):
            yield Definition(*row)


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
def _stamps(version: int) -> CompoundSelect[Any]:
    """Select the stamps of all objects, for which PostgreSQL prints nothing."""
    found = (query.subquery(f"q{n}").c for n, query in enumerate(_queries(version)))
    return union_all(*(select(c.address, func.concat_ws(" ", c.raw, c.owner, c.hidden)) for c in found))


def _version(connection: Connection) -> int:
    return major_version(server_version(connection))
