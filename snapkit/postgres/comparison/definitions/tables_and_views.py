"""Tables, foreign tables, views, materialized views and sequences.

https://www.postgresql.org/docs/current/catalog-pg-class.html
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sqlalchemy import Boolean, ColumnElement, Select, Text, and_, case, column, exists, func, or_, select
from sqlalchemy.dialects.postgresql import ARRAY, OID

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
    is_own,
    is_told,
    joined,
    lines,
    listed,
    namespace,
    needs_extension,
    qualified,
    quoted,
    row_of,
    rows_where,
    shown_options,
    when,
    words,
)

_COLUMNS = (
    *("relname", "relnamespace", "reloftype", "relowner", "relam", "reltoastrelid", "relpersistence", "relkind"),
    *("relforcerowsecurity", "relreplident", "reloptions", "relpartbound", "relacl"),
)
relation = catalog_table(
    "pg_class",
    column("oid", OID),
    *map(column, _COLUMNS),
    column("relispartition", Boolean),
    column("relrowsecurity", Boolean),
)
inherits = catalog_table("pg_inherits", *(column(name) for name in ("inhrelid", "inhparent", "inhseqno")))
index = catalog_table(
    "pg_index",
    *(column(name, OID) for name in ("indexrelid", "indrelid")),
    *(column(name, Boolean) for name in ("indisclustered", "indisreplident", "indisvalid", "indisunique")),
)
attribute = catalog_table(
    "pg_attribute",
    *(column(name) for name in ("attrelid", "attnum", "attname", "atttypid", "atttypmod", "attstattarget")),
    *(column(name) for name in ("attstorage", "attcompression", "attidentity", "attgenerated", "attcollation")),
    *(column(name) for name in ("attoptions", "attfdwoptions")),
    column("attisdropped", Boolean),
    column("attnotnull", Boolean),
)
default = catalog_table("pg_attrdef", *map(column, ("adrelid", "adnum", "adbin")))
access_method = catalog("pg_am", "amname")

name = qualified(namespace.c.nspname, relation.c.relname)
"""The qualified name of a relation."""

KINDS = {
    "r": "table",
    "p": "table",
    "f": "foreign table",
    "v": "view",
    "m": "materialized view",
    "S": "sequence",
    "i": "index",
    "I": "index",
    "c": "type",
}
kind = case(KINDS, value=relation.c.relkind)


def relations() -> Iterator[Select[Any]]:
    yield _tables()
    yield _views()
    yield _sequences()


def own_relations(kinds: str) -> ColumnElement[bool]:
    """Whether a relation, with its schema, is one of users, of one of these kinds."""
    return and_(
        relation.c.relkind.in_(tuple(kinds)),
        relation.c.relpersistence != "t",
        is_own(relation),
        is_told(namespace),
    )


def _tables() -> Select[Any]:
    c = relation.c
    parent, above = relation.alias("parent"), namespace.alias("above")
    of_parents = (
        select(listed(qualified(above.c.nspname, parent.c.relname), inherits.c.inhseqno))
        .join_from(inherits, parent, parent.c.oid == inherits.c.inhparent)
        .join(above, above.c.oid == parent.c.relnamespace)
        .where(inherits.c.inhrelid == c.oid)
        .scalar_subquery()
    )
    is_partition = c.relispartition
    tail = lines(
        when(is_partition, words(glued("PARTITION OF ", of_parents), func.pg_get_expr(c.relpartbound, c.oid))),
        when(~is_partition, glued("INHERITS (", of_parents, ")")),
        glued("PARTITION BY ", func.pg_get_partkeydef(c.oid)),
        _using(),
        glued("WITH (", _options(), ")"),
        _foreign(),
        when(c.relrowsecurity, "ENABLE ROW LEVEL SECURITY"),
        when(c.relforcerowsecurity, "FORCE ROW LEVEL SECURITY"),
        _replica_identity(),
        glued("CLUSTER ON ", _index_that(index.c.indisclustered)),
    )
    text = words(
        "CREATE",
        when(c.relpersistence == "u", "UNLOGGED"),
        when(c.relkind == "f", "FOREIGN"),
        "TABLE",
        name,
        when(c.reloftype != 0, glued("OF ", func.format_type(c.reloftype, None))),
    )
    partitioned = catalog_table("pg_partitioned_table", column("partrelid"))
    foreign = catalog_table("pg_foreign_table", column("ftrelid"), column("ftoptions", ARRAY(Text)))
    options = select(foreign.c.ftoptions).where(foreign.c.ftrelid == c.oid).scalar_subquery()
    raw = words(
        as_text(c.relname, c.relnamespace, c.reloftype, c.relam, c.relpersistence, c.relrowsecurity),
        as_text(c.relforcerowsecurity, c.relreplident, c.reloptions, c.relispartition, c.relpartbound),
        rows_where(inherits, inherits.c.inhrelid == c.oid),
        rows_where(partitioned, partitioned.c.partrelid == c.oid),
        rows_where(foreign, foreign.c.ftrelid == c.oid),
        _toast_options(),
        *(_indexes_that(marked) for marked in (index.c.indisclustered, index.c.indisreplident)),
    )
    root = (
        select(address("pg_class", inherits.c.inhparent))
        .where(inherits.c.inhrelid == c.oid, is_partition)
        .limit(1)
        .scalar_subquery()
    )
    title = words(when(c.relkind == "f", "FOREIGN TABLE", "TABLE"), name)
    return _of_schema(title, text, raw, tail=tail, parent=root, secret=options).where(own_relations("rpf"))


def _of_schema(
    title: Piece, text: Piece, raw: Piece, *, tail: Any = None, parent: Any = None, secret: Any = None
) -> Select[Any]:
    """Select relations, with their schemas."""
    c = relation.c
    return defined(
        address("pg_class", c.oid),
        kind,
        (c.relname,),
        title,
        text,
        raw=raw,
        schema=namespace.c.nspname,
        tail=tail,
        scope=address("pg_namespace", c.relnamespace),
        parent=parent,
        owner=c.relowner,
        secret=secret,
    ).join_from(relation, namespace, namespace.c.oid == c.relnamespace)


def _using() -> Piece:
    """The table's access method, except the usual one."""
    return (
        select(glued("USING ", quoted(access_method.c.amname)))
        .where(access_method.c.oid == relation.c.relam, access_method.c.amname != "heap")
        .scalar_subquery()
    )


