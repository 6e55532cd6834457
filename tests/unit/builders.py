"""Small builders: values with ordinary contents, of which a test names only what it is about."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import count

from hypothesis import strategies as st

from snapkit.core.comparison.differences import ChangedDefinition, ChangedTable, ShownRow
from snapkit.core.comparison.row_changes import Method
from snapkit.core.comparison.writes import Rows
from snapkit.core.inventory import metadata as comments
from snapkit.core.inventory.database import PARTIAL_CONNECTION_LIMIT, Database
from snapkit.core.inventory.entry import Entry
from snapkit.core.inventory.kinds import Kind, State, Strategy
from snapkit.core.inventory.metadata import Metadata
from snapkit.core.inventory.naming import FreeNames, sequence_of
from snapkit.core.inventory.opened import Grant, Opened
from snapkit.core.plans.clone import ClonePlan, CopyMethod, Template, plan_clone
from snapkit.core.plans.properties import Privilege, Properties, SecurityLabel, Setting
from snapkit.core.plans.statements import CommentOnDatabase, CreateDatabase, RenameDatabase, Statement, Step
from snapkit.services.diff import DiffReceipt, DiffRequest

NOW = datetime(2026, 7, 15, 12, 0, 0, tzinfo=UTC)
AT = datetime(2026, 1, 10, 10, 30, 45, tzinfo=UTC)

_oids = count(16384)

texts = st.text(alphabet=st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=40)
"""Any text that PostgreSQL can store."""

words = st.text(alphabet=st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=40)
"""The same, but not empty."""

_role_oids = st.integers(0, 2**32 - 1)
openings = st.builds(
    Opened,
    at=st.datetimes(timezones=st.just(UTC)).map(lambda at: at.replace(microsecond=0)),
    user=texts,
    host=texts,
    pid=st.integers(1, 2**22),
    connect=st.lists(st.builds(Grant, _role_oids, _role_oids, st.booleans())).map(lambda each: tuple(sorted(each))),
    read_only=st.none() | texts,
    reading=st.none() | texts,
)


def utc(text: str) -> datetime:
    """Read ``2026-01-10 10:30:45``; the time of day may be left out."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def make_database(
    name: str = "app",
    *,
    owner: str = "alice",
    owner_is_superuser: bool = False,
    allow_connections: bool = True,
    connection_limit: int = -1,
    is_template: bool = False,
    tablespace: str = "pg_default",
    document: str | None = None,
    has_comment: bool | None = None,
    is_mine: bool = True,
    access: int | None = None,
    row_is_newer: bool | None = None,
    oid: int | None = None,
) -> Database:
    return Database(
        oid=next(_oids) if oid is None else oid,
        name=name,
        owner=owner,
        owner_is_superuser=owner_is_superuser,
        allow_connections=allow_connections,
        connection_limit=connection_limit,
        is_template=is_template,
        tablespace=tablespace,
        document=document,
        has_comment=document is not None if has_comment is None else has_comment,
        is_mine=is_mine,
        access=access,
        row_is_newer=row_is_newer,
    )


def make_metadata(
    source: str = "app",
    kind: Kind = Kind.BACKUP,
    at: datetime = AT,
    *,
    label: str | None = None,
    pinned: bool = False,
    pin_reason: str | None = None,
) -> Metadata:
    return Metadata(kind, source, at, label=label, pinned=pinned, pin_reason=pin_reason)


def make_managed(
    name: str,
    metadata: Metadata | None = None,
    *,
    owner: str = "alice",
    owner_is_superuser: bool = False,
    connection_limit: int = -1,
) -> Database:
    """Return a sealed database whose comment is a document of ours."""
    return make_database(
        name,
        owner=owner,
        owner_is_superuser=owner_is_superuser,
        allow_connections=False,
        connection_limit=connection_limit,
        document=comments.encode(metadata or make_metadata()),
    )


def make_partial(name: str, *, owner: str = "alice", connection_limit: int = PARTIAL_CONNECTION_LIMIT) -> Database:
    return make_database(name, owner=owner, allow_connections=False, connection_limit=connection_limit)


