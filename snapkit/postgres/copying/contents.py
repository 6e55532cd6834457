"""What is inside a database: its tables, how many objects of each kind, its extensions."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress
from itertools import islice
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    ColumnElement,
    Connection,
    ScalarSelect,
    Select,
    SelectBase,
    Text,
    and_,
    case,
    cast,
    column,
    exists,
    func,
    literal,
    select,
    table,
    true,
    union_all,
)
from sqlalchemy.dialects.postgresql import ARRAY, OID, REGCLASS, aggregate_order_by
from sqlalchemy.exc import DBAPIError
from sqlalchemy.sql.selectable import FromClause

from snapkit.core.comparison.definitions import Contents, LeftOut
from snapkit.core.copying.division import Counted, Table
from snapkit.postgres.catalog.tables import FIRST_OWN, PG_CLASS_OID, catalog_table, pg_attribute, pg_class, pg_namespace
from snapkit.postgres.connection.driver import driver_connection
from snapkit.postgres.copying.given_objects import given_objects

_depend = catalog_table("pg_depend", column("classid", OID), column("objid", OID), column("deptype", Text))
_partitioned = catalog_table("pg_partitioned_table", column("partrelid", OID), column("partstrat", Text))


def _is_users(namespace: FromClause) -> ColumnElement[bool]:
    return and_(
        ~func.starts_with(namespace.c.nspname, "pg_", type_=Boolean), namespace.c.nspname != "information_schema"
    )


def tables(connection: Connection) -> list[Table]:
    """Return the tables of the connected database, except temporary tables and PostgreSQL's own."""
    names, generated = (_columns(generated) for generated in ("", "s"))
    is_extensions = exists().where(
        _depend.c.classid == PG_CLASS_OID, _depend.c.objid == pg_class.c.oid, _depend.c.deptype == "e"
    )
    hashed = exists().where(
        _partitioned.c.partstrat == "h",
        _partitioned.c.partrelid.in_(select(func.pg_partition_ancestors(pg_class.c.oid, type_=OID))),
    )
    root, root_namespace = pg_class.alias("root"), pg_namespace.alias("root_namespace")
    rows = connection.execute(
        select(
            pg_class.c.oid,
            pg_namespace.c.nspname,
            pg_class.c.relname,
            func.coalesce(func.pg_table_size(pg_class.c.oid), 0),
            names,
            is_extensions,
            case((hashed, root_namespace.c.nspname)),
            root.c.relname,
            generated,
        )
        .join_from(pg_class, pg_namespace, pg_namespace.c.oid == pg_class.c.relnamespace)
        .outerjoin(root, root.c.oid == func.pg_partition_root(pg_class.c.oid))
        .outerjoin(root_namespace, root_namespace.c.oid == root.c.relnamespace)
        .where(pg_class.c.relkind == "r", pg_class.c.relpersistence != "t", _is_users(pg_namespace))
        .order_by(pg_class.c.oid)
    )
    return [
        Table(
            oid,
            schema,
            name,
            size,
            tuple(columns or ()),
            is_extensions,
            (top_schema, top) if top_schema else None,
            tuple(generated or ()),
        )
        for oid, schema, name, size, columns, is_extensions, top_schema, top, generated in rows
    ]


def _columns(generated: str) -> ScalarSelect[Any]:
    """The columns of the ``pg_class`` row of the outer query, by how they are generated; an empty text: not at all."""
    names = func.array_agg(aggregate_order_by(pg_attribute.c.attname, pg_attribute.c.attnum), type_=ARRAY(Text))
    return (
        select(names)
        .where(
            pg_attribute.c.attrelid == pg_class.c.oid,
            pg_attribute.c.attnum > 0,
            ~pg_attribute.c.attisdropped,
            pg_attribute.c.attgenerated == generated,
        )
        .scalar_subquery()
    )


def materialised_views(connection: Connection) -> list[Counted]:
    """Return the materialised views that are populated, and that this role may read."""
    populated = column("relispopulated", Boolean)
    view = catalog_table("pg_class", *(column(each.name, each.type) for each in pg_class.columns), populated)
    columns = (
        select(func.array_agg(pg_attribute.c.attname, type_=ARRAY(Text)))
        .where(pg_attribute.c.attrelid == view.c.oid, pg_attribute.c.attnum > 0, ~pg_attribute.c.attisdropped)
        .scalar_subquery()
    )
    rows = connection.execute(
        select(pg_namespace.c.nspname, view.c.relname, columns)
        .join_from(view, pg_namespace, pg_namespace.c.oid == view.c.relnamespace)
        .where(view.c.relkind == "m", view.c.relispopulated, func.has_table_privilege(view.c.oid, "SELECT"))
    )
    return [Counted(schema, name, only=False, columns=tuple(sorted(names or ()))) for schema, name, names in rows]


