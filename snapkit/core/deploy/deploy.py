"""Which deploy a backup belongs to: the code, the CI run, who made it, and how far its migrations were.

All of this is in the backup's comment, which every role on the server can read. So user names, passwords, queries and
fragments of URLs are removed, and every text has a maximum length.
"""

from __future__ import annotations

import re
from typing import Any

from snapkit.core.reporting import Caution
from snapkit.core.values import dataclass

MAX_TEXT = 200
"""Characters of a text that are kept."""

_MAX_READ = 2000

MAX_MIGRATIONS = 20
"""Version tables that are kept: a database with a schema for each customer may have thousands."""

_COMMIT = re.compile(r"[0-9a-f]{7,64}")
_SHORT = 7
_URL_SECRETS = re.compile(r"(\w[\w+.-]*://)(?:\S*@)?([^\s?#]*)(?:[?#]\S*)?")


def clean(text: str | None) -> str | None:
    """Return a text that is fit for a comment: without secrets in URLs and without control characters, cut if it is
    too long; None for nothing."""
    if not text or (len(text) > _MAX_READ and "://" in text):  # half a URL may be half a password
        return None
    readable = text[:_MAX_READ].encode("utf-8", "replace").decode("utf-8")
    plain = "".join(char for char in readable if char.isprintable()).strip()
    public = _URL_SECRETS.sub(r"\1\2", plain)
    return (public if len(public) <= MAX_TEXT else public[: MAX_TEXT - 1] + "…") or None


def commit_id(text: str | None) -> str | None:
    """Return the commit that ``text`` is, in full as it was given; None if it is not one."""
    lower = (text or "").strip().lower()
    return lower if _COMMIT.fullmatch(lower) else None


@dataclass(frozen=True, slots=True)
class Checkout:
    """What git says of a working directory; ``branch`` None: detached, ``dirty`` None: it could not be told in time."""

    commit: str
    branch: str | None = None
    tag: str | None = None
    dirty: bool | None = None


def read_checkout(head: str, status: str | None) -> Checkout | None:
    """Read git's ``%H`` and ``%D`` of the commit that is checked out, a line each, with full names of references, and
    its porcelain status, which is empty for a clean tree.

    https://git-scm.com/docs/git-log
    """
    lines = head.splitlines()
    commit = commit_id(lines[0] if lines else None)
    if commit is None:
        return None
    branch = tag = None
    for name in lines[1].split(", ") if len(lines) > 1 else []:
        if name.startswith("HEAD -> refs/heads/"):
            branch = name.removeprefix("HEAD -> refs/heads/")
        elif name.startswith("tag: refs/tags/"):
            tag = tag or name.removeprefix("tag: refs/tags/")
    return Checkout(commit, clean(branch), clean(tag), None if status is None else bool(status.strip()))


@dataclass(frozen=True, slots=True)
class CiRun:
    """A run of a CI system."""

    name: str
    commit: str | None = None
    ref: str | None = None
    run: str | None = None
    url: str | None = None


@dataclass(frozen=True, slots=True)
class MigrationState:
    """How far a migration tool has come in one schema; ``version`` None: nothing applied, or it could not be read."""

    tool: str
    schema: str
    table: str
    version: str | None = None
    applied: int | None = None
    """How many migrations its table holds; None if it could not be read."""
    failed: bool = False
    """Whether the tool says that the newest one went wrong, or was not finished."""

    def describe(self) -> str:
        """Say it in one short phrase."""
        state = "could not be read" if self.applied is None else self.version or "nothing applied"
        return f"{self.tool}: {state}{' (failed)' if self.failed else ''}, in {self.schema}.{self.table}"


@dataclass(frozen=True, slots=True)
class Deploy:
    """Which deploy a backup belongs to, as far as it could be known."""

    git: Checkout | None = None
    ci: CiRun | None = None
    user: str | None = None
    host: str | None = None
    migrations: tuple[MigrationState, ...] = ()
    migrations_left_out: int = 0
    """Version tables that there were besides."""

    @property
    def commit(self) -> str | None:
        """The commit that was checked out or, failing that, the one that the CI system says it works on."""
        return self.git.commit if self.git else self.ci.commit if self.ci else None

    @property
    def short(self) -> str:
        """Its tag, or its commit and branch, with a star for changes that were not committed; empty if unknown."""
        if self.git is not None:
            dirty = "*" if self.git.dirty else ""
            return (self.git.tag or " ".join(filter(None, (self.git.commit[:_SHORT], self.git.branch)))) + dirty
        if self.ci is not None and self.ci.commit is not None:
            return " ".join(filter(None, (self.ci.commit[:_SHORT], self.ci.ref)))
        return ""


