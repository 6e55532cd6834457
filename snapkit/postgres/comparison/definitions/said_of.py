"""What is said of objects: privileges, comments and security labels; and the default privileges.

https://www.postgresql.org/docs/current/ddl-priv.html, .../catalog-pg-description.html, .../catalog-pg-seclabel.html
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    Connection,
    Select,
    Text,
    and_,
    case,
    cast,
    column,
    except_,
    func,
    literal,
    null,
    or_,
    select,
    true,
    union_all,
)
from sqlalchemy.dialects.postgresql import OID

from snapkit.core.comparison.schema.defined_objects import UNDO_SCHEMA
from snapkit.core.comparison.schema.said_of_objects import Alias, Granted, Remark
from snapkit.postgres.catalog.tables import catalog_table
from snapkit.postgres.comparison.definitions.pieces import (
    CLASSES,
    FIRST_OWN,
    Char,
    Piece,
    address,
    catalog,
    depend,
    glued,
    listed,
    namespace,
    qualified,
    quoted,
    role,
    when,
    words,
)
from snapkit.postgres.comparison.definitions.tables_and_views import relation

_PUBLIC_SCHEMA = 2200
"""The OID of the schema public. Its first privileges are no reference: it may have been made anew."""

_WITH_PRIVILEGES = {
    "pg_proc": ("proowner", "proacl", "f"),
    "pg_namespace": ("nspowner", "nspacl", "n"),
    "pg_language": ("lanowner", "lanacl", "l"),
    "pg_foreign_data_wrapper": ("fdwowner", "fdwacl", "F"),
    "pg_foreign_server": ("srvowner", "srvacl", "S"),
    "pg_type": ("typowner", "typacl", "T"),
}
"""The catalogs of objects with privileges: the columns for owner and privileges, and the kind of object as
acldefault() wants it."""


def privileges(connection: Connection) -> list[Granted]:
    """Return what was granted, and what of the usual privileges was revoked, on each object.

    The usual ones are those that an object has without any GRANT; for an object of PostgreSQL or of an extension those
    that it came with.
    """
    objects = union_all(*_objects()).subquery("objects")
    initial = catalog_table(
        "pg_init_privs", *(column(name) for name in ("objoid", "classoid", "objsubid", "initprivs"))
    )
    o, i = objects.c, initial.c
    came_with = when(or_(o.classid != CLASSES["pg_namespace"], o.oid != _PUBLIC_SCHEMA), i.initprivs)
    usual = func.coalesce(came_with, func.acldefault(cast(o.kind, Char), o.owner))
    identified = func.pg_identify_object(o.classid, o.oid, o.sub).table_valued(
        *(column(part, Text) for part in ("type", "schema", "name", "identity")), name="identified"
    )
    schema = func.coalesce(identified.c.schema, identified.c.name)
    changed = (
        select(
            *(o.classid, o.oid, o.sub, o.owner, o.acl, usual.label("usual")),
            func.upper(identified.c.type).label("type"),
            identified.c.identity.label("identity"),
        )
        .join_from(
            objects, initial, and_(i.objoid == o.oid, i.classoid == o.classid, i.objsubid == o.sub), isouter=True
        )
        .join(identified, true())
        .where(o.acl != usual, schema != UNDO_SCHEMA, ~func.starts_with(schema, "pg_temp_"))
        .subquery("changed")
    )
    rows = connection.execute(
        _items(
            changed,
            func.concat(changed.c.classid, ".", changed.c.oid, ".", changed.c.sub, type_=Text),
            glued(changed.c.type, " ", changed.c.identity),
        )
    )
    return [Granted(*row) for row in rows]


def _objects() -> list[Select[Any]]:
    """All objects that have privileges: catalog, OID, part, kind, owner, access list."""
    found = []
    for name, (owner, acl, kind) in _WITH_PRIVILEGES.items():
        rows = catalog(name, owner, acl)
        found.append(_object(name, rows.c.oid, literal(0), literal(kind), rows.c[owner], acl=rows.c[acl]))
    c = relation.c
    relkind = case((c.relkind == "S", "s"), else_="r")
    kept = c.relpersistence != "t"
    found.append(_object("pg_class", c.oid, literal(0), relkind, c.relowner, acl=c.relacl).where(kept))
    part = catalog_table("pg_attribute", *(column(name) for name in ("attrelid", "attnum", "attacl", "attisdropped")))
    of_column = _object("pg_class", c.oid, part.c.attnum, literal("c"), c.relowner, acl=part.c.attacl)
    found.append(
        of_column.join_from(relation, part, part.c.attrelid == c.oid).where(kept, part.c.attisdropped.is_(False))
    )
    return found


def _object(name: str, oid: Any, part: Any, kind: Any, owner: Any, *, acl: Any) -> Select[Any]:
    return select(
        literal(CLASSES[name]).label("classid"),
        oid.label("oid"),
        part.label("sub"),
        kind.label("kind"),
        owner.label("owner"),
        acl.label("acl"),
    ).where(acl.is_not(None))


def _items(objects: Any, at: Piece, title: Piece) -> Select[Any]:
    """Select what the access list of each object has besides the usual, and what it lacks: one row for each grantee."""

    def exploded(acl: Any, name: str) -> Any:
        parts = ("grantor", "grantee", "privilege_type", "is_grantable")
        return func.aclexplode(acl).table_valued(*(column(part) for part in parts), name=name)

    def besides(one: Any, other: Any) -> Any:
        return except_(select(*exploded(one, "has").c), select(*exploded(other, "lacks").c))

    o = objects.c
    ways = []
    for way, found in (("GRANT", besides(o.acl, o.usual)), ("REVOKE", besides(o.usual, o.acl))):
        item = found.subquery("item")
        ways.append(select(literal(way, Text).label("way"), *item.c).select_from(item))
    item = union_all(*ways).lateral("item")
    i = item.c
    who = words(
        when(i.way == "GRANT", "TO", "FROM"),
        role(cast(i.grantee, OID)),
        when(and_(i.is_grantable, i.way == "GRANT"), "WITH GRANT OPTION"),
        when(i.grantor != o.owner, glued("GRANTED BY ", role(cast(i.grantor, OID)))),
    )
    listing = listed(i.privilege_type, i.privilege_type.collate("C"))
    return (
        select(at, title, i.way, listing, who)
        .select_from(objects)
        .join(item, true())
        .group_by(at, title, i.way, who)
        .order_by(at, i.way, who.collate("C"))
    )


def default_privileges(connection: Connection) -> list[Granted]:
    """Return the default privileges, by the role and the schema that they are for.

    https://www.postgresql.org/docs/current/catalog-pg-default-acl.html
    """
    rows = catalog("pg_default_acl", "defaclrole", "defaclnamespace", "defaclobjtype", "defaclacl")
    c = rows.c
    kinds = {"r": "TABLES", "S": "SEQUENCES", "f": "FUNCTIONS", "T": "TYPES", "n": "SCHEMAS", "L": "LARGE OBJECTS"}
    kind = when(c.defaclobjtype == "S", "s", cast(c.defaclobjtype, Text))
    usual = when(c.defaclnamespace == 0, func.acldefault(cast(kind, Char), c.defaclrole), _nothing())
    found = select(
        c.oid,
        c.defaclrole.label("owner"),
        c.defaclacl.label("acl"),
        usual.label("usual"),
        words(
            glued("FOR ROLE ", role(c.defaclrole)),
            select(glued("IN SCHEMA ", quoted(namespace.c.nspname)))
            .where(namespace.c.oid == c.defaclnamespace)
            .scalar_subquery(),
        ).label("whose"),
        case(kinds, value=c.defaclobjtype).label("kind"),
    ).subquery("found")
    at = func.concat(CLASSES["pg_default_acl"], ".", found.c.oid, ".0", type_=Text)
    title = glued(found.c.kind, " ", found.c.whose)
    return [Granted(*row) for row in connection.execute(_items(found, at, title))]


def _nothing() -> Piece:
    """An empty access list."""
    return func.array_remove(func.acldefault(cast("c", Char), cast(0, OID)), null())


def comments(connection: Connection) -> list[Remark]:
    """Return the comments on users' objects, extensions and the schema public, as literals."""
    rows = catalog_table("pg_description", *map(column, ("objoid", "classoid", "objsubid", "description")))
    c = rows.c
    at = func.concat(c.classoid, ".", c.objoid, ".", c.objsubid, type_=Text)
    is_told = or_(
        c.objoid >= FIRST_OWN,
        c.classoid == CLASSES["pg_extension"],
        and_(c.classoid == CLASSES["pg_namespace"], c.objoid == _PUBLIC_SCHEMA),
    )
    found = connection.execute(select(at, literal("", Text), func.quote_literal(c.description)).where(is_told))
    return sorted(Remark(*row) for row in found)


