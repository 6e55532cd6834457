"""What pg_dump and pg_restore say: their complaints, and the list of what is in an archive."""

from __future__ import annotations

import re

from snapkit.core.secrets import without_values
from snapkit.errors import DiskFullError, PrivilegeError, SnapkitError

_EVENT_TRIGGER = re.compile(r"\d+; \d+ \d+ (?:(?:COMMENT|SECURITY LABEL) - )?EVENT TRIGGER ")


def event_triggers_last(listing: str) -> tuple[str, str]:
    """Divide what pg_restore lists of an archive into all the rest, and event triggers with what is said of them.

    https://www.postgresql.org/docs/current/app-pgrestore.html
    """
    lines = listing.splitlines(keepends=True)
    return (
        "".join(line for line in lines if not _EVENT_TRIGGER.match(line)),
        "".join(line for line in lines if _EVENT_TRIGGER.match(line)),
    )


_SAID = re.compile(r"^(?:pg_dump|pg_restore): (?:error: |detail: |warning: )?(.*)$")

_FOLLOWS = re.compile(r"HINT:|DETAIL:")
"""What PostgreSQL adds."""

_OF_ROWS = re.compile(r"(?=.*\bviolates\b)|(COPY failed for table .*?: ERROR:\s+)")
"""A complaint about rows, which PostgreSQL quotes in it and in what it adds."""

_REST = 1000


def said_by(program: str) -> str:
    """Return the complaints of a program for a message, without statements, which may hold secrets."""
    lines = []
    is_of_rows = False
    for line in program.splitlines():
        match = _SAID.match(line)
        if match and not match[1].startswith(("while ", "from TOC entry", "creating ", "processing ", "hint: ")):
            of_rows = _OF_ROWS.match(match[1])
            is_of_rows = of_rows is not None
            start = of_rows.end() if of_rows else len(match[1])
            lines.append((match[1][:start] + without_values(match[1][start:])).strip())
        elif _FOLLOWS.match(line) and not is_of_rows:
            lines.append(line.strip())
    return " ".join(lines)[:_REST]


_KINDS: tuple[tuple[str, type[SnapkitError]], ...] = (
    ("No space left on device", DiskFullError),
    ("permission denied", PrivilegeError),
    ("must be owner of", PrivilegeError),
    ("must be superuser", PrivilegeError),
    ("Must be superuser", PrivilegeError),
    ("must be member of", PrivilegeError),
    ("must be able to SET ROLE", PrivilegeError),
    ("row-level security policy", PrivilegeError),
)


def kind_of(complaint: str) -> type[SnapkitError]:
    """Return the class of error for a complaint of a program.

    Programs pass on the server's text, but no SQLSTATE. Text in another language or in other words gives SnapkitError.
    """
    return next((kind for text, kind in _KINDS if text in complaint), SnapkitError)
