"""Code of ordinary roles that would run with a superuser's rights when a superuser loads or counts rows.

Whoever loads a row computes CHECK constraints (of domains, too), generated columns and partition keys. Adding a foreign
key calls casts. When the planner looks at a table, it computes constant parts of its indexes and extended statistics.
PostgreSQL switches to the table's owner, in a way that the code cannot undo, only when it builds indexes, materialised
views and statistics. https://www.postgresql.org/docs/current/sql-createindex.html
"""

from __future__ import annotations

from sqlalchemy import (
    Boolean,
    ColumnElement,
    Connection,
    FromClause,
    Select,
    Text,
    and_,
    case,
    cast,
    column,
    func,
    literal,
    or_,
    select,
    true,
    union_all,
)
from sqlalchemy.dialects.postgresql import ARRAY, OID, REGCLASS

from snapkit.core.copying.untrusted_code import Call
from snapkit.postgres.catalog.tables import FIRST_OWN, catalog_table, pg_attribute, pg_class, pg_roles

_PG_PROC = 1255
"""The OID of pg_proc itself."""

_FUNCTIONS = r":funcid (\d+)"
_OPERATORS = r":opnos? (?:\(o )?(\d+(?: \d+)*)"
"""How a stored expression (pg_node_tree) names functions and operators. The function that it names for an operator is
not reliable (readfuncs.c)."""


_type = catalog_table("pg_type", column("oid", OID), column("typowner", OID))
_function = catalog_table(
    "pg_proc", column("oid", OID), column("proname", Text), column("proowner", OID), column("provolatile", Text)
)
_operator = catalog_table("pg_operator", column("oid", OID), column("oprcode", OID))


def foreign_calls(connection: Connection) -> list[Call]:
    """Return such calls in the connected database.

    A function counts if its owner is no superuser. In an expression that such a role has written, a function also
    counts if it may run statements that it is given. So it has to be immutable there, or one of PostgreSQL's own
    stable functions that make no XML of tables.
    """
    expressions = _expressions()
    called = union_all(
        _functions_in(expressions), _functions_of_operators_in(expressions), _functions_of_casts()
    ).subquery("called")
    author, owner = pg_roles.alias("author"), pg_roles.alias("owner")
    runs_statements = and_(
        _function.c.provolatile != "i",
        or_(
            _function.c.oid >= FIRST_OWN,
            _function.c.provolatile == "v",
            _function.c.proname.like("%to\\_xml%"),
        ),
    )
    rows = connection.execute(
        select(
            called.c.place,
            func.pg_describe_object(_PG_PROC, _function.c.oid, 0, type_=Text).label("function"),
            case((~_is_super(owner), func.coalesce(owner.c.rolname, "?"))).label("owner"),
        )
        .join_from(called, _function, _function.c.oid == called.c.function)
        .outerjoin(author, author.c.oid == called.c.author)
        .outerjoin(owner, owner.c.oid == _function.c.proowner)
        .where(or_(~_is_super(owner), and_(~_is_super(author), runs_statements)))
        .distinct()
        .order_by("place", "function")
    )
    return [Call(*row) for row in rows]


def _is_super(role: FromClause) -> ColumnElement[bool]:
    return func.coalesce(role.c.rolsuper, False, type_=Boolean)


def _functions_in(expressions: FromClause) -> Select[tuple[str, int, int]]:
    found = _found(expressions, _FUNCTIONS)
    return select(expressions.c.place, expressions.c.author, cast(found.c.pieces[1], OID).label("function")).join_from(
        expressions, found, true()
    )


def _functions_of_operators_in(expressions: FromClause) -> Select[tuple[str, int, int]]:
    found = _found(expressions, _OPERATORS)
    oids = cast(func.string_to_array(found.c.pieces[1], " "), ARRAY(OID))
    return (
        select(expressions.c.place, expressions.c.author, cast(_operator.c.oprcode, OID))
        .join_from(expressions, found, true())
        .join(_operator, _operator.c.oid == func.any(oids))
    )


