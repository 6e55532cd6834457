"""Find the rows that PostgreSQL would refuse because of other rows, before anything is written.

All is read in the transaction that will write, after it has locked the rows. What slips in between all the same, by
another transaction that commits meanwhile, PostgreSQL refuses when it is written; then everything is rolled back.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from psycopg import sql

from snapkit.core.restoring.live_table import ForeignKey, UniqueRule
from snapkit.core.restoring.restored import RestoreConflict
from snapkit.postgres.restoring.filling import conflict
from snapkit.postgres.restoring.stage import Stage, all_of, listed, send, text

Stages = Mapping[int, Stage]
"""By the OID of the live table."""


def unique_conflicts(stage: Stage) -> Iterator[RestoreConflict]:
    """Name the rows whose key, or another value that must be unique, is taken by a row that stays as it is."""
    own = {each.name for each in stage.key}
    for rule in stage.live.unique:
        is_key = bool(rule.columns) and set(rule.columns) == own
        reason = (
            "its key is taken by another row by now"
            if is_key
            else f"another row has what must be unique ({rule.name}) by now"
        )
        for key in stage.keys_of(_taken(stage, rule)):
            yield conflict(stage, key, reason)
        if not is_key:
            for key in stage.keys_of(_twice(stage, rule)):
                yield conflict(stage, key, f"another of these rows has what must be unique ({rule.name})")


def _side(stage: Stage, rule: UniqueRule, *, live: bool) -> sql.Composed:
    """The rows of one side with the rule's expressions as e1, e2, ..., which name columns as the table does."""
    expressions = [
        sql.SQL("({}) AS snapkit_e{}").format(text(each), text(str(n))) for n, each in enumerate(rule.expressions)
    ]
    names = [sql.Identifier(each.name) for each in stage.key_columns]
    head = (
        sql.SQL("tableoid AS snapkit_leaf, ctid AS snapkit_tid")
        if live
        else sql.SQL("ctid AS snapkit_tid, {}").format(stage.task)
    )
    return sql.SQL("(SELECT {} FROM {}{})").format(
        listed([head, *names, *expressions]),
        stage.only if live else stage.new,
        sql.SQL("") if rule.predicate is None else sql.SQL(" WHERE ({})").format(text(rule.predicate)),
    )


def _clash(rule: UniqueRule, one: str, other: str) -> sql.Composed:
    parts = []
    for number, operator in enumerate(rule.operators):
        left, right = (text(f"{each}.snapkit_e{number}") for each in (one, other))
        same = sql.SQL("{} {} {}").format(left, text(operator), right)
        if rule.nulls_equal:
            same = sql.SQL("({} OR ({} IS NULL AND {} IS NULL))").format(same, left, right)
        parts.append(same)
    return all_of(parts)


def _taken(stage: Stage, rule: UniqueRule) -> sql.Composed:
    return sql.SQL("SELECT {} FROM {} AS n JOIN {} AS l ON {} WHERE NOT {}").format(
        stage.shown_key("n"),
        _side(stage, rule, live=False),
        _side(stage, rule, live=True),
        _clash(rule, "l", "n"),
        stage.is_replaced(),
    )


def _twice(stage: Stage, rule: UniqueRule) -> sql.Composed:
    return sql.SQL("SELECT {} FROM {} AS n JOIN {} AS o ON {} AND o.snapkit_tid < n.snapkit_tid").format(
        stage.shown_key("n"),
        _side(stage, rule, live=False),
        _side(stage, rule, live=False),
        _clash(rule, "o", "n"),
    )


def partition_conflicts(stage: Stage) -> Iterator[RestoreConflict]:
    """Name the rows for which there is no partition.

    https://www.postgresql.org/docs/current/functions-info.html (pg_get_partition_constraintdef)
    """
    if not stage.relation.partitioned:
        return
    leaves = sql.Literal([leaf.oid for leaf in stage.relation.leaves])
    bounds = send(
        stage.session,
        sql.SQL("SELECT pg_get_partition_constraintdef(leaf) FROM unnest({}::oid[]) AS leaf").format(leaves),
    ).fetchall()
    if any(bound is None for (bound,) in bounds):
        return  # it takes every row
    fits = sql.SQL(" OR ").join(sql.SQL("({})").format(text(bound)) for (bound,) in bounds)
    query = sql.SQL("SELECT {} FROM (SELECT * FROM {} WHERE ({}) IS NOT TRUE) AS n").format(
        stage.shown_key("n"), stage.new, fits if bounds else sql.SQL("false")
    )
    for key in stage.keys_of(query):
        yield conflict(stage, key, "there is no partition for it any more")