def _toast_options() -> Piece:
    toast = relation.alias("toast")
    return (
        select(joined(toast.c.reloptions, ", toast.")).where(toast.c.oid == relation.c.reltoastrelid).scalar_subquery()
    )


def _options() -> Piece:
    """The storage parameters of a relation, and of its TOAST table."""
    both = func.concat_ws(", ", joined(relation.c.reloptions), glued("toast.", _toast_options()))
    return func.nullif(both, "", type_=Text)


def _foreign() -> Piece:
    foreign = catalog_table("pg_foreign_table", *map(column, ("ftrelid", "ftserver", "ftoptions")))
    server = catalog("pg_foreign_server", "srvname")
    return (
        select(
            words("SERVER", quoted(server.c.srvname), shown_options(foreign.c.ftoptions)),
        )
        .join_from(foreign, server, server.c.oid == foreign.c.ftserver)
        .where(foreign.c.ftrelid == relation.c.oid)
        .scalar_subquery()
    )


def _index_that(marked: ColumnElement[bool]) -> Piece:
    its = relation.alias("its_index")
    return (
        select(listed(quoted(its.c.relname), its.c.relname))
        .join_from(index, its, its.c.oid == index.c.indexrelid)
        .where(index.c.indrelid == relation.c.oid, marked)
        .scalar_subquery()
    )


def _indexes_that(marked: ColumnElement[bool]) -> Piece:
    return (
        select(listed(index.c.indexrelid, index.c.indexrelid))
        .where(index.c.indrelid == relation.c.oid, marked)
        .scalar_subquery()
    )


def _replica_identity() -> Piece:
    words_of = {
        "n": "REPLICA IDENTITY NOTHING",
        "f": "REPLICA IDENTITY FULL",
        "i": glued("REPLICA IDENTITY USING INDEX ", _index_that(index.c.indisreplident)),
    }
    return case(*((relation.c.relreplident == letter, piece) for letter, piece in words_of.items()))


