"""From what is there and what is wanted to an ordered plan. ``--dry-run`` prints the very plan that a run applies."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta

from snapkit.core.comparison.writes import Activity
from snapkit.core.copying.moment import Moment
from snapkit.core.deploy.deploy import Deploy
from snapkit.core.durations import milliseconds
from snapkit.core.inventory import metadata as comments
from snapkit.core.inventory.alteration import Seal, seal_of, statements_to_seal
from snapkit.core.inventory.entry import (
    OPEN_PARTIAL_CONNECTION_LIMIT,
    PARTIAL_CONNECTION_LIMIT,
    Database,
    Entry,
    Kind,
    State,
    Strategy,
)
from snapkit.core.inventory.metadata import Metadata
from snapkit.core.inventory.naming import free_name
from snapkit.core.plans.identity import Facts, check_facts_found, facts_of
from snapkit.core.plans.properties import Privilege, Properties, statements_to_replace, statements_to_set
from snapkit.core.plans.statements import (
    AlterDatabase,
    ChangeOwner,
    Checkpoint,
    CommentOnDatabase,
    CreateDatabase,
    DropDatabase,
    Locale,
    RenameDatabase,
    RevokeAllOnDatabase,
    SetCopyMethod,
    Statement,
    Step,
)
from snapkit.core.values import dataclass
from snapkit.errors import SnapkitError, UsageError

NOTHING_CHANGED = "Nothing was changed."


@dataclass(frozen=True, slots=True)
class CopyMethod:
    """How this server is told to copy: ``word`` by STRATEGY, ``share_blocks`` by file_copy_method; None: not told."""

    strategy: Strategy
    word: Strategy | None
    share_blocks: bool | None
    falls_back: bool = False
    """Whether files are copied where PostgreSQL turns out not to be let share blocks; else that is an error."""
    learnt: bool = False
    """Whether that is known from an earlier clone, so that it is not tried."""

    def copying(self) -> CopyMethod:
        """Return the method for a file system that can share no blocks.

        It bears the same name. What PostgreSQL falls back to by itself (copy_file_range) takes longer than a copy.
        """
        return replace(self, share_blocks=False)


def choose_method(
    asked: Strategy | None, server_version: int, can_share_blocks: bool, *, moves: bool = False
) -> CopyMethod:
    """Return the way to clone; ``asked`` None chooses the fastest that is safe, which WAL_LOG is not.

    ``ONLINE`` begins with a clone of template0, for which files are copied.

    ``moves`` says that the clone goes to another tablespace: that may be another file system, to which sharing blocks
    fails outright ("Invalid cross-device link") where copying does not.

    ``server_version`` is server_version_num. STRATEGY came with PostgreSQL 15, file_copy_method with 18; 14 always
    copies files. https://www.postgresql.org/docs/current/sql-createdatabase.html
    """
    if asked is Strategy.CLONE and not can_share_blocks:
        raise UsageError(
            "This server cannot clone by sharing blocks; that takes PostgreSQL 18 or later.",
            state=NOTHING_CHANGED,
            hint="Leave --strategy out: the fastest safe method is chosen.",
        )
    if asked is Strategy.WAL_LOG and server_version < 150000:
        raise UsageError(
            "--strategy wal-log needs PostgreSQL 15 or later.",
            state=NOTHING_CHANGED,
            hint="Leave --strategy out: PostgreSQL 14 always copies files.",
        )
    strategy = asked or (Strategy.CLONE if can_share_blocks and not moves else Strategy.FILE_COPY)
    copies_files = strategy is not Strategy.WAL_LOG
    return CopyMethod(
        strategy=strategy,
        word=None if server_version < 150000 else Strategy.FILE_COPY if copies_files else Strategy.WAL_LOG,
        share_blocks=strategy is Strategy.CLONE if copies_files and server_version >= 180000 else None,
        falls_back=asked is None and strategy is Strategy.CLONE,
    )


def sharing_failed_last(entries: Iterable[Entry], tablespace: str) -> bool:
    """Whether PostgreSQL was not let share blocks for the newest backup that it was to share them for, there.

    A backup that is made with the strategy named tries again, and its success is what counts from then on.
    """
    there = (entry for entry in entries if entry.strategy is Strategy.CLONE and entry.database.tablespace == tablespace)
    newest = max(there, key=lambda entry: (entry.created_at, entry.sequence), default=None)
    return newest is not None and newest.metadata is not None and newest.metadata.shares_blocks is False


@dataclass(frozen=True, slots=True)
class ClonePlan:
    """A clone to a name that marks it as partial, sealed from birth and with the properties of its template."""

    template: Database
    name: str
    properties: Properties
    settings: tuple[Statement, ...]
    create: CreateDatabase
    instead: tuple[Statement, ...] = ()
    """What is set instead, and the clone tried once more, where PostgreSQL is not let share blocks."""

    def noting_collation(self, version: str | None) -> ClonePlan:
        """Return the plan with the version of the system's collations that the clone is to note; None: the system's."""
        return replace(self, create=replace(self.create, collation_version=version))

    @property
    def adorn(self) -> tuple[Statement, ...]:
        """What gives the clone its properties."""
        if self.fenced is None:
            return statements_to_set(self.name, self.properties)
        return (*self.handing_over, *statements_to_replace(self.name, self.fenced, self.properties))

    @property
    def handing_over(self) -> tuple[Statement, ...]:
        """What gives the clone to its owner, if somebody else had to keep it while it was being filled."""
        owner = self.properties.owner
        return (ChangeOwner(self.name, owner),) if self.create.owner != owner else ()

    @property
    def fenced(self) -> Properties | None:
        """The properties that the clone has once it was handed over, where those are not a fresh database's."""
        if not self.is_online:
            return None
        owner = self.properties.owner
        own = frozenset(Privilege(owner, owner, each, False) for each in ("CONNECT", "CREATE", "TEMPORARY"))
        return Properties(owner, PARTIAL_CONNECTION_LIMIT, own, frozenset(), frozenset())

    @property
    def facts(self) -> Facts:
        """What it is like once it is made."""
        limit = self.create.connection_limit
        return Facts(self.name, self.create.owner, False, limit, is_template=False, comment=None, access=None)

    @property
    def is_online(self) -> bool:
        """Whether it begins as an empty database, and is filled while clients work in the source."""
        return self.create.locale is not None

    @property
    def opening(self) -> tuple[Statement, ...]:
        """What lets the owner in to fill it, in one transaction; nobody else gets in at any moment, but superusers."""
        return (
            RevokeAllOnDatabase(self.name, (None,)),
            AlterDatabase(self.name, allow_connections=True, connection_limit=OPEN_PARTIAL_CONNECTION_LIMIT),
        )

    @property
    def closing(self) -> tuple[Statement, ...]:
        """What seals it again."""
        return (AlterDatabase(self.name, allow_connections=False, connection_limit=PARTIAL_CONNECTION_LIMIT),)

    def steps(self, title: str) -> tuple[Step, ...]:
        make = (*self.settings, self.create)
        if not self.is_online:
            return (Step(title, make),)
        return (
            Step("Make an empty database, sealed", make),
            Step("Let its owner in, and nobody else", self.opening, atomic=True),
            Step("Copy definitions and rows, as of one moment, while clients work (pg_dump, COPY, pg_restore)", ()),
            Step("Compare it with the source, and seal it again", self.closing),
        )


