"""Which deploy a backup belongs to, and what a rollback would cost: for people, and as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from snapkit.cli.envelope import time_document
from snapkit.cli.format import count_text
from snapkit.core.comparison.writes import Rows, Written
from snapkit.core.deploy.deploy import Checkout, CiRun, Deploy, MigrationState
from snapkit.core.utc import utc_text

Fact = tuple[str, str]

_TABLES_SHOWN = 5


def code_text(deploy: Deploy | None) -> str | None:
    """Say which code it was; None if that is not known."""
    if deploy is None or deploy.commit is None:
        return None
    if deploy.git is None:
        ref = deploy.ci.ref if deploy.ci else None
        return f"commit {deploy.commit}" + (f" ({ref})" if ref else "")
    git = deploy.git
    about = [
        f"branch {git.branch}" if git.branch else "",
        f"tag {git.tag}" if git.tag else "",
        "with changes that were not committed" if git.dirty else "",
    ]
    told = ", ".join(filter(None, about))
    return f"commit {git.commit}" + (f" ({told})" if told else "")


def deploy_facts(deploy: Deploy | None) -> list[Fact]:
    """Return all that is known of a deploy."""
    if deploy is None:
        return []
    facts = [("Code", code_text(deploy) or "")]
    if deploy.ci is not None:
        run = f"{deploy.ci.name}{f' run {deploy.ci.run}' if deploy.ci.run else ''}"
        facts.append(("CI", run + (f", {deploy.ci.url}" if deploy.ci.url else "")))
    facts.append(("Made by", "@".join(filter(None, (deploy.user, deploy.host)))))
    return [fact for fact in facts if fact[1]] + migration_facts(deploy)


def migration_facts(deploy: Deploy | None) -> list[Fact]:
    """Return how far migrations had come."""
    if deploy is None:
        return []
    facts = [("Migrations" if not number else "", each.describe()) for number, each in enumerate(deploy.migrations)]
    if deploy.migrations_left_out:
        facts.append(("", f"and {count_text(deploy.migrations_left_out, 'version table')} more"))
    return facts


def migrations_now_facts(then: Deploy | None, now: Sequence[MigrationState]) -> list[Fact]:
    """Return how far migrations have come by now, where that is not what the database goes back to."""
    noted = then.migrations if then else ()
    new = [each for each in now if each not in noted]
    return [("Migrations now" if not number else "", each.describe()) for number, each in enumerate(new)]


def fits_facts(deploy: Deploy | None) -> list[Fact]:
    """Return which code and which migrations the database goes back to."""
    code = code_text(deploy)
    return ([("Code then", code)] if code else []) + migration_facts(deploy)


def cost_facts(written: Written | None) -> list[Fact]:
    """Return what the live database has that the backup has not."""
    if written is None:
        return []
    facts: list[Fact] = []
    if written.rows is None:
        facts.append(("Written since", f"not known: {written.doubt.describe() if written.doubt else ''}"))
    else:
        about = "at least " if written.doubt else "about "
        counted = rows_text(written.rows)
        nothing = "no rows (DDL and TRUNCATE are not counted)"
        facts.append(("Written since", about + counted if counted else nothing))
        shown = written.tables[:_TABLES_SHOWN]
        facts += [("", f"{each.table.schema}.{each.table.name}: {rows_text(each.rows) or 'nothing'}") for each in shown]
        more = len(written.tables) - _TABLES_SHOWN
        if more > 0:
            facts.append(("", f"and {count_text(more, 'table')} more"))
        facts.append(("Transactions", f"{written.transactions} since then, including those that only read"))
        if written.doubt:
            facts.append(("", written.doubt.describe()))
    if written.last_commit is not None:
        facts.append(("Last write", f"{utc_text(written.last_commit)} UTC, in any database of the server"))
    return facts


def rows_text(rows: Rows) -> str:
    """Say how many rows, but for what there is none of; an empty text for none at all."""
    parts = [(rows.inserted, "inserted"), (rows.updated, "updated"), (rows.deleted, "deleted")]
    told = [f"{number} {what}" for number, what in parts if number]
    return f"{count_text(rows.total, 'row')}: {', '.join(told)}" if told else ""


def deploy_document(deploy: Deploy | None) -> dict[str, Any] | None:
    """Return a deploy as JSON has it: every key, null for what is not known."""
    if deploy is None:
        return None
    return {
        "commit": deploy.commit,
        "git": _git(deploy.git),
        "ci": _ci(deploy.ci),
        "user": deploy.user,
        "host": deploy.host,
        "migrations": [migration_document(each) for each in deploy.migrations],
        "migrations_left_out": deploy.migrations_left_out,
    }


def migration_document(state: MigrationState) -> dict[str, Any]:
    """Return how far a migration tool has come, as JSON has it."""
    return {
        "tool": state.tool,
        "schema": state.schema,
        "table": state.table,
        "version": state.version,
        "applied": state.applied,
        "failed": state.failed,
    }


def _git(git: Checkout | None) -> dict[str, Any] | None:
    if git is None:
        return None
    return {"commit": git.commit, "branch": git.branch, "tag": git.tag, "dirty": git.dirty}


def _ci(run: CiRun | None) -> dict[str, Any] | None:
    if run is None:
        return None
    return {"name": run.name, "commit": run.commit, "ref": run.ref, "run": run.run, "url": run.url}


def written_document(written: Written | None) -> dict[str, Any] | None:
    """Return the cost of a rollback as JSON has it."""
    if written is None:
        return None
    return {
        "since": _time(written.since),
        "transactions": written.transactions,
        **_rows(written.rows),
        "tables": [
            {"schema": each.table.schema, "table": each.table.name, **_rows(each.rows)} for each in written.tables
        ],
        "all_tables": written.all_tables,
        "last_commit_on_server_at": _time(written.last_commit),
        "reliable": written.doubt is None,
        "reason": written.doubt.value if written.doubt else None,
    }


def _rows(rows: Rows | None) -> dict[str, int | None]:
    return {
        "rows_inserted": rows.inserted if rows else None,
        "rows_updated": rows.updated if rows else None,
        "rows_deleted": rows.deleted if rows else None,
    }


def _time(at: datetime | None) -> str | None:
    return time_document(at) if at else None
