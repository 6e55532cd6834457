"""What has to hold before a run touches anything: the server, the connection, the live database, the role's rights.

Each condition is judged here, once: the error that a run raises is what ``doctor`` shows as a problem.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from snapkit.core.inventory.database import Database
from snapkit.core.server.version import grants_set_role_apart
from snapkit.core.values import dataclass
from snapkit.errors import NOTHING_CHANGED, NotFoundError, PrivilegeError, SnapkitError, UsageError


def takes_no_writes(*, is_standby: bool, is_read_only: bool) -> SnapkitError | None:
    """Return the error for a server that takes no writes; None if it takes them."""
    if is_standby:
        return SnapkitError(
            "This server is a standby, or recovering: it accepts no writes.",
            state=NOTHING_CHANGED,
            hint="Connect to the primary.",
        )
    if is_read_only:
        return SnapkitError(
            "This server is read-only: its configuration sets default_transaction_read_only.",
            state=NOTHING_CHANGED,
            hint="Managed services do this when the disk is full: then make room first, in the way of the service. If "
            "an administrator has set it: ALTER SYSTEM RESET default_transaction_read_only; SELECT pg_reload_conf();",
        )
    return None


def runs_through_pooler(*, behind_pooler: bool) -> UsageError | None:
    """Return the error for a connection to a pooler; None if it goes to the server itself."""
    if not behind_pooler:
        return None
    return UsageError(
        "The connection goes through a pooler, where session locks do not work.",
        state=NOTHING_CHANGED,
        hint="Name the server itself with DIRECT_URL or --direct-url.",
    )


def no_live_database(source: str, *, has_backups: bool, has_distrusted: bool = False) -> NotFoundError:
    """Return the error for a source that is not there; ``has_distrusted`` is whether others own backups of it."""
    hint = "Check the database's name in the connection URL."
    if has_backups:
        hint += " To bring back the newest backup: snapkit rollback --latest"
    if has_distrusted:
        hint += f"{'.' if has_backups else ''} To bring back a backup of another owner, give its whole name."
    return NotFoundError(f"There is no database {source!r} on this server.", state=NOTHING_CHANGED, hint=hint)


@dataclass(frozen=True, slots=True)
class RoleRights:
    """What the role may do; ``may_act_as_owner`` is for one owner."""

    role: str
    inherits: bool
    may_create: bool
    may_act_as_owner: bool


def missing_grants(
    rights: RoleRights, database: Database, version: int, *, quote: Callable[[str], str]
) -> dict[str, str]:
    """Return the rights that the role lacks to clone and rename a database, with the statement that grants each.

    ``rights`` are those with the database's owner, ``version`` is server_version_num.
    """
    role = quote(rights.role)
    grants = {}
    if not rights.may_create:
        grants["CREATEDB"] = f"ALTER ROLE {role} CREATEDB;"
    if not database.is_mine or not rights.may_act_as_owner:
        grant, alike = _grant_of_owner(rights, database, version, quote), ""
        if database.owner_is_superuser:
            grant = f"ALTER DATABASE {quote(database.name)} OWNER TO {role};"
            alike = "and the same for the database and each of its backups, which all need one owner; "
        grants["ownership"] = f"{grant} ({alike}or connect as {database.owner})"
    return grants


def _grant_of_owner(rights: RoleRights, database: Database, version: int, quote: Callable[[str], str]) -> str:
    role, owner = quote(rights.role), quote(database.owner)
    if grants_set_role_apart(version):
        return f"GRANT {owner} TO {role} WITH INHERIT TRUE, SET TRUE;"
    return f"GRANT {owner} TO {role};" + ("" if rights.inherits else f" ALTER ROLE {role} INHERIT;")


def lacks_ownership(
    rights: RoleRights, database: Database, version: int, *, quote: Callable[[str], str]
) -> PrivilegeError | None:
    """Return the error for a role that may not drop, rename or mark the database; None if it may.

    It is the same for all databases of one owner, so that it is told once. The arguments are as for ``missing_grants``.
    """
    if database.is_mine:
        return None
    if database.owner_is_superuser:
        statement = f"ALTER DATABASE ... OWNER TO {quote(rights.role)};"
        instead = f"make your role the owner of the database and of each of its backups: {statement}"
    else:
        instead = f"run: {_grant_of_owner(rights, database, version, quote)}"
    return PrivilegeError(
        f"This takes the rights of the owner {database.owner!r}, which your role {rights.role!r} does not have.",
        state=NOTHING_CHANGED,
        hint=f"Connect as {database.owner}. Or ask an administrator to {instead}",
    )


def lacks_rights(name: str, grants: Mapping[str, str]) -> PrivilegeError | None:
    """Return the error for ``missing_grants`` on the database ``name``; None if there are none."""
    if not grants:
        return None
    return PrivilegeError(
        f"Your role lacks these rights on the database {name!r}: {', '.join(grants)}.",
        state=NOTHING_CHANGED,
        hint="An administrator grants it with: " + " ".join(grants.values()),
    )