def plan_clone(
    template: Database,
    properties: Properties,
    source: str,
    method: CopyMethod,
    tablespace: str | None,
    at: datetime,
    taken: Collection[str],
    locale: Locale | None = None,
    keeper: str | None = None,
) -> ClonePlan:
    """Plan a clone of ``template`` on behalf of ``source``, whose name it is to bear.

    With ``locale``, which is then the template's own, it begins as an empty database. ``keeper`` owns that until it is
    complete: where a superuser fills it, its owner could else get in, and have his code run with a superuser's rights.
    """
    name = free_name(source, Kind.PARTIAL, at, taken)
    return ClonePlan(
        template=template,
        name=name,
        properties=properties,
        settings=(SetCopyMethod(method.share_blocks),) if method.share_blocks is not None else (),
        create=CreateDatabase(
            name,
            template.name if locale is None else "template0",
            keeper or properties.owner,
            PARTIAL_CONNECTION_LIMIT,
            method.word,
            tablespace if locale is None else tablespace or _named_tablespace(template),
            locale,
        ),
        instead=(SetCopyMethod(share_blocks=False),) if method.share_blocks and method.falls_back else (),
    )


def _named_tablespace(template: Database) -> str | None:
    """What a database made from template0 has to be told to be in the tablespace of ``template``.

    To name pg_default takes a right on it, which to be put there by default does not.
    """
    return None if template.tablespace == "pg_default" else template.tablespace


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
        sealed = _sealed_metadata(live, moment.comment, live.name, Kind.BACKUP, known.created_at, known.order)
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
            *self.clone.steps("Clone the source, sealed, while new connections to it wait"),
            Step("Make the clone a backup", (*self.clone.adorn, *self.finish), atomic=True),
        )


