"""What the text of a type's values depends on, besides the values: looked up through domains, arrays, ranges and
composite types.

https://www.postgresql.org/docs/current/catalog-pg-type.html
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from sqlalchemy import (
    Boolean,
    Connection,
    Integer,
    Row,
    Select,
    Text,
    case,
    cast,
    column,
    exists,
    func,
    literal,
    or_,
    select,
    true,
    union_all,
)
from sqlalchemy.dialects.postgresql import OID, aggregate_order_by

from snapkit.core.values import dataclass
from snapkit.postgres.catalog.tables import catalog_table, is_one_of

_type = catalog_table(
    "pg_type",
    column("oid", OID),
    column("typname", Text),
    column("typtype", Text),
    column("typcategory", Text),
    column("typbasetype", OID),
    column("typelem", OID),
    column("typrelid", OID),
)
_range = catalog_table("pg_range", column("rngtypid", OID), column("rngsubtype", OID), column("rngmultitypid", OID))
_enum = catalog_table("pg_enum", column("oid", OID), column("enumtypid", OID), column("enumlabel", Text))
_attribute = catalog_table(
    "pg_attribute",
    column("attrelid", OID),
    column("attnum", Integer),
    column("atttypid", OID),
    column("attisdropped", Boolean),
)
_opclass = catalog_table(
    "pg_opclass", column("opcmethod", OID), column("opcintype", OID), column("opcdefault", Boolean)
)

_HASH = 405
"""The OID of the access method ``hash``."""

_LOOSE = ("numeric", "float4", "float8", "interval", "bpchar", "jsonb", "citext")
"""Types with values that are equal and print differently."""

_REFERENCES = frozenset(
    {
        "regclass",
        "regcollation",
        "regconfig",
        "regdatabase",
        "regdictionary",
        "regnamespace",
        "regoper",
        "regoperator",
        "regproc",
        "regprocedure",
        "regrole",
        "regtype",
    }
)
"""https://www.postgresql.org/docs/current/datatype-oid.html"""


@dataclass(frozen=True, slots=True)
class Traits:
    """Of one type; see ``Column``."""

    loose: str | None = None
    shapes: tuple[tuple[int, str], ...] = ()
    stored_as: str | None = None


def traits_of(connection: Connection, types: Collection[int]) -> Mapping[int, Traits]:
    """Return what there is to know of each of these types."""
    parts = _parts(types).cte("parts")
    is_array = _type.c.typcategory == "A"
    has_hash = exists().where(_opclass.c.opcmethod == _HASH, _opclass.c.opcintype == _type.c.oid, _opclass.c.opcdefault)
    rows = connection.execute(
        select(
            parts.c.whole,
            _type.c.oid,
            _type.c.typname,
            case((is_array, "array"), else_=cast(_type.c.typtype, Text)).label("kind"),
            or_(_type.c.typtype != "b", is_array, _type.c.typname == "varchar", has_hash).label("has_hash"),
        )
        .join_from(parts, _type, _type.c.oid == parts.c.part)
        .order_by(parts.c.whole, _type.c.oid)
    ).all()
    shapes = _shapes(connection, {row.oid for row in rows if row.kind in ("e", "c")})
    made_of: dict[int, list[Row[Any]]] = defaultdict(list)
    for row in rows:
        made_of[row.whole].append(row)
    return {
        whole: Traits(_loose(found), tuple(shape for row in found for shape in shapes[row.oid]), _stored_as(found))
        for whole, found in made_of.items()
    }


def _loose(parts: Sequence[Row[Any]]) -> str | None:
    """Where a part has no hash function, equal values cannot be told by one."""
    names = sorted({row.typname for row in parts}.intersection(_LOOSE))
    return " ".join(names) if names and all(row.has_hash for row in parts) else None


def _stored_as(parts: Sequence[Row[Any]]) -> str | None:
    """Only what is nothing but references, domains over them, and arrays of them, can be read as OIDs."""
    kinds = {row.kind for row in parts}
    names = {row.typname for row in parts if row.kind not in ("d", "array")}
    if not kinds <= {"b", "d", "array"} or not names <= _REFERENCES:
        return None
    return "oid[]" if "array" in kinds else "oid"


def _parts(types: Collection[int]) -> Select[Any]:
    """Each of the types with itself and all that it is made of."""
    first = select(_type.c.oid.label("whole"), _type.c.oid.label("part")).where(is_one_of(_type.c.oid, types))
    made = first.cte("made", recursive=True)
    of = made.c.part
    next_parts = union_all(
        select(_type.c.typbasetype.label("part")).where(_type.c.oid == of, _type.c.typbasetype != 0),
        select(_type.c.typelem).where(_type.c.oid == of, _type.c.typcategory == "A", _type.c.typelem != 0),
        select(_attribute.c.atttypid)
        .join_from(_type, _attribute, _attribute.c.attrelid == _type.c.typrelid)
        .where(_type.c.oid == of, _type.c.typrelid != 0, _attribute.c.attnum > 0, ~_attribute.c.attisdropped),
        select(_range.c.rngsubtype).where(_range.c.rngtypid == of),
        select(_range.c.rngtypid).where(_range.c.rngmultitypid == of),
    ).lateral("next_parts")
    made = made.union(select(made.c.whole, next_parts.c.part).join_from(made, next_parts, true()))
    return select(made.c.whole, made.c.part)


def _shapes(connection: Connection, types: Collection[int]) -> Mapping[int, list[tuple[int, str]]]:
    """The labels of enums, and which attributes composite types have."""
    attributes = func.string_agg(
        cast(_attribute.c.attnum, Text), aggregate_order_by(literal(" ", Text), _attribute.c.attnum), type_=Text
    )
    labels = select(_enum.c.enumtypid, _enum.c.oid, _enum.c.enumlabel).where(is_one_of(_enum.c.enumtypid, types))
    composites = (
        select(_type.c.oid, _type.c.oid, attributes)
        .join_from(_type, _attribute, _attribute.c.attrelid == _type.c.typrelid)
        .where(is_one_of(_type.c.oid, types), _type.c.typtype == "c")
        .where(_attribute.c.attnum > 0, ~_attribute.c.attisdropped)
        .group_by(_type.c.oid)
    )
    found: dict[int, list[tuple[int, str]]] = defaultdict(list)
    if types:
        for whole, oid, text in connection.execute(union_all(labels, composites)):
            found[whole].append((oid, text))
    return found
