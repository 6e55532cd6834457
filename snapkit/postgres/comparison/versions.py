"""Row versions of a table, by ranges of its blocks: a digest of them, or all of them.

Nothing but ``ctid`` and ``xmin`` is read of a row. Only heap tables have these.
https://www.postgresql.org/docs/current/ddl-system-columns.html
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

from psycopg import sql
from sqlalchemy import Boolean, Connection, Integer, Text, case, cast, column, func, select
from sqlalchemy.dialects.postgresql import OID

from snapkit.core.comparison.row_versions.balance import Marks, Tally, marks_of
from snapkit.core.comparison.row_versions.versions import Versions
from snapkit.core.comparison.tids import of_array
from snapkit.postgres.catalog.tables import catalog_table
from snapkit.postgres.comparison.row_text import identifier as _identifier
from snapkit.postgres.comparison.rows import Tids, TidsDumper, by_index
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
    hash: int


# age() is the only function that makes a number of an XID. It counts from the present XID, which two sessions see at
# two moments, so the age of a fixed XID is taken away. Where the sessions are on two sides of a wraparound, the hashes
# differ, and the versions are listed.
_HASH = sql.SQL("hashtidextended(version.ctid, age(version.xmin) + (SELECT {seed} - age('3'::xid)))")

_DIGEST = sql.SQL("""
    SELECT count(*), coalesce(bit_xor({hash}), 0)
    FROM ONLY {table} AS version WHERE version.ctid >= {low}::tid AND version.ctid < {high}::tid
""")

_TALLY = sql.SQL("""
    SELECT count(*), coalesce(bit_xor(hash), 0),
           array_send(array_agg(place) FILTER (WHERE age <= (SELECT age({xmin}::xid)) AND age >= 0)),
           array_send(array_agg(hash) FILTER (WHERE age <= (SELECT age({xmin}::xid)) AND age >= 0))
    FROM (SELECT version.ctid AS place, age(version.xmin) AS age, {hash} AS hash FROM ONLY {table} AS version
          WHERE version.ctid >= {low}::tid AND version.ctid < {high}::tid OFFSET 0) AS read
""")

_KEYS = sql.SQL("SELECT {keys} FROM ONLY {table} AS version WHERE version.ctid = ANY (%(tids)s)")

_BY_KEYS = sql.SQL("""
    SELECT array_send(array_agg(place)), array_send(array_agg(hash))
    FROM (SELECT version.ctid AS place, {hash} AS hash
          FROM unnest({arrays}) AS wanted ({names}) JOIN ONLY {table} AS version ON {equal} OFFSET 0) AS read
""")

# Only a subselect is given the range of each run as the bounds of a TID Range Scan; a lateral join is not.
_VERSIONS = sql.SQL("""
    SELECT (SELECT array_send(array_agg(version.ctid)) || array_send(array_agg(version.xmin))
            FROM ONLY {table} AS version WHERE version.ctid >= run.low AND version.ctid < run.high)
    FROM unnest({low}::tid[], {high}::tid[]) AS run (low, high)
""")

Name = tuple[str, str]
"""Schema and name."""

KeyColumn = tuple[str, str]
"""A column of a key, and the name of its type, which is PostgreSQL's own."""

Keys = tuple[str, ...]

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


def digest(connection: Connection, table: Name, blocks: Blocks, seed: int) -> Digest:
    """Return the digest of the versions in these blocks. ``seed`` is a 62-bit number, random for each comparison."""
    return Digest(*_one(connection, _DIGEST.format(hash=_hash(seed), table=_table(table), **_bounds(blocks))))


def tally(connection: Connection, table: Name, blocks: Blocks, seed: int, xmin: int) -> Tally:
    """Return the same, and the versions of transactions that are not older than ``xmin``.

    After a wraparound these may be too many, or too few: they are only where to look first.
    """
    query = _TALLY.format(hash=_hash(seed), xmin=str(xmin % 2**32), table=_table(table), **_bounds(blocks))
    number, mark, tids, hashes = _one(connection, query)
    return Tally(number, mark, marks_of(of_array(tids), of_array(hashes)))


def keys_at(connection: Connection, table: Name, columns: Sequence[str], tids: bytes) -> tuple[str, ...]:
    """Return the keys of the versions at these places: the text of an array for each column."""
    each = sql.SQL("array_agg(version.{})::text")
    keys = sql.SQL(", ").join(each.format(_identifier(column)) for column in columns)
    row: tuple[str | None, ...] = _one(connection, _KEYS.format(keys=keys, table=_table(table)), {"tids": Tids(tids)})
    return tuple(text or "{}" for text in row)


def found_by_keys(connection: Connection, table: Name, columns: Sequence[KeyColumn], keys: Keys, seed: int) -> Marks:
    """Return the versions that have these keys, as ``keys_at`` returns them, and found by the index of the key."""
    names = [sql.Identifier(f"k{number}") for number in range(len(columns))]
    arrays = [
        sql.SQL("{}::{}[]").format(sql.Placeholder(f"k{number}"), sql.Identifier("pg_catalog", type_name))
        for number, (_, type_name) in enumerate(columns)
    ]
    equal = [
        sql.SQL("version.{} = wanted.{}").format(_identifier(column), name)
        for (column, _), name in zip(columns, names, strict=True)
    ]
    query = _BY_KEYS.format(
        hash=_hash(seed),
        arrays=sql.SQL(", ").join(arrays),
        names=sql.SQL(", ").join(names),
        table=_table(table),
        equal=sql.SQL(" AND ").join(equal),
    )
    with by_index(connection):
        tids, hashes = _one(connection, query, {f"k{number}": text for number, text in enumerate(keys)})
    return marks_of(of_array(tids), of_array(hashes))


def versions(connection: Connection, table: Name, runs: Sequence[Blocks]) -> Versions:
    """Return all versions in these runs of blocks. A scan by TIDs gives them in the order of their places."""
    query = _VERSIONS.format(
        table=_table(table),
        low=[_start(first) for first, _ in runs],
        high=[_start(end) for _, end in runs],
    )
    with driver_connection(connection).cursor(binary=True) as cursor:
        return Versions.received(sent for (sent,) in cursor.execute(query, {}))


# --- how ------------------------------------------------------------------------------------------------------------


def _hash(seed: int) -> sql.Composed:
    return _HASH.format(seed=sql.SQL("{}::int8").format(seed))


def _table(name: Name) -> sql.Identifier:
    return _identifier(*name)


def _bounds(blocks: Blocks) -> dict[str, str]:
    return {"low": _start(blocks[0]), "high": _start(blocks[1])}


def _start(block: int) -> str:
    """The place before all those of a block."""
    return f"({block},0)"


def _one(connection: Connection, query: sql.Composed, parameters: Mapping[str, Any] | None = None) -> Any:
    with driver_connection(connection).cursor(binary=True) as cursor:
        cursor.adapters.register_dumper(Tids, TidsDumper)
        return cursor.execute(query, parameters or {}).fetchone()
