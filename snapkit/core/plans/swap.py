"""A rollback or an undo: one transaction that displaces the live database, and makes an entry the live one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from snapkit.core.comparison.lineage import UNKNOWN, Boundary, Lineages
from snapkit.core.inventory import metadata as comments
from snapkit.core.inventory.database import Database, Unsealed, check_live
from snapkit.core.inventory.entry import Entry, check_usable
from snapkit.core.inventory.kinds import Kind
from snapkit.core.inventory.metadata import Metadata
from snapkit.core.inventory.naming import FreeNames
from snapkit.core.plans.clone import ClonePlan
from snapkit.core.plans.identity import Facts, check_facts_found, facts_of
from snapkit.core.plans.seal import sealed_metadata, statements_to_seal
from snapkit.core.plans.statements import AlterDatabase, CommentOnDatabase, RenameDatabase, Statement, Step
from snapkit.core.values import dataclass
from snapkit.errors import NOTHING_CHANGED, BusyError


def is_to_be_kept(entry: Entry, *, asked: bool) -> bool:
    """Whether a swap uses a clone of ``entry``, so that the entry stays: if that was asked for, or it is pinned.

    A pinned entry stays until the pin is removed, whatever command is run.
    """
    return asked or entry.pinned


@dataclass(frozen=True, slots=True)
class SwapPlan:
    """One transaction that displaces the live database, and makes an entry, or a clone of it, the live one.

    ``live`` is None if there is no database of that name. Then nothing is displaced.
    """

    source: str
    live: Database | None
    entry: Entry
    clone: ClonePlan | None
    passing_name: str
    """What the database that is to be live is named between the renames."""
    displaced_name: str | None
    displaced_metadata: Metadata
    live_comment: str | None = None
    """What the comment on the live database was when the plan was made."""

    @property
    def displaced_document(self) -> str:
        return comments.encode(self.displaced_metadata)

    def cloned(self, oid: int, boundary: Boundary | None = None) -> SwapPlan:
        """Return the plan with the clone, now that it is made, noted on what is put aside for it: its OID, and that it
        was cloned from the entry after ``boundary``."""
        aside = replace(self.displaced_metadata, gave_way_to_oid=oid)
        if aside.heir is not None and boundary is not None:
            aside = aside.with_lineage(aside.lineage, aside.heir.cloned(oid, boundary))
        return replace(self, displaced_metadata=aside)

    def noting_late(self, boundary: Boundary | None) -> SwapPlan:
        """Return the plan with the moment noted, on what is put aside, after which its writes are late ones."""
        return replace(self, displaced_metadata=self.displaced_metadata.with_late_after(boundary))

    @property
    def prepare(self) -> tuple[Statement, ...]:
        """The statements before clients are held. Nobody sees them before the COMMIT.

        The first rename locks the database that will be live, so that snapkit waits now for whatever is in its way.
        The live database is sealed last. After that only the renames are left.
        """
        return (*self.set_apart, *self.unseal, *self.seal)

    @property
    def set_apart(self) -> tuple[Statement, ...]:
        """Rename the entry, so that nobody finds it, and lock it; a clone is not in the inventory."""
        return () if self.clone else (RenameDatabase(self.entry.name, self.passing_name),)

    @property
    def unseal(self) -> tuple[Statement, ...]:
        """What gives back to the database that is to be live what the seal took away."""
        wanted = self.unsealed
        return (
            AlterDatabase(wanted.name, allow_connections=wanted.allow_connections, is_template=wanted.is_template),
            CommentOnDatabase(wanted.name, wanted.comment),
        )

    @property
    def seal(self) -> tuple[Statement, ...]:
        """What puts the seal on the live database: all of it, however it was found."""
        return () if self.live is None else statements_to_seal(self.live.name, self.displaced_document)

    @property
    def assumed(self) -> Mapping[int, Facts]:
        """What ``prepare`` assumes about the database that will be live, by OID, because it overwrites that."""
        if self.clone is None:
            return {self.entry.database.oid: facts_of(self.entry.database, self.entry.database.document)}
        oid = self.displaced_metadata.gave_way_to_oid
        return {} if oid is None else {oid: self.clone.facts}

    def held_against(self, found: Mapping[int, Facts], state: str) -> SwapPlan:
        """Return the plan for what there is ``found``, by OID, once ``prepare`` has run and nobody can change it.

        Of the live database the comment and the flags are put aside as they were by then. Raises BusyError if one of
        the databases is another, or otherwise not what the plan is for.
        """
        check_facts_found(self.assumed, found, state)
        if self.live is None:
            return self
        live = self.live
        check_facts_found({live.oid: facts_of(live, None)}, found, state, only=("owner",))
        facts = found[live.oid]
        live = replace(
            live,
            allow_connections=facts.allow_connections,
            connection_limit=facts.connection_limit,
            is_template=facts.is_template,
            has_comment=facts.comment is not None,
            access=facts.access,
        )
        check_live(live)
        before = self.displaced_metadata
        sealed = sealed_metadata(live, facts.comment, self.source, Kind.OLD, before.created_at, order=before.order)
        metadata = replace(
            before,
            comment=sealed.comment,
            is_template=sealed.is_template,
            allow_connections=sealed.allow_connections,
            seal=sealed.seal,
        )
        return replace(self, live=live, displaced_metadata=metadata)

    @property
    def unsealed(self) -> Unsealed:
        """What the database that is to be live must be like, once ``prepare`` has run."""
        own = self.entry.metadata or self.displaced_metadata
        # PostgreSQL takes an empty comment for none.
        return Unsealed(self.passing_name, own.allow_connections, own.is_template, own.comment or None)

    @property
    def swap(self) -> tuple[Statement, ...]:
        """The renames; from the first of them to COMMIT new connections wait."""
        restore = RenameDatabase(self.passing_name, self.source)
        if self.live is None or self.displaced_name is None:
            return (restore,)
        return (RenameDatabase(self.live.name, self.displaced_name), restore)

    @property
    def steps(self) -> tuple[Step, ...]:
        restoring = self.clone.restore_properties if self.clone else ()
        return (
            *(self.clone.steps("Clone the backup, so that it is kept") if self.clone else ()),
            Step(
                f"Swap, in one transaction, while new connections to {self.source} wait",
                (*restoring, *self.prepare, *self.swap),
                atomic=True,
            ),
        )


def plan_swap(
    source: str,
    live: Database | None,
    entry: Entry,
    clone: ClonePlan | None,
    names: FreeNames,
    *,
    comment: str | None = None,
    order: int | None = None,
    lineages: Lineages = UNKNOWN,
) -> SwapPlan:
    """Plan to make ``entry`` (or ``clone``, its clone) the live database ``source``; ``comment`` is the live one's.

    ``order`` is as in the document, ``lineages`` what is known of the databases. Raises UsageError for an entry that
    cannot be rolled back to.
    """
    check_usable(entry)
    if live is not None:
        check_live(live)
    displaced = (
        Metadata(Kind.OLD, source, names.at)
        if live is None
        else sealed_metadata(live, comment, source, Kind.OLD, names.at, order=order)
    )
    displaced = replace(
        displaced, gave_way_to=entry.name, gave_way_to_oid=entry.database.oid if clone is None else None
    )
    if clone is None and entry.metadata is not None:
        displaced = comments.using_up(displaced, entry.metadata)
    former = comments.used_up_by(entry.metadata, live.oid) if entry.metadata and live else None
    if former is not None:
        displaced = replace(displaced, label=former.label)
    displaced = displaced.with_lineage(lineages.of(live.oid) if live else None, lineages.of(entry.database.oid))
    comments.encode(displaced)  # what cannot be kept is refused now, and not first when clients are held
    return SwapPlan(
        source=source,
        live=live,
        entry=entry,
        clone=clone,
        passing_name=clone.name if clone else names.of(source, Kind.PARTIAL),
        displaced_name=None if live is None else names.of(source, Kind.OLD),
        displaced_metadata=displaced,
        live_comment=comment,
    )


def check_confirmed(plan: SwapPlan, confirmed: SwapPlan) -> None:
    """Raise BusyError if the databases are others than those of the plan that somebody has agreed to."""
    if _identity(plan) != _identity(confirmed):
        raise BusyError(
            f"The databases of {plan.source!r} have changed since the plan was made.",
            state=NOTHING_CHANGED,
            hint="See what there is now (snapkit list), then run the command again.",
        )


def _identity(plan: SwapPlan) -> tuple[int, int | None, bool]:
    return plan.entry.database.oid, plan.live.oid if plan.live else None, plan.clone is not None