def _found(expressions: FromClause, pattern: str) -> FromClause:
    matches = func.regexp_matches(expressions.c.tree, pattern, "g")
    return matches.table_valued(column("pieces", ARRAY(Text))).render_derived(name="found")


def _functions_of_casts() -> Select[tuple[str, int, int]]:
    """A foreign key between columns of two types calls an implicit cast. The catalog does not say which."""
    casts = catalog_table(
        "pg_cast",
        column("castsource", OID),
        column("casttarget", OID),
        column("castfunc", OID),
        column("castcontext", Text),
    )
    source, target = (func.format_type(each, None) for each in (casts.c.castsource, casts.c.casttarget))
    place = func.format("the implicit cast of %s to %s", source, target, type_=Text)
    return (
        select(place, _function.c.proowner, casts.c.castfunc)
        .join_from(casts, _function, _function.c.oid == casts.c.castfunc)
        .where(casts.c.castcontext == "i", casts.c.castfunc >= FIRST_OWN)
    )


def _expressions() -> FromClause:
    """Every such stored expression: where it is, who may have written it, and its text."""
    constraints = catalog_table(
        "pg_constraint",
        column("conname", Text),
        column("contype", Text),
        column("conrelid", OID),
        column("contypid", OID),
        column("conbin", Text),
    )
    on_tables = _of_tables("CHECK %I of %s", constraints, "conrelid", "conbin", constraints.c.conname).where(
        constraints.c.contype == "c"
    )
    on_domains = (
        select(
            func.format("CHECK %I of %s", constraints.c.conname, func.format_type(_type.c.oid, None), type_=Text),
            _type.c.typowner,
            cast(constraints.c.conbin, Text),
        )
        .join_from(constraints, _type, _type.c.oid == constraints.c.contypid)
        .where(constraints.c.contype == "c")
    )
    defaults = catalog_table("pg_attrdef", column("adrelid", OID), column("adnum"), column("adbin", Text))
    generated = (
        _of_tables("the column %I of %s", defaults, "adrelid", "adbin", pg_attribute.c.attname)
        .join(
            pg_attribute,
            and_(pg_attribute.c.attrelid == defaults.c.adrelid, pg_attribute.c.attnum == defaults.c.adnum),
        )
        .where(pg_attribute.c.attgenerated != "")
    )
    partitioned = catalog_table("pg_partitioned_table", column("partrelid", OID), column("partexprs", Text))
    indexes = catalog_table(
        "pg_index",
        column("indexrelid", OID),
        column("indrelid", OID),
        column("indexprs", Text),
        column("indpred", Text),
    )
    statistics = catalog_table(
        "pg_statistic_ext", column("stxname", Text), column("stxrelid", OID), column("stxexprs", Text)
    )
    index_name = cast(cast(indexes.c.indexrelid, REGCLASS), Text)
    return union_all(
        on_tables,
        on_domains,
        generated,
        _of_tables("the partition key%s of %s", partitioned, "partrelid", "partexprs", literal("", Text)),
        _of_tables("the index %s of %s", indexes, "indrelid", "indexprs", index_name),
        _of_tables("the index %s of %s", indexes, "indrelid", "indpred", index_name),
        _of_tables("the statistics %I of %s", statistics, "stxrelid", "stxexprs", statistics.c.stxname),
    ).subquery("expressions")


def _of_tables(
    title: str, view: FromClause, relation: str, tree: str, name: ColumnElement[str]
) -> Select[tuple[str, int, str]]:
    """Select the expressions ``tree`` of a catalog whose rows belong to tables."""
    place = func.format(title, name, cast(cast(pg_class.c.oid, REGCLASS), Text), type_=Text)
    return (
        select(place.label("place"), pg_class.c.relowner.label("author"), cast(view.c[tree], Text).label("tree"))
        .join_from(view, pg_class, pg_class.c.oid == view.c[relation])
        .where(view.c[tree].is_not(None))
    )
