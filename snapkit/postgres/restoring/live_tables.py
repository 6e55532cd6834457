"""Ask the live database what its tables ask of rows that are written to them.

https://www.postgresql.org/docs/current/catalog-pg-index.html, .../catalog-pg-constraint.html,
.../catalog-pg-trigger.html
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    ColumnElement,
    Connection,
    FromClause,
    Integer,
    Select,
    Text,
    and_,
    column,
    exists,
    false,
    func,
    literal,
    or_,
    select,
    true,
    union_all,
)
from sqlalchemy.dialects.postgresql import ARRAY, OID

from snapkit.core.comparison.row_changes import Pair
from snapkit.core.restoring.live_table import ForeignKey, LiveTable, OwnedSequence, UniqueRule, UserTrigger
from snapkit.core.values import dataclass
from snapkit.postgres.catalog.tables import PG_CLASS_OID, catalog_table, pg_namespace
from snapkit.postgres.connection.driver import server_version

_PG_ATTRDEF = 2604
"""The OID of pg_attrdef itself."""

_EQUAL = 3
"""The strategy number of equality in a B-tree. https://www.postgresql.org/docs/current/xindex.html"""

_class = catalog_table(
    "pg_class", column("oid", OID), column("relname", Text), column("relnamespace", OID), column("relkind", Text)
)
_attribute = catalog_table("pg_attribute", column("attrelid", OID), column("attnum", Integer), column("attname", Text))
_index = catalog_table(
    "pg_index",
    column("indexrelid", OID),
    column("indrelid", OID),
    column("indisunique", Boolean),
    column("indisexclusion", Boolean),
    column("indisvalid", Boolean),
    column("indnkeyatts", Integer),
    column("indpred", Text),
    column("indkey", ARRAY(Integer)),
    column("indclass", ARRAY(OID)),
    column("indnullsnotdistinct", Boolean),
)
_opclass = catalog_table("pg_opclass", column("oid", OID), column("opcfamily", OID), column("opcintype", OID))
_amop = catalog_table(
    "pg_amop",
    column("amopfamily", OID),
    column("amoplefttype", OID),
    column("amoprighttype", OID),
    column("amopstrategy", Integer),
    column("amopopr", OID),
)
_operator = catalog_table("pg_operator", column("oid", OID), column("oprname", Text), column("oprnamespace", OID))
_constraint = catalog_table(
    "pg_constraint",
    column("oid", OID),
    column("conname", Text),
    column("contype", Text),
    column("conrelid", OID),
    column("confrelid", OID),
    column("conparentid", OID),
    column("conindid", OID),
    column("conkey", ARRAY(Integer)),
    column("confkey", ARRAY(Integer)),
    column("conpfeqop", ARRAY(OID)),
    column("conexclop", ARRAY(OID)),
    column("conenforced", Boolean),
    column("conperiod", Boolean),
)
_depend = catalog_table(
    "pg_depend",
    column("classid", OID),
    column("objid", OID),
    column("refclassid", OID),
    column("refobjid", OID),
    column("refobjsubid", Integer),
    column("deptype", Text),
)
_attrdef = catalog_table("pg_attrdef", column("oid", OID), column("adrelid", OID), column("adnum", Integer))
_sequence = catalog_table(
    "pg_sequence", column("seqrelid", OID), column("seqincrement", BigInteger), column("seqcache", BigInteger)
)
_trigger = catalog_table(
    "pg_trigger",
    column("tgrelid", OID),
    column("tgname", Text),
    column("tgenabled", Text),
    column("tgisinternal", Boolean),
)


@dataclass(frozen=True, slots=True)
class LiveTables:
    """The live tables that are written, by OID, and the foreign keys from and to them.

    ``beyond_us`` are foreign keys that only PostgreSQL itself can check: those of single partitions, and with PERIOD.
    """

    tables: Mapping[int, LiveTable]
    keys: tuple[ForeignKey, ...]
    beyond_us: tuple[str, ...]


