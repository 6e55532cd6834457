"""An entry that is open, to be looked into: what that changes about it, and how all of it comes back.

What is changed is noted in the entry's document by the transaction that changes it, so that whoever comes by can seal
the entry again, just as it was.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from snapkit.core.comparison import writes as activities
from snapkit.core.comparison.writes import Activity
from snapkit.core.plans.properties import Privilege, statements_to_grant
from snapkit.core.plans.statements import (
    AlterDatabase,
    CommentOnDatabase,
    GrantOnDatabase,
    ResetParameter,
    RevokeOnDatabase,
    SetParameter,
    Statement,
)
from snapkit.core.values import dataclass

CONNECT = "CONNECT"
READ_ONLY = "default_transaction_read_only"
PUBLIC = 0
"""The OID that stands for PUBLIC in an access list."""

_TIME = "%Y-%m-%dT%H:%M:%SZ"


@dataclass(frozen=True, slots=True, order=True)
class Grant:
    """CONNECT, as one item of the access list has it; by the OIDs of the roles, which stay when one is renamed."""

    grantor: int
    grantee: int
    grantable: bool


@dataclass(frozen=True, slots=True)
class Opened:
    """Who has an entry open, and what it was like before.

    ``user``, ``host`` and ``pid`` are those of the snapkit that opened it. ``read_only`` is the value that the database
    had for that setting, None if it had none.
    """

    at: datetime
    user: str
    host: str
    pid: int
    connect: tuple[Grant, ...]
    read_only: str | None = None
    counted: Activity | None = None
    """What had been written to it by then, which is nothing as a rule; earlier versions noted none."""

    def describe(self) -> str:
        """Name who has it open in one short phrase."""
        return f"{self.user} at {self.host}, pid {self.pid}, since {self.at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def encode_opened(opened: Opened) -> dict[str, Any]:
    """Return what stands in the document."""
    counted = {"counted": activities.to_document(opened.counted)} if opened.counted else {}
    return counted | {
        "at": opened.at.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
        "user": opened.user,
        "host": opened.host,
        "pid": opened.pid,
        "connect": [[grant.grantor, grant.grantee, grant.grantable] for grant in sorted(opened.connect)],
        "read_only": opened.read_only,
    }


def decode_opened(found: dict[str, Any] | None) -> Opened | None:
    """Read it back; raise KeyError, TypeError or ValueError where it is malformed."""
    if found is None:
        return None
    read_only = found["read_only"]
    return Opened(
        at=datetime.strptime(found["at"], _TIME).replace(tzinfo=UTC),
        user=_text(found["user"]),
        host=_text(found["host"]),
        pid=_number(found["pid"]),
        connect=tuple(
            Grant(_number(grantor), _number(grantee), bool(grantable))
            for grantor, grantee, grantable in found["connect"]
        ),
        read_only=None if read_only is None else _text(read_only),
        counted=activities.from_document(found.get("counted")),
    )


def _text(value: object) -> str:
    if not isinstance(value, str) or "\0" in value:
        raise TypeError(value)
    return value


def _number(value: object) -> int:
    """Read an OID, or a process ID."""
    if not isinstance(value, int) or not 0 <= value < 2**32:
        raise TypeError(value)
    return value


def written_while_open(
    before: Activity | None, now: Activity | None, prepared: Sequence[str], *, begins_at_first_use: bool
) -> str | None:
    """Say, in words that go on from the entry's name, why it is not what it was before it was open; None if it is.

    ``before`` and ``now`` are its counters, as they are when nobody is inside; None where they are not to be had, or do
    not count. Those of PostgreSQL's catalogs and of large objects are among them. ``prepared`` are the transactions
    that were prepared in it and not ended. Up to PostgreSQL 14 a database's counters begin at its first use
    (``begins_at_first_use``), and say so as if they had been reset then.
    """
    if prepared:
        gids = ", ".join(map(repr, prepared))
        return (
            f"was left with prepared transactions in a shell ({gids}): connected to it, end each with ROLLBACK PREPARED"
        )
    if before is None or now is None or _began_anew(before, now, begins_at_first_use):
        return "was open in a shell, and nobody can say whether it was written to"
    rows = now.rows.since(before.rows)
    if not rows.total:
        return None
    counted = f"{rows.inserted} inserted, {rows.updated} updated, {rows.deleted} deleted, in the catalogs too"
    return f"was written to in a shell (rows: {counted})"


def _began_anew(before: Activity, now: Activity, begins_at_first_use: bool) -> bool:
    fresh = begins_at_first_use and before.database_reset is None and not before.rows.total
    was_reset = before.database_reset != now.database_reset and not fresh
    return was_reset or before.server_reset != now.server_reset or now.rows.is_behind(before.rows)


def named(grants: Collection[Grant], names: Mapping[int, str]) -> frozenset[Privilege]:
    """Return the grants with the names that the roles have now; what was granted by or to one that is gone is gone."""
    known = {**names, PUBLIC: ""}
    return frozenset(
        Privilege(names[grant.grantor], known[grant.grantee], CONNECT, grant.grantable)
        for grant in grants
        if grant.grantor in names and grant.grantee in known
    )


def statements_to_open(name: str, owner: str, present: Collection[Privilege], document: str) -> tuple[Statement, ...]:
    """Open an entry to its owner, and to nobody else, in one transaction.

    ``present`` is who may connect by its access list. Whoever has not CONNECT has no use for what else it was granted.
    A session may set the parameter otherwise.
    https://www.postgresql.org/docs/current/runtime-config-client.html#GUC-DEFAULT-TRANSACTION-READ-ONLY
    """
    return (
        CommentOnDatabase(name, document),
        *_revoke_connect(name, present),
        GrantOnDatabase(name, (CONNECT,), (owner,)),
        SetParameter(name, None, READ_ONLY, ("on",)),
        AlterDatabase(name, allow_connections=True, is_template=False),
    )


def privileges_when_open(owner: str) -> frozenset[Privilege]:
    """Who may connect to an open entry."""
    return frozenset((Privilege(owner, owner, CONNECT, False),))


def statement_to_shut(name: str) -> Statement:
    """Let nobody in any more, nor copy it; the first statement of what makes an entry again what it was."""
    return AlterDatabase(name, allow_connections=False, is_template=False)


def statements_to_restore(
    name: str,
    owner: str,
    present: Collection[Privilege],
    wanted: Collection[Privilege],
    read_only: str | None,
    document: str,
) -> tuple[Statement, ...]:
    """Give an entry back what ``statements_to_open`` took, behind ``statement_to_shut``."""
    return (
        *_revoke_connect(name, present),
        *statements_to_grant(name, owner, wanted),
        ResetParameter(name, READ_ONLY) if read_only is None else SetParameter(name, None, READ_ONLY, (read_only,)),
        CommentOnDatabase(name, document),
    )


def _revoke_connect(name: str, present: Collection[Privilege]) -> Iterator[Statement]:
    """What others than the owner have granted goes with what they were granted."""
    if grantees := sorted({item.grantee for item in present}):
        yield RevokeOnDatabase(name, (CONNECT,), tuple(grantee or None for grantee in grantees))
