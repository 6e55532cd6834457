"""Which connection is meant: a choice between flags, the environment and .env."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field

from snapkit.core.connection.endpoint import Endpoint, Place, Whereabouts, endpoint_of, is_another
from snapkit.core.reporting import Caution
from snapkit.core.values import dataclass

URL_VARIABLES = ("SNAPKIT_DATABASE_URL", "DIRECT_URL", "DATABASE_URL")
"""In the order of precedence."""

_NAMING_VARIABLES = (*URL_VARIABLES, "PGSERVICE", "PGDATABASE")
_LOCATING_VARIABLES = frozenset(
    ("PGHOST", "PGHOSTADDR", "PGPORT", "PGDATABASE", "PGUSER", "PGSERVICE", "PGSERVICEFILE")
)


@dataclass(frozen=True, slots=True)
class ConnectionChoice:
    """The URL that was chosen, what named it, and what .env adds for libpq. Without a URL, libpq's variables decide."""

    url: str | None = field(repr=False)
    origin: str
    libpq_environment: Mapping[str, str] = field(repr=False, default_factory=dict)
    named_in_dotenv: Mapping[str, str] = field(repr=False, default_factory=dict)
    """The variables that .env contributes. Another program needs them to find the same database."""
    named_by: str = "libpq"
    """Like ``origin``, but with the name of the file for a variable of .env, and "libpq" for libpq's variables."""
    named: Endpoint | None = None
    """What is named, as far as it is known before libpq reads it."""
    cautions: tuple[Caution, ...] = ()
    """Warnings of what else names another database."""

    @property
    def names_something(self) -> bool:
        return self.url is not None or self.named is None or self.named.database is not None

    def whereabouts(self, source: str | None = None, place: Place | None = None) -> Whereabouts:
        """Return where a run with this choice acts. ``place`` is where the server was reached, once that is known."""
        named = self.named or Endpoint(None, None, None, None)
        host, port, user = (place.host, place.port, place.role) if place else (named.host, named.port, named.user)
        number = int(port) if port and port.isdigit() else None
        return Whereabouts(host, number, source or named.database, user, self.named_by)


def choose_connection(
    direct_url: str | None,
    url: str | None,
    environment: Mapping[str, str],
    dotenv: Mapping[str, str],
    dotenv_name: str = ".env",
) -> ConnectionChoice:
    """Choose the connection. The first that is set takes precedence; an empty value counts as not set.

    A connection that is named in the environment takes precedence over one in .env, whichever variables they use. .env
    supplies the libpq variables that the environment lacks. But if a connection is named elsewhere and .env names
    another one, those variables of .env that say where to connect belong to that other one, and are not used.
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
    named_by = f"{dotenv_name} {origin}" if in_file else origin if chosen else "libpq"
    named = endpoint_of(text, {**environment, **additions})
    others = _of_both_urls(environment if elsewhere else {**dotenv, **environment}, flag)
    if elsewhere:
        others += _of_dotenv(named_by, named, dotenv, dotenv_name)
    return ConnectionChoice(
        text, origin, additions, {**dict([in_file] if in_file else []), **additions}, named_by, named, others
    )


def _of_dotenv(
    named_by: str, named: Endpoint | None, dotenv: Mapping[str, str], dotenv_name: str
) -> tuple[Caution, ...]:
    """Warn if .env, which was not chosen, names another database."""
    if not _names_connection(dotenv):
        return ()
    variable, url = _first_url(dotenv) or ("PG variables", None)
    there = endpoint_of(url, dotenv)
    # The server behind a pooler has another host than the pooler.
    by_database_only = named_by in ("DIRECT_URL", "--direct-url") and variable == "DATABASE_URL"
    if not is_another(named, there, by_database_only=by_database_only):
        return ()
    used = "libpq's variables name" if named_by == "libpq" else f"{named_by} names"
    return (_two(f"{used} {named}", f"{dotenv_name} ({variable}) names {there}"),)


def _of_both_urls(variables: Mapping[str, str], flag: object) -> tuple[Caution, ...]:
    """Warn if DIRECT_URL and DATABASE_URL name different databases."""
    direct, pooled = variables.get("DIRECT_URL"), variables.get("DATABASE_URL")
    if flag or variables.get("SNAPKIT_DATABASE_URL") or not direct or not pooled:
        return ()
    here, there = endpoint_of(direct, variables), endpoint_of(pooled, variables)
    if not is_another(here, there, by_database_only=True):
        return ()
    return (_two(f"DIRECT_URL names {here}", f"DATABASE_URL names {there}"),)


def _two(used: str, other: str) -> Caution:
    return Caution("two_databases", f"{used}, and that is where this run acts; {other}.")


def _names_connection(variables: Mapping[str, str]) -> bool:
    return any(variables.get(name) for name in _NAMING_VARIABLES)


def _first_url(variables: Mapping[str, str]) -> tuple[str, str] | None:
    return next(((name, variables[name]) for name in URL_VARIABLES if variables.get(name)), None)
