"""Columns of tables: type, default, NOT NULL, identity, how values are stored.

https://www.postgresql.org/docs/current/catalog-pg-attribute.html
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Boolean, Select, Text, and_, case, column, func, select
from sqlalchemy.dialects.postgresql import OID, array

from snapkit.postgres.catalog.tables import catalog_table
from snapkit.postgres.comparison.definitions.pieces import (
    CLASSES,
    Piece,
    address,
    as_text,
    catalog,
    defined,
    depend,
    glued,
    identified,
    lines,
    listed,
    namespace,
    qualified,
    quoted,
    row_of,
    shown_options,
    when,
    words,
)
from snapkit.postgres.comparison.definitions.tables_and_views import (
    attribute,
    default,
    inherits,
    name,
    own_relations,
    parameters,
    relation,
    sequence,
)

_STORAGES = {"p": "PLAIN", "e": "EXTERNAL", "m": "MAIN", "x": "EXTENDED"}
_COMPRESSIONS = {"p": "pglz", "l": "lz4"}


def columns(version: int) -> Select[Any]:
    """Select the columns of users' tables, inherited ones with the parent's column as their origin."""
    a = attribute.c
    type_ = catalog("pg_type", "typcollation", "typstorage")
    default_text = func.pg_get_expr(default.c.adbin, default.c.adrelid)
    text = words(
        quoted(a.attname),
        func.format_type(a.atttypid, a.atttypmod),
        when(
            and_(a.attcollation != type_.c.typcollation, a.attcollation != 0),
            glued("COLLATE ", identified("pg_collation", a.attcollation)),
        ),
        when(a.attstorage != type_.c.typstorage, glued("STORAGE ", case(_STORAGES, value=a.attstorage))),
        glued("COMPRESSION ", case(_COMPRESSIONS, value=a.attcompression)),
        case(
            (a.attgenerated == "s", glued("GENERATED ALWAYS AS (", default_text, ") STORED")),
            (a.attgenerated == "v", glued("GENERATED ALWAYS AS (", default_text, ")")),
            else_=glued("DEFAULT ", default_text),
        ),
        _identity(),
        _not_null(version),
        shown_options(a.attfdwoptions),
    )
    tail = lines(
        when(a.attstattarget >= 0, glued("ALTER COLUMN ", quoted(a.attname), " SET STATISTICS ", a.attstattarget)),
        glued("ALTER COLUMN ", quoted(a.attname), " SET (", _options(), ")"),
    )
    table = address("pg_class", relation.c.oid)
    is_default = and_(default.c.adrelid == a.attrelid, default.c.adnum == a.attnum)
    values = [each for each in attribute.c if each.name != "attrelid"]
    raw = words(as_text(*values), row_of(default), _identity(raw=True), _not_null(version))
    return (
        defined(
            address("pg_class", relation.c.oid, a.attnum),
            "column",
            (relation.c.relname, a.attname),
            glued("COLUMN ", name, ".", quoted(a.attname)),
            text,
            raw=raw,
            schema=namespace.c.nspname,
            tail=tail,
            scope=table,
            parent=table,
            origin=_inherited(),
            secret=a.attfdwoptions,
            place=a.attnum,
        )
        .join_from(relation, namespace, namespace.c.oid == relation.c.relnamespace)
        .join(attribute, and_(a.attrelid == relation.c.oid, a.attnum > 0, ~a.attisdropped))
        .join(type_, type_.c.oid == a.atttypid)
        .outerjoin(default, is_default)
        .where(own_relations("rpf"))
    )


_VERSION_OF_COLUMN = "pg_attver"
"""What the server keeps for itself among a column's options, from 15.20 on: pg_dump does not print it either."""


def _options() -> Piece:
    """The options that users have set."""
    one = func.unnest(attribute.c.attoptions).table_valued(column("option", Text), name="one").render_derived()
    is_own = func.split_part(one.c.option, "=", 1) != _VERSION_OF_COLUMN
    return select(listed(one.c.option, one.c.option.collate("C"))).select_from(one).where(is_own).scalar_subquery()


def _inherited() -> Piece:
    """The column of a parent that this one was inherited from."""
    above = attribute.alias("above")
    return (
        select(address("pg_class", above.c.attrelid, above.c.attnum))
        .join_from(inherits, above, above.c.attrelid == inherits.c.inhparent)
        .where(
            inherits.c.inhrelid == attribute.c.attrelid,
            above.c.attname == attribute.c.attname,
            above.c.attnum > 0,
            ~above.c.attisdropped,
        )
        .order_by(inherits.c.inhseqno)
        .limit(1)
        .scalar_subquery()
    )


def _identity(*, raw: bool = False) -> Piece:
    """How an identity column is generated, with what its sequence has that is not usual."""
    its, its_schema = relation.alias("its_sequence"), namespace.alias("its_schema")
    usual = glued(relation.c.relname, "_", attribute.c.attname, "_seq")
    named = when(its.c.relname != usual, glued("SEQUENCE NAME ", qualified(its_schema.c.nspname, its.c.relname)))
    unlogged = when(
        its.c.relpersistence != relation.c.relpersistence,
        case({"u": "UNLOGGED", "p": "LOGGED"}, value=its.c.relpersistence),
    )
    more = func.nullif(words(named, unlogged, parameters(with_type=False)), "")
    found = (
        select(as_text(its.c.relname, its.c.relpersistence, *sequence.c) if raw else glued(" (", more, ")"))
        .join_from(depend, its, its.c.oid == depend.c.objid)
        .join(its_schema, its_schema.c.oid == its.c.relnamespace)
        .join(sequence, sequence.c.seqrelid == its.c.oid)
        .where(
            depend.c.classid == CLASSES["pg_class"],
            depend.c.refclassid == CLASSES["pg_class"],
            depend.c.refobjid == attribute.c.attrelid,
            depend.c.refobjsubid == attribute.c.attnum,
            depend.c.deptype == "i",
        )
        .limit(1)
        .scalar_subquery()
    )
    how = case({"a": "ALWAYS", "d": "BY DEFAULT"}, value=attribute.c.attidentity)
    return glued("GENERATED ", how, " AS IDENTITY", func.coalesce(found, ""))


_not_null_constraint = catalog_table(
    "pg_constraint",
    column("conrelid", OID),
    column("contype"),
    column("conkey"),
    *(column(name, Boolean) for name in ("connoinherit", "convalidated")),
)


def _not_null(version: int) -> Piece:
    """NOT NULL. From PostgreSQL 18 on it is a constraint, whose name is not compared."""
    a, con = attribute.c, _not_null_constraint.c
    if version < 18:
        return when(a.attnotnull, "NOT NULL")
    said = words("NOT NULL", when(con.connoinherit, "NO INHERIT"), when(~con.convalidated, "NOT VALID"))
    found = (
        select(said)
        .where(con.conrelid == a.attrelid, con.contype == "n", con.conkey == array([a.attnum]))
        .limit(1)
        .scalar_subquery()
    )
    return when(a.attnotnull, func.coalesce(found, "NOT NULL"))
