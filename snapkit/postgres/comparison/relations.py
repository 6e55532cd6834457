"""The tables of a database that are compared: their columns, keys and partitions, and whether they can be read.

https://www.postgresql.org/docs/current/catalog-pg-class.html, .../catalog-pg-attribute.html, .../catalog-pg-index.html
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    ColumnElement,
    Connection,
    Integer,
    Row,
    Select,
    Text,
    and_,
    case,
    cast,
    column,
    exists,
    func,
    or_,
    select,
)
from sqlalchemy.dialects.postgresql import ARRAY, OID, aggregate_order_by

from snapkit.core.comparison.row_changes import Column, Leaf, Relation
from snapkit.postgres.catalog.tables import FIRST_OWN, PG_CLASS_OID, catalog_table, is_one_of, pg_namespace
from snapkit.postgres.comparison.value_types import Traits, traits_of

UNDO_SCHEMA = "snapkit_undo"
"""Where a restore keeps what it has changed."""

_class = catalog_table(
    "pg_class",
    column("oid", OID),
    column("relname", Text),
    column("relnamespace", OID),
    column("relkind", Text),
    column("relpersistence", Text),
    column("relispartition", Boolean),
    column("relispopulated", Boolean),
)
_attribute = catalog_table(
    "pg_attribute",
    column("attrelid", OID),
    column("attnum", Integer),
    column("attname", Text),
    column("attisdropped", Boolean),
    column("attnotnull", Boolean),
    column("attgenerated", Text),
    column("attidentity", Text),
    column("atttypid", OID),
    column("atttypmod", Integer),
    column("attcollation", OID),
)
_type = catalog_table("pg_type", column("oid", OID), column("typname", Text))
_index = catalog_table(
    "pg_index",
    column("indexrelid", OID),
    column("indrelid", OID),
    column("indisprimary", Boolean),
    column("indisunique", Boolean),
    column("indimmediate", Boolean),
    column("indisvalid", Boolean),
    column("indpred", Text),
    column("indexprs", Text),
    column("indnkeyatts", Integer),
    column("indkey", ARRAY(Integer)),
    column("indclass", ARRAY(OID)),
)
_opclass = catalog_table("pg_opclass", column("oid", OID), column("opcdefault", Boolean))
_collation = catalog_table(
    "pg_collation", column("oid", OID), column("collname", Text), column("collisdeterministic", Boolean)
)
_constraint = catalog_table(
    "pg_constraint",
    column("conrelid", OID),
    column("contype", Text),
    column("convalidated", Boolean),
    column("conkey", ARRAY(Integer)),
)
_depend = catalog_table("pg_depend", column("classid", OID), column("objid", OID), column("deptype", Text))


def relations(connection: Connection, oids: Collection[int] | None = None) -> list[Relation]:
    """Return the tables of the connected database, by OID: partitions under their root, foreign tables with a reason.

    PostgreSQL's own are left out, and temporary ones, those of extensions, and what a restore keeps. ``oids``: only
    these, of the roots where there are partitions.
    """
    rows = connection.execute(_tables(oids)).all()
    leaves: dict[int, list[Row[Any]]] = defaultdict(list)
    for row in rows:
        if row.relkind in ("r", "f", "m"):
            leaves[row.root].append(row)
    tops = [row for row in rows if row.root == row.oid]
    columns = _columns(connection, [row.oid for row in tops])
    keys = _keys(connection, [row.oid for row in tops])
    numbers = _numbers(connection, [row.oid for row in rows if row.relispartition and row.relkind == "r"])
    return [_relation(row, columns[row.oid], leaves[row.oid], keys[row.oid], numbers) for row in tops]


def _tables(oids: Collection[int] | None) -> Select[Any]:
    """All of ``pg_class`` that holds rows, or is the root of partitions, each with its root."""
    of_extension = exists().where(
        _depend.c.classid == PG_CLASS_OID, _depend.c.objid == _class.c.oid, _depend.c.deptype == "e"
    )
    root = case((_class.c.relispartition, cast(func.pg_partition_root(_class.c.oid), OID)), else_=_class.c.oid)
    block = cast(func.current_setting("block_size"), BigInteger)
    has_file = _class.c.relkind.in_(("r", "m"))
    query = (
        select(
            _class.c.oid,
            root.label("root"),
            pg_namespace.c.nspname,
            _class.c.relname,
            _class.c.relkind,
            _class.c.relpersistence,
            _class.c.relispartition,
            _class.c.relispopulated,
            func.coalesce(func.pg_relation_filenode(_class.c.oid), 0).label("file"),
            case((has_file, func.coalesce(func.pg_relation_size(_class.c.oid), 0) // block), else_=0).label("blocks"),
            func.row_security_active(_class.c.oid, type_=Boolean).label("has_policies"),
            func.has_table_privilege(_class.c.oid, "SELECT", type_=Boolean).label("may_read"),
            func.has_schema_privilege(_class.c.relnamespace, "USAGE", type_=Boolean).label("may_name"),
        )
        .join_from(_class, pg_namespace, pg_namespace.c.oid == _class.c.relnamespace)
        .where(
            _class.c.relkind.in_(("r", "p", "m", "f")),
            _class.c.relpersistence != "t",
            ~func.starts_with(pg_namespace.c.nspname, "pg_", type_=Boolean),
            pg_namespace.c.nspname.not_in(("information_schema", UNDO_SCHEMA)),
            ~of_extension,
        )
        .order_by(_class.c.oid)
    )
    return query if oids is None else query.where(is_one_of(root, oids))


def _live(tables: Sequence[int]) -> ColumnElement[bool]:
    return and_(is_one_of(_attribute.c.attrelid, tables), _attribute.c.attnum > 0, ~_attribute.c.attisdropped)


def _columns(connection: Connection, tables: Sequence[int]) -> dict[int, list[Column]]:
    rows = connection.execute(
        select(
            _attribute.c.attrelid,
            _attribute.c.attnum,
            _attribute.c.attname,
            func.format_type(_attribute.c.atttypid, _attribute.c.atttypmod, type_=Text).label("type"),
            _attribute.c.atttypid,
            _type.c.typname,
            _attribute.c.attnotnull,
            _attribute.c.attgenerated,
            _attribute.c.attidentity,
            case((~_collation.c.collisdeterministic, _collation.c.collname)).label("loose_collation"),
        )
        .join_from(_attribute, _type, _type.c.oid == _attribute.c.atttypid)
        .outerjoin(_collation, _collation.c.oid == _attribute.c.attcollation)
        .where(_live(tables))
        .order_by(_attribute.c.attrelid, _attribute.c.attnum)
    ).all()
    traits = traits_of(connection, {row.atttypid for row in rows})
    found: dict[int, list[Column]] = defaultdict(list)
    for row in rows:
        found[row.attrelid].append(_column(row, traits[row.atttypid]))
    return found


def _column(row: Row[Any], traits: Traits) -> Column:
    return Column(
        number=row.attnum,
        name=row.attname,
        type=row.type,
        type_oid=row.atttypid,
        type_name=row.typname,
        not_null=row.attnotnull,
        generated=row.attgenerated,
        identity=row.attidentity,
        loose=" ".join(filter(None, (traits.loose, row.loose_collation))) or None,
        shapes=traits.shapes,
        stored_as=traits.stored_as,
    )


def _numbers(connection: Connection, partitions: Sequence[int]) -> Mapping[int, Mapping[str, int]]:
    """The attnums of each partition's columns, by name. They need not be those of its root."""
    in_order = aggregate_order_by(_attribute.c.attname, _attribute.c.attnum)
    names = func.array_agg(in_order, type_=ARRAY(Text))
    numbers = func.array_agg(aggregate_order_by(_attribute.c.attnum, _attribute.c.attnum), type_=ARRAY(Integer))
    rows = connection.execute(
        select(_attribute.c.attrelid, names, numbers).where(_live(partitions)).group_by(_attribute.c.attrelid)
    )
    return {oid: dict(zip(names, numbers, strict=True)) for oid, names, numbers in rows}


