"""Row versions of a table, by ranges of its blocks: a digest of them, or all of them.

Nothing but ``ctid`` and ``xmin`` is read of a row. Only heap tables have these.
https://www.postgresql.org/docs/current/ddl-system-columns.html
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

from psycopg import sql
from sqlalchemy import Boolean, Connection, Integer, Text, case, cast, column, func, select
from sqlalchemy.dialects.postgresql import OID

from snapkit.core.comparison.versions import Versions
from snapkit.postgres.catalog.tables import catalog_table
from snapkit.postgres.connection.driver import driver_connection

_attribute = catalog_table(
    "pg_attribute",
    column("attrelid", OID),
    column("attnum", Integer),
    column("attisdropped", Boolean),
    column("atthasmissing", Boolean),
    column("attmissingval"),
)
_class = catalog_table("pg_class", column("oid", OID), column("relam", OID))
_method = catalog_table("pg_am", column("oid", OID), column("amhandler"))

_HEAP = 3
"""The OID of the function ``heap_tableam_handler``."""

Blocks = tuple[int, int]
"""The first block, and the block after the last."""

LAST = 2**32 - 1
"""No table has as many blocks."""


class Digest(NamedTuple):
    """How many versions there are, and all their hashes in one: equal on both sides only if the versions are."""

    number: int
    hash: int | None


# age() is the only function that makes a number of an XID. It counts from the present XID, which two sessions see at
# two moments, so the age of a fixed XID is taken away. Where the sessions are on two sides of a wraparound, the hashes
# differ, and the versions are listed.
_DIGEST = sql.SQL(
    "SELECT count(*), bit_xor(hashtidextended(ctid, age(xmin) + (SELECT {seed} - age({fixed}::xid))))"
    " FROM ONLY {table} WHERE ctid >= {low}::tid AND ctid < {high}::tid"
)

# Only a subselect is given the range of each run as the bounds of a TID Range Scan; a lateral join is not.
_VERSIONS = sql.SQL("""
    SELECT (SELECT array_send(array_agg(version.ctid)) || array_send(array_agg(version.xmin))
            FROM ONLY {table} AS version WHERE version.ctid >= run.low AND version.ctid < run.high)
    FROM unnest({low}::tid[], {high}::tid[]) AS run (low, high)
""")

_FIRST_NORMAL_XID = "3"


StoredColumns = dict[int, "str | None"]
"""What a row that is older than the column has in it, by attnum; None is NULL."""


def stored(connection: Connection, tables: Collection[int]) -> dict[int, StoredColumns]:
    """Return the columns of those tables that are heaps.

    Such a value is in no row: ALTER TABLE ... ADD COLUMN ... DEFAULT leaves the file as it is.
    https://www.postgresql.org/docs/current/catalog-pg-attribute.html
    """
    value = func.textin(func.anyarray_out(_attribute.c.attmissingval), type_=Text)
    rows = connection.execute(
        select(_attribute.c.attrelid, _attribute.c.attnum, case((_attribute.c.atthasmissing, value)))
        .join_from(_attribute, _class, _class.c.oid == _attribute.c.attrelid)
        .join(_method, _method.c.oid == _class.c.relam)
        .where(
            _attribute.c.attrelid.in_(tables),
            _attribute.c.attnum > 0,
            ~_attribute.c.attisdropped,
            cast(_method.c.amhandler, OID) == _HEAP,
        )
    )
    found: dict[int, StoredColumns] = defaultdict(dict)
    for table, number, text in rows:
        found[table][number] = text
    return found


def digest(connection: Connection, table: Sequence[str], blocks: Blocks, seed: int) -> Digest:
    """Return the digest of the versions in these blocks. ``seed`` is a 62-bit number, random for each comparison."""
    query = _DIGEST.format(
        seed=sql.SQL("{}::int8").format(seed),
        fixed=_FIRST_NORMAL_XID,
        table=sql.Identifier(*table),
        low=_start(blocks[0]),
        high=_start(blocks[1]),
    )
    with driver_connection(connection).cursor(binary=True) as cursor:
        row: Any = cursor.execute(query).fetchone()
    return Digest(*row)


def versions(connection: Connection, table: Sequence[str], runs: Sequence[Blocks]) -> Versions:
    """Return all versions in these runs of blocks. A scan by TIDs gives them in the order of their places."""
    query = _VERSIONS.format(
        table=sql.Identifier(*table),
        low=[_start(first) for first, _ in runs],
        high=[_start(end) for _, end in runs],
    )
    with driver_connection(connection).cursor(binary=True) as cursor:
        return Versions.received(sent for (sent,) in cursor.execute(query))


def _start(block: int) -> str:
    """The place before all those of a block."""
    return f"({block},0)"