def contents_of(connection: Connection, counted: Collection[Counted]) -> Iterator[dict[str, Contents]]:
    """Count the rows of tables, and add up a hash of each row, some tables at a time.

    The hash is that of the row as text, column by column, under the settings that all our sessions have
    (``safe_settings``). No cast is used, since users can define casts of their own.
    https://www.postgresql.org/docs/current/rowtypes.html#ROWTYPES-IO-SYNTAX
    """
    waiting = iter(counted)
    while some := list(islice(waiting, 50)):
        rows: Iterable[Any] = connection.execute(union_all(*map(_contents, some)))
        yield {title: Contents(number, int(checksum)) for title, number, checksum in rows}


def contents_of_views(connection: Connection) -> dict[str, Contents]:
    """Do the same for materialised views, except those that are being refreshed, or that this role may not read."""
    found: dict[str, Contents] = {}
    for each in materialised_views(connection):
        with (
            suppress(DBAPIError),
            driver_connection(connection).transaction(),
        ):  # a savepoint, in a transaction
            for some in contents_of(connection, [each]):
                found |= some
    return found


def _contents(each: Counted) -> SelectBase:
    rows = table(each.name, *map(column, each.columns), schema=each.schema)
    text = func.textin(func.record_out(func.row(*rows.columns)))
    checksum = func.coalesce(func.sum(func.hashtextextended(text, 0)), 0)
    query = select(literal(each.title, Text), func.count(type_=BigInteger), checksum).select_from(rows)
    return query.with_hint(rows, "ONLY", "postgresql") if each.only else query


_PIECE = 1 << 24
"""Bytes of a large object that are read at once."""


def large_objects(connection: Connection) -> Contents:
    """Count the large objects, and add up hashes of their bytes, however these are divided into pages.

    https://www.postgresql.org/docs/current/lo-funcs.html
    """
    found = catalog_table("pg_largeobject_metadata", column("oid", OID))

    def pieces_at(oid: ColumnElement[int], at: ColumnElement[int]) -> Select[Any]:
        data = func.lo_get(oid, at, _PIECE).table_valued("data", name="piece").render_derived().lateral()
        digest, length = func.md5(data.c.data, type_=Text), func.octet_length(data.c.data, type_=BigInteger)
        columns: list[ColumnElement[Any]] = [oid.label("oid"), at.label("at")]
        columns += [digest.label("digest"), length.label("length")]
        return select(*columns).select_from(oid.table).join(data, true())

    pieces = pieces_at(found.c.oid, cast(0, BigInteger)).cte("pieces", recursive=True)
    pieces = pieces.union_all(pieces_at(pieces.c.oid, pieces.c.at + _PIECE).where(pieces.c.length == _PIECE))
    text = func.concat_ws(" ", pieces.c.oid, pieces.c.at, pieces.c.digest)
    whole = func.count(type_=BigInteger).filter(pieces.c.at == 0)
    row = connection.execute(select(whole, func.coalesce(func.sum(func.hashtextextended(text, 0)), 0))).one()
    return Contents(row[0], int(row[1]))


_RELATIONS = {
    "r": "tables",
    "p": "partitioned tables",
    "i": "indexes",
    "I": "partitioned indexes",
    "S": "sequences",
    "v": "views",
    "m": "materialised views",
    "c": "composite types",
    "f": "foreign tables",
}
_IN_SCHEMAS = {
    "functions": ("pg_proc", "pronamespace"),
    "constraints": ("pg_constraint", "connamespace"),
    "operators": ("pg_operator", "oprnamespace"),
    "collations": ("pg_collation", "collnamespace"),
    "text search configurations": ("pg_ts_config", "cfgnamespace"),
    "extended statistics": ("pg_statistic_ext", "stxnamespace"),
}
_BY_THEMSELVES = {
    "event triggers": "pg_event_trigger",
    "foreign servers": "pg_foreign_server",
    "policies": "pg_policy",
    "publications": "pg_publication",
    "rules": "pg_rewrite",
}


