"""Which connection is meant: a pure choice between flags, the environment and .env."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field

from snapkit.core.values import dataclass

URL_VARIABLES = ("SNAPKIT_DATABASE_URL", "DIRECT_URL", "DATABASE_URL")
"""In the order in which they win."""

_NAMING_VARIABLES = (*URL_VARIABLES, "PGSERVICE", "PGDATABASE")
_LOCATING_VARIABLES = frozenset(
    ("PGHOST", "PGHOSTADDR", "PGPORT", "PGDATABASE", "PGUSER", "PGSERVICE", "PGSERVICEFILE")
)


@dataclass(frozen=True, slots=True)
class ConnectionChoice:
    """The URL that was chosen (None: libpq's variables say it), where it came from, and what .env adds for libpq."""

    url: str | None = field(repr=False)
    origin: str
    libpq_environment: Mapping[str, str] = field(repr=False, default_factory=dict)
    named_in_dotenv: Mapping[str, str] = field(repr=False, default_factory=dict)
    """All that .env contributes, by its variables: what another program needs to find the same database."""


def choose_connection(
    direct_url: str | None, url: str | None, environment: Mapping[str, str], dotenv: Mapping[str, str]
) -> ConnectionChoice:
    """Choose; the first that is set wins, and an empty value is not set.

    A connection named in the environment wins over one named in .env, whichever variables they use. .env supplies the
    libpq variables that the environment lacks; but where a connection was named elsewhere and .env names another, those
    of its variables that say where to connect belong to that other one.
    """
    flag = next(((name, value) for name, value in (("--direct-url", direct_url), ("--url", url)) if value), None)
    elsewhere = flag is not None or _names_connection(environment)
    in_file = None if elsewhere else _first_url(dotenv)
    chosen = flag or _first_url(environment) or in_file
    belongs_to_another = _LOCATING_VARIABLES if elsewhere and _names_connection(dotenv) else frozenset()
    additions = {
        name: value
        for name, value in dotenv.items()
        if name.startswith("PG") and value and not environment.get(name) and name not in belongs_to_another
    }
    origin, text = chosen or ("PG variables", None)
    return ConnectionChoice(text, origin, additions, {**dict([in_file] if in_file else []), **additions})


def _names_connection(variables: Mapping[str, str]) -> bool:
    return any(variables.get(name) for name in _NAMING_VARIABLES)


def _first_url(variables: Mapping[str, str]) -> tuple[str, str] | None:
    return next(((name, variables[name]) for name in URL_VARIABLES if variables.get(name)), None)
