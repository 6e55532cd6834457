"""Types: enums, domains, composite types, ranges and base types; collations.

https://www.postgresql.org/docs/current/catalog-pg-type.html
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sqlalchemy import Select, Text, and_, case, cast, column, func, or_, select
from sqlalchemy.dialects.postgresql import OID

from snapkit.postgres.catalog.tables import catalog_table
from snapkit.postgres.comparison.definitions.pieces import (
    Piece,
    catalog,
    glued,
    identified,
    lines,
    listed,
    namespace,
    qualified,
    quoted,
    row_of,
    rows_where,
    when,
    words,
)
from snapkit.postgres.comparison.definitions.routines import in_schema, words_with_commas
from snapkit.postgres.comparison.definitions.tables_and_views import attribute, relation

_type = catalog(
    "pg_type",
    *("typname", "typnamespace", "typowner", "typtype", "typcategory", "typrelid", "typelem", "typlen", "typalign"),
    *("typbasetype", "typtypmod", "typdefault", "typdefaultbin", "typcollation", "typstorage", "typdelim"),
    *("typinput", "typoutput", "typreceive", "typsend", "typmodin", "typmodout", "typanalyze", "typarray"),
    flags=("typnotnull", "typisdefined", "typbyval", "typispreferred"),
)
_enum = catalog_table("pg_enum", *map(column, ("enumtypid", "enumsortorder", "enumlabel")))
_range = catalog_table(
    "pg_range",
    *map(
        column, ("rngtypid", "rngsubtype", "rngmultitypid", "rngcollation", "rngsubopc", "rngcanonical", "rngsubdiff")
    ),
)
_constraint = catalog("pg_constraint", "conname", "contypid", "contype")


def types(version: int) -> Iterator[Select[Any]]:
    yield _types()
    yield _collations(version)


def _types() -> Select[Any]:
    """Types of users, without the row types of tables, and without arrays and multiranges, which go with others."""
    c = _type.c
    is_domain = c.typtype == "d"
    title = words(when(is_domain, "DOMAIN", "TYPE"), qualified(namespace.c.nspname, c.typname))
    definitions = {"e": _labels(), "d": _domain(), "c": _attributes(), "r": _range_of(), "b": _base()}
    text = words("CREATE", title, case(definitions, value=c.typtype))
    parts = rows_where(attribute, attribute.c.attrelid == c.typrelid, attribute.c.attnum > 0, c.typtype == "c")
    raw = words(
        row_of(_type),
        rows_where(_enum, _enum.c.enumtypid == c.oid),
        rows_where(_range, _range.c.rngtypid == c.oid),
        rows_where(_constraint, _constraint.c.contypid == c.oid),
        parts,
    )
    own = relation.alias("own")
    composite = select(own.c.oid).where(own.c.oid == c.typrelid, own.c.relkind == "c").exists()
    return in_schema(_type, "type", c.typname, title, text, schema="typnamespace", owner="typowner", raw=raw).where(
        or_(c.typrelid == 0, composite),
        c.typtype != "m",
        or_(c.typcategory != "A", c.typelem == 0),
    )


def _labels() -> Piece:
    labels = listed(func.quote_literal(_enum.c.enumlabel), _enum.c.enumsortorder)
    found = select(labels).where(_enum.c.enumtypid == _type.c.oid).scalar_subquery()
    return glued("AS ENUM (", func.coalesce(found, ""), ")")


def _domain() -> Piece:
    c = _type.c
    base = catalog("pg_type", "typcollation").alias("base")
    other = (
        select(glued("COLLATE ", identified("pg_collation", c.typcollation)))
        .where(base.c.oid == c.typbasetype, base.c.typcollation != c.typcollation)
        .scalar_subquery()
    )
    check = glued("    CONSTRAINT ", quoted(_constraint.c.conname), " ", func.pg_get_constraintdef(_constraint.c.oid))
    checks = (
        select(listed(check, _constraint.c.conname, separator="\n"))
        .where(_constraint.c.contypid == c.oid, _constraint.c.contype == "c")
        .scalar_subquery()
    )
    return lines(
        words(
            glued("AS ", func.format_type(c.typbasetype, c.typtypmod)),
            other,
            glued("DEFAULT ", func.coalesce(func.pg_get_expr(c.typdefaultbin, 0), func.quote_literal(c.typdefault))),
            when(c.typnotnull, "NOT NULL"),
        ),
        checks,
    )


def _attributes() -> Piece:
    """The attributes of a composite type."""
    a = attribute.c
    of_type = catalog("pg_type", "typcollation").alias("of_type")
    one = words(
        quoted(a.attname),
        func.format_type(a.atttypid, a.atttypmod),
        when(
            and_(a.attcollation != of_type.c.typcollation, a.attcollation != 0),
            glued("COLLATE ", identified("pg_collation", a.attcollation)),
        ),
    )
    found = (
        select(listed(one, a.attnum, separator=",\n    "))
        .join_from(attribute, of_type, of_type.c.oid == a.atttypid)
        .where(a.attrelid == _type.c.typrelid, a.attnum > 0, ~a.attisdropped)
        .scalar_subquery()
    )
    return glued("AS (\n    ", func.coalesce(found, ""), "\n)")


def _range_of() -> Piece:
    r = _range.c
    found = (
        select(
            words_with_commas(
                glued("SUBTYPE = ", func.format_type(r.rngsubtype, None)),
                glued("MULTIRANGE_TYPE_NAME = ", func.format_type(r.rngmultitypid, None)),
                glued("SUBTYPE_OPCLASS = ", identified("pg_opclass", r.rngsubopc)),
                glued("COLLATION = ", identified("pg_collation", r.rngcollation)),
                glued("CANONICAL = ", identified("pg_proc", cast(r.rngcanonical, OID))),
                glued("SUBTYPE_DIFF = ", identified("pg_proc", cast(r.rngsubdiff, OID))),
            )
        )
        .where(r.rngtypid == _type.c.oid)
        .scalar_subquery()
    )
    return glued("AS RANGE (\n    ", found, "\n)")


def _base() -> Piece:
    """A base type. One that is only declared, and not yet made (a shell type), has no more than its name."""
    c = _type.c
    functions = {
        "INPUT": c.typinput,
        "OUTPUT": c.typoutput,
        "RECEIVE": c.typreceive,
        "SEND": c.typsend,
        "TYPMOD_IN": c.typmodin,
        "TYPMOD_OUT": c.typmodout,
        "ANALYZE": c.typanalyze,
    }
    parts = words_with_commas(
        *(glued(f"{word} = ", identified("pg_proc", cast(oid, OID))) for word, oid in functions.items()),
        glued("INTERNALLENGTH = ", c.typlen),
        when(c.typbyval, "PASSEDBYVALUE"),
        glued("ALIGNMENT = ", c.typalign),
        glued("STORAGE = ", c.typstorage),
        glued("CATEGORY = ", func.quote_literal(cast(c.typcategory, Text))),
        when(c.typispreferred, "PREFERRED = true"),
        glued("DEFAULT = ", func.quote_literal(c.typdefault)),
        when(c.typelem != 0, glued("ELEMENT = ", func.format_type(c.typelem, None))),
        glued("DELIMITER = ", func.quote_literal(cast(c.typdelim, Text))),
        when(c.typcollation != 0, "COLLATABLE = true"),
    )
    return when(c.typisdefined, glued("(\n    ", parts, "\n)"))


def _collations(version: int) -> Select[Any]:
    locale = {15: "colliculocale", 16: "colliculocale"}.get(version, "colllocale") if version >= 15 else None
    rules = "collicurules" if version >= 16 else None
    rows = catalog(
        "pg_collation",
        *("collname", "collnamespace", "collowner", "collprovider", "collencoding", "collcollate", "collctype"),
        *filter(None, (locale, rules)),
        flags=("collisdeterministic",),
    )
    c = rows.c
    title = glued("COLLATION ", qualified(namespace.c.nspname, c.collname))
    parts = func.concat_ws(
        ", ",
        glued("provider = ", case({"c": "libc", "i": "icu", "b": "builtin", "d": "default"}, value=c.collprovider)),
        glued("locale = ", func.quote_literal(c[locale])) if locale else None,
        glued("lc_collate = ", func.quote_literal(c.collcollate)),
        glued("lc_ctype = ", func.quote_literal(c.collctype)),
        when(~c.collisdeterministic, "deterministic = false"),
        glued("rules = ", func.quote_literal(c[rules])) if rules else None,
        type_=Text,
    )
    return in_schema(
        rows,
        "collation",
        c.collname,
        title,
        words("CREATE", title, glued("(", parts, ")")),
        schema="collnamespace",
        owner="collowner",
        raw=row_of(rows),
    )