def lock_parents(stage: Stage, key: ForeignKey) -> None:
    """Keep the rows that new rows refer to from being deleted, as PostgreSQL itself does it."""
    send(
        stage.session,
        sql.SQL(
            "SELECT count(*) FROM (SELECT FROM {} AS p WHERE EXISTS (SELECT FROM {} AS n WHERE {}) "
            "FOR KEY SHARE OF p) AS locked"
        ).format(parent_of(key), stage.rows, refers(key, "p", "n")),
    )


def parent_of(key: ForeignKey) -> sql.Composed:
    return sql.SQL("{}{}").format(sql.SQL("ONLY " if key.parent_only else ""), sql.Identifier(*key.parent_name))


def child_of(key: ForeignKey) -> sql.Composed:
    return sql.SQL("{}{}").format(sql.SQL("ONLY " if key.child_only else ""), sql.Identifier(*key.child_name))


def refers(key: ForeignKey, parent: str, child: str) -> sql.Composed:
    """Whether the row ``child`` refers to the row ``parent``."""
    return all_of(
        [
            sql.SQL("{}.{} {} {}.{}").format(
                text(parent), sql.Identifier(above), text(operator), text(child), sql.Identifier(below)
            )
            for above, operator, below in zip(key.parent_columns, key.operators, key.child_columns, strict=True)
        ]
    )


def refers_to_something(key: ForeignKey, child: str) -> sql.Composed:
    """Whether all its columns have values. https://www.postgresql.org/docs/current/sql-createtable.html (MATCH)"""
    return all_of(
        [sql.SQL("{}.{} IS NOT NULL").format(text(child), sql.Identifier(each)) for each in key.child_columns]
    )


def orphans(stage: Stage, key: ForeignKey, stages: Stages) -> Iterator[RestoreConflict]:
    """Name the new rows that refer to a row which is not there, and is not brought back either."""
    parent = stages.get(key.parent)
    stays: sql.Composable = sql.SQL("true")
    comes: sql.Composable = sql.SQL("false")
    if parent is not None:
        stays = sql.SQL("NOT EXISTS (SELECT FROM {} AS g WHERE g.leaf = p.tableoid AND g.tid = p.ctid)").format(
            parent.gone
        )
        comes = sql.SQL("EXISTS (SELECT FROM {} AS p WHERE {})").format(parent.new, refers(key, "p", "n"))
    query = sql.SQL(
        "SELECT {} FROM {} AS n WHERE {} AND NOT EXISTS (SELECT FROM {} AS p WHERE {} AND {}) AND NOT {}"
    ).format(
        stage.shown_key("n"),
        stage.rows,
        refers_to_something(key, "n"),
        parent_of(key),
        refers(key, "p", "n"),
        stays,
        comes,
    )
    there = ".".join(key.parent_name)
    for found in stage.keys_of(query):
        yield conflict(stage, found, f"the row of {there} that it refers to is gone ({key.name})")


def still_referred_to(stage: Stage, key: ForeignKey, stages: Stages) -> Iterator[RestoreConflict]:
    """Name the rows to be deleted to which rows that stay refer, whatever the foreign key would do with these."""
    child = stages.get(key.child)
    goes: sql.Composable = sql.SQL("false")
    if child is not None:
        parts = [
            sql.SQL("EXISTS (SELECT FROM {} AS cg WHERE cg.leaf = c.tableoid AND cg.tid = c.ctid)").format(child.gone)
        ]
        if child.key:
            parts.append(
                sql.SQL("EXISTS (SELECT FROM {} AS u WHERE u.{} = 'u' AND {})").format(
                    child.new, child.task, child.same_key("c", "u")
                )
            )
        goes = sql.SQL("({})").format(sql.SQL(" OR ").join(parts))
    query = sql.SQL(
        "SELECT {} FROM {} AS t JOIN {} AS g ON t.tableoid = g.leaf AND t.ctid = g.tid "
        "WHERE EXISTS (SELECT FROM {} AS c WHERE {} AND NOT {})"
    ).format(stage.shown_key("t"), stage.only, stage.gone, child_of(key), refers(key, "t", "c"), goes)
    there = ".".join(key.child_name)
    for found in stage.keys_of(query):
        yield conflict(stage, found, f"rows of {there} refer to it ({key.name}), so it is not deleted")
