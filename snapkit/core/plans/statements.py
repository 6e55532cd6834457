"""The statements that snapkit sends, as values. ``postgres.ddl`` writes them as SQL."""

from __future__ import annotations

from snapkit.core.inventory.kinds import Strategy
from snapkit.core.values import dataclass


@dataclass(frozen=True, slots=True)
class Locale:
    """Encoding and collation for a CREATE DATABASE that does not take them from its template.

    ``provider`` is ``libc``, ``icu`` or ``builtin``, and None on PostgreSQL 14, which has no choice. ``name`` and
    ``rules`` are for ``icu`` and ``builtin``.
    https://www.postgresql.org/docs/current/sql-createdatabase.html
    """

    encoding: str
    collate: str
    ctype: str
    provider: str | None = None
    name: str | None = None
    rules: str | None = None


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Write dirty buffers to disk, so that the checkpoint in CREATE DATABASE (FILE_COPY) has little left to do."""


@dataclass(frozen=True, slots=True)
class CreateDatabase:
    """Clone ``template``. The clone is sealed from the start, and marked as unfinished.

    ``method`` is the STRATEGY, None on PostgreSQL 14, which has none. ``locale`` is for an empty database, made from
    template0. ``collation_version`` is recorded as that of the template, whatever the system has now.
    """

    name: str
    template: str
    owner: str
    connection_limit: int
    method: Strategy | None
    tablespace: str | None
    locale: Locale | None = None
    collation_version: str | None = None


@dataclass(frozen=True, slots=True)
class SetCopyMethod:
    """Whether FILE_COPY shares blocks, in this session (PostgreSQL 18 and later)."""

    share_blocks: bool


@dataclass(frozen=True, slots=True)
class Listen:
    """Listen on ``channel`` in this session; with ``ends``, stop listening."""

    channel: str
    ends: bool = False


@dataclass(frozen=True, slots=True)
class RenameDatabase:
    name: str
    new_name: str


@dataclass(frozen=True, slots=True)
class DropDatabase:
    """``force`` ends the sessions inside."""

    name: str
    force: bool = False


@dataclass(frozen=True, slots=True)
class AlterDatabase:
    """Change the options that are given; None leaves one as it is."""

    name: str
    allow_connections: bool | None = None
    connection_limit: int | None = None
    is_template: bool | None = None


@dataclass(frozen=True, slots=True)
class FreezeDatabase:
    """Change nothing, and keep name, owner, access list, flags and limit unchanged until the transaction ends.

    ALTER DATABASE without an option writes the row of pg_database anew. Whoever wants to change the row has to wait.
    Clients do not wait for it. https://www.postgresql.org/docs/current/sql-alterdatabase.html
    """

    name: str


@dataclass(frozen=True, slots=True)
class ChangeOwner:
    name: str
    owner: str


@dataclass(frozen=True, slots=True)
class CommentOnDatabase:
    name: str
    comment: str | None


@dataclass(frozen=True, slots=True)
class LabelDatabase:
    """Set a security label of a provider; None removes it."""

    name: str
    provider: str
    label: str | None


@dataclass(frozen=True, slots=True)
class GrantOnDatabase:
    """Of the grantees, None is PUBLIC. However many they are, the access list is written once."""

    name: str
    privileges: tuple[str, ...]
    grantees: tuple[str | None, ...]
    with_grant_option: bool = False


@dataclass(frozen=True, slots=True)
class RevokeAllOnDatabase:
    """Of the grantees, None is PUBLIC. What they have granted on goes with it."""

    name: str
    grantees: tuple[str | None, ...]


@dataclass(frozen=True, slots=True)
class RevokeOnDatabase:
    """Of the grantees, None is PUBLIC. What they have granted on goes with it."""

    name: str
    privileges: tuple[str, ...]
    grantees: tuple[str | None, ...]


@dataclass(frozen=True, slots=True)
class SetRole:
    """Act as ``role`` until the end of the transaction; None ends that."""

    role: str | None


@dataclass(frozen=True, slots=True)
class SetParameter:
    """A setting of the database, for one role in it or (None) for all. Several values make a list."""

    name: str
    role: str | None
    parameter: str
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class StoreParameter:
    """Store a setting as exactly this text. For what SetParameter cannot store; it needs a transaction.

    An example is a list without elements: ``SET ... TO ''`` would store a list with one empty name.
    https://www.postgresql.org/docs/current/sql-alterdatabase.html
    """

    name: str
    role: str | None
    parameter: str
    text: str


@dataclass(frozen=True, slots=True)
class ResetParameters:
    """Take back all settings of the database, for one role in it or (None) for all."""

    name: str
    role: str | None


@dataclass(frozen=True, slots=True)
class ResetParameter:
    """Take back one setting that the database has for all roles."""

    name: str
    parameter: str


Statement = (
    Checkpoint
    | CreateDatabase
    | SetCopyMethod
    | Listen
    | RenameDatabase
    | DropDatabase
    | AlterDatabase
    | FreezeDatabase
    | ChangeOwner
    | CommentOnDatabase
    | LabelDatabase
    | GrantOnDatabase
    | RevokeAllOnDatabase
    | RevokeOnDatabase
    | SetRole
    | SetParameter
    | StoreParameter
    | ResetParameters
    | ResetParameter
)


@dataclass(frozen=True, slots=True)
class Step:
    """Some statements and what they are for. Those of one step run in one transaction if ``atomic``."""

    title: str
    statements: tuple[Statement, ...]
    atomic: bool = False


@dataclass(frozen=True, slots=True)
class WrittenStep:
    """A step of a plan with its statements as SQL; those of an ``atomic`` one run in one transaction."""

    title: str
    sql: tuple[str, ...]
    atomic: bool
