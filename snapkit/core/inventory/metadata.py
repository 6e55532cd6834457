"""The comment that marks a database as snapkit's: a small JSON document with a version.

Every role on the server can read it, so it holds no secret. It is ASCII, because the comments of all databases are in
one catalog, each in the encoding of the database that it was written from. Unknown keys are kept when the document is
rewritten. A document of a newer version is recognised and left alone.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import field, replace
from datetime import datetime
from typing import Any

from snapkit.core.comparison import lineage as lineages
from snapkit.core.comparison import writes as activities
from snapkit.core.comparison.lineage import Boundary, Lineage
from snapkit.core.comparison.writes import Activity
from snapkit.core.deploy import deploy as deploys
from snapkit.core.deploy.deploy import Deploy
from snapkit.core.inventory.kinds import Kind, Strategy
from snapkit.core.inventory.opened import Opened, decode_opened, encode_opened
from snapkit.core.inventory.sealed import Seal, decode_seal, encode_seal
from snapkit.core.utc import iso_utc, read_iso_utc
from snapkit.core.values import dataclass
from snapkit.errors import NOTHING_CHANGED, UsageError

VERSION = 1
PREFIX = '{"snapkit":'
"""Every document begins with these characters, so that the catalog query can leave other comments where they are."""

MAX_BYTES = 1 << 23
"""A longer comment is not read: a document of ours exceeds it only by the user's own comment inside it."""

_KNOWN = frozenset(
    (
        "snapkit",
        "kind",
        "source",
        "created_at",
        "strategy",
        "label",
        "pinned",
        "pin_reason",
        "comment",
        "is_template",
        "allow_connections",
        "clone_bytes",
        "clone_files",
        "clone_ms",
        "opened",
        "deploy",
        "activity",
        "gave_way_to",
        "gave_way_to_oid",
        "order",
        "seal",
        "altered",
        "dropping",
        "gave_way_at",
        "used_up",
        "not_given",
        "shares_blocks",
        "lineage",
        "heir",
        "late_after",
    )
)


@dataclass(frozen=True, slots=True)
class Metadata:
    """What a backup or a displaced database says of itself.

    ``comment``, ``is_template`` and ``allow_connections`` are the database's own, which it cannot carry as real
    properties while it is sealed; they come back when it is live again.
    """

    kind: Kind
    source: str
    created_at: datetime
    strategy: Strategy | None = None
    label: str | None = None
    pinned: bool = False
    pin_reason: str | None = None
    comment: str | None = None
    is_template: bool = False
    allow_connections: bool = True
    clone_bytes: int | None = None
    clone_ms: int | None = None
    """How much was cloned, and how long that took: what the next estimate goes by."""
    clone_files: int | None = None
    """How many files that were; None where it was not known, and for a copy that does not go by files."""
    opened: Opened | None = None
    """Whether it is open, and to whom."""
    deploy: Deploy | None = None
    activity: Activity | None = None
    """How much had been written to the source by then: what the cost of a rollback goes by."""
    gave_way_to: str | None = None
    gave_way_to_oid: int | None = None
    """Of a displaced database: the entry that replaced it, and the OID of the database that became live."""
    gave_way_at: int | None = None
    """Of a backup that was live and became a backup again: ``order`` of the undo that displaced it."""
    used_up: str | None = None
    """Of a displaced database: the document that the entry had which replaced it, and lost when it became live."""
    order: int | None = None
    """The server's next transaction ID, in 64 bits, when the entry was planned. It grows whatever the clock does,
    also on a promoted standby. Earlier versions noted none."""
    seal: Seal | None = None
    """What pg_database shows of the sealed database; see ``sealed``."""
    altered: str | None = None
    """Why it is no longer as it was made, in words that follow its name."""
    dropping: str | None = None
    """Its name before a run began to drop it. From then on it can only be dropped, unless somebody has rescued it."""
    not_given: tuple[str, ...] = ()
    """Of a backup: the names of those properties of its source that it could not be given."""
    shares_blocks: bool | None = None
    """False if PostgreSQL could not share blocks for it, so that the next backup does not try again."""
    lineage: Lineage | None = None
    """Where the files of the database come from."""
    heir: Lineage | None = None
    """Where those of another come from, which has no document of its own: of the database that is live."""
    late_after: Boundary | None = None
    """Of a displaced database: the end of the guarded command. What was written after it is the clients'."""
    unknown: Mapping[str, Any] = field(default_factory=dict, hash=False)

    def lacking(self, not_given: tuple[str, ...], access: int) -> Metadata:
        """Note the properties that the database could not be given, and the hash of the access list that it has
        instead."""
        return replace(self, not_given=not_given, seal=replace(self.seal, access=access) if self.seal else None)

    def with_label(self, label: str | None) -> Metadata:
        return replace(self, label=label)

    def with_opened(self, opened: Opened | None) -> Metadata:
        return replace(self, opened=opened)

    def with_altered(self, reason: str | None) -> Metadata:
        """Note that it cannot be rolled back to, and why (see ``altered``); None removes the note."""
        return replace(self, altered=reason)

    def with_dropping(self, name: str | None) -> Metadata:
        return replace(self, dropping=name)

    def with_late_after(self, boundary: Boundary | None) -> Metadata:
        """Note after which moment what was written to it is late; without, where a long comment needs the room."""
        if boundary is not None and len(boundary.in_progress) > lineages.MAX_IN_PROGRESS:
            boundary = replace(boundary, xmin=boundary.xmax, in_progress=())  # a later moment is safe
        noted = replace(self, late_after=boundary)
        return noted if len(encode(noted)) <= MAX_BYTES // 2 else replace(self, late_after=None)

    def with_lineage(self, lineage: Lineage | None, heir: Lineage | None = None) -> Metadata:
        """Note where the database comes from, and the live one; without, where a long comment needs the room."""
        noted = replace(self, lineage=lineage, heir=heir)
        return noted if len(encode(noted)) <= MAX_BYTES // 2 else replace(self, lineage=None, heir=None)

    def with_pin(self, pinned: bool, reason: str | None = None) -> Metadata:
        return replace(self, pinned=pinned, pin_reason=reason if pinned else None)


