"""From the rows of pg_database to the inventory, and from what a user types to one entry of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime

from snapkit.core.inventory import metadata, naming
from snapkit.core.inventory.alteration import alteration
from snapkit.core.inventory.entry import PARTIAL_CONNECTION_LIMIT, Database, Entry, Kind, State
from snapkit.core.inventory.ordering import in_order
from snapkit.core.values import dataclass
from snapkit.errors import NotFoundError, UsageError


@dataclass(frozen=True, slots=True)
class Inventory:
    """What is on one server, newest entry first.

    ``newer`` holds the databases whose document a newer snapkit wrote, ``distrusted`` the entries whose document names
    a source that their owner has no claim to. Neither is touched, but for ``orphan``.
    """

    databases: Mapping[str, Database]
    entries: tuple[Entry, ...]
    newer: tuple[Database, ...] = ()
    distrusted: tuple[Entry, ...] = ()

    def of_source(self, source: str) -> tuple[Entry, ...]:
        return tuple(entry for entry in self.entries if entry.source == source)

    def orphan(self, name: str, source: str) -> Entry | None:
        """Return a distrusted entry of a source that is gone; who gives its whole name vouches for it."""
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
            state="Nothing was changed.",
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
    """Whether it is just as a run has left it that began to drop it; what somebody has rescued is not ours to drop."""
    is_named_so = naming.is_passing_name(database.name, document.source, database.oid)
    return document.dropping is not None and is_named_so and not database.allow_connections


def _is_trusted(database: Database, source: Database | None, role: str) -> bool:
    """Whether the owner of a database may say that it is a backup of ``source``.

    Only a database's owner (or a superuser) can write its comment, so a role with CREATEDB could make a database
    that claims to be a backup of somebody else's, and wait for it to be rolled back to. snapkit gives every clone
    its source's owner, which such a role cannot. Where the source is gone, one's own word is believed, and nobody
    else's.
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
    """Give each clone under construction its source: the database whose clone would have this very name.

    A name that was cut does not hold the source, so the names on the server and those in documents are tried; a source
    of which nothing else is left leaves the name's first part.
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


def is_remains(entry: Entry) -> bool:
    """Whether nothing but dropping it can be done: a clone that was never completed, an interrupted drop of ours."""
    return entry.kind is Kind.PARTIAL or (entry.state is State.INVALID and entry.is_managed)


def lenders(entries: Iterable[Entry]) -> tuple[Database, ...]:
    """Return the databases that may lend themselves for a gate (``postgres.gate``), for which they seem renamed awhile.

    Only what nobody can be inside of; the oldest first, which the fewest want at this moment.
    """
    sealed = [
        entry
        for entry in entries
        if entry.is_managed
        and entry.state is State.READY
        and entry.opened is None
        and not entry.database.allow_connections
        and entry.database.is_mine
    ]
    return tuple(entry.database for entry in sorted(sealed, key=lambda entry: entry.age_key))


def select_one(entries: Sequence[Entry], wanted: str, source: str | None) -> Entry:
    """Return the entry that ``wanted`` names: its whole name, its timestamp part, or its label.

    Raises NotFoundError where nothing fits, and UsageError, with a list, where several do.
    """
    for entry in entries:
        if entry.name == wanted:
            return entry
    fitting = [entry for entry in entries if wanted in (naming.stamp_of(entry.name), entry.label, _former_name(entry))]
    if not fitting:
        raise NotFoundError(
            f"There is no backup {wanted!r}" + (f" of {source!r}." if source else "."),
            state="Nothing was changed.",
            hint="See what there is: snapkit list",
        )
    if len(fitting) > 1:
        names = "\n".join(f"  {entry.name}" for entry in fitting)
        raise UsageError(
            f"{wanted!r} fits several entries:\n{names}", state="Nothing was changed.", hint="Give one of these names."
        )
    return fitting[0]


def _former_name(entry: Entry) -> str | None:
    """The name of an entry before a run began to drop it."""
    return entry.metadata.dropping if entry.metadata and entry.state is State.INVALID else None


def latest_backup(entries: Sequence[Entry], source: str, distrusted: Sequence[Entry] = ()) -> Entry:
    """Return the newest ready backup; raise NotFoundError if there is none, naming those that are not trusted."""
    usable = usable_backups(entries)
    if not usable:
        raise NotFoundError(
            f"There is no backup of {source!r} to roll back to.",
            state="Nothing was changed.",
            hint=_not_considered(distrusted) or _instead(entries),
        )
    return usable[0]


def usable_backups(entries: Iterable[Entry]) -> tuple[Entry, ...]:
    """Return the backups that a rollback would take by itself, newest first."""
    ready = [entry for entry in entries if entry.kind is Kind.BACKUP and entry.state is State.READY]
    return tuple(sorted((each for each in ready if each.bears_its_name), key=lambda each: each.age_key, reverse=True))


def ready_backups(entries: Iterable[Entry], *, without: Entry | None = None) -> int:
    """Return how many backups there are to roll back to, or would be if one were used up."""
    return sum(without is None or each.database.oid != without.database.oid for each in usable_backups(entries))


def _instead(entries: Sequence[Entry]) -> str:
    if any(entry.kind is Kind.OLD for entry in entries):
        return "A rollback uses its backup up. What the last one put aside comes back with: snapkit undo"
    return "A backup is made with: snapkit backup"


def _not_considered(distrusted: Sequence[Entry]) -> str:
    """How to use what was passed over for its owner."""
    if not distrusted:
        return ""
    names = ", ".join(f"{entry.name} (owner {entry.database.owner})" for entry in distrusted)
    return (
        f"Not considered, since their owner is not that of the database: {names}. If you trust one: with the database "
        "there, ALTER DATABASE ... OWNER TO its owner; with the database gone, give snapkit rollback its whole name."
    )


def latest_displaced(entries: Iterable[Entry], source: str, live: Database | None) -> Entry:
    """Return the database that the last rollback or undo put aside: the one that gave way to what is ``live``.

    Raises NotFoundError where that one is gone, rather than to take what an earlier rollback put aside. The newest is
    believed where it does not say what it gave way to, or where nothing is live. One that was altered is returned, too:
    to take another in its place would be wrong, and who plans to use it is told what about it was altered.
    """
    ready = [entry for entry in entries if _was_live(entry) and entry.state in (State.READY, State.ALTERED)]
    newest = max(ready, key=_put_aside, default=None)
    if newest is None:
        raise NotFoundError(
            f"There is nothing to undo: no rollback has put {source!r} aside.",
            state="Nothing was changed.",
            hint="See what there is: snapkit list",
        )
    if live is None or _gave_way_to(newest) in (None, live.oid):
        return newest
    # A server's clock that was set back makes the last one look older than it is.
    those = [entry for entry in ready if _gave_way_to(entry) == live.oid]
    if not those:
        raise NotFoundError(
            f"There is nothing to undo: {source!r} has been replaced once more since {newest.name} was put aside, and "
            "what it was until then is not in the inventory.",
            state="Nothing was changed.",
            hint=f"If the state of {newest.name} is wanted all the same: snapkit rollback {newest.name}",
        )
    return max(those, key=_put_aside)


def _was_live(entry: Entry) -> bool:
    """Whether it was put aside: a displaced database, or one that was given back by an undo what it was before."""
    return entry.kind is Kind.OLD or _gave_way_at(entry) is not None


def _put_aside(entry: Entry) -> tuple[int, tuple[datetime, int, int, str]]:
    """Sorts by when it was put aside; those of which the server's order is not known come first."""
    at = _gave_way_at(entry)
    return (entry.order or 0) if at is None else at, entry.age_key


def _gave_way_at(entry: Entry) -> int | None:
    return entry.metadata.gave_way_at if entry.metadata else None


def _gave_way_to(entry: Entry) -> int | None:
    return entry.metadata.gave_way_to_oid if entry.metadata else None
