"""The objects that come with PostgreSQL and with extensions, as they are now. pg_dump assumes that nobody changed them.

The server makes two hashes of each object: of its definition, and of its privileges and comment. Objects are named by
pg_describe_object, which says the same in a copy, where OIDs differ.
https://www.postgresql.org/docs/current/catalogs.html, .../functions-info.html#FUNCTIONS-INFO-OBJECT
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
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
    or_,
    select,
    union_all,
)
from sqlalchemy.dialects.postgresql import OID, aggregate_order_by
from sqlalchemy.types import UserDefinedType

from snapkit.core.comparison.definitions import Fingerprint
from snapkit.postgres.catalog.tables import FIRST_OWN, catalog_table

_PUBLIC_SCHEMA = 2200
"""The OID of the schema public, which pg_dump treats by itself."""

_depend = catalog_table(
    "pg_depend", column("classid", OID), column("objid", OID), column("refobjid", OID), column("deptype", Text)
)
_extension = catalog_table("pg_extension", column("oid", OID), column("extowner", OID))

_CLASSES = {
    "pg_proc": 1255,
    "pg_type": 1247,
    "pg_class": 1259,
    "pg_cast": 2605,
    "pg_operator": 2617,
    "pg_opfamily": 2753,
    "pg_ts_config": 3602,
    "pg_ts_dict": 3600,
    "pg_language": 2612,
    "pg_namespace": 2615,
}
"""The OIDs of catalogs, fixed in PostgreSQL's source."""


class _Char(UserDefinedType[str]):
    """PostgreSQL's type of one byte, "char"."""

    cache_ok = True

    def get_col_spec(self, **_: Any) -> str:
        return '"char"'


def given_objects(connection: Connection) -> dict[str, Fingerprint]:
    """Return the hashes of each object that belongs to PostgreSQL or to an extension."""
    queries = (
        _functions(),
        _types(),
        _relations(),
        _casts(),
        _operators(),
        _operator_families(),
        _text_search_configurations(),
        _dictionaries(),
        _languages(),
        _schemas(),
    )
    rows = connection.execute(union_all(*queries))
    return {name: Fingerprint(definition, rest) for name, definition, rest in rows if name is not None}


def _catalog(name: str, *columns: str) -> TableClause:
    return catalog_table(name, column("oid", OID), *map(column, columns))


def _objects(catalog: TableClause, definition: list[Any], rest: list[Any]) -> Select[Any]:
    """Select name and hashes of the rows of a catalog that belong to PostgreSQL or to an extension."""
    of_extension = exists().where(
        _depend.c.classid == _CLASSES[catalog.name], _depend.c.objid == catalog.c.oid, _depend.c.deptype == "e"
    )
    comment = func.obj_description(catalog.c.oid, catalog.name, type_=Text)
    columns: list[ColumnElement[Any]] = [_named(catalog.name, catalog.c.oid), _hash(*definition), _hash(*rest, comment)]
    return select(*columns).select_from(catalog).where(or_(catalog.c.oid < FIRST_OWN, of_extension))


def _hash(*values: Any) -> ColumnElement[int]:
    text = func.textin(func.record_out(func.row(*values)))
    return func.hashtextextended(text, 0, type_=BigInteger)


def _named(catalog: str, oid: ColumnElement[Any]) -> ColumnElement[str | None]:
    return func.pg_describe_object(_CLASSES[catalog], oid, 0, type_=Text)


def _owner(catalog: TableClause, owner: ColumnElement[Any]) -> ColumnElement[Any]:
    """The owner; NULL if it is the owner of the extension, of which the run warns by itself."""
    extension = (
        select(_extension.c.extowner)
        .join_from(_depend, _extension, _extension.c.oid == _depend.c.refobjid)
        .where(_depend.c.classid == _CLASSES[catalog.name], _depend.c.objid == catalog.c.oid, _depend.c.deptype == "e")
        .limit(1)
        .scalar_subquery()
    )
    return case((owner == extension, null()), else_=func.pg_get_userbyid(owner))


