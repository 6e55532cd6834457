"""A swap as a script for psql: for you to read first, or to run where there is no snapkit."""

from __future__ import annotations

from snapkit.core.plans.clone import ClonePlan
from snapkit.core.plans.identity import Facts, facts_of
from snapkit.core.plans.seal import statements_to_seal
from snapkit.core.plans.statements import FreezeDatabase, Statement
from snapkit.core.plans.swap import SwapPlan
from snapkit.postgres.sql.ddl import quote_literal, sql_text
from snapkit.postgres.sql.locks import lock_key

_ATTEMPTS = 10
_LOOKS = 100
_BETWEEN_LOOKS = 0.002
"""Seconds. It takes longer to connect."""
_TERMINATE = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datid = {} AND usesysid IS NOT NULL;"
_ROW = "snapkit.row"
"""A custom setting of the script: the transaction that had written the entry's row before it was cloned."""


def swap_script(plan: SwapPlan) -> str:
    """Return the script. It changes nothing unless the databases, and all that it writes over, are as in the plan.

    It compares before it begins, so that it fails early, and again after a rename has locked a database, when nobody
    can change that database any more. An entry that was opened meanwhile has another document, and so is refused: it
    would be live for its owner only, and read-only.

    One session cannot wait for a rename and disconnect others at the same time. So the script disconnects and renames
    in a loop. A session that is just starting up does not appear in ``pg_stat_activity`` yet, and would make the rename
    fail after five seconds. But it holds a lock on the database (InitPostgres in PostgreSQL's source). So the script
    renames at once when it finds no such lock.
    """
    lines = [
        f"-- Rolls {_comment(plan.source)} back to {_comment(plan.entry.name)}.",
        "-- Run it as a whole, connected to another database of the same server: psql -d postgres -f FILE",
        "\\set ON_ERROR_STOP on",
        "\\encoding UTF8",
        "SET search_path TO pg_catalog;",
        "SET standard_conforming_strings TO on;  -- of a role that has it off, the literals below would be others",
        "SET default_transaction_read_only TO off;",
        "SET default_transaction_isolation TO 'read committed';  -- what others commit meanwhile has to be seen",
        "SET statement_timeout TO 0;",
        "SET lock_timeout TO '5s';  -- clients queue behind a rename that waits for a lock",
        "",
    ]
    look = _unless(_entry_is(plan), *_live_is(plan))
    if plan.clone is not None:
        note = f"SELECT set_config('{_ROW}', xmin::text, false) FROM pg_database WHERE oid = {{}};"  # noqa: S608
        lines += ["-- Clone the backup, so that it is kept. Sealed from its first moment.", look]
        lines += [note.format(plan.entry.database.oid)]
        lines += [_line(statement) for statement in (*plan.clone.settings, plan.clone.create)] + [""]
    lines += [
        "BEGIN;",
        f"SELECT pg_advisory_xact_lock({lock_key(plan.source)});  -- one run at a time, snapkit's own included",
        look,
        _TERMINATE.format(plan.entry.database.oid),
        "",
        "-- Properties and comments; nobody sees them before COMMIT.",
        *_set_apart(plan),
        *map(_line, plan.unseal),
        "",
        "-- Disconnect everyone, rename, and seal what was live.",
        *_renames(plan),
        *_put_aside(plan),
        "COMMIT;",
        "",
    ]
    return "\n".join(lines)


def _set_apart(plan: SwapPlan) -> list[str]:
    """The lines that freeze the entry or its clone, and compare it before anything of it is written over."""
    if plan.clone is None:
        return [*map(_line, plan.set_apart), _unless(_entry_is(plan, plan.passing_name))]
    oid = plan.entry.database.oid
    same_row = f"EXISTS (SELECT FROM pg_database WHERE oid = {oid} AND xmin::text = current_setting('{_ROW}'))"
    freeze = _line(FreezeDatabase(plan.clone.name))
    return [freeze, _unless(_clone_is(plan.clone), same_row), *map(_line, plan.clone.restore_properties)]