def security_labels(connection: Connection) -> list[Remark]:
    rows = catalog_table("pg_seclabel", *map(column, ("objoid", "classoid", "objsubid", "provider", "label")))
    c = rows.c
    at = func.concat(c.classoid, ".", c.objoid, ".", c.objsubid, type_=Text)
    found = connection.execute(select(at, quoted(c.provider), func.quote_literal(c.label)))
    return sorted(Remark(*row) for row in found)


def aliases(connection: Connection) -> list[Alias]:
    """Return objects that are told as others.

    These are the index behind a constraint, the sequence of an identity column, and the constraints of domains.
    """
    constraint = catalog("pg_constraint", "conindid", "contype", "conname", "contypid", "conrelid", "conkey")
    c, r = constraint.c, relation.c
    title = qualified(namespace.c.nspname, r.relname)
    indexes = (
        select(address("pg_class", r.oid), address("pg_constraint", c.oid), glued("INDEX ", title))
        .join_from(constraint, relation, r.oid == c.conindid)
        .join(namespace, namespace.c.oid == r.relnamespace)
        .where(c.contype.in_(("p", "u", "x")), c.oid >= FIRST_OWN)
    )
    d = depend.c
    sequences = (
        select(address("pg_class", r.oid), address("pg_class", d.refobjid, d.refobjsubid), glued("SEQUENCE ", title))
        .join_from(depend, relation, and_(d.classid == CLASSES["pg_class"], d.objid == r.oid))
        .join(namespace, namespace.c.oid == r.relnamespace)
        .where(d.refclassid == CLASSES["pg_class"], d.deptype == "i", r.relkind == "S")
    )
    of_domain = glued("CONSTRAINT ", quoted(c.conname), " ON DOMAIN ", func.format_type(c.contypid, None))
    of_domains = select(address("pg_constraint", c.oid), address("pg_type", c.contypid), of_domain).where(
        c.contypid != 0
    )
    not_null = glued("CONSTRAINT ", quoted(c.conname), " ON ", title)
    of_columns = (
        select(
            address("pg_constraint", c.oid), address("pg_class", r.oid, func.array_to_string(c.conkey, "")), not_null
        )
        .join_from(constraint, relation, r.oid == c.conrelid)
        .join(namespace, namespace.c.oid == r.relnamespace)
        .where(c.contype == "n", c.oid >= FIRST_OWN)
    )
    return [Alias(*row) for row in connection.execute(union_all(indexes, sequences, of_domains, of_columns))]
