"""The settings of a database that can make every login fail."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from snapkit.core.plans.properties import Setting, shown
from snapkit.core.values import dataclass

PRELOADED = ("local_preload_libraries", "session_preload_libraries")
"""Each session loads these libraries as it begins, and ends if one is not there. What else a database may set is put up
with: a value that is not valid any more is a warning.
https://www.postgresql.org/docs/current/runtime-config-client.html#RUNTIME-CONFIG-CLIENT-PRELOAD
"""

_ANYBODYS = "local_preload_libraries"
"""Any role may set this one; the other is for superusers."""


@dataclass(frozen=True, slots=True)
class Entrance:
    """The settings that a session begins with: for ``role``, or with "" for roles without settings of their own."""

    role: str
    settings: tuple[Setting, ...]

    @property
    def values(self) -> Mapping[str, str]:
        return {each.parameter: each.value for each in self.settings}

    def __str__(self) -> str:
        return ", ".join(shown(each) for each in self.settings)


def entrances(settings: Collection[Setting]) -> tuple[Entrance, ...]:
    """Return each way to begin a session in a database with these settings that takes libraries; none, mostly.

    What any role may set for itself, in whatever database, is its own affair: it must not stop others, nor have what it
    names loaded into a session of theirs. https://www.postgresql.org/docs/current/sql-alterrole.html
    """
    taken = {(each.role, each.parameter): each for each in settings if _counts(each)}
    roles = sorted({role for role, _ in taken})
    return tuple(
        Entrance(
            role,
            tuple(
                found
                for name in sorted({parameter for _, parameter in taken})
                if (found := taken.get((role, name)) or taken.get(("", name))) is not None
            ),
        )
        for role in roles
    )


def _counts(setting: Setting) -> bool:
    parameter = setting.parameter.lower()
    return parameter in PRELOADED and not (setting.role and parameter == _ANYBODYS)
