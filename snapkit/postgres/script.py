"""A swap as a script for psql: for whoever wants to read it first, or has no snapkit at hand."""

from __future__ import annotations

from snapkit.core.planning import SwapPlan
from snapkit.core.statements import Statement
from snapkit.postgres.ddl import quote_literal, sql_text
from snapkit.postgres.locks import lock_key

_ATTEMPTS = 10
_LOOKS = 100
_BETWEEN_LOOKS = 0.002
"""Seconds; shorter than it takes to connect."""
_TERMINATE = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datid = {} AND usesysid IS NOT NULL;"


def swap_script(plan: SwapPlan) -> str:
    """Return the script. It changes nothing unless the databases, and the entry's document, are still the plan's.

    An entry that has been opened meanwhile has another document. It would be live for its owner only, and read-only.

    One session cannot both wait for a rename and disconnect others, so the script disconnects and renames in a loop.
    Whoever is starting up at that moment would get in unseen, and make the rename fail after five seconds; such a
    session shows by its lock on the database, which it takes before it appears in ``pg_stat_activity`` (InitPostgres
    in PostgreSQL's source). So the rename follows at once on a look that found no such lock.
    """
    lines = [
        f"-- Rolls {_comment(plan.source)} back to {_comment(plan.entry.name)}.",
        "-- Run it as a whole, connected to another database of the same server: psql -d postgres -f FILE",
        "\\set ON_ERROR_STOP on",
        "\\encoding UTF8",
        "SET search_path TO pg_catalog;",
        "SET standard_conforming_strings TO on;  -- of a role that has it off, the literals below would be others",
        "SET default_transaction_read_only TO off;",
        "SET statement_timeout TO 0;",
        "SET lock_timeout TO '5s';  -- clients queue behind a rename that waits for a lock",
        "",
    ]
    if plan.clone is not None:
        lines += ["-- Clone the backup, so that it is kept. Sealed from its first moment.", _guard(plan)]
        lines += [_line(statement) for statement in (*plan.clone.settings, plan.clone.create)] + [""]
    before = (*(plan.clone.adorn if plan.clone else ()), *plan.prepare)
    lines += [
        "BEGIN;",
        f"SELECT pg_advisory_xact_lock({lock_key(plan.source)});  -- one run at a time, snapkit's own included",
        _guard(plan),
        _TERMINATE.format(plan.entry.database.oid),
        "",
    ]
    lines += [
        "-- Properties, seal and comments; nobody sees them before COMMIT.",
        *(_line(statement) for statement in before),
        "",
    ]
    lines += ["-- Disconnect everyone, and rename.", *_renames(plan), "COMMIT;", ""]
    return "\n".join(lines)


def _line(statement: Statement) -> str:
    return sql_text(statement) + ";"


def _comment(name: str) -> str:
    return name.replace("\n", " ").replace("\r", " ")


def _expected(plan: SwapPlan) -> list[tuple[int, str]]:
    return [(d.oid, d.name) for d in (plan.live, plan.entry.database) if d is not None]


def _guard(plan: SwapPlan) -> str:
    conditions = [
        f"NOT EXISTS (SELECT FROM pg_database WHERE oid = {oid} AND datname = {quote_literal(name)})"
        for oid, name in _expected(plan)
    ]
    entry = plan.entry.database
    if entry.document is not None:
        comment = f"shobj_description({entry.oid}, 'pg_database')"
        conditions.append(f"{comment} IS DISTINCT FROM {quote_literal(entry.document)}")
    condition = "\n    OR ".join(conditions)
    return _do(
        f"  IF {condition} THEN\n"
        "    RAISE EXCEPTION 'the databases have changed since this script was made';\n"
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