def live_tables(connection: Connection, pairs: Collection[Pair]) -> LiveTables:
    """Read all that matters of the live tables of these pairs."""
    relations = [pair.after for pair in pairs if pair.after is not None]
    roots = [each.oid for each in relations]
    partitions = {leaf.oid: each.oid for each in relations for leaf in each.leaves if leaf.oid != each.oid}
    unique, sequences = _unique(connection, roots), _sequences(connection, roots)
    triggers = _triggers(connection, {**{each: each for each in roots}, **partitions})
    tables = {
        pair.after.oid: LiveTable(
            pair.after.oid,
            tuple(unique[pair.after.oid]),
            tuple(sequences[pair.after.oid]),
            tuple(triggers[pair.after.oid]),
            _key_operators(pair, unique[pair.after.oid]),
        )
        for pair in pairs
        if pair.after is not None
    }
    keys, beyond = foreign_keys(connection, roots, list(partitions))
    return LiveTables(tables, keys, beyond)


def _key_operators(pair: Pair, rules: Iterable[UniqueRule]) -> tuple[str, ...]:
    """The operators of the unique index over the columns of the pair's key, in the order of these."""
    names = [live.name for _, live in pair.key or ()]
    for rule in rules:
        if rule.predicate is None and rule.columns and set(rule.columns) == set(names):
            by_column = dict(zip(rule.columns, rule.operators, strict=True))
            return tuple(by_column[name] for name in names)
    return tuple("OPERATOR(pg_catalog.=)" for _ in names)


def _operator_text() -> ColumnElement[str]:
    return func.format("OPERATOR(%I.%s)", pg_namespace.c.nspname, _operator.c.oprname, type_=Text)


def _unique(connection: Connection, tables: Sequence[int]) -> dict[int, list[UniqueRule]]:
    position, own, name = _attribute.alias("position"), _attribute.alias("own"), _class.alias("name")
    nulls = _index.c.indnullsnotdistinct if server_version(connection) >= 150000 else false()
    operator = func.coalesce(_constraint.c.conexclop[position.c.attnum], _amop.c.amopopr)
    rows = connection.execute(
        select(
            _index.c.indrelid,
            _index.c.indexrelid,
            name.c.relname,
            func.pg_get_indexdef(_index.c.indexrelid, position.c.attnum, False, type_=Text).label("expression"),
            own.c.attname,
            _operator_text().label("operator"),
            func.pg_get_expr(_index.c.indpred, _index.c.indrelid, type_=Text).label("predicate"),
            nulls.label("nulls_equal"),
        )
        .join_from(_index, name, name.c.oid == _index.c.indexrelid)
        .join(position, position.c.attrelid == _index.c.indexrelid)
        .join(_opclass, _opclass.c.oid == _index.c.indclass[position.c.attnum - 1])
        .outerjoin(
            _amop,
            and_(
                _amop.c.amopfamily == _opclass.c.opcfamily,
                _amop.c.amoplefttype == _opclass.c.opcintype,
                _amop.c.amoprighttype == _opclass.c.opcintype,
                _amop.c.amopstrategy == _EQUAL,
            ),
        )
        .outerjoin(
            _constraint, and_(_constraint.c.conindid == _index.c.indexrelid, _constraint.c.conexclop.is_not(None))
        )
        .join(_operator, _operator.c.oid == operator)
        .join(pg_namespace, pg_namespace.c.oid == _operator.c.oprnamespace)
        .outerjoin(
            own, and_(own.c.attrelid == _index.c.indrelid, own.c.attnum == _index.c.indkey[position.c.attnum - 1])
        )
        .where(
            _index.c.indrelid.in_(list(tables)),
            or_(_index.c.indisunique, _index.c.indisexclusion),
            _index.c.indisvalid,
            position.c.attnum <= _index.c.indnkeyatts,
        )
        .order_by(_index.c.indrelid, _index.c.indexrelid, position.c.attnum)
    )
    by_index: dict[tuple[int, int], list[Any]] = defaultdict(list)
    for row in rows:
        by_index[row.indrelid, row.indexrelid].append(row)
    found: dict[int, list[UniqueRule]] = defaultdict(list)
    for (table, _), parts in by_index.items():
        names = tuple(part.attname for part in parts)
        found[table].append(
            UniqueRule(
                parts[0].relname,
                tuple(part.expression for part in parts),
                tuple(part.operator for part in parts),
                parts[0].predicate,
                parts[0].nulls_equal,
                () if None in names else names,
            )
        )
    return found