def _put_aside(plan: SwapPlan) -> list[str]:
    """The lines that seal the database that was live, after a rename has locked it."""
    if plan.displaced_name is None:
        return []
    seal = statements_to_seal(plan.displaced_name, plan.displaced_document)
    return [_unless(*_live_is(plan, plan.displaced_name)), *map(_line, seal)]


def _line(statement: Statement) -> str:
    return sql_text(statement) + ";"


def _comment(name: str) -> str:
    return name.replace("\n", " ").replace("\r", " ")


def _expected(plan: SwapPlan) -> list[tuple[int, str]]:
    return [(d.oid, d.name) for d in (plan.live, plan.entry.database) if d is not None]


def _entry_is(plan: SwapPlan, name: str | None = None) -> str:
    """Say in SQL that the entry is as planned, by its own name or by another."""
    database = plan.entry.database
    return _is(f"oid = {database.oid}", facts_of(database, database.document), name)


def _live_is(plan: SwapPlan, name: str | None = None) -> list[str]:
    if plan.live is None:
        return [f"NOT EXISTS (SELECT FROM pg_database WHERE datname = {quote_literal(plan.source)})"]
    return [_is(f"oid = {plan.live.oid}", facts_of(plan.live, plan.live_comment), name)]


def _clone_is(clone: ClonePlan) -> str:
    """The clone's OID is not known beforehand. Only a clone under construction has its mark."""
    return _is("true", clone.facts)


def _is(which: str, facts: Facts, name: str | None = None) -> str:
    comment = "NULL" if facts.comment is None else quote_literal(facts.comment)
    return (
        f"EXISTS (SELECT FROM pg_database WHERE {which} AND datname = {quote_literal(name or facts.name)}\n"  # noqa: S608
        f"      AND pg_get_userbyid(datdba) = {quote_literal(facts.owner)} AND datallowconn = {facts.allow_connections}"
        f" AND datistemplate = {facts.is_template} AND datconnlimit = {facts.connection_limit}\n"
        f"      AND shobj_description(oid, 'pg_database') IS NOT DISTINCT FROM {comment})"
    )


def _unless(*conditions: str) -> str:
    condition = "\n    AND ".join(conditions)
    return _do(
        f"  IF NOT ({condition}) THEN\n"
        "    RAISE EXCEPTION 'the databases have changed since this script was made: nothing was done to them';\n"
        "  END IF;"
    )


def _renames(plan: SwapPlan) -> list[str]:
    oids = ", ".join(str(oid) for oid, _ in _expected(plan))
    names = ", ".join(quote_literal(name) for _, name in _expected(plan))
    renames = "\n".join(f"      EXECUTE {quote_literal(sql_text(statement))};" for statement in plan.swap)
    body = f"""\
  IF EXISTS (SELECT FROM pg_prepared_xacts WHERE database IN ({names})) THEN
    RAISE EXCEPTION 'prepared transactions are in the way; see pg_prepared_xacts';
  END IF;
  FOR attempt IN 1..{_ATTEMPTS} LOOP
    FOR look IN 1..{_LOOKS} LOOP
      PERFORM pg_stat_clear_snapshot();
      PERFORM pg_terminate_backend(pid) FROM pg_stat_activity
        WHERE datid IN ({oids}) AND pid <> pg_backend_pid() AND usesysid IS NOT NULL;
      EXIT WHEN NOT EXISTS (
        SELECT FROM pg_locks
        WHERE locktype = 'object' AND classid = 'pg_database'::regclass AND objid IN ({oids})
          AND pid <> pg_backend_pid()
      );
      PERFORM pg_sleep({_BETWEEN_LOOKS});
    END LOOP;
    BEGIN
{renames}
      EXIT;
    EXCEPTION WHEN object_in_use THEN
      IF attempt = {_ATTEMPTS} THEN RAISE; END IF;
    END;
  END LOOP;"""  # noqa: S608 - each value is quoted or a number
    return [_do(body)]


def _do(body: str) -> str:
    tag = "$snapkit$"
    number = 0
    while tag in body:
        number += 1
        tag = f"$snapkit{number}$"
    return f"DO {tag}\nBEGIN\n{body}\nEND\n{tag};"