def _keys(connection: Connection, tables: Sequence[int]) -> dict[int, list[tuple[str, ...]]]:
    """The columns of each index by which rows can be recognised, those of the primary key first.

    Its equality must be the column's own: with another collation or operator class it could take two values for one.
    On 18 and later a NOT NULL may not be validated, and a column hold NULLs all the same.
    """
    own, position = _attribute.alias("own"), _attribute.alias("position")
    not_validated = exists().where(
        _constraint.c.conrelid == own.c.attrelid,
        _constraint.c.contype == "n",
        ~_constraint.c.convalidated,
        own.c.attnum == func.any(_constraint.c.conkey),
    )
    is_its_own = and_(
        own.c.attnotnull,
        ~not_validated,
        own.c.attcollation == position.c.attcollation,
        or_(_opclass.c.opcdefault, _opclass.c.oid < FIRST_OWN),
    )
    names = func.array_agg(aggregate_order_by(own.c.attname, position.c.attnum), type_=ARRAY(Text))
    rows = connection.execute(
        select(_index.c.indrelid, names)
        .join_from(_index, position, position.c.attrelid == _index.c.indexrelid)
        .join(
            own,
            and_(own.c.attrelid == _index.c.indrelid, own.c.attnum == _index.c.indkey[position.c.attnum - 1]),
        )
        .join(_opclass, _opclass.c.oid == _index.c.indclass[position.c.attnum - 1])
        .where(
            is_one_of(_index.c.indrelid, tables),
            _index.c.indisunique,
            _index.c.indisvalid,
            _index.c.indimmediate,
            _index.c.indpred.is_(None),
            _index.c.indexprs.is_(None),
            position.c.attnum <= _index.c.indnkeyatts,
        )
        .group_by(_index.c.indrelid, _index.c.indexrelid, _index.c.indisprimary)
        .having(func.bool_and(is_its_own))
        .order_by(_index.c.indisprimary.desc(), func.count(type_=BigInteger), _index.c.indexrelid)
    )
    found: dict[int, list[tuple[str, ...]]] = defaultdict(list)
    for oid, columns in rows:
        found[oid].append(tuple(columns))
    return found