def numbers_of_objects(connection: Connection) -> dict[str, int]:
    """Count the objects of the database, kind by kind, without invalid indexes, which pg_dump leaves out."""
    index = catalog_table("pg_index", column("indexrelid", OID), column("indisvalid", Boolean))
    invalid = exists().where(index.c.indexrelid == pg_class.c.oid, ~index.c.indisvalid, pg_class.c.relkind == "i")
    relations = (
        select(case(_RELATIONS, value=pg_class.c.relkind), func.count(type_=BigInteger))
        .join_from(pg_class, pg_namespace, pg_namespace.c.oid == pg_class.c.relnamespace)
        .where(_is_users(pg_namespace), pg_class.c.relkind.in_(_RELATIONS), pg_class.c.relpersistence != "t", ~invalid)
        .group_by(pg_class.c.relkind)
    )
    queries: list[SelectBase] = [relations]
    for what, (name, namespace) in _IN_SCHEMAS.items():
        view = catalog_table(name, column(namespace, OID))
        queries.append(
            select(literal(what, Text), func.count(type_=BigInteger))
            .join_from(view, pg_namespace, pg_namespace.c.oid == view.c[namespace])
            .where(_is_users(pg_namespace))
        )
    for what, name in _BY_THEMSELVES.items():
        queries.append(select(literal(what, Text), func.count(type_=BigInteger)).select_from(catalog_table(name)))
    trigger = catalog_table("pg_trigger", column("tgisinternal", Boolean))
    queries.append(select(literal("triggers", Text), func.count(type_=BigInteger)).where(~trigger.c.tgisinternal))
    queries.append(select(literal("schemas", Text), func.count(type_=BigInteger)).where(_is_users(pg_namespace)))
    return dict(_pairs(connection, queries))


def _pairs(connection: Connection, queries: Collection[SelectBase]) -> Iterator[tuple[str, int]]:
    rows: Iterable[Any] = connection.execute(union_all(*queries))
    return ((row[0], row[1]) for row in rows)


def extension_versions(connection: Connection) -> dict[str, str]:
    """Return the installed version of each extension of the database."""
    installed = catalog_table("pg_extension", column("extname", Text), column("extversion", Text))
    rows = connection.execute(select(installed.c.extname, installed.c.extversion))
    return {row.extname: row.extversion for row in rows}


def given_extensions(connection: Connection) -> set[str]:
    """Return the extensions that were there from initdb on. pg_dump treats one that was made anew like a user's."""
    given = catalog_table("pg_extension", column("extname", Text), column("oid", OID))
    return set(connection.execute(select(given.c.extname).where(given.c.oid < FIRST_OWN)).scalars())


def left_out(connection: Connection) -> LeftOut:
    """Return what pg_dump leaves out: owners of extensions, disabled foreign keys, objects that were there before."""
    extension = catalog_table("pg_extension", column("extname", Text), column("extowner", OID))
    owner = func.pg_get_userbyid(extension.c.extowner, type_=Text)
    owners = connection.execute(select(extension.c.extname, owner)).all()
    trigger = catalog_table(
        "pg_trigger", column("tgconstraint", OID), column("tgisinternal", Boolean), column("tgenabled", Text)
    )
    constraint = catalog_table(
        "pg_constraint", column("oid", OID), column("conname", Text), column("conrelid", OID), column("contype", Text)
    )
    place = func.format("%I of %s", constraint.c.conname, cast(cast(constraint.c.conrelid, REGCLASS), Text), type_=Text)
    keys = connection.execute(
        select(place)
        .join_from(trigger, constraint, constraint.c.oid == trigger.c.tgconstraint)
        .where(trigger.c.tgisinternal, trigger.c.tgenabled != "O", constraint.c.contype == "f")
        .distinct()
    ).scalars()
    return LeftOut({row[0]: row[1] for row in owners}, frozenset(keys), given_objects(connection))


def offered_versions(connection: Connection) -> dict[str, str | None]:
    """Return the version that the server would install of each extension."""
    offered = catalog_table("pg_available_extensions", column("name", Text), column("default_version", Text))
    rows = connection.execute(select(offered.c.name, offered.c.default_version))
    return {row.name: row.default_version for row in rows}


def schemas(connection: Connection) -> set[str]:
    """Return the schemas of the database, except PostgreSQL's own."""
    return set(connection.execute(select(pg_namespace.c.nspname).where(_is_users(pg_namespace))).scalars())
