"""What can be said about a connection URL before libpq reads it.

Only libpq knows what a URL means (``postgres.conninfo``). But most wrong URLs are wrong at first sight, and then
nothing has to be loaded to say so. The messages never repeat the URL, because it may hold a password.
https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-CONNSTRING-URIS
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import field
from urllib.parse import quote, unquote

from snapkit.core.values import dataclass
from snapkit.errors import UsageError

NOTHING_TOUCHED = "No connection was made."

_SCHEME = re.compile(r"(?:postgresql|postgres|postgis)(?:\+[A-Za-z0-9_]+)?://", re.IGNORECASE)
_BAD_ESCAPE = re.compile(r"%(?:00|(?![0-9A-Fa-f]{2}))")


@dataclass(frozen=True, slots=True)
class UrlParts:
    """A URL without its scheme: user, password, hosts and database in ``place``, and the query behind the ``?``."""

    place: str = field(repr=False)
    query: str = field(repr=False)

    @property
    def may_name_database(self) -> bool:
        """Whether there is a path, or a parameter that may name a database: itself, or through a service file."""
        path = self.place.rpartition("@")[2].partition("/")[2]
        keywords = {piece.partition("=")[0] for piece in self.query.split("&")}
        return bool(path) or any(keyword in ("dbname", "service") or "%" in keyword for keyword in keywords)


def split_url(url: str) -> UrlParts:
    """Take a URL apart; raise UsageError for one that is malformed at first sight."""
    scheme = _SCHEME.match(url)
    if scheme is None:
        raise UsageError(
            "The URL does not begin with postgresql:// or postgres://.",
            state=NOTHING_TOUCHED,
            hint="Write it as postgresql://user:password@host:port/database.",
        )
    rest = url[scheme.end() :]
    # libpq takes what stands before the first "@" for user and password, unless a "/" comes first.
    slash, at = rest.find("/"), rest.find("@")
    credentials = at + 1 if at >= 0 and (slash < 0 or at < slash) else 0
    mark = rest.find("?", credentials)
    place, query = (rest, "") if mark < 0 else (rest[:mark], rest[mark + 1 :])
    if "@" in place[credentials:].partition("/")[0] or (not credentials and "@" in place):
        raise malformed_url()
    if _BAD_ESCAPE.search(place):
        raise malformed_url()
    return UrlParts(place, query)


def check_connection(url: str | None, environment: Mapping[str, str]) -> None:
    """Raise UsageError for a URL that is wrong at first sight, and where nothing names a database."""
    if url is None:
        if not environment.get("PGDATABASE") and not environment.get("PGSERVICE"):
            raise no_database(url)
    elif not split_url(url).may_name_database:
        raise no_database(url)


def with_database(url: str, database: str) -> str:
    """Return ``url`` with another database, and everything else unchanged. ``split_url`` has to accept the URL."""
    parts = split_url(url)
    scheme = url[: url.index("://") + 3]
    hosts = parts.place.partition("/")[0]  # with user and password, in which a "/" is written as %2F
    kept = [piece for piece in parts.query.split("&") if unquote(piece.partition("=")[0]) != "dbname"]
    query = "&".join(filter(None, kept))
    return f"{scheme}{hosts}/{quote(database, safe='')}" + (f"?{query}" if query else "")


def without_password(url: str) -> str:
    """Return ``url`` with three dots in place of its password, if it has one, and without a password in its query.

    It is one that ``split_url`` takes: all else is kept as it is, so that the rest can be typed. Of words of which less
    is known ``core.shown`` cuts more: it would take an "@" in the database's name for the end of a password.
    """
    scheme, separator, rest = url.partition("://")
    credentials, at, place = rest.partition("@")
    if at and "/" not in credentials and ":" in credentials:
        rest = credentials.partition(":")[0] + ":...@" + place
    place, mark, query = rest.partition("?")
    kept = [piece for piece in query.split("&") if "password" not in piece.partition("=")[0].lower()]
    return scheme + separator + place + (mark + "&".join(kept) if kept and mark else "")


def malformed_url() -> UsageError:
    return UsageError(
        "The URL is malformed.",
        state=NOTHING_TOUCHED,
        hint=(
            "In the user, the password and the database, write special characters percent-encoded: @ as %40, : as "
            "%3A, / as %2F, ? as %3F, # as %23, % as %25."
        ),
    )


def no_database(url: str | None) -> UsageError:
    what = "The URL names no database." if url else "Neither a URL nor PGDATABASE names a database."
    return UsageError(
        what,
        state=NOTHING_TOUCHED,
        hint="Set DATABASE_URL=postgresql://user:password@host:port/database in the environment or in .env, "
        "or give --url.",
    )
