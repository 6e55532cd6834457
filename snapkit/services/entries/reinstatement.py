"""After an undo, give the database that it put aside its former name and document back, if nobody wrote to it."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import suppress
from dataclasses import replace

from snapkit.core.inventory import metadata as comments
from snapkit.core.plans.identity import Facts, facts_of
from snapkit.core.plans.reinstatement import Returning, is_unwritten, plan_returning
from snapkit.core.plans.statements import CommentOnDatabase, RenameDatabase
from snapkit.core.plans.swap import SwapPlan
from snapkit.errors import SnapkitError
from snapkit.postgres.catalog import databases, server_facts
from snapkit.postgres.connection.server import Connection, Server
from snapkit.postgres.connection.sqlstates import SERVER_ERRORS
from snapkit.postgres.sql.execution import committing_locally, run, transaction
from snapkit.postgres.sql.identity import check_overwritten


def give_back_what_it_was(
    server: Server, ddl: Connection, plan: SwapPlan, own: int, taken: Collection[str]
) -> Returning | None:
    """Make the database that ``plan`` has put aside what it was before the rollback; None if it stays as it is.

    It is sealed and empty, so nobody can write to it any more. ``own`` is how many transaction IDs the undo used
    besides the one of its swap. If anything fails, it stays a displaced database, which is no error.
    """
    returning = plan_returning(plan, taken)
    if returning is None or ddl.invalidated:
        return None
    with suppress(SnapkitError, *SERVER_ERRORS, KeyboardInterrupt):
        if is_unwritten(plan, returning, server_facts.server_facts(ddl).order, own):
            _give_back(ddl, plan, returning)
            return returning
        return None
    with suppress(SnapkitError, *SERVER_ERRORS, KeyboardInterrupt), server.connect() as another:
        if databases.name_of(another, returning.oid) == returning.name:  # the answer to COMMIT was lost
            return returning
    return None


def _give_back(ddl: Connection, plan: SwapPlan, returning: Returning) -> None:
    """Both rows are written by one transaction, as by a seal."""
    assert plan.live is not None and plan.displaced_name is not None  # noqa: S101 - else there were nothing to give
    name = plan.displaced_name
    with committing_locally(ddl), transaction(ddl):
        run(
            ddl,
            CommentOnDatabase(name, comments.encode(returning.metadata)),
            RenameDatabase(name, returning.name),
        )
        check_overwritten(ddl, {returning.oid: _put_aside(plan, name)})


def _put_aside(plan: SwapPlan, name: str) -> Facts:
    assert plan.live is not None  # noqa: S101 - see above
    sealed = replace(plan.live, name=name, allow_connections=False, is_template=False)
    return facts_of(sealed, plan.displaced_document)