def _privileges(acl: ColumnElement[Any], kind: Any, owner: ColumnElement[Any]) -> ColumnElement[Any]:
    """The privileges of roles other than the owner, whoever granted them."""
    item = (
        func.aclexplode(func.coalesce(acl, func.acldefault(cast(kind, _Char), owner)))
        .table_valued(column("grantor", OID), column("grantee", OID), column("privilege_type", Text), "is_grantable")
        .render_derived()
        .lateral("item")
    )
    text = func.concat_ws(" ", func.pg_get_userbyid(item.c.grantee), item.c.privilege_type, item.c.is_grantable)
    return _joined(text, text).select_from(item).where(item.c.grantee != owner).scalar_subquery()


def _joined(text: ColumnElement[Any], order: ColumnElement[Any]) -> Select[Any]:
    return select(func.string_agg(cast(text, Text), aggregate_order_by(literal("\n", Text), order)))


def _functions() -> Select[Any]:
    found = _catalog(
        "pg_proc",
        *("proowner", "prolang", "procost", "prorows", "prosupport", "prokind", "prosecdef", "proleakproof"),
        *("proisstrict", "proretset", "provolatile", "proparallel", "prosrc", "probin", "proconfig", "proacl"),
    )
    c = found.c
    aggregate = catalog_table(
        "pg_aggregate",
        *map(column, ("aggfnoid", "aggtransfn", "aggfinalfn", "aggcombinefn", "aggmtransfn", "agginitval")),
    )
    of_aggregate = (
        select(func.textin(func.record_out(func.row(*aggregate.c))))
        .where(cast(aggregate.c.aggfnoid, OID) == c.oid)
        .scalar_subquery()
    )
    definition = [
        *(
            func.pg_get_function_arguments(c.oid),
            func.pg_get_function_result(c.oid),
            func.pg_get_function_sqlbody(c.oid),
        ),
        *(_named("pg_language", c.prolang), c.prosupport, c.prokind, c.prosecdef, c.proleakproof, c.proisstrict),
        *(c.proretset, c.provolatile, c.proparallel, c.prosrc, c.probin, c.proconfig, of_aggregate),
    ]
    rest = [_owner(found, c.proowner), c.procost, c.prorows, _privileges(c.proacl, "f", c.proowner)]
    return _objects(found, definition, rest)


def _types() -> Select[Any]:
    found = _catalog(
        "pg_type",
        *(
            "typowner",
            "typtype",
            "typcategory",
            "typispreferred",
            "typnotnull",
            "typbasetype",
            "typtypmod",
            "typstorage",
        ),
        *(
            "typdefault",
            "typinput",
            "typoutput",
            "typreceive",
            "typsend",
            "typanalyze",
            "typrelid",
            "typelem",
            "typacl",
        ),
    )
    c = found.c
    label = catalog_table("pg_enum", *map(column, ("enumtypid", "enumsortorder", "enumlabel")))
    labels = _joined(label.c.enumlabel, label.c.enumsortorder).where(label.c.enumtypid == c.oid).scalar_subquery()
    constraint = _catalog("pg_constraint", "contypid", "conname")
    check = func.concat(constraint.c.conname, " ", func.pg_get_constraintdef(constraint.c.oid))
    checks = _joined(check, check).where(constraint.c.contypid == c.oid).scalar_subquery()
    definition = [
        *(c.typtype, c.typcategory, c.typispreferred, c.typnotnull, func.format_type(c.typbasetype, c.typtypmod)),
        *(c.typstorage, c.typdefault, c.typinput, c.typoutput, c.typreceive, c.typsend, c.typanalyze, labels, checks),
    ]
    rest = [_owner(found, c.typowner), _privileges(c.typacl, "T", c.typowner)]
    # Row types go with their tables, array types with their elements.
    return _objects(found, definition, rest).where(c.typrelid == 0, or_(c.typcategory != "A", c.typelem == 0))


