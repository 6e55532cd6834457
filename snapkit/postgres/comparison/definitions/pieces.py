"""What the queries for definitions are made of.

Each query returns rows in the shape of ``Definition``. PostgreSQL prints what it has a function for
(https://www.postgresql.org/docs/current/functions-info.html#FUNCTIONS-INFO-CATALOG); the rest is put together from the
catalogs, in the words of CREATE and ALTER.
"""

from __future__ import annotations

from functools import reduce
from typing import Any, Final

from sqlalchemy import (
    Boolean,
    ColumnElement,
    FromClause,
    Integer,
    Select,
    TableClause,
    Text,
    and_,
    case,
    cast,
    column,
    exists,
    func,
    literal,
    null,
    select,
)
from sqlalchemy.dialects.postgresql import OID, aggregate_order_by, array
from sqlalchemy.types import UserDefinedType

from snapkit.core.comparison.schema.defined_objects import UNDO_SCHEMA
from snapkit.postgres.catalog.tables import catalog_table

FIRST_OWN: Final = 16384
"""The first OID of objects that users make (FirstNormalObjectId)."""

CLASSES: Final = {
    "pg_type": 1247,
    "pg_proc": 1255,
    "pg_class": 1259,
    "pg_foreign_server": 1417,
    "pg_user_mapping": 1418,
    "pg_foreign_data_wrapper": 2328,
    "pg_am": 2601,
    "pg_amop": 2602,
    "pg_amproc": 2603,
    "pg_cast": 2605,
    "pg_constraint": 2606,
    "pg_conversion": 2607,
    "pg_language": 2612,
    "pg_namespace": 2615,
    "pg_opclass": 2616,
    "pg_operator": 2617,
    "pg_rewrite": 2618,
    "pg_trigger": 2620,
    "pg_opfamily": 2753,
    "pg_extension": 3079,
    "pg_policy": 3256,
    "pg_statistic_ext": 3381,
    "pg_collation": 3456,
    "pg_event_trigger": 3466,
    "pg_transform": 3576,
    "pg_ts_dict": 3600,
    "pg_ts_parser": 3601,
    "pg_ts_config": 3602,
    "pg_ts_template": 3764,
    "pg_default_acl": 826,
    "pg_publication": 6104,
}
"""The OIDs of catalogs, fixed in PostgreSQL's source."""

Piece = ColumnElement[Any]


class Char(UserDefinedType[str]):
    """PostgreSQL's type of one byte, "char"."""

    cache_ok = True

    def get_col_spec(self, **_: Any) -> str:
        return '"char"'


def catalog(name: str, *columns: str, flags: tuple[str, ...] = ()) -> TableClause:
    """A catalog whose rows have an OID."""
    return catalog_table(name, column("oid", OID), *map(column, columns), *(column(each, Boolean) for each in flags))


namespace = catalog("pg_namespace", "nspname", "nspowner", "nspacl")
depend = catalog_table(
    "pg_depend",
    *(column(name, OID) for name in ("classid", "objid", "refclassid", "refobjid")),
    column("objsubid", Integer),
    column("refobjsubid", Integer),
    column("deptype", Text),
)


# --- words ---


def words(*pieces: Any) -> Piece:
    """Join the pieces with blanks, without those that are NULL."""
    return func.concat_ws(" ", *pieces, type_=Text)


def lines(*pieces: Any) -> Piece:
    """Join the pieces as lines, without those that are NULL."""
    return func.concat_ws("\n", *pieces, type_=Text)


def glued(*pieces: Any) -> Piece:
    """Join the pieces; NULL if one of them is."""
    first, *others = (cast(each, Text) if isinstance(each, ColumnElement) else literal(each, Text) for each in pieces)
    return reduce(lambda found, each: found.concat(each), others, first)


def when(condition: Any, piece: Any, otherwise: Any = None) -> Piece:
    return case((condition, piece), else_=null() if otherwise is None else otherwise)


def listed(piece: Any, *order: Any, separator: str = ", ") -> Piece:
    """Aggregate the pieces in an order."""
    return func.string_agg(cast(piece, Text), aggregate_order_by(literal(separator, Text), *order), type_=Text)


def joined(array: Any, separator: str = ", ") -> Piece:
    """The elements of an array, NULL for an empty one too."""
    return func.nullif(func.array_to_string(array, separator), "", type_=Text)


def quoted(name: Any) -> Piece:
    return func.quote_ident(name, type_=Text)


def qualified(schema: Any, name: Any) -> Piece:
    return func.format("%I.%I", schema, name, type_=Text)


def role(oid: Any) -> Piece:
    """A role as an identifier; OID 0 is PUBLIC."""
    return when(oid == 0, "PUBLIC", func.quote_ident(func.pg_get_userbyid(oid)))


def described(name: str, oid: Any) -> Piece:
    """How PostgreSQL names an object of the catalog ``name``; NULL for OID 0."""
    return when(oid != 0, func.pg_describe_object(CLASSES[name], oid, 0))


