"""A backup: a clone, and the transaction that makes it one."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from snapkit.core.comparison.lineage import Lineage
from snapkit.core.comparison.writes import Activity
from snapkit.core.copying.moment import Moment
from snapkit.core.deploy.deploy import Deploy
from snapkit.core.durations import milliseconds
from snapkit.core.inventory import metadata as comments
from snapkit.core.inventory.kinds import Kind, Strategy
from snapkit.core.inventory.metadata import Metadata
from snapkit.core.inventory.naming import FreeNames
from snapkit.core.plans.clone import ClonePlan, CopyMethod, Template, plan_clone
from snapkit.core.plans.seal import sealed_metadata
from snapkit.core.plans.statements import Checkpoint, CommentOnDatabase, RenameDatabase, Statement, Step
from snapkit.core.values import dataclass


@dataclass(frozen=True, slots=True)
class BackupPlan:
    """A clone, and the one transaction that makes it a backup; ``before`` is what is done while clients still work."""

    before: tuple[Statement, ...]
    clone: ClonePlan
    name: str
    metadata: Metadata
    document: str

    def measured(self, size: int | None, duration: timedelta, files: int | None = None) -> BackupPlan:
        """Return the plan with what the clone took in its document, for later estimates."""
        taken = milliseconds(duration)
        metadata = replace(self.metadata, clone_bytes=size, clone_ms=taken, clone_files=files)
        return replace(self, metadata=metadata, document=comments.encode(metadata))

    def as_of(self, moment: Moment) -> BackupPlan:
        """Return the plan for what the source was when it was copied, which is not what it was when this was made."""
        live, known = moment.database, self.metadata
        sealed = sealed_metadata(live, moment.comment, live.name, Kind.BACKUP, known.created_at, order=known.order)
        metadata = replace(
            known,
            comment=sealed.comment,
            is_template=sealed.is_template,
            allow_connections=sealed.allow_connections,
            seal=sealed.seal,
        )
        clone = replace(self.clone, template=live, properties=moment.properties)
        return replace(self, clone=clone, metadata=metadata, document=comments.encode(metadata))

    def not_sharing(self) -> BackupPlan:
        """Return the plan with it noted that PostgreSQL was not let share blocks."""
        metadata = replace(self.metadata, shares_blocks=False)
        return replace(self, metadata=metadata, document=comments.encode(metadata))

    def noting(self, deploy: Deploy | None, activity: Activity | None) -> BackupPlan:
        """Return the plan with what is good to know in its document; without, where a long comment takes its room."""
        if len(self.document) > comments.MAX_BYTES // 2:
            return self
        metadata = replace(self.metadata, deploy=deploy, activity=activity)
        return replace(self, metadata=metadata, document=comments.encode(metadata))

    def descending(self, lineage: Lineage | None) -> BackupPlan:
        """Return the plan with it noted where the backup comes from, now that it is copied."""
        metadata = self.metadata.with_lineage(lineage)
        return replace(self, metadata=metadata, document=comments.encode(metadata))

    def lacking(self, not_given: tuple[str, ...], access: int) -> BackupPlan:
        """Return the plan with what the backup could not be given in its document; see ``Metadata.lacking``."""
        metadata = self.metadata.lacking(not_given, access)
        return replace(self, metadata=metadata, document=comments.encode(metadata))

    @property
    def finish(self) -> tuple[Statement, ...]:
        return (
            CommentOnDatabase(self.clone.name, self.document),
            RenameDatabase(self.clone.name, self.name),
        )

    @property
    def steps(self) -> tuple[Step, ...]:
        return (
            *((Step("Write a checkpoint, while clients work", self.before),) if self.before else ()),
            *self.clone.steps("Clone the source, while new connections to it wait; nobody can connect to the clone"),
            Step("Make the clone a backup", (*self.clone.restore_properties, *self.finish), atomic=True),
        )


def plan_backup(
    template: Template,
    method: CopyMethod,
    names: FreeNames,
    *,
    tablespace: str | None = None,
    label: str | None = None,
    pinned: bool = False,
    keeper: str | None = None,
    may_checkpoint: bool,
    order: int | None = None,
) -> BackupPlan:
    """Plan a backup of the live database, which is the ``template``.

    ``keeper`` is as for a clone, ``order`` as in the document.

    A clone that copies files begins with a checkpoint, while clients wait; one just before it makes that one short.
    https://www.postgresql.org/docs/current/sql-createdatabase.html
    """
    live = template.database
    metadata = replace(
        sealed_metadata(live, template.comment, live.name, Kind.BACKUP, names.at, order=order),
        strategy=method.strategy,
        label=label,
        pinned=pinned,
        shares_blocks=False if method.learnt else None,
    )
    copies_files = method.strategy in (Strategy.CLONE, Strategy.FILE_COPY)
    return BackupPlan(
        before=(Checkpoint(),) if may_checkpoint and copies_files else (),
        clone=plan_clone(template, live.name, method, names, tablespace=tablespace, keeper=keeper),
        name=names.of(live.name, Kind.BACKUP),
        metadata=metadata,
        document=comments.encode(metadata),
    )
