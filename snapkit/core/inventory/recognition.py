"""The inventory: what each database of the server is, read from its row in pg_database."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime

from snapkit.core.inventory import metadata, naming
from snapkit.core.inventory.database import PARTIAL_CONNECTION_LIMIT, Database
from snapkit.core.inventory.entry import Entry
from snapkit.core.inventory.kinds import Kind, State
from snapkit.core.inventory.ordering import in_order
from snapkit.core.reporting import Caution
from snapkit.core.values import dataclass
from snapkit.errors import NOTHING_CHANGED, NotFoundError


@dataclass(frozen=True, slots=True)
class Inventory:
    """The inventory of one server, newest entry first.

    ``newer`` are databases with a document of a newer snapkit. ``distrusted`` are entries whose owner may not claim
    their source. snapkit touches neither of them, except for ``orphan``.
    """

    databases: Mapping[str, Database]
    entries: tuple[Entry, ...]
    newer: tuple[Database, ...] = ()
    distrusted: tuple[Entry, ...] = ()

    def of_source(self, source: str) -> tuple[Entry, ...]:
        return tuple(entry for entry in self.entries if entry.source == source)

    def orphan(self, name: str, source: str) -> Entry | None:
        """Return a distrusted entry whose source is gone. A user who gives its whole name trusts it."""
        if source in self.databases:
            return None
        return next((each for each in self.distrusted if each.name == name and each.source == source), None)

    def made_here(self, oid: int, source: str) -> Entry:
        """Return the entry that the run itself has made, whoever owns it; raise NotFoundError if it is gone."""
        for entry in (*self.entries, *self.distrusted):
            if entry.database.oid == oid and entry.source == source:
                return entry
        raise NotFoundError(
            f"The backup of {source!r} that this run has made is gone.",
            state=NOTHING_CHANGED,
            hint="See what there is: snapkit list",
        )

    def is_ours(self, name: str) -> bool:
        """Whether a snapkit of whatever version made this database."""
        ours = [entry.database for entry in self.entries if entry.is_managed or entry.kind is Kind.PARTIAL]
        return any(database.name == name for database in (*ours, *self.newer))


_NO_CLOCK = datetime.max.replace(tzinfo=UTC)


def take_inventory(databases: Iterable[Database], role: str, now: datetime = _NO_CLOCK) -> Inventory:
    """Recognise what each database is. ``role`` is who asks (see ``_is_trusted``), ``now`` the server's clock."""
    by_name = {database.name: database for database in databases}
    entries: list[Entry] = []
    newer: list[Database] = []
    distrusted: list[Entry] = []
    for database in by_name.values():
        document = metadata.decode(database.document)
        if isinstance(document, metadata.NewerDocument):
            newer.append(database)
        elif document is None:
            entry = _without_document(database)
            if entry is not None:
                entries.append(entry)
        elif document.source != database.name:  # else it is the live one: a rename by hand has taken the comment along
            trusted = _is_trusted(database, by_name.get(document.source), role)
            (entries if trusted else distrusted).append(_with_document(database, document))
    entries = [entry for entry in entries if entry.kind is not Kind.PARTIAL] + list(_partials(entries, by_name))
    return Inventory(by_name, in_order(entries, now), tuple(newer), tuple(distrusted))


def _with_document(database: Database, document: metadata.Metadata) -> Entry:
    is_to_go = database.is_invalid or _is_being_dropped(database, document)
    altered = None if is_to_go else alteration(database, document)
    return Entry(
        database=database,
        source=document.source,
        kind=document.kind,
        state=State.INVALID if is_to_go else State.ALTERED if altered else State.READY,
        created_at=document.created_at,
        sequence=naming.sequence_of(database.name),
        metadata=document,
        bears_its_name=is_to_go or naming.belongs_to(database.name, document.source, document.kind),
        altered=altered,
    )


def _is_being_dropped(database: Database, document: metadata.Metadata) -> bool:
    """Whether it is still as the run left it that began to drop it. If somebody has rescued it, snapkit must not
    drop it."""
    is_named_so = naming.is_passing_name(database.name, document.source, database.oid)
    return document.dropping is not None and is_named_so and not database.allow_connections