def _views() -> Select[Any]:
    c = relation.c
    of_columns = (
        select(
            listed(
                glued(
                    *("ALTER COLUMN ", quoted(attribute.c.attname), " SET DEFAULT "),
                    func.pg_get_expr(default.c.adbin, default.c.adrelid),
                ),
                attribute.c.attnum,
                separator="\n",
            )
        )
        .join_from(
            default,
            attribute,
            and_(attribute.c.attrelid == default.c.adrelid, attribute.c.attnum == default.c.adnum),
        )
        .where(default.c.adrelid == c.oid)
        .scalar_subquery()
    )
    targets = (
        select(
            listed(
                words("ALTER COLUMN", quoted(attribute.c.attname), "SET STATISTICS", attribute.c.attstattarget),
                attribute.c.attnum,
                separator="\n",
            )
        )
        .where(attribute.c.attrelid == c.oid, attribute.c.attnum > 0, attribute.c.attstattarget >= 0)
        .scalar_subquery()
    )
    is_view = c.relkind == "v"
    title = words(when(is_view, "VIEW", "MATERIALIZED VIEW"), name)
    rewrite = catalog("pg_rewrite", "ev_class", "rulename")
    text = lines(
        words("CREATE", title, when(~is_view, _using()), glued("WITH (", _options(), ")"), "AS"),
        func.pg_get_viewdef(c.oid),
    )
    tail = lines(
        of_columns,
        targets,
        when(~is_view, glued("CLUSTER ON ", _index_that(index.c.indisclustered))),
        needs_extension("pg_class", c.oid),
    )
    named = select(listed(attribute.c.attname, attribute.c.attnum)).where(attribute.c.attrelid == c.oid)
    raw = words(
        as_text(c.relname, c.relnamespace, c.reloptions, c.relam),
        _toast_options(),
        rows_where(rewrite, rewrite.c.ev_class == c.oid, rewrite.c.rulename == "_RETURN"),
        rows_where(default, default.c.adrelid == c.oid),
        named.scalar_subquery(),
        targets,
        _indexes_that(index.c.indisclustered),
        needs_extension("pg_class", c.oid),
    )
    return _of_schema(title, text, raw, tail=tail).where(own_relations("vm"))


sequence = catalog_table(
    "pg_sequence",
    *(column(part) for part in ("seqrelid", "seqtypid", "seqstart", "seqincrement", "seqmax", "seqmin", "seqcache")),
    column("seqcycle", Boolean),
)


def _sequences() -> Select[Any]:
    """Sequences, except those of identity columns, with the column that each belongs to."""
    c, s = relation.c, sequence.c
    owned = and_(
        depend.c.classid == CLASSES["pg_class"],
        depend.c.objid == c.oid,
        depend.c.objsubid == 0,
        depend.c.refclassid == CLASSES["pg_class"],
    )
    its, its_schema = relation.alias("its_table"), namespace.alias("its_schema")
    owner_column = (
        select(glued("OWNED BY ", qualified(its_schema.c.nspname, its.c.relname), ".", quoted(attribute.c.attname)))
        .join_from(depend, its, its.c.oid == depend.c.refobjid)
        .join(its_schema, its_schema.c.oid == its.c.relnamespace)
        .join(attribute, and_(attribute.c.attrelid == depend.c.refobjid, attribute.c.attnum == depend.c.refobjsubid))
        .where(owned, depend.c.deptype == "a")
        .limit(1)
        .scalar_subquery()
    )
    parent = (
        select(address("pg_class", depend.c.refobjid, depend.c.refobjsubid))
        .where(owned, depend.c.deptype == "a")
        .limit(1)
        .scalar_subquery()
    )
    text = words(
        "CREATE",
        when(c.relpersistence == "u", "UNLOGGED"),
        "SEQUENCE",
        name,
        parameters(),
    )
    raw = words(
        as_text(c.relname, c.relnamespace, c.relpersistence, c.reloptions),
        row_of(sequence),
        parent,
    )
    found = _of_schema(words("SEQUENCE", name), text, raw, tail=owner_column, parent=parent)
    return found.join(sequence, s.seqrelid == c.oid).where(own_relations("S"))


def parameters(*, with_type: bool = True) -> Piece:
    """What of a sequence is not as CREATE SEQUENCE makes it; of its type, and its direction."""
    s = sequence.c
    up = s.seqincrement > 0
    highest = case({21: 32767, 23: 2147483647}, value=s.seqtypid, else_=9223372036854775807)
    lowest = case({21: -32768, 23: -2147483648}, value=s.seqtypid, else_=-9223372036854775808)
    usual_min, usual_max = when(up, 1, lowest), when(up, highest, -1)
    pieces = words(
        *((when(s.seqtypid != 20, glued("AS ", func.format_type(s.seqtypid, None))),) if with_type else ()),
        when(s.seqstart != when(up, s.seqmin, s.seqmax), glued("START WITH ", s.seqstart)),
        when(s.seqincrement != 1, glued("INCREMENT BY ", s.seqincrement)),
        when(s.seqmin != usual_min, glued("MINVALUE ", s.seqmin)),
        when(s.seqmax != usual_max, glued("MAXVALUE ", s.seqmax)),
        when(s.seqcache != 1, glued("CACHE ", s.seqcache)),
        when(s.seqcycle, "CYCLE"),
    )
    return func.nullif(pieces, "", type_=Text)


def behind_constraint(oid: Any) -> ColumnElement[bool]:
    """Whether an index belongs to a constraint."""
    constraint = catalog_table("pg_constraint", column("conindid", OID), column("contype", Text))
    return exists().where(constraint.c.conindid == oid, or_(*(constraint.c.contype == kind for kind in "pux")))