def foreign_keys(
    connection: Connection, roots: Sequence[int], partitions: Sequence[int]
) -> tuple[tuple[ForeignKey, ...], tuple[str, ...]]:
    """Return those from or to these tables that are enforced, each once, and the names of those that we cannot check.

    ``roots`` are plain tables and roots of partitions, ``partitions`` all that lie below such a root.
    """
    version = server_version(connection)
    enforced, period = (_constraint.c.conenforced, _constraint.c.conperiod) if version >= 180000 else (true(), false())
    child, parent = _class.alias("child"), _class.alias("parent")
    child_schema, parent_schema = pg_namespace.alias("child_schema"), pg_namespace.alias("parent_schema")
    number = func.generate_series(1, func.array_length(_constraint.c.conkey, 1)).table_valued("n").render_derived("i")
    one, other = _attribute.alias("one"), _attribute.alias("other")
    rows = connection.execute(
        select(
            _constraint.c.oid,
            _constraint.c.conname,
            _constraint.c.conrelid,
            child_schema.c.nspname.label("child_schema"),
            child.c.relname.label("child_name"),
            one.c.attname.label("child_column"),
            _constraint.c.confrelid,
            parent_schema.c.nspname.label("parent_schema"),
            parent.c.relname.label("parent_name"),
            other.c.attname.label("parent_column"),
            _operator_text().label("operator"),
            (child.c.relkind != "p").label("child_only"),
            (parent.c.relkind != "p").label("parent_only"),
            or_(
                period, _constraint.c.conrelid.in_(list(partitions)), _constraint.c.confrelid.in_(list(partitions))
            ).label("beyond_us"),
        )
        .join_from(_constraint, child, child.c.oid == _constraint.c.conrelid)
        .join(child_schema, child_schema.c.oid == child.c.relnamespace)
        .join(parent, parent.c.oid == _constraint.c.confrelid)
        .join(parent_schema, parent_schema.c.oid == parent.c.relnamespace)
        .join(number, true())
        .join(one, and_(one.c.attrelid == child.c.oid, one.c.attnum == _constraint.c.conkey[number.c.n]))
        .join(other, and_(other.c.attrelid == parent.c.oid, other.c.attnum == _constraint.c.confkey[number.c.n]))
        .join(_operator, _operator.c.oid == _constraint.c.conpfeqop[number.c.n])
        .join(pg_namespace, pg_namespace.c.oid == _operator.c.oprnamespace)
        .where(
            _constraint.c.contype == "f",
            _constraint.c.conparentid == 0,
            enforced,
            or_(_constraint.c.conrelid.in_([*roots, *partitions]), _constraint.c.confrelid.in_([*roots, *partitions])),
        )
        .order_by(_constraint.c.oid, number.c.n)
    )
    by_key: dict[int, list[Any]] = defaultdict(list)
    for row in rows:
        by_key[row.oid].append(row)
    keys = tuple(_foreign_key(parts) for parts in by_key.values() if not parts[0].beyond_us)
    return keys, tuple(parts[0].conname for parts in by_key.values() if parts[0].beyond_us)


def _foreign_key(parts: Sequence[Any]) -> ForeignKey:
    first = parts[0]
    return ForeignKey(
        first.conname,
        first.conrelid,
        (first.child_schema, first.child_name),
        tuple(part.child_column for part in parts),
        first.confrelid,
        (first.parent_schema, first.parent_name),
        tuple(part.parent_column for part in parts),
        tuple(part.operator for part in parts),
        first.child_only,
        first.parent_only,
    )


