"""Read hashes, places and texts of rows, in bulk.

https://www.postgresql.org/docs/current/ddl-system-columns.html
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Final, NamedTuple

from psycopg import pq, sql
from psycopg.adapt import Dumper
from sqlalchemy import Connection

from snapkit.core.comparison.row_changes import Column, Leaf, Pair
from snapkit.core.comparison.tids import PLACE, as_array
from snapkit.postgres.catalog.tables import FIRST_OWN
from snapkit.postgres.comparison.row_text import CTID, LEAF, RowText, hashed
from snapkit.postgres.connection.driver import driver_connection
from snapkit.postgres.connection.safe_settings import set_settings
from snapkit.postgres.connection.sqlstates import SERVER_ERRORS

Blocks = tuple[int, int | None]
"""The first block, and the block after the last; None: to the end of the table."""

HASH: Final = 16
"""Bytes of a hash of 128 bits."""

LISTED: Final = PLACE + 2 * HASH
"""Bytes of a row in what ``listed`` returns: its place with its leaf, its identity, its value."""

Texts = tuple[str | None, ...]
Columns = Sequence[tuple[Column, Column]]

_SEEDS = (0, 1)
"""Two hashes of 64 bits make one of 128."""


class Buckets(NamedTuple):
    """Rows are put into ``number`` buckets, a power of two, by their identity. ``wanted``: only those in these buckets,
    a bit for each."""

    number: int
    wanted: bytes | None = None


class Sum(NamedTuple):
    """The number of rows in a bucket, and the sums of their hashes."""

    rows: int = 0
    first: int = 0
    second: int = 0

    def plus(self, other: Sum) -> Sum:
        return Sum(self.rows + other.rows, self.first + other.first, self.second + other.second)


def sums(connection: Connection, text: RowText, leaf: Leaf, blocks: Blocks, buckets: int) -> Iterator[tuple[int, Sum]]:
    """Return the sum of each bucket that is not empty, of the rows in these blocks."""
    query = sql.SQL(
        "SELECT bucket, count(*), sum({first})::text, sum({second})::text"
        " FROM (SELECT {bucket} AS bucket, {value} AS value FROM {rows} WHERE {blocks} OFFSET 0) AS read"
        " GROUP BY bucket"
    ).format(
        first=hashed(_VALUE, _SEEDS[0]),
        second=hashed(_VALUE, _SEEDS[1]),
        bucket=_bucket(text, buckets),
        value=text.value,
        rows=text.from_leaf(leaf),
        blocks=_within(blocks),
    )
    for bucket, rows, first, second in driver_connection(connection).execute(query, {}):
        yield bucket, Sum(rows, int(first), int(second))


def listed(connection: Connection, text: RowText, leaf: Leaf, blocks: Blocks, buckets: Buckets | None = None) -> bytes:
    """Return place, identity and value of the rows in these blocks: ``LISTED`` bytes each, see there."""
    condition = _within(blocks)
    if buckets is not None and buckets.wanted is not None:
        wanted = sql.SQL("get_bit({}::bytea, {}) = 1").format(buckets.wanted, _bucket(text, buckets.number))
        condition = sql.SQL("{} AND {}").format(condition, wanted)
    return _listed(connection, text, leaf, condition)


def listed_at(connection: Connection, text: RowText, leaf: Leaf, tids: bytes) -> bytes:
    """Return the same of the rows at these places."""
    return _listed(connection, text, leaf, sql.SQL("{} = ANY (%(tids)s)").format(CTID), {"tids": Tids(tids)})


def places(connection: Connection, text: RowText, leaf: Leaf, blocks: Blocks) -> bytes:
    """Return the places of all rows in these blocks, as the value of an array."""
    query = sql.SQL("SELECT array_agg({}) FROM {} WHERE {}").format(CTID, text.from_leaf(leaf), _within(blocks))
    return _one(_run(connection, query)) or b""


def texts_at(
    connection: Connection, text: RowText, leaf: Leaf, columns: Columns, tids: bytes
) -> Iterator[tuple[bytes, Texts]]:
    """Return the text of some columns of the rows at these places, with the place and leaf of each."""
    wanted = sql.SQL(", ").join([_PLACE, *map(text.column, columns)])
    query = sql.SQL("SELECT {} FROM {} WHERE {} = ANY (%(tids)s)").format(wanted, text.from_leaf(leaf), CTID)
    result = _run(connection, query, {"tids": Tids(tids)}, binary=False)
    for row in range(result.ntuples):
        place, *values = (result.get_value(row, each) for each in range(result.nfields))
        assert place is not None  # noqa: S101 - each row has one
        yield bytes.fromhex(place[2:].decode()), tuple(map(_decoded, values))


class Found(NamedTuple):
    """A row that was found by its key: the position of the key among those that were given, its place with its leaf,
    and its value."""

    position: int
    place: bytes
    value: bytes


def can_be_found_by_keys(pair: Pair) -> bool:
    """Whether rows can be looked up by the text of their key: by PostgreSQL's own types, which are the same on both
    sides. An operator of another type would have to be looked up, and could be anybody's."""
    return pair.key is not None and all(
        before.type_oid == after.type_oid and before.type_oid < FIRST_OWN for before, after in pair.key
    )


