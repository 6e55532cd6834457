"""Read data that is in no table: where sequences stand, and large objects.

https://www.postgresql.org/docs/current/view-pg-sequences.html, .../lo-funcs.html
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

from psycopg import errors, sql
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
    cast,
    column,
    exists,
    func,
    literal,
    or_,
    select,
    true,
)
from sqlalchemy.dialects.postgresql import OID, aggregate_order_by

from snapkit.core.comparison.other_data import SequenceState
from snapkit.postgres.catalog.tables import PG_CLASS_OID, catalog_table, is_one_of, pg_class, pg_namespace
from snapkit.postgres.comparison.relations import UNDO_SCHEMA
from snapkit.postgres.connection.driver import driver_connection

_AT_ONCE = 200
"""Sequences that are read in one statement."""

_ATTEMPTS = 5

_depend = catalog_table(
    "pg_depend",
    column("classid", OID),
    column("objid", OID),
    column("refclassid", OID),
    column("refobjid", OID),
    column("refobjsubid", Integer),
    column("deptype", Text),
)


def sequences(connection: Connection) -> list[SequenceState]:
    """Return where the sequences of the database stand, without temporary ones and those of extensions.

    They are in no snapshot: each is as of the moment at which it is read. Raises what the server raises, such as that a
    sequence was dropped meanwhile, if that happens again and again.
    """
    for attempt in range(_ATTEMPTS):
        try:
            return list(_states(connection, connection.execute(_sequences()).all()))
        except (errors.UndefinedTable, errors.InvalidSchemaName, errors.WrongObjectType):
            if attempt == _ATTEMPTS - 1:
                raise
    raise AssertionError  # pragma: no cover - the last attempt returns or raises


def _sequences() -> Select[Any]:
    extension, belongs = _depend.alias("extension"), _depend.alias("belongs")
    owner, its_schema = pg_class.alias("owner"), pg_namespace.alias("its_schema")
    of_extension = exists().where(
        extension.c.classid == PG_CLASS_OID, extension.c.objid == pg_class.c.oid, extension.c.deptype == "e"
    )
    of_table = and_(
        belongs.c.classid == PG_CLASS_OID,
        belongs.c.objid == pg_class.c.oid,
        belongs.c.deptype.in_(("a", "i")),
        belongs.c.refclassid == PG_CLASS_OID,
        belongs.c.refobjsubid > 0,
    )
    return (
        select(
            pg_class.c.oid,
            pg_namespace.c.nspname,
            pg_class.c.relname,
            and_(
                func.has_schema_privilege(pg_class.c.relnamespace, "USAGE", type_=Boolean),
                func.has_sequence_privilege(pg_class.c.oid, "SELECT", type_=Boolean),
            ).label("may_read"),
            its_schema.c.nspname.label("owner_schema"),
            owner.c.relname.label("owner"),
        )
        .join_from(pg_class, pg_namespace, pg_namespace.c.oid == pg_class.c.relnamespace)
        .outerjoin(belongs, of_table)
        .outerjoin(owner, owner.c.oid == belongs.c.refobjid)
        .outerjoin(its_schema, its_schema.c.oid == owner.c.relnamespace)
        .where(
            pg_class.c.relkind == "S",
            pg_class.c.relpersistence != "t",
            ~func.starts_with(pg_namespace.c.nspname, "pg_", type_=Boolean),
            pg_namespace.c.nspname.not_in(("information_schema", UNDO_SCHEMA)),
            ~of_extension,
        )
        .order_by(pg_class.c.oid)
    )


def _states(connection: Connection, found: Sequence[Row[Any]]) -> Iterator[SequenceState]:
    readable = iter([row for row in found if row.may_read])
    values: dict[int, tuple[int, bool]] = {}
    while some := list(islice(readable, _AT_ONCE)):
        query = sql.SQL(" UNION ALL ").join(
            sql.SQL("SELECT {}::oid, last_value, is_called FROM {}").format(
                row.oid, sql.Identifier(row.nspname, row.relname)
            )
            for row in some
        )
        values |= {oid: (value, called) for oid, value, called in driver_connection(connection).execute(query)}
    for row in found:
        value, called = values.get(row.oid, (None, True))
        table = (row.owner_schema, row.owner) if row.owner else None
        yield SequenceState(row.oid, row.nspname, row.relname, value, called, table)


# --- large objects --------------------------------------------------------------------------------------------------

_PIECE = 1 << 24
"""Bytes of a large object that are read at once."""

_metadata = catalog_table("pg_largeobject_metadata", column("oid", OID), column("lomowner", OID), column("lomacl"))


def large_objects_after(connection: Connection, oid: int, number: int) -> list[int]:
    """Return the OIDs of the next large objects after ``oid``."""
    query = select(_metadata.c.oid).where(_metadata.c.oid > cast(literal(oid, BigInteger), OID))
    return list(connection.execute(query.order_by(_metadata.c.oid).limit(number)).scalars())


def large_object_digests(connection: Connection, oids: Collection[int]) -> Mapping[int, str | None]:
    """Return a digest of each of these large objects, however it is divided into pages; None: this role may not read
    it. One that is not there is left out."""
    found = {
        row.oid: row.may_read
        for row in connection.execute(
            select(_metadata.c.oid, _may_read().label("may_read")).where(is_one_of(_metadata.c.oid, oids))
        )
    }
    readable = [oid for oid, may_read in found.items() if may_read]
    digests = {row.oid: row.digest for row in connection.execute(_digests(readable))} if readable else {}
    return {oid: digests.get(oid) for oid in found}


def _may_read() -> ColumnElement[bool]:
    """https://www.postgresql.org/docs/current/runtime-config-compatible.html#GUC-LO-COMPAT-PRIVILEGES"""
    acl = func.aclexplode(_metadata.c.lomacl).table_valued(
        column("grantee", OID), column("privilege_type", Text), name="acl"
    )
    granted = (
        select(literal(1))
        .select_from(acl)
        .where(
            acl.c.privilege_type == "SELECT",
            or_(acl.c.grantee == 0, func.pg_has_role(acl.c.grantee, "USAGE", type_=Boolean)),
        )
        .exists()
    )
    return or_(
        func.current_setting("is_superuser", type_=Text) == "on",
        func.current_setting("lo_compat_privileges", type_=Text) == "on",
        func.pg_has_role(_metadata.c.lomowner, "USAGE", type_=Boolean),
        granted,
    )


def _digests(oids: Collection[int]) -> Select[Any]:
    def pieces_at(oid: ColumnElement[int], at: ColumnElement[int]) -> Select[Any]:
        data = func.lo_get(oid, at, _PIECE).table_valued("data", name="piece").render_derived().lateral()
        digest, length = func.md5(data.c.data, type_=Text), func.octet_length(data.c.data, type_=BigInteger)
        columns: list[ColumnElement[Any]] = [oid.label("oid"), at.label("at")]
        columns += [digest.label("digest"), length.label("length")]
        return select(*columns).select_from(oid.table).join(data, true())

    wanted = pieces_at(_metadata.c.oid, cast(0, BigInteger)).where(is_one_of(_metadata.c.oid, oids))
    pieces = wanted.cte("pieces", recursive=True)
    pieces = pieces.union_all(pieces_at(pieces.c.oid, pieces.c.at + _PIECE).where(pieces.c.length == _PIECE))
    whole = func.string_agg(pieces.c.digest, aggregate_order_by(literal("", Text), pieces.c.at), type_=Text)
    return select(pieces.c.oid, whole.label("digest")).group_by(pieces.c.oid)
