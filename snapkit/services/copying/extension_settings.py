"""Set the parameters that an extension defines: an ordinary role can do so only from inside a database that has it."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from datetime import timedelta

from snapkit.core.plans.properties import Properties, statements_to_add
from snapkit.errors import SnapkitError
from snapkit.postgres.catalog import databases
from snapkit.postgres.connection.driver import driver_connection
from snapkit.postgres.connection.extension_libraries import load_libraries_of
from snapkit.postgres.connection.sqlstates import SERVER_ERRORS
from snapkit.postgres.sql.execution import committing_locally, run_permitted, transaction
from snapkit.services.run.probe import await_end
from snapkit.services.run.survey import RunContext

_ENTRY = timedelta(seconds=2)
"""How long it may take to get in: what cannot be set is told, and not worth a wait at somebody's door."""


def set_from_inside(context: RunContext, inside: str | None, wanted: Properties, *, oid: int, name: str) -> None:
    """Give the clone ``name`` its settings from a session in the database ``inside``, if it has any of extensions.

    A superuser needs no such session. Nothing is raised: the transaction that gives the clone all of its properties
    finds what is lacking, and says so.
    """
    facts = context.state.facts
    own = [each.parameter for each in wanted.settings if "." in each.parameter]
    if facts.is_superuser or inside is None or not own:
        return
    # All of them, so that they are stored in their order.
    settings = replace(wanted, privileges=frozenset(), security_labels=frozenset())
    pid = None
    with suppress(SnapkitError, *SERVER_ERRORS), context.server.enter(inside, facts.quiet, within=_ENTRY) as session:
        pid = driver_connection(session).info.backend_pid
        with committing_locally(session), transaction(session):
            load_libraries_of(session, own)
            run_permitted(session, statements_to_add(name, settings))
            # It cannot be renamed from here on: what sets a parameter locks the database.
            if databases.name_of(session, oid) != name:
                raise SnapkitError("The clone was renamed.")
    if pid is not None:
        await_end(context.ddl, pid)