def make_entry(
    name: str = "app_backup_20260110_103045",
    *,
    source: str = "app",
    kind: Kind = Kind.BACKUP,
    state: State = State.READY,
    at: datetime = AT,
    managed: bool = True,
    pinned: bool = False,
    pin_reason: str | None = None,
    label: str | None = None,
    metadata: Metadata | None = None,
    database: Database | None = None,
    size_bytes: int | None = None,
) -> Entry:
    if managed and metadata is None:
        metadata = make_metadata(source, kind, at, label=label, pinned=pinned, pin_reason=pin_reason)
    database = database or make_database(name, allow_connections=False)
    return Entry(database, source, kind, state, at, sequence_of(database.name), metadata, size_bytes)


def make_properties(
    *,
    owner: str = "alice",
    connection_limit: int = -1,
    privileges: frozenset[Privilege] | None = None,
    settings: frozenset[Setting] = frozenset(),
    security_labels: frozenset[SecurityLabel] = frozenset(),
) -> Properties:
    return Properties(owner, connection_limit, privileges, settings, security_labels)


BACKUP = "app_backup_20260110_103045"
SECOND = timedelta(seconds=1)
LATER = utc("2026-01-11 08:00")
FILE_COPY = CopyMethod(Strategy.FILE_COPY, Strategy.FILE_COPY, None)
PROPERTIES = make_properties(
    connection_limit=7,
    privileges=frozenset([Privilege("alice", "bob", "CONNECT", False)]),
    settings=frozenset([Setting("", "work_mem", "1MB")]),
)


def statements_of(steps: tuple[Step, ...]) -> list[Statement]:
    return [statement for step in steps for statement in step.statements]


def document_in(statements: list[Statement], name: str) -> Metadata:
    (text,) = [s.comment for s in statements if isinstance(s, CommentOnDatabase) and s.name == name]
    metadata = comments.decode(text)
    assert isinstance(metadata, Metadata)
    return metadata


def names_after(steps: tuple[Step, ...], *before: str) -> dict[str, str]:
    """Return, by its name before, each database's name after the renames; PostgreSQL refuses a name that is taken."""
    names = {name: name for name in before}
    for statement in statements_of(steps):
        if isinstance(statement, CreateDatabase):
            assert statement.name not in names.values()
            names[statement.name] = statement.name
        if isinstance(statement, RenameDatabase):
            assert statement.new_name not in names.values()
            (original,) = [was for was, now in names.items() if now == statement.name]
            names[original] = statement.new_name
    return names


def clone_of(entry: Entry) -> ClonePlan:
    return plan_clone(Template(entry.database, PROPERTIES), "app", FILE_COPY, FreeNames(LATER, []))


def make_diff(
    schema: tuple[ChangedDefinition, ...] = (),
    tables: tuple[ChangedTable, ...] = (),
    *,
    request: DiffRequest | None = None,
    after: Entry | None = None,
    label: str | None = "before v42",
    compared: int = 27,
) -> DiffReceipt:
    """Return what differs between a backup of two hours ago and the live database ``app``, or ``after``."""
    return DiffReceipt(
        request=request or DiffRequest(),
        before=make_entry(label=label),
        after=after,
        live="app",
        at=AT + timedelta(hours=2),
        schema=schema,
        tables=tables,
        tables_compared=compared,
        duration=timedelta(seconds=1.234),
    )


def make_changed_table(
    table: str = "item",
    rows: Rows | None = None,
    *,
    schema: str = "public",
    shown: tuple[ShownRow, ...] | None = None,
    as_of: datetime | None = AT + timedelta(hours=2),
    method: Method = Method.VERSIONS,
    reason: str | None = None,
) -> ChangedTable:
    """Return a table with differences; with a ``reason``, one that was not compared."""
    if reason is not None:
        return ChangedTable(schema, table, None, Method.NOT_COMPARED, None, reason)
    return ChangedTable(schema, table, rows or Rows(updated=1), method, as_of, None, shown)
