"""Prove, before clients are held, that sessions can begin with the settings of the database that will be live.

They are tried in a session of our own, in the maintenance database: the database with the settings stays sealed.
"""

from __future__ import annotations

from collections.abc import Collection

from snapkit.core.copying.login_settings import PRELOADED, Entrance, entrances
from snapkit.core.plans.properties import Setting
from snapkit.core.reporting import Caution
from snapkit.errors import SnapkitError
from snapkit.postgres.catalog import roles
from snapkit.postgres.connection.server import Connection, Server
from snapkit.postgres.sql.ddl import quote_name

_TIMES = 2
"""How often a session is tried anew that was refused, and would be admitted without the settings."""


def rehearse(
    server: Server, connection: Connection, settings: Collection[Setting], name: str, state: str
) -> tuple[Caution, ...]:
    """Begin a session that loads the libraries which the database ``name`` has in its settings.

    Raises SnapkitError, with ``state``, if the server refuses it. It is only a warning if the server refuses a session
    without these settings too, or if this role may not set them: then nothing is proved.
    """
    ways = entrances(settings)
    if not ways:
        return ()
    if not roles.may_set(connection, sorted({parameter for way in ways for parameter in way.values})):
        return (_unproved(name, ways, "this role may not set them for a session of its own"),)
    for way in ways:
        refused = server.refusal(way.values)
        for _ in range(_TIMES):
            if refused is None:
                break
            if passing := server.refusal({}):
                return (_unproved(name, (way,), passing),)
            refused = server.refusal(way.values)
        if refused is not None:
            raise _refused(name, way, refused, state)
    return ()


def _refused(name: str, way: Entrance, why: str, state: str) -> SnapkitError:
    whose = f"ROLE {quote_name(way.role)} IN DATABASE" if way.role else "DATABASE"
    resets = " ".join(f"ALTER {whose} {quote_name(name)} RESET {each};" for each in PRELOADED if each in way.values)
    return SnapkitError(
        f"Nobody could connect to {name!r} if it were live{f' as {way.role}' if way.role else ''}: a session "
        f"that starts with its settings ({way}) is refused. {why}",
        state=state,
        hint=f"Install the library again, or reset the setting: {resets}",
    )


def _unproved(name: str, ways: Collection[Entrance], why: str) -> Caution:
    listed = "; ".join(map(str, ways))
    return Caution(
        "entrance_not_proved",
        f"snapkit could not test whether sessions can start with the libraries that {name!r} has set ({listed}): "
        f"{why}.",
    )