def plan_backup(
    live: Database,
    comment: str | None,
    properties: Properties,
    method: CopyMethod,
    tablespace: str | None,
    label: str | None,
    pinned: bool,
    at: datetime,
    taken: Collection[str],
    locale: Locale | None = None,
    keeper: str | None = None,
    *,
    may_checkpoint: bool,
    order: int | None = None,
) -> BackupPlan:
    """Plan a backup of the live database ``live``, whose own comment is ``comment``.

    ``locale`` and ``keeper`` are as for a clone, ``order`` as in the document.

    A clone that copies files begins with a checkpoint, while clients wait; one just before it makes that one short.
    https://www.postgresql.org/docs/current/sql-createdatabase.html
    """
    metadata = replace(
        _sealed_metadata(live, comment, live.name, Kind.BACKUP, at, order),
        strategy=method.strategy,
        label=label,
        pinned=pinned,
        shares_blocks=False if method.learnt else None,
    )
    copies_files = method.strategy in (Strategy.CLONE, Strategy.FILE_COPY)
    return BackupPlan(
        before=(Checkpoint(),) if may_checkpoint and copies_files else (),
        clone=plan_clone(live, properties, live.name, method, tablespace, at, taken, locale, keeper),
        name=free_name(live.name, Kind.BACKUP, at, taken),
        metadata=metadata,
        document=comments.encode(metadata),
    )


def _sealed_metadata(
    database: Database, comment: str | None, source: str, kind: Kind, at: datetime, order: int | None
) -> Metadata:
    """The document of a database that is being sealed; it keeps what the seal takes away.

    A comment that is a document of ours came along with a rename by hand; then what it kept is the database's own.
    """
    left = comments.decode(comment)
    return Metadata(
        kind=kind,
        source=source,
        created_at=at,
        comment=left.comment if isinstance(left, Metadata) else comment,
        is_template=database.is_template,
        allow_connections=database.allow_connections,
        order=order,
        seal=seal_of(database),
    )


def is_to_be_kept(entry: Entry, *, asked: bool) -> bool:
    """Whether a swap leaves ``entry`` where it is, and takes a clone of it: if that was asked for, or it is pinned.

    A pin says that the entry is to stay until the pin is taken away, whatever command comes upon it.
    """
    return asked or entry.pinned


@dataclass(frozen=True, slots=True)
class Unsealed:
    """What the seal took away from a database, and ``prepare`` gives back."""

    name: str
    allow_connections: bool
    is_template: bool
    comment: str | None


