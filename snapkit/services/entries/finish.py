"""Make a clone a backup: one transaction gives it its name, its properties and its document."""

from __future__ import annotations

from dataclasses import replace

from snapkit.core.plans.backup import BackupPlan
from snapkit.core.plans.properties import Properties
from snapkit.core.plans.statements import ChangeOwner
from snapkit.core.reporting import Caution
from snapkit.core.values import dataclass
from snapkit.errors import SnapkitError
from snapkit.postgres.catalog import databases
from snapkit.postgres.connection.server import Connection
from snapkit.postgres.connection.sqlstates import SERVER_ERRORS, server_errors
from snapkit.postgres.copying.gate import another_database
from snapkit.postgres.sql.ddl import sql_text
from snapkit.postgres.sql.execution import commit, run, run_permitted
from snapkit.postgres.sql.identity import check_names
from snapkit.services.copying.clone import Cloned, as_roles_are_named, untouched
from snapkit.services.copying.restore_properties import restore_properties
from snapkit.services.run.commit_outcome import bears_names
from snapkit.services.run.interruption import InterruptionState
from snapkit.services.run.standby_confirmation import telling, unconfirmed
from snapkit.services.run.survey import RunContext

ATTEMPTS = 3


@dataclass(frozen=True, slots=True)
class Finished:
    """The plan, with what the backup could not be given; and whether the run was interrupted too late to stop it."""

    plan: BackupPlan
    cautions: tuple[Caution, ...]
    interrupted: bool


def finish_backup(context: RunContext, plan: BackupPlan, cloned: Cloned, standing: InterruptionState) -> Finished:
    """Make the clone a backup; try again if roles were renamed or dropped meanwhile."""
    ddl = context.ddl
    attempts_left = ATTEMPTS
    with server_errors(untouched(plan.clone)):
        while True:
            wanted = as_roles_are_named(ddl, cloned.moment)
            try:
                return _finish_once(context, plan, wanted, cloned.oid, standing)
            except (SnapkitError, *SERVER_ERRORS):
                attempts_left -= 1
                if not attempts_left or ddl.invalidated or as_roles_are_named(ddl, cloned.moment) == wanted:
                    raise


def _finish_once(
    context: RunContext, plan: BackupPlan, wanted: Properties, oid: int, standing: InterruptionState
) -> Finished:
    ddl = context.ddl
    cautions: tuple[Caution, ...] = ()
    clone = replace(plan.clone, properties=wanted)

    def work() -> None:
        nonlocal plan, cautions
        run(ddl, *clone.handing_over)
        given = restore_properties(ddl, wanted, oid, name=clone.name, final_name=plan.name, present=clone.fenced)
        if given.not_given:
            plan = plan.lacking(given.not_given, databases.access_of(ddl, oid))
        run(ddl, *plan.finish)
        check_names(ddl, {oid: plan.name}, untouched(clone))
        cautions = given.cautions + _follow_source(ddl, plan, wanted.owner)
        standing.perhaps_done()

    committed = commit(
        ddl,
        work,
        lambda pid: bears_names(context.server, pid, {oid: plan.name}, "the backup"),
        standing.undone,
        waits=telling(context.observe, "the backup"),
    )
    return Finished(plan, cautions + unconfirmed("the backup", committed.unconfirmed), committed.interrupted)


def _follow_source(ddl: Connection, plan: BackupPlan, owner: str) -> tuple[Caution, ...]:
    """If the source got another owner while it was copied, give the backup to that owner too.

    A backup with another owner than its source would not be trusted. Raises BusyError if the source has another name by
    now: it would not be the database that the backup's document names.
    """
    source = plan.clone.template
    now = databases.database_of(ddl, source.oid)
    if now is None or now.name != source.name:
        if now is None and databases.oid_of(ddl, source.name) is None:
            return ()  # it was dropped; all the better that there is a backup
        raise another_database(source.name, untouched(plan.clone))
    if now.owner in ("", owner):
        return ()
    given = ChangeOwner(plan.name, now.owner)
    if run_permitted(ddl, (given,)):
        advice = f"The backup has the old owner, and snapkit ignores it until an administrator runs: {sql_text(given)};"
    else:
        advice = "The backup got the new owner, too."
    message = f"The owner of {source.name!r} was changed to {now.owner} during the backup. {advice}"
    return (Caution("owner_changed", message),)
