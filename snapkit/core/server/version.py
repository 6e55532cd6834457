"""What PostgreSQL can do from which version on. A version is a number, as ``server_version_num`` has it: 150004.

https://www.postgresql.org/docs/release/
"""

from __future__ import annotations

MINIMUM_VERSION = 140000
"""The oldest one that snapkit works with."""


def major_version(version: int) -> int:
    return version // 10000


def version_text(version: int) -> str:
    """Return a version as PostgreSQL's releases are called: ``15.4``."""
    return f"{version // 10000}.{version % 10000}"


def has_strategy(version: int) -> bool:
    """Whether CREATE DATABASE takes STRATEGY; before, it always copies files."""
    return version >= 150000


def has_file_copy_method(version: int) -> bool:
    """Whether the server has the setting ``file_copy_method``, and so can be told to share blocks."""
    return version >= 180000


def notes_collation_of_databases(version: int) -> bool:
    """Whether a database notes the version of the system's collations (``datcollversion``)."""
    return version >= 150000


def has_locale_provider(version: int) -> bool:
    """Whether a database can have its locale from ICU (``datlocprovider``)."""
    return version >= 150000


def has_icu_rules(version: int) -> bool:
    return version >= 160000


def has_builtin_locales(version: int) -> bool:
    """Whether PostgreSQL brings locales of its own; ``datlocale`` then holds these and those of ICU."""
    return version >= 170000


def grants_parameters(version: int) -> bool:
    """Whether GRANT SET ON PARAMETER lets a role set what is otherwise a superuser's to set."""
    return version >= 150000


def grants_set_role_apart(version: int) -> bool:
    """Whether SET ROLE to another role is granted apart from membership in it (GRANT ... WITH SET)."""
    return version >= 160000


def has_login_triggers(version: int) -> bool:
    """Whether event triggers can fire on login, and the setting ``event_triggers`` keeps them from that."""
    return version >= 170000


def counts_from_first_use(version: int) -> bool:
    """Whether a database's statistics begin at its first use, and say so as if they had been reset then."""
    return version < 150000
