"""What lies on a table or a view: indexes, constraints, triggers, rules, policies, extended statistics.

PostgreSQL prints all of them but policies.
https://www.postgresql.org/docs/current/functions-info.html#FUNCTIONS-INFO-CATALOG
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sqlalchemy import Boolean, Select, and_, case, column, exists, func, or_, select
from sqlalchemy.dialects.postgresql import ARRAY, OID

from snapkit.core.comparison.schema.defined_objects import DISABLED, INVALID
from snapkit.postgres.catalog.tables import catalog_table
from snapkit.postgres.comparison.definitions.pieces import (
    Piece,
    address,
    as_text,
    defined,
    glued,
    joined,
    lines,
    listed,
    namespace,
    needs_extension,
    qualified,
    quoted,
    role,
    row_of,
    when,
    words,
)
from snapkit.postgres.comparison.definitions.tables_and_views import (
    attribute,
    behind_constraint,
    index,
    inherits,
    name,
    own_relations,
    relation,
)

_constraint = catalog_table(
    "pg_constraint",
    column("oid", OID),
    *(column(each) for each in ("conname", "conrelid", "contype", "conindid", "confrelid")),
    column("conparentid", OID),
    *(column(each, Boolean) for each in ("conislocal", "convalidated", "condeferrable", "condeferred")),
)
_trigger = catalog_table(
    "pg_trigger",
    column("oid", OID),
    *(column(each) for each in ("tgname", "tgrelid", "tgenabled", "tgconstraint")),
    column("tgparentid", OID),
    column("tgisinternal", Boolean),
)
_TABLES = "rpf"


def on_tables() -> Iterator[Select[Any]]:
    yield _indexes()
    yield _constraints()
    yield _triggers()
    yield _rules()
    yield _policies()
    yield _statistics()


def _lying(
    at: Piece, kind: Any, own_name: Any, title: Piece, text: Piece, *, kinds: str = _TABLES, **more: Any
) -> Select[Any]:
    """Select what lies on a relation of these kinds, with the relation and its schema."""
    table = address("pg_class", relation.c.oid)
    path = (relation.c.relname, own_name)
    found = defined(at, kind, path, title, text, schema=namespace.c.nspname, scope=table, parent=table, **more)
    return found.join_from(relation, namespace, namespace.c.oid == relation.c.relnamespace).where(own_relations(kinds))


def _on(title: str, own_name: Any) -> Piece:
    return glued(f"{title} ", quoted(own_name), " ON ", name)


def _indexes() -> Select[Any]:
    """Indexes, except those behind a constraint."""
    its = relation.alias("its_index")
    above = (
        select(address("pg_class", inherits.c.inhparent))
        .where(inherits.c.inhrelid == its.c.oid)
        .limit(1)
        .scalar_subquery()
    )
    statistics = _statistics_of(its.c.oid)
    return (
        _lying(
            address("pg_class", its.c.oid),
            "index",
            its.c.relname,
            glued("INDEX ", qualified(namespace.c.nspname, its.c.relname)),
            func.pg_get_indexdef(its.c.oid),
            tail=lines(when(~index.c.indisvalid, INVALID), statistics, needs_extension("pg_class", its.c.oid)),
            raw=words(
                row_of(index),
                as_text(its.c.relname, its.c.relam, its.c.reloptions),
                statistics,
                needs_extension("pg_class", its.c.oid),
            ),
            origin=above,
            kinds="rpm",
        )
        .join(index, index.c.indrelid == relation.c.oid)
        .join(its, its.c.oid == index.c.indexrelid)
        .where(~behind_constraint(its.c.oid))
    )


def _statistics_of(oid: Any) -> Piece:
    """The statistics targets of an index's expressions."""
    return (
        select(
            listed(
                glued("ALTER COLUMN ", attribute.c.attnum, " SET STATISTICS ", attribute.c.attstattarget),
                attribute.c.attnum,
                separator="\n",
            )
        )
        .where(attribute.c.attrelid == oid, attribute.c.attnum > 0, attribute.c.attstattarget >= 0)
        .scalar_subquery()
    )


def _constraints() -> Select[Any]:
    """Constraints of tables, with what the index or the triggers behind them have by themselves.

    NOT NULL belongs to the column, and a constraint trigger is a trigger. The keys that PostgreSQL makes itself, for
    each partition of a referenced table, belong to the key that was declared.
    """
    con = _constraint.c
    its = relation.alias("its_index")
    declared = _constraint.alias("declared")
    of_index = (
        select(
            lines(
                glued("WITH (", joined(its.c.reloptions), ")"),
                when(~index.c.indisvalid, INVALID),
                _statistics_of(its.c.oid),
            )
        )
        .join_from(its, index, index.c.indexrelid == its.c.oid)
        .where(its.c.oid == con.conindid, con.contype.in_(("p", "u", "x")))
        .scalar_subquery()
    )
    disabled = exists().where(_trigger.c.tgconstraint == con.oid, _trigger.c.tgisinternal, _trigger.c.tgenabled != "O")
    tail = lines(func.nullif(of_index, ""), when(and_(con.contype == "f", disabled), DISABLED))
    made_by_itself = exists().where(declared.c.oid == con.conparentid, declared.c.conrelid == con.conrelid)
    return (
        _lying(
            address("pg_constraint", con.oid),
            "constraint",
            con.conname,
            _on("CONSTRAINT", con.conname),
            glued("CONSTRAINT ", quoted(con.conname), " ", func.pg_get_constraintdef(con.oid)),
            tail=tail,
            raw=words(row_of(_constraint), of_index, when(disabled, "disabled")),
            origin=_inherited(),
        )
        .join(_constraint, con.conrelid == relation.c.oid)
        .where(con.contype.in_(("c", "f", "p", "u", "x")), ~made_by_itself)
    )


