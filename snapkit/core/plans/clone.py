"""The plan of a clone: how the server copies, and a database that nobody can connect to from its first moment."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from snapkit.core.inventory.database import OPEN_PARTIAL_CONNECTION_LIMIT, PARTIAL_CONNECTION_LIMIT, Database
from snapkit.core.inventory.entry import Entry
from snapkit.core.inventory.kinds import Kind, Strategy
from snapkit.core.inventory.naming import FreeNames
from snapkit.core.plans.identity import Facts
from snapkit.core.plans.properties import Privilege, Properties, statements_to_replace, statements_to_set
from snapkit.core.plans.statements import (
    AlterDatabase,
    ChangeOwner,
    CreateDatabase,
    Locale,
    RevokeAllOnDatabase,
    SetCopyMethod,
    Statement,
    Step,
)
from snapkit.core.server.version import has_file_copy_method, has_strategy
from snapkit.core.values import dataclass
from snapkit.errors import NOTHING_CHANGED, UsageError


@dataclass(frozen=True, slots=True)
class CopyMethod:
    """How this server is told to copy: ``word`` by STRATEGY, ``share_blocks`` by file_copy_method; None: not told."""

    strategy: Strategy
    word: Strategy | None
    share_blocks: bool | None
    falls_back: bool = False
    """Whether files are copied if PostgreSQL cannot share blocks; otherwise that is an error."""
    learnt: bool = False
    """Whether an earlier clone has shown this, so that sharing blocks is not tried."""

    def copying(self) -> CopyMethod:
        """Return the method for a file system that cannot share blocks, under the same name.

        Without it PostgreSQL would fall back to copy_file_range, which takes longer than a copy.
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
            hint="Leave out --strategy: the fastest safe method is chosen.",
        )
    if asked is Strategy.WAL_LOG and not has_strategy(server_version):
        raise UsageError(
            "--strategy wal-log needs PostgreSQL 15 or later.",
            state=NOTHING_CHANGED,
            hint="Leave out --strategy: PostgreSQL 14 always copies files.",
        )
    strategy = asked or (Strategy.CLONE if can_share_blocks and not moves else Strategy.FILE_COPY)
    copies_files = strategy is not Strategy.WAL_LOG
    return CopyMethod(
        strategy=strategy,
        word=None if not has_strategy(server_version) else Strategy.FILE_COPY if copies_files else Strategy.WAL_LOG,
        share_blocks=strategy is Strategy.CLONE if copies_files and has_file_copy_method(server_version) else None,
        falls_back=asked is None and strategy is Strategy.CLONE,
    )


def sharing_failed_last(entries: Iterable[Entry], tablespace: str) -> bool:
    """Whether PostgreSQL could not share blocks for the newest backup in that tablespace that should have shared them.

    A backup with an explicit strategy tries again, and from then on its result counts.
    """
    there = (entry for entry in entries if entry.strategy is Strategy.CLONE and entry.database.tablespace == tablespace)
    newest = max(there, key=lambda entry: (entry.created_at, entry.sequence), default=None)
    return newest is not None and newest.metadata is not None and newest.metadata.shares_blocks is False


@dataclass(frozen=True, slots=True)
class ClonePlan:
    """A clone under a name that marks it as unfinished. Nobody can connect to it, and it gets the properties of its
    template."""

    template: Database
    name: str
    properties: Properties
    settings: tuple[Statement, ...]
    create: CreateDatabase
    instead: tuple[Statement, ...] = ()
    """What is set for a second try if PostgreSQL cannot share blocks."""
    was_open: bool = False
    """Whether a clone by files was open to its owner meanwhile, and sealed again."""

    def noting_collation(self, version: str | None) -> ClonePlan:
        """Return the plan with the version of the system's collations that the clone is to note; None: the system's."""
        return replace(self, create=replace(self.create, collation_version=version))

    @property
    def restore_properties(self) -> tuple[Statement, ...]:
        """What gives the clone its properties."""
        if self.fenced is None:
            return statements_to_set(self.name, self.properties)
        return (*self.handing_over, *statements_to_replace(self.name, self.fenced, self.properties))

    @property
    def handing_over(self) -> tuple[Statement, ...]:
        """Give the clone to its owner, if another role had to own it while it was being filled."""
        owner = self.properties.owner
        return (ChangeOwner(self.name, owner),) if self.create.owner != owner else ()

    @property
    def fenced(self) -> Properties | None:
        """The properties of the clone after it was given to its owner, if they are not those of a new database."""
        if not self.is_online and not self.was_open:
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
        """Open it to its owner, to fill it, in one transaction. Nobody else can connect at any moment, except
        superusers."""
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
            Step("Create an empty database, to which nobody can connect", make),
            Step("Open it to its owner only", self.opening, atomic=True),
            Step("Copy definitions and rows, as of one moment, while clients work (pg_dump, COPY, pg_restore)", ()),
            Step("Compare it with the source, and seal it again", self.closing),
        )


@dataclass(frozen=True, slots=True)
class Template:
    """A database that is to be cloned, and what a clone by template lacks: its properties and its ``comment``.

    With ``locale``, which is then its own, the clone begins as an empty database.
    """

    database: Database
    properties: Properties
    comment: str | None = None
    locale: Locale | None = None


def plan_clone(
    template: Template,
    source: str,
    method: CopyMethod,
    names: FreeNames,
    *,
    tablespace: str | None = None,
    keeper: str | None = None,
) -> ClonePlan:
    """Plan a clone of ``template`` on behalf of ``source``, whose name it is to bear.

    ``keeper`` owns one that begins as an empty database until it is complete: where a superuser fills it, its owner
    could else get in, and have his code run with a superuser's rights.
    """
    name = names.of(source, Kind.PARTIAL)
    database, locale = template.database, template.locale
    return ClonePlan(
        template=database,
        name=name,
        properties=template.properties,
        settings=(SetCopyMethod(method.share_blocks),) if method.share_blocks is not None else (),
        create=CreateDatabase(
            name,
            database.name if locale is None else "template0",
            keeper or template.properties.owner,
            PARTIAL_CONNECTION_LIMIT,
            method.word,
            tablespace if locale is None else tablespace or _named_tablespace(database),
            locale,
        ),
        instead=(SetCopyMethod(share_blocks=False),) if method.share_blocks and method.falls_back else (),
    )


def _named_tablespace(template: Database) -> str | None:
    """What a database made from template0 has to be told to be in the tablespace of ``template``.

    To name pg_default takes a right on it, which to be put there by default does not.
    """
    return None if template.tablespace == "pg_default" else template.tablespace