def _is_trusted(database: Database, source: Database | None, role: str) -> bool:
    """Whether the owner of a database may claim that it is a backup of ``source``.

    Only a database's owner or a superuser can write its comment. So a role with CREATEDB could create a database that
    claims to be a backup of another role's database, and wait until it is rolled back to. snapkit gives every clone
    the owner of its source, which such a role cannot do. If the source is gone, only the role's own databases are
    believed.
    """
    return database.owner == (source.owner if source else role)


def _without_document(database: Database) -> Entry | None:
    at = naming.read_partial_name(database.name)
    if at is not None and _is_marked_partial(database):
        state = State.INVALID if database.is_invalid else State.INCOMPLETE
        return Entry(database, "", Kind.PARTIAL, state, at, naming.sequence_of(database.name))
    script = naming.read_script_name(database.name)
    if script is not None and not database.has_comment:
        source, at = script
        return Entry(database, source, Kind.BACKUP, State.INVALID if database.is_invalid else State.UNMANAGED, at)
    return None


def _is_marked_partial(database: Database) -> bool:
    sealed = not database.allow_connections and (
        database.is_invalid or database.connection_limit == PARTIAL_CONNECTION_LIMIT
    )
    return not database.has_comment and (sealed or database.is_open_partial)


def _partials(entries: Sequence[Entry], databases: Mapping[str, Database]) -> Iterable[Entry]:
    """Find the source of each unfinished clone: the database whose clone would get this name.

    A name that was cut does not hold the whole source. So the names on the server and those in documents are tried. If
    nothing else of the source is left, the first part of the name is used.
    """
    known = dict.fromkeys([*databases, *(entry.source for entry in entries if entry.is_managed)])
    for entry in entries:
        if entry.kind is Kind.PARTIAL:
            fallback = entry.name.rsplit("_partial_", 1)[0]  # the source itself, unless the name was cut
            candidates = [fallback] if fallback in known else known
            sources = (name for name in candidates if naming.belongs_to(entry.name, name, Kind.PARTIAL))
            yield Entry(
                entry.database, next(sources, fallback), entry.kind, entry.state, entry.created_at, entry.sequence
            )


def alteration(database: Database, document: metadata.Metadata) -> str | None:
    """Return how an entry differs from what snapkit sealed, in words that follow its name; None if it does not.

    A seal writes the row in pg_database and the comment in one transaction. So both have the same ``xmin``, which
    neither VACUUM nor freezing changes, until somebody writes one of them. Nobody can open a database without writing
    its row. Documents of versions that did not note the seal are not judged by this. Neither are changes that are
    visible and let nobody connect.
    https://www.postgresql.org/docs/current/ddl-system-columns.html
    """
    if document.altered is not None:
        return document.altered
    if document.dropping is not None:
        return "was renamed or opened after a run had begun to drop it"
    if document.opened is not None:  # what it was is noted, and comes back
        return None
    if database.allow_connections:
        return "accepts connections: somebody has set ALLOW_CONNECTIONS true"
    seal = document.seal
    if seal is None or not database.row_is_newer:
        return None
    if database.connection_limit != seal.connection_limit:
        return f"has another connection limit ({database.connection_limit}) than snapkit gave it"
    if database.is_template or (database.owner, database.access) != (seal.owner, seal.access):
        return None
    return "was changed after snapkit had sealed it: somebody may have opened it and closed it again"


def recognition_cautions(inventory: Inventory) -> tuple[Caution, ...]:
    """Say which databases look like ours and are left alone."""
    cautions = []
    if inventory.newer:
        names = ", ".join(database.name for database in inventory.newer)
        cautions.append(
            Caution(
                "newer_version",
                f"A newer version of snapkit has made these, and this one ignores them: {names}. Upgrade snapkit.",
            )
        )
    return (*cautions, *map(distrusted, inventory.distrusted))


def distrusted(entry: Entry) -> Caution:
    """Say that an entry is left alone, since its owner may not say what it is."""
    return Caution(
        "not_trusted",
        f"{entry.name} claims to be a backup of {entry.source}, but its owner {entry.database.owner} does not "
        "own that database. snapkit ignores it.",
    )