def _inherited() -> Piece:
    """The constraint of a parent that this one was inherited from."""
    above = _constraint.alias("above")
    by_name = (
        select(address("pg_constraint", above.c.oid))
        .join_from(inherits, above, above.c.conrelid == inherits.c.inhparent)
        .where(
            inherits.c.inhrelid == _constraint.c.conrelid,
            above.c.conname == _constraint.c.conname,
            above.c.contype == "c",
            _constraint.c.contype == "c",
        )
        .order_by(inherits.c.inhseqno)
        .limit(1)
        .scalar_subquery()
    )
    return when(_constraint.c.conparentid != 0, address("pg_constraint", _constraint.c.conparentid), by_name)


_STATES = {"D": "DISABLE", "R": "ENABLE REPLICA", "A": "ENABLE ALWAYS"}


def _enabled(state: Any, what: str, own_name: Any) -> Piece:
    """How it is enabled, if not as usual."""
    return glued(case(_STATES, value=state), f" {what} ", quoted(own_name))


def _triggers() -> Select[Any]:
    """Triggers, except those behind foreign keys."""
    t = _trigger.c
    of_key = exists().where(_constraint.c.oid == t.tgconstraint, _constraint.c.contype == "f")
    return (
        _lying(
            address("pg_trigger", t.oid),
            "trigger",
            t.tgname,
            _on("TRIGGER", t.tgname),
            func.pg_get_triggerdef(t.oid),
            tail=lines(_enabled(t.tgenabled, "TRIGGER", t.tgname), needs_extension("pg_trigger", t.oid)),
            raw=words(row_of(_trigger), needs_extension("pg_trigger", t.oid)),
            origin=when(t.tgparentid != 0, address("pg_trigger", t.tgparentid)),
            kinds="rpfv",
        )
        .join(_trigger, t.tgrelid == relation.c.oid)
        .where(or_(~t.tgisinternal, t.tgparentid != 0), ~of_key)
    )


def _rules() -> Select[Any]:
    rewrite = catalog_table("pg_rewrite", column("oid", OID), *map(column, ("rulename", "ev_class", "ev_enabled")))
    r = rewrite.c
    return (
        _lying(
            address("pg_rewrite", r.oid),
            "rule",
            r.rulename,
            _on("RULE", r.rulename),
            func.pg_get_ruledef(r.oid),
            tail=_enabled(r.ev_enabled, "RULE", r.rulename),
            raw=row_of(rewrite),
            kinds="rpfv",
        )
        .join(rewrite, r.ev_class == relation.c.oid)
        .where(r.rulename != "_RETURN")
    )


def _policies() -> Select[Any]:
    policy = catalog_table(
        "pg_policy",
        column("oid", OID),
        *map(column, ("polname", "polrelid", "polcmd", "polqual", "polwithcheck")),
        column("polpermissive", Boolean),
        column("polroles", ARRAY(OID)),
    )
    p = policy.c
    member = func.unnest(p.polroles).table_valued(column("oid", OID), name="member").render_derived()
    roles = select(listed(role(member.c.oid), role(member.c.oid).collate("C"))).select_from(member).scalar_subquery()
    commands = {"r": "SELECT", "a": "INSERT", "w": "UPDATE", "d": "DELETE", "*": "ALL"}
    text = words(
        glued("CREATE POLICY ", quoted(p.polname), " ON ", name),
        when(~p.polpermissive, "AS RESTRICTIVE"),
        glued("FOR ", case(commands, value=p.polcmd)),
        glued("TO ", roles),
        glued("USING (", func.pg_get_expr(p.polqual, p.polrelid), ")"),
        glued("WITH CHECK (", func.pg_get_expr(p.polwithcheck, p.polrelid), ")"),
    )
    title = _on("POLICY", p.polname)
    found = _lying(address("pg_policy", p.oid), "policy", p.polname, title, text, raw=row_of(policy))
    return found.join(policy, p.polrelid == relation.c.oid)


def _statistics() -> Select[Any]:
    """Extended statistics. Their names are unique in their schema, which need not be that of the table."""
    found = catalog_table(
        "pg_statistic_ext",
        column("oid", OID),
        *map(column, ("stxname", "stxnamespace", "stxrelid", "stxowner", "stxstattarget")),
    )
    s = found.c
    own_schema = namespace.alias("own_schema")
    title = glued("STATISTICS ", qualified(own_schema.c.nspname, s.stxname))
    return (
        defined(
            address("pg_statistic_ext", s.oid),
            "statistics",
            (s.stxname,),
            title,
            func.pg_get_statisticsobjdef(s.oid),
            tail=when(s.stxstattarget >= 0, glued("SET STATISTICS ", s.stxstattarget)),
            raw=row_of(found),
            schema=own_schema.c.nspname,
            scope=address("pg_namespace", s.stxnamespace),
            parent=address("pg_class", relation.c.oid),
            owner=s.stxowner,
        )
        .join_from(relation, namespace, namespace.c.oid == relation.c.relnamespace)
        .join(found, s.stxrelid == relation.c.oid)
        .join(own_schema, own_schema.c.oid == s.stxnamespace)
        .where(own_relations("rpmf"))
    )