def _relations() -> Select[Any]:
    found = _catalog(
        "pg_class", "relowner", "relkind", "relpersistence", "reloptions", "relacl", "relrowsecurity", "relnatts"
    )
    c = found.c
    attribute = catalog_table(
        "pg_attribute",
        *map(column, ("attrelid", "attnum", "attname", "atttypid", "atttypmod", "attnotnull", "attgenerated")),
        *map(column, ("attisdropped", "attacl")),
    )
    default = catalog_table("pg_attrdef", *map(column, ("adrelid", "adnum", "adbin")))
    a = attribute.c
    of_default = (
        select(func.pg_get_expr(default.c.adbin, default.c.adrelid))
        .where(default.c.adrelid == a.attrelid, default.c.adnum == a.attnum)
        .scalar_subquery()
    )
    is_column = and_(a.attrelid == c.oid, a.attnum > 0, ~a.attisdropped)
    described = func.row(a.attname, func.format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attgenerated, of_default)
    columns = _joined(func.textin(func.record_out(described)), a.attname).where(is_column).scalar_subquery()
    said = func.row(a.attname, a.attacl, func.col_description(a.attrelid, a.attnum))
    of_columns = _joined(func.textin(func.record_out(said)), a.attname).where(is_column).scalar_subquery()
    view = case((c.relkind.in_(("v", "m")), func.pg_get_viewdef(c.oid)))
    kind = case((c.relkind == "S", "s"), else_="r")
    rest = [_owner(found, c.relowner), _privileges(c.relacl, kind, c.relowner), of_columns]
    return _objects(found, [c.relkind, c.relpersistence, c.reloptions, c.relrowsecurity, columns, view], rest).where(
        c.relkind.in_(("r", "p", "v", "m", "f", "S", "c"))
    )


def _casts() -> Select[Any]:
    found = _catalog("pg_cast", "castfunc", "castcontext", "castmethod")
    definition = [_named("pg_proc", found.c.castfunc), found.c.castcontext, found.c.castmethod]
    return _objects(found, definition, [])


def _operators() -> Select[Any]:
    found = _catalog("pg_operator", "oprowner", "oprcode", "oprrest", "oprjoin", "oprcanmerge", "oprcanhash")
    c = found.c
    return _objects(found, [c.oprcode, c.oprrest, c.oprjoin, c.oprcanmerge, c.oprcanhash], [_owner(found, c.oprowner)])


def _operator_families() -> Select[Any]:
    found = _catalog("pg_opfamily", "opfowner")
    parts = []
    for name, class_oid, family in (("pg_amop", 2602, "amopfamily"), ("pg_amproc", 2603, "amprocfamily")):
        member = _catalog(name, family)
        described = func.pg_describe_object(class_oid, member.c.oid, 0)
        parts.append(_joined(described, described).where(member.c[family] == found.c.oid).scalar_subquery())
    return _objects(found, parts, [_owner(found, found.c.opfowner)])


def _text_search_configurations() -> Select[Any]:
    found = _catalog("pg_ts_config", "cfgowner", "cfgparser")
    mapped = catalog_table("pg_ts_config_map", *map(column, ("mapcfg", "maptokentype", "mapseqno", "mapdict")))
    m = mapped.c
    one = func.concat_ws(" ", m.maptokentype, m.mapseqno, _named("pg_ts_dict", m.mapdict))
    mapping = _joined(one, func.row(m.maptokentype, m.mapseqno)).where(m.mapcfg == found.c.oid).scalar_subquery()
    parser = func.pg_describe_object(3601, found.c.cfgparser, 0)
    return _objects(found, [parser, mapping], [_owner(found, found.c.cfgowner)])


def _dictionaries() -> Select[Any]:
    found = _catalog("pg_ts_dict", "dictowner", "dicttemplate", "dictinitoption")
    template = func.pg_describe_object(3764, found.c.dicttemplate, 0)
    return _objects(found, [template, found.c.dictinitoption], [_owner(found, found.c.dictowner)])


def _languages() -> Select[Any]:
    found = _catalog("pg_language", "lanowner", "lanpltrusted", "lanplcallfoid", "lanacl")
    c = found.c
    rest = [_owner(found, c.lanowner), _privileges(c.lanacl, "l", c.lanowner)]
    return _objects(found, [c.lanpltrusted, _named("pg_proc", c.lanplcallfoid)], rest)


def _schemas() -> Select[Any]:
    found = _catalog("pg_namespace", "nspowner", "nspacl")
    c = found.c
    rest = [_owner(found, c.nspowner), _privileges(c.nspacl, "n", c.nspowner)]
    return _objects(found, [], rest).where(c.oid != _PUBLIC_SCHEMA)