def differs(made_from: Deploy | None, at_hand: Checkout | None) -> bool:
    """Whether the code at hand is another commit than that of a backup; False where one of them is not known."""
    if made_from is None or made_from.commit is None or at_hand is None:
        return False
    length = min(len(made_from.commit), len(at_hand.commit))
    return made_from.commit[:length] != at_hand.commit[:length]


def to_document(deploy: Deploy) -> dict[str, Any]:
    """Return what stands under ``deploy`` in a backup's document: keys without a value are left out."""
    git, ci = deploy.git, deploy.ci
    return _filled(
        git=git and _filled(commit=git.commit, branch=git.branch, tag=git.tag, dirty=git.dirty),
        ci=ci and _filled(name=ci.name, commit=ci.commit, ref=ci.ref, run=ci.run, url=ci.url),
        user=deploy.user,
        host=deploy.host,
        migrations=[
            _filled(
                tool=each.tool,
                schema=each.schema,
                table=each.table,
                version=each.version,
                applied=each.applied,
                failed=each.failed or None,
            )
            for each in deploy.migrations
        ]
        or None,
        migrations_left_out=deploy.migrations_left_out or None,
    )


def _filled(**values: Any) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value is not None}


def from_document(document: object) -> Deploy | None:
    """Read what ``to_document`` wrote; None for anything else. Whoever owns a database can write its comment, so texts
    are bounded and cleaned here, too. Never raises."""
    try:
        return _read(document)
    except (KeyError, TypeError, ValueError):
        return None


def _read(document: Any) -> Deploy:
    git, ci = _typed(document, "git", dict), _typed(document, "ci", dict)
    left_out = _typed(document, "migrations_left_out", int) or 0
    return Deploy(
        git=None if git is None else _read_checkout(git),
        ci=None
        if ci is None
        else CiRun(
            name=_text(ci, "name") or "CI",
            commit=commit_id(_text(ci, "commit")),
            ref=_text(ci, "ref"),
            run=_text(ci, "run"),
            url=_typed(ci, "url", str),
        ),
        user=_text(document, "user"),
        host=_text(document, "host"),
        migrations=tuple(map(_read_migration, (_typed(document, "migrations", list) or [])[:MAX_MIGRATIONS])),
        migrations_left_out=left_out,
    )


def _read_checkout(git: Any) -> Checkout:
    commit = commit_id(_text(git, "commit"))
    if commit is None:
        raise ValueError("no commit")
    return Checkout(commit, _text(git, "branch"), _text(git, "tag"), _typed(git, "dirty", bool))


def _read_migration(each: Any) -> MigrationState:
    return MigrationState(
        tool=_text(each, "tool") or "unknown",
        schema=_text(each, "schema") or "",
        table=_text(each, "table") or "",
        version=_text(each, "version"),
        applied=_typed(each, "applied", int),
        failed=_typed(each, "failed", bool) or False,
    )


def _text(document: Any, key: str) -> str | None:
    return clean(_typed(document, key, str))


def _typed(document: Any, key: str, kind: type) -> Any:
    if not isinstance(document, dict):
        raise TypeError(key)
    value = document.get(key)
    if value is not None and (not isinstance(value, kind) or (kind is int and isinstance(value, bool))):
        raise TypeError(key)
    return value


def other_code(made_from: Deploy | None, at_hand: Checkout | None) -> tuple[Caution, ...]:
    """Warn if the code that is checked out is not the code that a backup belongs to."""
    if made_from is None or at_hand is None or not differs(made_from, at_hand):
        return ()
    return (
        Caution(
            "other_code",
            f"The backup was made for {made_from.short}, but {Deploy(git=at_hand).short} is checked out here.",
        ),
    )
