"""A copy made while clients work: which way each table goes, and whether the copy is what its source was.

Large tables go from session to session (``relayed``); the rest, and all that is not a table, goes through pg_dump,
which knows of sequences, large objects and the tables of extensions.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import field

from snapkit.core.inventory.entry import Caution
from snapkit.core.values import dataclass
from snapkit.errors import DiskFullError, PrivilegeError, SnapkitError

WORTH_RELAYING = 2**20
"""Bytes from which on a table goes by itself."""

MOST_RELAYED = 400
"""pg_dump is told of each on its command line, which systems limit."""


@dataclass(frozen=True, slots=True)
class Table:
    """An ordinary table or a partition, with its rows. ``columns`` are those that are stored and not generated,
    ``generated`` those that are both.

    ``hashed_root`` is the partitioned table above it where one between them divides its rows by their hash.
    """

    oid: int
    schema: str
    name: str
    bytes: int
    columns: tuple[str, ...]
    is_extensions: bool = False
    hashed_root: tuple[str, str] | None = None
    generated: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        return title_of(self.schema, self.name)

    @property
    def as_compared(self) -> Counted:
        """Whose rows are compared: those of the root where a row may be in another partition of the copy."""
        columns = tuple(sorted((*self.columns, *self.generated)))  # a child's may be in another order in the copy
        if self.hashed_root is not None:
            return Counted(*self.hashed_root, only=False, columns=columns)
        return Counted(self.schema, self.name, columns=columns)


def title_of(schema: str, name: str) -> str:
    """Return the name of a table as SQL has it, and as a pattern by which pg_dump knows just this one.

    https://www.postgresql.org/docs/current/app-psql.html#APP-PSQL-PATTERNS
    """
    return ".".join('"' + part.replace('"', '""') + '"' for part in (schema, name))


@dataclass(frozen=True, slots=True, order=True)
class Counted:
    """Rows that are compared, by these ``columns``; with ``only`` without those of the table's descendants."""

    schema: str
    name: str
    only: bool = True
    columns: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        return title_of(self.schema, self.name)


@dataclass(frozen=True, slots=True)
class Call:
    """A function that an expression in the database calls, where ``place`` says.

    ``owner`` is whose it is; None where it is a superuser's, but may run statements that the expression gives it.
    """

    place: str
    function: str
    owner: str | None

    def describe(self) -> str:
        whose = "which is not immutable" if self.owner is None else f"which belongs to {self.owner!r}"
        return f"{self.place} calls {self.function}, {whose}"


@dataclass(frozen=True, slots=True)
class Division:
    """The tables that are relayed, largest first, and the rest, which pg_dump copies. Those of extensions are in
    neither: pg_dump takes along what an extension declares as a user's."""

    relayed: tuple[Table, ...]
    rest: tuple[Counted, ...]


def divide(tables: Sequence[Table], encoding: str) -> Division:
    """Divide the tables of a database in ``encoding``.

    Rows divided by the hash of an enum's value belong elsewhere in the copy, where its values have other numbers:
    pg_dump puts them in from the top. An extension says itself which rows of its tables are a user's. And a name that
    is not ASCII reaches pg_dump as it is meant only where both speak UTF-8.
    """
    relayed = [
        table
        for table in tables
        if table.bytes >= WORTH_RELAYING
        and table.columns
        and not table.is_extensions
        and table.hashed_root is None
        and (encoding == "UTF8" or all(each.isascii() for each in (table.schema, table.name, *table.columns)))
    ]
    relayed.sort(key=lambda table: (-table.bytes, table.title))
    relayed = relayed[:MOST_RELAYED]
    oids = {table.oid for table in relayed}
    rest = {table.as_compared for table in tables if table.oid not in oids and not table.is_extensions}
    return Division(tuple(relayed), tuple(sorted(rest)))


_EVENT_TRIGGER = re.compile(r"\d+; \d+ \d+ (?:(?:COMMENT|SECURITY LABEL) - )?EVENT TRIGGER ")


def event_triggers_last(listing: str) -> tuple[str, str]:
    """Divide what pg_restore lists of an archive into all the rest, and event triggers with what is said of them.

    https://www.postgresql.org/docs/current/app-pgrestore.html
    """
    lines = listing.splitlines(keepends=True)
    return (
        "".join(line for line in lines if not _EVENT_TRIGGER.match(line)),
        "".join(line for line in lines if _EVENT_TRIGGER.match(line)),
    )


_TITLE = re.compile(r"^--\n-- Name: (.*)\n--\n", re.MULTILINE)
_BY_ORDER = re.compile(
    r"^(?:SET default_(?:tablespace|table_access_method) = .*;|\\(?:un)?restrict .*)$",
    re.MULTILINE,
)
"""What stands where it does because of what stands before it, or is different every time."""
_END = "\n--\n-- PostgreSQL database dump complete\n--\n"
_CAST = re.compile(
    r"::(?:\"[^\"]+\"|\w+)(?:\.(?:\"[^\"]+\"|\w+))?"
    r"(?: varying| precision| with(?:out)? time zone)?(?:\(\d+(?:,\d+)?\))?(?:\[\])*"
)
_FILLING = re.compile(r"[\s()]+")


