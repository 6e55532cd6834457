"""The statements that open an entry to its owner and close it again, and whether it was written to meanwhile."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence

from snapkit.core.comparison.writes import Activity, Rows
from snapkit.core.inventory.opened import Grant
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

CONNECT = "CONNECT"

READ_ONLY = "default_transaction_read_only"

NOTHING = Rows()

PUBLIC = 0
"""The OID that stands for PUBLIC in an access list."""


def written_while_open(
    before: Activity | None,
    now: Activity | None,
    prepared: Sequence[str],
    *,
    begins_at_first_use: bool,
    by: str,
    excused: Rows = NOTHING,
) -> str | None:
    """Return why the entry is not what it was before it was opened, in words that follow its name; None if it is.

    ``before`` and ``now`` are its counters while nobody is connected; None if they are not available, or do not count.
    They include PostgreSQL's catalogs and large objects. ``by`` is the command that had opened it. ``prepared`` are
    transactions that were prepared in it and have not ended. Up to PostgreSQL 14 a database's counters begin at its
    first use (``begins_at_first_use``), and look as if they had been reset then. ``excused`` is what autovacuum has
    written of it.
    """
    if prepared:
        gids = ", ".join(map(repr, prepared))
        return f"has prepared transactions from a {by} ({gids}): connect to it, and end each with ROLLBACK PREPARED"
    if before is None or now is None or _began_anew(before, now, begins_at_first_use):
        return f"was open in a {by}, and it is not known whether anything was written to it"
    rows = now.rows.since(before.rows).since(excused)
    if not rows.total:
        return None
    counted = f"{rows.inserted} inserted, {rows.updated} updated, {rows.deleted} deleted, in the catalogs too"
    return f"was written to in a {by} (rows: {counted})"


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
    """Let nobody connect to it or copy it: the first statement that closes an entry again."""
    return AlterDatabase(name, allow_connections=False, is_template=False)


def statements_to_restore(
    name: str,
    owner: str,
    present: Collection[Privilege],
    wanted: Collection[Privilege],
    *,
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