def _sequences(connection: Connection, tables: Sequence[int]) -> dict[int, list[OwnedSequence]]:
    """Those that belong to a column, and those that a column's default takes its values from."""
    owned = select(
        _depend.c.refobjid.label("tab"), _depend.c.refobjsubid.label("num"), _depend.c.objid.label("seq")
    ).where(
        _depend.c.classid == PG_CLASS_OID,
        _depend.c.refclassid == PG_CLASS_OID,
        _depend.c.refobjid.in_(list(tables)),
        _depend.c.deptype.in_(("a", "i")),
    )
    used = (
        select(_attrdef.c.adrelid, _attrdef.c.adnum, _depend.c.refobjid)
        .join_from(_attrdef, _depend, and_(_depend.c.classid == _PG_ATTRDEF, _depend.c.objid == _attrdef.c.oid))
        .where(_depend.c.refclassid == PG_CLASS_OID, _attrdef.c.adrelid.in_(list(tables)))
    )
    uses: FromClause = union_all(owned, used).subquery("uses")
    query: Select[Any] = (
        select(
            uses.c.tab,
            pg_namespace.c.nspname,
            _class.c.relname,
            _attribute.c.attname,
            _sequence.c.seqincrement,
            _sequence.c.seqcache,
        )
        .join_from(uses, _sequence, _sequence.c.seqrelid == uses.c.seq)
        .join(_class, _class.c.oid == uses.c.seq)
        .join(pg_namespace, pg_namespace.c.oid == _class.c.relnamespace)
        .join(_attribute, and_(_attribute.c.attrelid == uses.c.tab, _attribute.c.attnum == uses.c.num))
        .distinct()
    )
    found: dict[int, list[OwnedSequence]] = defaultdict(list)
    for table, *rest in connection.execute(query):
        found[table].append(OwnedSequence(*rest))
    return found


def _triggers(connection: Connection, roots: Mapping[int, int]) -> dict[int, list[UserTrigger]]:
    """The triggers of users that fire for an ordinary session, of tables and their partitions, by the root."""
    rows = connection.execute(
        select(_trigger.c.tgrelid, pg_namespace.c.nspname, _class.c.relname, _trigger.c.tgname, _trigger.c.tgenabled)
        .join_from(_trigger, _class, _class.c.oid == _trigger.c.tgrelid)
        .join(pg_namespace, pg_namespace.c.oid == _class.c.relnamespace)
        .where(_trigger.c.tgrelid.in_(list(roots)), ~_trigger.c.tgisinternal, _trigger.c.tgenabled.in_(("O", "A")))
        .order_by(_trigger.c.tgrelid, _trigger.c.tgname)
    )
    found: dict[int, list[UserTrigger]] = defaultdict(list)
    for table, schema, name, trigger, mode in rows:
        found[roots[table]].append(UserTrigger((schema, name), trigger, mode))
    return found


def may_set_replication_role(connection: Connection) -> bool:
    """Whether this role may switch triggers off for its own session.

    https://www.postgresql.org/docs/current/runtime-config-client.html#GUC-SESSION-REPLICATION-ROLE
    """
    if server_version(connection) >= 150000:
        may_set = select(func.has_parameter_privilege("session_replication_role", "SET", type_=Boolean))
    else:
        role = catalog_table("pg_roles", column("rolname", Text), column("rolsuper", Boolean))
        may_set = select(exists().where(role.c.rolname == func.current_user(), role.c.rolsuper))
    return bool(connection.execute(may_set).scalar_one())


def privileges_lacking(connection: Connection, oid: int) -> list[str]:
    """Return which of INSERT, UPDATE and DELETE this role may not do on a table."""
    wanted = ("INSERT", "UPDATE", "DELETE")
    row = connection.execute(
        select(*(func.has_table_privilege(literal(oid, OID), each, type_=Boolean) for each in wanted))
    ).one()
    return [each for each, may in zip(wanted, row, strict=True) if not may]


def check_constraints(connection: Connection, oid: int) -> set[str]:
    """Return the CHECK constraints of a table, as PostgreSQL prints them."""
    definition = func.pg_get_constraintdef(_constraint.c.oid, type_=Text)
    rows = connection.execute(select(definition).where(_constraint.c.conrelid == oid, _constraint.c.contype == "c"))
    return set(rows.scalars())