def compare_definitions(wanted: str, found: str) -> tuple[str, ...]:
    """Compare two dumps of definitions, and name what differs.

    The order does not matter, nor do casts and parentheses in expressions: PostgreSQL itself writes ``IN`` over varchar
    in another way once it has read what it has written.
    """
    before, after = _definitions(wanted), _definitions(found)
    lacking, surplus = before - after, after - before
    titles = sorted({title for title, _ in (*lacking, *surplus)})
    has, had = {title for title, _ in after}, {title for title, _ in before}
    return tuple(
        f"{title}: {'not in the copy' if title not in has else 'not in the source' if title not in had else 'differs'}"
        for title in titles
    )


def _definitions(dump: str) -> Counter[tuple[str, str]]:
    pieces = _TITLE.split(dump.rpartition(_END)[0])
    return Counter((title, _plain(title, body)) for title, body in zip(pieces[1::2], pieces[2::2], strict=True))


def _plain(title: str, body: str) -> str:
    lines = _BY_ORDER.sub("", body).splitlines()
    if "Type: ACL" in title or "Type: DEFAULT ACL" in title:
        lines.sort()
    return _FILLING.sub("", _CAST.sub("", "\n".join(lines)))


def compare_numbers(wanted: Mapping[str, int], found: Mapping[str, int]) -> tuple[str, ...]:
    """Compare how many there are of each, and name what differs."""
    return tuple(
        f"{what}: {wanted.get(what, 0)} in the source, {found.get(what, 0)} in the copy"
        for what in sorted({*wanted, *found})
        if wanted.get(what, 0) != found.get(what, 0)
    )