def _relation(
    top: Row[Any],
    columns: Sequence[Column],
    leaves: Sequence[Row[Any]],
    keys: Sequence[tuple[str, ...]],
    numbers: Mapping[int, Mapping[str, int]],
) -> Relation:
    return Relation(
        oid=top.oid,
        schema=top.nspname,
        name=top.relname,
        columns=tuple(columns),
        leaves=tuple(_leaf(each, columns, numbers.get(each.oid)) for each in leaves if each.relkind != "f"),
        keys=tuple(keys),
        partitioned=top.relkind == "p",
        kind=top.relkind,
        reason=next(filter(None, (_reason(each, top) for each in (top, *leaves))), None),
    )


def _leaf(row: Row[Any], columns: Sequence[Column], numbers: Mapping[str, int] | None) -> Leaf:
    own = tuple(each.number if numbers is None else numbers[each.name] for each in columns)
    return Leaf(row.oid, row.nspname, row.relname, row.file, row.blocks, row.relpersistence, own)


def _reason(row: Row[Any], top: Row[Any]) -> str | None:
    """Why the rows cannot be read, of a table or of one of its partitions."""
    of = "" if row.oid == top.oid else f" (partition {row.nspname}.{row.relname})"
    if row.relkind == "f":
        return f"its rows lie elsewhere: a foreign table{of}"
    if not row.may_name:
        return f"this role has no USAGE privilege on the schema {row.nspname}{of}"
    if not row.may_read:
        return f"this role has no SELECT privilege{of}"
    if row.has_policies:
        return f"row-level security hides rows from this role{of}"
    return None if row.relispopulated else "it is not populated (WITH NO DATA)"