@dataclass(frozen=True, slots=True)
class SwapPlan:
    """One transaction that puts the live database aside and an entry, or a clone of it, in its place.

    ``live`` is None where no database of that name exists any more; then nothing is put aside.
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

    def cloned(self, oid: int) -> SwapPlan:
        """Return the plan with the OID of the clone, now that it is made, noted on what is put aside for it."""
        return replace(self, displaced_metadata=replace(self.displaced_metadata, gave_way_to_oid=oid))

    @property
    def prepare(self) -> tuple[Statement, ...]:
        """What is done before clients are held; nobody sees it before the transaction commits.

        The first rename locks the database that is to be live, so that whatever is in its way is waited for now. What
        is live is sealed last: from then on nothing but the renames is left to do.
        """
        return (*self.set_apart, *self.unseal, *self.seal)

    @property
    def set_apart(self) -> tuple[Statement, ...]:
        """What takes the entry out of the inventory, and locks it; a clone is in nobody's."""
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
        """What ``prepare`` takes for granted of the database that is to be live, by OID: it writes over that."""
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
        sealed = _sealed_metadata(live, facts.comment, self.source, Kind.OLD, before.created_at, before.order)
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
        adorn = self.clone.adorn if self.clone else ()
        return (
            *(self.clone.steps("Clone the backup, so that it is kept") if self.clone else ()),
            Step(
                f"Swap, in one transaction, while new connections to {self.source} wait",
                (*adorn, *self.prepare, *self.swap),
                atomic=True,
            ),
        )


def plan_swap(
    source: str,
    live: Database | None,
    comment: str | None,
    entry: Entry,
    clone: ClonePlan | None,
    at: datetime,
    taken: Collection[str],
    order: int | None = None,
) -> SwapPlan:
    """Plan to make ``entry`` (or ``clone``, its clone) the live database ``source``; ``comment`` is the live one's.

    ``order`` is as in the document. Raises UsageError for an entry that cannot be rolled back to.
    """
    check_usable(entry)
    if live is not None:
        check_live(live)
    displaced = (
        Metadata(Kind.OLD, source, at) if live is None else _sealed_metadata(live, comment, source, Kind.OLD, at, order)
    )
    displaced = replace(
        displaced, gave_way_to=entry.name, gave_way_to_oid=entry.database.oid if clone is None else None
    )
    if clone is None and entry.metadata is not None:
        displaced = comments.using_up(displaced, entry.metadata)
    former = comments.used_up_by(entry.metadata, live.oid) if entry.metadata and live else None
    if former is not None:
        displaced = replace(displaced, label=former.label)
    comments.encode(displaced)  # what cannot be kept is refused now, and not first when clients are held
    return SwapPlan(
        source=source,
        live=live,
        entry=entry,
        clone=clone,
        passing_name=clone.name if clone else free_name(source, Kind.PARTIAL, at, taken),
        displaced_name=None if live is None else free_name(source, Kind.OLD, at, taken),
        displaced_metadata=displaced,
        live_comment=comment,
    )


def check_usable(entry: Entry) -> None:
    """Raise UsageError for an entry that is not ready."""
    if entry.state is State.READY:
        return
    another = "Choose another backup: snapkit list"
    reasons = {
        State.UNMANAGED: (
            "was not made by snapkit, or has lost its comment",
            f"If it is a backup that you trust, first run: snapkit adopt {entry.name}",
        ),
        State.INCOMPLETE: ("is a clone that was never completed, or that is being made at this moment", another),
        State.INVALID: ("is invalid: dropping it was interrupted, and it can only be dropped", another),
        State.ALTERED: (f"is not as it was sealed: it {entry.altered}", how_to_trust(entry)),
    }
    reason, hint = reasons[entry.state]
    raise UsageError(f"{entry.name!r} {reason}.", state=NOTHING_CHANGED, hint=hint)