@dataclass(frozen=True, slots=True)
class LockTable:
    """How many locks the server has room for, as its settings say, and the tables and other relations of a database."""

    per_transaction: int
    sessions: int
    """max_connections and max_prepared_transactions together."""
    tables: int
    others: int
    """Indexes, TOAST tables and sequences, which whoever reads a table or dumps a database locks besides."""

    @property
    def capacity(self) -> int:
        return self.per_transaction * self.sessions

    @property
    def needed(self) -> int:
        """What a copy takes: two sessions of ours and two of pg_dump hold all tables, and a table has room for two
        holders of each lock that it has room for. A quarter is left to everybody else."""
        return (max(self.tables + self.others, (4 * self.tables + self.others) // 2) * 4 + 2) // 3

    @property
    def enough_per_transaction(self) -> int:
        """The value of max_locks_per_transaction with which there is room."""
        return -(-self.needed // self.sessions)

    @property
    def is_too_small(self) -> bool:
        return self.needed > self.capacity

    @property
    def room(self) -> str:
        """What is needed, and what is there, in sentences."""
        return (
            f"A copy while clients work locks {self.tables} tables, and what belongs to them ({self.others} indexes, "
            f"sequences and other relations). The server has room for about {self.capacity} locks; it takes "
            f"{self.needed}, with a quarter left to everybody else."
        )

    @property
    def remedy(self) -> str:
        """What makes room, as a sentence without its end."""
        return (
            f"Let an administrator set max_locks_per_transaction to {self.enough_per_transaction} or more (now "
            f"{self.per_transaction}) and restart the server"
        )


@dataclass(frozen=True, slots=True)
class Contents:
    """How many rows, and the sum of a 64-bit hash of each: the same rows give the same, in whatever order."""

    rows: int
    checksum: int


def compare_contents(wanted: Mapping[str, Contents], found: Mapping[str, Contents]) -> tuple[str, ...]:
    """Compare the rows of each table, and name what differs."""
    numbers = [{name: each.rows for name, each in side.items()} for side in (wanted, found)]
    others = [
        f"{name}: as many in the copy, but not the same"
        for name, each in wanted.items()
        if name in found and found[name].rows == each.rows and found[name].checksum != each.checksum
    ]
    return tuple(sorted((*compare_numbers(*numbers), *others)))


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """An object that pg_dump takes for given: a hash of what it does, and one of what is said of it (owner, cost,
    privileges, comment)."""

    definition: int
    rest: int


def compare_given(
    wanted: Mapping[str, Fingerprint], found: Mapping[str, Fingerprint]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Name the objects that are defined otherwise, or that one side lacks; and those of which only the rest differs."""
    names = sorted({*wanted, *found})
    differing = tuple(name for name in names if _definition(wanted, name) != _definition(found, name))
    changed = (name for name in names if name not in differing and wanted[name] != found[name])
    return differing, tuple(changed)


def _definition(objects: Mapping[str, Fingerprint], name: str) -> int | None:
    return objects[name].definition if name in objects else None


@dataclass(frozen=True, slots=True)
class LeftOut:
    """What pg_dump does not tell of a database.

    Who owns each extension; which foreign keys are not enforced; the objects that PostgreSQL or an extension brings;
    the rows of extensions' own tables; those of materialised views, which are computed anew.
    """

    extension_owners: Mapping[str, str]
    disabled_keys: frozenset[str]
    given: Mapping[str, Fingerprint] = field(default_factory=dict)
    of_extensions: Mapping[str, Contents] = field(default_factory=dict)
    views: Mapping[str, Contents] = field(default_factory=dict)


def cautions_of(wanted: LeftOut, found: LeftOut) -> tuple[Caution, ...]:
    """Warn of what the copy could not be given."""
    owners = [
        f"{name} ({found.extension_owners[name]!r} instead of {owner!r})"
        for name, owner in sorted(wanted.extension_owners.items())
        if found.extension_owners.get(name, owner) != owner
    ]
    views = {name: each for name, each in found.views.items() if name in wanted.views}
    keys = sorted(wanted.disabled_keys - found.disabled_keys)
    given = compare_given(wanted.given, found.given)[1]
    own = compare_contents(wanted.of_extensions, found.of_extensions)
    anew = compare_contents(wanted.views, views)
    told = (
        (owners, Caution("extension_owners", f"Extensions have another owner in the backup: {', '.join(owners)}.")),
        (
            keys,
            Caution(
                "keys_enforced",
                "Foreign keys are enforced in the backup whose triggers are disabled in the source (ALTER TABLE ... "
                f"DISABLE TRIGGER ALL): {', '.join(keys)}.",
            ),
        ),
        (
            given,
            Caution(
                "given_objects_changed",
                "PostgreSQL's own or an extension's, with another owner, privileges, cost or comment in the backup: "
                f"{', '.join(given)}.",
            ),
        ),
        (
            own,
            Caution(
                "extension_rows",
                "Tables of extensions hold other rows in the backup, since these are not declared as a user's: "
                f"{', '.join(own)}.",
            ),
        ),
        (
            anew,
            Caution(
                "views_refreshed",
                f"Materialised views hold other rows in the backup, since they were computed anew: {', '.join(anew)}.",
            ),
        ),
    )
    return tuple(caution for names, caution in told if names)


def compare_versions(installed: Mapping[str, str], offered: Mapping[str, str | None]) -> tuple[str, ...]:
    """Name the extensions that would come into the copy in another version, or not at all."""
    return tuple(
        f"{name} {version} ("
        + ("the server does not offer it" if offered.get(name) is None else f"the server would install {offered[name]}")
        + ")"
        for name, version in sorted(installed.items())
        if offered.get(name) != version
    )


_VALUE = re.compile(r'".*', re.DOTALL)


def without_values(message: str) -> str:
    """Return PostgreSQL's message about a value that it refuses up to that: rows are nobody's business in a log.

    Where a constraint is violated, what is quoted are names. A value may hold quotes: all behind the first goes.
    """
    return message if "violates" in message else _VALUE.sub("...", message)


_SAID = re.compile(r"^(?:pg_dump|pg_restore): (?:error: |detail: |warning: )?(.*)$")
_FOLLOWS = re.compile(r"HINT:|DETAIL:")
"""What PostgreSQL adds."""
_OF_ROWS = re.compile(r"(?=.*\bviolates\b)|(COPY failed for table .*?: ERROR:\s+)")
"""A complaint about rows, which PostgreSQL quotes in it and in what it adds."""

_REST = 1000


def said_by(program: str) -> str:
    """Return what a program has complained of, fit for a message: without the statements, which may hold secrets."""
    lines = []
    is_of_rows = False
    for line in program.splitlines():
        match = _SAID.match(line)
        if match and not match[1].startswith(("while ", "from TOC entry", "creating ", "processing ", "hint: ")):
            of_rows = _OF_ROWS.match(match[1])
            is_of_rows = of_rows is not None
            start = of_rows.end() if of_rows else len(match[1])
            lines.append((match[1][:start] + without_values(match[1][start:])).strip())
        elif _FOLLOWS.match(line) and not is_of_rows:
            lines.append(line.strip())
    return " ".join(lines)[:_REST]


_KINDS: tuple[tuple[str, type[SnapkitError]], ...] = (
    ("No space left on device", DiskFullError),
    ("permission denied", PrivilegeError),
    ("must be owner of", PrivilegeError),
    ("must be superuser", PrivilegeError),
    ("Must be superuser", PrivilegeError),
    ("must be member of", PrivilegeError),
    ("must be able to SET ROLE", PrivilegeError),
    ("row-level security policy", PrivilegeError),
)


def kind_of(complaint: str) -> type[SnapkitError]:
    """Return which error of ours a program's complaint is.

    Programs pass on the server's texts and no SQLSTATE. In another language, or in other words, it is a plain failure.
    """
    return next((kind for text, kind in _KINDS if text in complaint), SnapkitError)