@dataclass(frozen=True, slots=True)
class NewerDocument:
    """A document that a newer snapkit wrote."""

    version: int


def encode(metadata: Metadata) -> str:
    """Return the document; keys whose value is the ordinary one are left out.

    Raises UsageError where it would be too long to be read back, or is not text that PostgreSQL can hold.
    """
    document: dict[str, Any] = {
        "snapkit": VERSION,
        "kind": metadata.kind.value,
        "source": metadata.source,
        "created_at": iso_utc(metadata.created_at),
    }
    optional = {
        "strategy": metadata.strategy.value if metadata.strategy else None,
        "label": metadata.label,
        "pinned": metadata.pinned or None,
        "pin_reason": metadata.pin_reason,
        "comment": metadata.comment,
        "is_template": metadata.is_template or None,
        "allow_connections": None if metadata.allow_connections else False,
        "clone_bytes": metadata.clone_bytes,
        "clone_ms": metadata.clone_ms,
        "clone_files": metadata.clone_files,
        "opened": encode_opened(metadata.opened) if metadata.opened else None,
        "deploy": deploys.to_document(metadata.deploy) if metadata.deploy else None,
        "activity": activities.to_document(metadata.activity) if metadata.activity else None,
        "gave_way_to": metadata.gave_way_to,
        "gave_way_to_oid": metadata.gave_way_to_oid,
        "order": metadata.order,
        "seal": encode_seal(metadata.seal) if metadata.seal else None,
        "altered": metadata.altered,
        "dropping": metadata.dropping,
        "gave_way_at": metadata.gave_way_at,
        "used_up": metadata.used_up,
        "not_given": list(metadata.not_given) or None,
        "shares_blocks": metadata.shares_blocks,
        "lineage": lineages.to_document(metadata.lineage) if metadata.lineage else None,
        "heir": lineages.to_document(metadata.heir) if metadata.heir else None,
        "late_after": lineages.boundary_to_document(metadata.late_after) if metadata.late_after else None,
    }
    document |= {key: value for key, value in optional.items() if value is not None}
    document |= metadata.unknown
    try:
        json.dumps(document, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise UsageError("The label, or the reason, is not UTF-8 text.", state=NOTHING_CHANGED) from None
    text = json.dumps(document, separators=(",", ":"))
    if len(text) > MAX_BYTES:
        raise UsageError(
            f"The comment on {metadata.source!r}, or the label, is longer than snapkit can keep ({MAX_BYTES} bytes).",
            state=NOTHING_CHANGED,
            hint="Shorten it.",
        )
    return text


def decode(comment: str | None) -> Metadata | NewerDocument | None:
    """Read a comment; None for one that is not ours, malformed ones included. Never raises."""
    if comment is None or not comment.startswith(PREFIX):
        return None
    try:
        document = json.loads(comment)
    except (ValueError, RecursionError):
        return None
    version = document.get("snapkit")
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        return None
    if version > VERSION:
        return NewerDocument(version)
    try:
        return _read(document)
    except (KeyError, TypeError, ValueError, RecursionError):
        return None


def using_up(metadata: Metadata, used: Metadata) -> Metadata:
    """Return the document of a displaced database, with the document of the entry that replaced it; without that if a
    long comment needs the room."""
    noted = replace(metadata, used_up=encode(replace(used, used_up=None)))
    return noted if len(encode(noted)) <= MAX_BYTES // 2 else metadata


def used_up_by(metadata: Metadata, oid: int) -> Metadata | None:
    """Return the document that the database ``oid`` had before it became live and displaced the database of
    ``metadata``."""
    former = decode(metadata.used_up) if metadata.gave_way_to_oid == oid else None
    return former if isinstance(former, Metadata) else None


def _read(document: dict[str, Any]) -> Metadata:
    json.dumps(document, ensure_ascii=False).encode()  # a lone surrogate could be neither shown nor written back
    kind = Kind(_typed(document, "kind", str))
    if kind is Kind.PARTIAL:
        raise ValueError("a clone under construction has no document")
    strategy = _optional(document, "strategy", str)
    allow = document.get("allow_connections", True)
    deploy = deploys.from_document(document.get("deploy"))
    activity = activities.from_document(document.get("activity"))
    lineage = lineages.from_document(document.get("lineage"))
    heir = lineages.from_document(document.get("heir"))
    late_after = lineages.boundary_from_document(document.get("late_after"))
    notes = {
        "lineage": lineages.to_document(lineage) if lineage else None,
        "heir": lineages.to_document(heir) if heir else None,
        "late_after": lineages.boundary_to_document(late_after) if late_after else None,
        "deploy": deploys.to_document(deploy) if deploy else None,
        "activity": activities.to_document(activity) if activity else None,
    }
    return Metadata(
        kind=kind,
        source=_typed(document, "source", str),
        created_at=read_iso_utc(_typed(document, "created_at", str)),
        strategy=Strategy(strategy) if strategy is not None else None,
        label=_optional(document, "label", str),
        pinned=_optional(document, "pinned", bool) or False,
        pin_reason=_optional(document, "pin_reason", str),
        comment=_optional(document, "comment", str),
        is_template=_optional(document, "is_template", bool) or False,
        allow_connections=allow if isinstance(allow, bool) else True,
        clone_bytes=_optional(document, "clone_bytes", int),
        clone_ms=_optional(document, "clone_ms", int),
        clone_files=_optional(document, "clone_files", int),
        opened=decode_opened(_optional(document, "opened", dict)),
        deploy=deploy,
        activity=activity,
        gave_way_to=_optional(document, "gave_way_to", str),
        gave_way_to_oid=_optional(document, "gave_way_to_oid", int),
        order=_optional(document, "order", int),
        seal=decode_seal(_optional(document, "seal", dict)),
        altered=_optional(document, "altered", str),
        dropping=_optional(document, "dropping", str),
        gave_way_at=_optional(document, "gave_way_at", int),
        used_up=_optional(document, "used_up", str),
        shares_blocks=_optional(document, "shares_blocks", bool),
        not_given=_names(_optional(document, "not_given", list)),
        lineage=lineage,
        heir=heir,
        late_after=late_after,
        unknown={
            key: value
            for key, value in document.items()
            # A later version may note more than is read here; then its word is kept, whole.
            if key not in _KNOWN or (key in notes and value != notes[key])
        },
    )


def _typed(document: dict[str, Any], key: str, kind: type) -> Any:
    value = document[key]
    if not isinstance(value, kind) or (isinstance(value, str) and "\0" in value):
        raise TypeError(key)
    return value


def _names(found: list[Any] | None) -> tuple[str, ...]:
    if not all(isinstance(name, str) and "\0" not in name for name in found or ()):
        raise TypeError(found)
    return tuple(found or ())


def _optional(document: dict[str, Any], key: str, kind: type) -> Any:
    return None if document.get(key) is None else _typed(document, key, kind)


MAX_LABEL = 200
"""Characters of a label that is given. Documents that were written otherwise may hold longer ones."""


def checked_label(label: str | None) -> str | None:
    """Return a label that somebody gives, None for an empty one; raise UsageError for one that is too long."""
    if label is not None and len(label) > MAX_LABEL:
        raise UsageError(
            f"The label has {len(label)} characters; it may have {MAX_LABEL}.",
            state=NOTHING_CHANGED,
            hint="The label is shown in every list. For a longer text: snapkit pin NAME --reason TEXT",
        )
    return label or None


def shown_label(label: str | None) -> str:
    """Return a label for a line of a list; of one that is too long, the beginning."""
    label = label or ""
    return label if len(label) <= MAX_LABEL else label[: MAX_LABEL - 1] + "…"