def found_by_keys(connection: Connection, text: RowText, keys: Sequence[Texts]) -> Iterator[Found]:
    """Look up rows by the texts of their keys, in the index of the key. See ``can_be_found_by_keys``."""
    assert text.pair.key is not None  # noqa: S101 - the caller has seen to it
    names = [sql.Identifier(f"k{number}") for number in range(len(text.pair.key))]
    arrays = [
        sql.SQL("{}::{}[]").format(sql.Placeholder(f"k{number}"), sql.Identifier("pg_catalog", pair[0].type_name))
        for number, pair in enumerate(text.pair.key)
    ]
    query = sql.SQL(
        "SELECT number, place, int8send({first}) || int8send({second}) FROM ("
        "SELECT k.number, {place} AS place, {value} AS value"
        " FROM unnest({arrays}) WITH ORDINALITY AS k ({names}, number) JOIN {rows} ON {equal} OFFSET 0) AS read"
    ).format(
        first=hashed(_VALUE, _SEEDS[0]),
        second=hashed(_VALUE, _SEEDS[1]),
        place=_PLACE,
        value=text.value,
        arrays=sql.SQL(", ").join(arrays),
        names=sql.SQL(", ").join(names),
        rows=text.from_all,
        equal=sql.SQL(" AND ").join(
            sql.SQL("{} = k.{}").format(text.column(pair), name)
            for pair, name in zip(text.pair.key, names, strict=True)
        ),
    )
    given = {f"k{number}": [key[number] for key in keys] for number in range(len(names))}
    with by_index(connection):
        rows = driver_connection(connection).execute(query, given).fetchall()
    return (Found(number - 1, place, value) for number, place, value in rows)


# --- how ------------------------------------------------------------------------------------------------------------

_VALUE = sql.SQL("read.value")
_PLACE = sql.SQL("(oidsend({}) || tidsend({}))").format(LEAF, CTID)


def _bucket(text: RowText, number: int) -> sql.Composed:
    return sql.SQL("({} & {})").format(text.identity(_SEEDS[0]), number - 1)


def _within(blocks: Blocks) -> sql.Composed:
    """https://www.postgresql.org/docs/current/release-14.html: a range of ctids is read without the rest."""
    first, end = blocks
    condition = sql.SQL("{} >= {}::tid").format(CTID, f"({first},0)")
    return condition if end is None else sql.SQL("{} AND {} < {}::tid").format(condition, CTID, f"({end},0)")


def _listed(
    connection: Connection,
    text: RowText,
    leaf: Leaf,
    condition: sql.Composable,
    parameters: Mapping[str, Any] | None = None,
) -> bytes:
    """The text of a row is made once, though it is hashed twice. Without a key it is the identity, too."""
    value = [hashed(_VALUE, seed) for seed in _SEEDS]
    read = [sql.SQL("{} AS place").format(_PLACE), sql.SQL("{} AS value").format(text.value)]
    identity = value
    if text.pair.key is not None:
        read += [sql.SQL("{} AS i{}").format(text.identity(seed), sql.SQL(str(seed))) for seed in _SEEDS]
        identity = [sql.SQL("read.i{}").format(sql.SQL(str(seed))) for seed in _SEEDS]
    numbers = [sql.SQL("int8send({})").format(each) for each in (*identity, *value)]
    query = sql.SQL(
        "SELECT string_agg({packed}, ''::bytea) FROM (SELECT {read} FROM {rows} WHERE {where} OFFSET 0) AS read"
    ).format(
        packed=sql.SQL(" || ").join([sql.SQL("read.place"), *numbers]),
        read=sql.SQL(", ").join(read),
        rows=text.from_leaf(leaf),
        where=condition,
    )
    return _one(_run(connection, query, parameters)) or b""


@contextmanager
def by_index(connection: Connection) -> Iterator[None]:
    """Let the planner join a few rows with a large table in no other way than by looking each up."""
    ways = ("enable_hashjoin", "enable_mergejoin")
    set_settings(connection, dict.fromkeys(ways, "off"))
    try:
        yield
    finally:
        with suppress(*SERVER_ERRORS):  # the transaction has failed, or the connection is lost
            set_settings(connection, dict.fromkeys(ways, "on"))


class Tids(NamedTuple):
    """A parameter of the type tid[]; see ``core.comparison.tids``."""

    tids: bytes


class TidsDumper(Dumper):
    format = pq.Format.BINARY
    oid = 1010
    """Of the type tid[]."""

    def dump(self, obj: Any) -> bytes:
        return as_array(obj.tids)


def _run(
    connection: Connection, query: sql.Composed, parameters: Mapping[str, Any] | None = None, *, binary: bool = True
) -> pq.abc.PGresult:
    """Run a query, and return its result as it was sent."""
    cursor = driver_connection(connection).cursor(binary=binary)
    cursor.adapters.register_dumper(Tids, TidsDumper)
    cursor.execute(query, parameters or {})
    result = cursor.pgresult
    assert result is not None  # noqa: S101 - ``execute`` has returned
    return result


def _one(result: pq.abc.PGresult) -> bytes | None:
    return result.get_value(0, 0)


def _decoded(value: bytes | None) -> str | None:
    """Bytes that are no text, as a database in SQL_ASCII may hold, are marked as such."""
    return None if value is None else value.decode("utf-8", errors="replace")