def how_to_trust(entry: Entry) -> str:
    """Say what can be done with an entry that was altered."""
    return (
        "Nobody knows what it holds by now. If it is to be trusted all the same, seal it again as it is: snapkit adopt "
        f"{entry.name}. Else drop it: snapkit delete {entry.name}"
    )


def check_live(live: Database) -> None:
    """Raise if the live database cannot be cloned or renamed for a reason of its own."""
    if live.is_invalid:
        raise SnapkitError(
            f"The database {live.name!r} is invalid: dropping it was interrupted, and it can only be dropped.",
            state=NOTHING_CHANGED,
            hint="Drop it with DROP DATABASE, then bring the newest backup back: snapkit rollback --latest",
        )


def plan_adoption(
    entry: Entry, live: Database | None, comment: str | None, properties: Properties | None
) -> tuple[Statement, ...]:
    """Plan to seal ``entry`` and make it ours; ``comment`` and ``properties`` are its source's, if that is still there.

    Its properties come after, in the same transaction, and then it is sealed once more.
    """
    metadata = Metadata(
        kind=Kind.BACKUP,
        source=entry.source,
        created_at=entry.created_at,
        comment=comment,
        is_template=live.is_template if live else False,
        allow_connections=live.allow_connections if live else True,
        seal=seal_of(live or entry.database),
    )
    wrong_owner = properties is not None and properties.owner != entry.database.owner
    return (
        *statements_to_seal(entry.name, comments.encode(metadata)),
        *((ChangeOwner(entry.name, properties.owner),) if properties and wrong_owner else ()),
    )


def plan_resealing(entry: Entry) -> tuple[Statement, ...]:
    """Plan to seal an entry of ours that was altered, as it is; its connection limit becomes what it was again."""
    assert entry.metadata is not None  # noqa: S101 - only what has a document can be altered
    database, seal = entry.database, entry.metadata.seal
    limit = seal.connection_limit if seal else database.connection_limit
    if database.access is not None:
        seal = Seal(database.owner, database.access, limit)
    document = replace(entry.metadata, altered=None, dropping=None, seal=seal)
    return (
        AlterDatabase(entry.name, allow_connections=False, connection_limit=limit, is_template=False),
        CommentOnDatabase(entry.name, comments.encode(document)),
    )


def statements_to_take(database: Database, name: str, document: str | None) -> tuple[Statement, ...]:
    """Give a database that is to be dropped a passing ``name`` and, if it has one, a ``document`` that says so.

    A clone under construction keeps its mark. Of an invalid database PostgreSQL alters nothing but name and comment.
    """
    rename = RenameDatabase(database.name, name)
    if document is None:
        return (rename,)
    comment = CommentOnDatabase(name, document)
    if database.is_invalid:
        return rename, comment
    return rename, AlterDatabase(name, allow_connections=False, is_template=False), comment


def statements_to_give_back(database: Database, name: str) -> tuple[Statement, ...]:
    """Undo that: make ``database`` what it was."""
    return (
        RenameDatabase(name, database.name),
        AlterDatabase(database.name, allow_connections=database.allow_connections, is_template=database.is_template),
        CommentOnDatabase(database.name, database.document),
    )


def statements_to_drop(database: Database) -> tuple[Statement, ...]:
    """Drop a database; one that was being filled is closed first, and rid of the sessions that still fill it.

    Closed, it is known for ours even if the drop is interrupted and takes its mark.
    """
    if database.is_open_partial:
        return AlterDatabase(database.name, allow_connections=False), DropDatabase(database.name, force=True)
    return (DropDatabase(database.name),)


def plan_drops(entries: Collection[Entry]) -> tuple[Step, ...]:
    """Plan to drop entries, one by one."""
    return tuple(Step(f"Drop {entry.name}", statements_to_drop(entry.database)) for entry in entries)