def identified(name: str, oid: Any) -> Piece:
    """The qualified name of an object of the catalog ``name``, with types where it has any; NULL for OID 0."""
    found = func.pg_identify_object(CLASSES[name], oid, 0).table_valued("identity", name="identified")
    return when(oid != 0, select(found.c.identity).scalar_subquery())


# --- rows ---


def row_of(rows: TableClause) -> Piece:
    """A whole row as text. No cast is used, since users can define casts of their own."""
    return func.textin(func.record_out(rows.table_valued()))


def as_text(*values: Any) -> Piece:
    return func.textin(func.record_out(func.row(*values)))


def rows_where(rows: TableClause, *conditions: Any) -> Piece:
    """All rows that fit, as text, in the order of their text."""
    text = row_of(rows)
    return select(listed(text, text.collate("C"))).where(*conditions).scalar_subquery()


def hashed(*pieces: Any) -> Piece:
    return func.encode(func.sha256(func.textsend(func.concat_ws(" ", *pieces))), "hex", type_=Text)


def hidden(options: Any) -> Piece:
    """A hash of options, whose order does not matter; empty for none."""
    one = func.unnest(options).table_valued(column("option", Text), name="one").render_derived()
    all_of_them = select(listed(one.c.option, one.c.option.collate("C"))).select_from(one).scalar_subquery()
    return when(options.is_not(None), hashed(all_of_them), "")


_SECRET = "pass|secret|token|key|credential"  # noqa: S105 - what may be one


def shown_options(options: Any) -> Piece:
    """Options as OPTIONS (...), without the values of those that may be secret."""
    one = func.unnest(options).table_valued(column("option", Text), name="one").render_derived()
    word = func.split_part(one.c.option, "=", 1)
    value = func.substr(one.c.option, func.length(word) + 2)
    shown = when(word.regexp_match(_SECRET, flags="i"), "'***'", func.quote_literal(value))
    found = select(listed(words(word, shown), word.collate("C"))).select_from(one).scalar_subquery()
    return glued("OPTIONS (", found, ")")


# --- conditions ---


def is_member(name: str, oid: Any) -> ColumnElement[bool]:
    """Whether it belongs to an extension, or is an inner part of another object, as the functions of a range type are.

    https://www.postgresql.org/docs/current/catalog-pg-depend.html
    """
    return exists().where(
        depend.c.classid == CLASSES[name],
        depend.c.objid == oid,
        depend.c.objsubid == 0,
        depend.c.deptype.in_(("e", "i")),
    )


def is_own(rows: TableClause) -> ColumnElement[bool]:
    """Whether it is an object of users, and not of PostgreSQL or an extension."""
    return and_(rows.c.oid >= FIRST_OWN, ~is_member(rows.name, rows.c.oid))


def is_told(schema: FromClause) -> ColumnElement[bool]:
    """Whether the schema is part of a comparison."""
    name = schema.c.nspname
    return and_(
        ~func.starts_with(name, "pg_temp_"),
        ~func.starts_with(name, "pg_toast"),
        name != UNDO_SCHEMA,
    )


def needs_extension(name: str, oid: Any) -> Piece:
    """The extensions that it was said to depend on; NULL: none.

    https://www.postgresql.org/docs/current/catalog-pg-depend.html (DEPENDENCY_AUTO_EXTENSION)
    """
    extension = catalog("pg_extension", "extname")
    found = (
        select(listed(quoted(extension.c.extname), extension.c.extname))
        .join_from(depend, extension, extension.c.oid == depend.c.refobjid)
        .where(depend.c.classid == CLASSES[name], depend.c.objid == oid, depend.c.deptype == "x")
        .scalar_subquery()
    )
    return glued("DEPENDS ON EXTENSION ", found)


# --- definitions ---


def address(name: str, oid: Any, part: Any = 0) -> Piece:
    return func.concat(CLASSES[name], ".", oid, ".", part, type_=Text)


def defined(
    at: Any,
    kind: Any,
    path: tuple[Any, ...],
    title: Any,
    text: Any,
    *,
    raw: Any,
    schema: Any = None,
    tail: Any = None,
    scope: Any = None,
    parent: Any = None,
    origin: Any = None,
    owner: Any = None,
    secret: Any = None,
    place: Any = 0,
) -> Select[Any]:
    """Select one row for each object, in the shape of ``Definition``."""
    return select(
        at.label("address"),
        _text(kind).label("object"),
        _text(schema).label("schema"),
        array(list(map(_text, path))).label("path"),
        _text(title).label("title"),
        _text(text).label("text"),
        func.coalesce(_text(tail), "").label("tail"),
        hashed(raw).label("raw"),
        _text(scope).label("scope"),
        _text(parent).label("parent"),
        _text(origin).label("origin"),
        _text(None if owner is None else role(owner)).label("owner"),
        _text("" if secret is None else hidden(secret)).label("hidden"),
        cast(place, Integer).label("place"),
    )


def _text(value: Any) -> Piece:
    if value is None:
        return cast(null(), Text)
    return cast(value if isinstance(value, ColumnElement) else literal(value, Text), Text)
