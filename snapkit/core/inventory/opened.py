"""An entry that is open, so that its owner can look into it: what its document notes about that.

The transaction that opens an entry also notes what it changes. So whoever comes later can seal the entry again,
exactly as it was.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from snapkit.core.comparison import writes as activities
from snapkit.core.comparison.writes import Activity
from snapkit.core.utc import iso_utc, read_iso_utc, utc_text
from snapkit.core.values import dataclass


@dataclass(frozen=True, slots=True, order=True)
class Grant:
    """CONNECT as one item of the access list has it. Roles are OIDs, which stay when a role is renamed."""

    grantor: int
    grantee: int
    grantable: bool


@dataclass(frozen=True, slots=True)
class Opened:
    """Who has an entry open, and what it was like before.

    ``user``, ``host`` and ``pid`` are those of the snapkit that opened it. ``read_only`` is the value that the database
    had for that setting, None if it had none.
    """

    at: datetime
    user: str
    host: str
    pid: int
    connect: tuple[Grant, ...]
    read_only: str | None = None
    counted: Activity | None = None
    """How much had been written to it before it was opened, usually nothing. Earlier versions noted none."""
    reading: str | None = None
    """The command that only reads it, such as ``diff``, and gives way to a rollback; None: a shell has it open."""

    @property
    def by(self) -> str:
        """Name the command that opened it: ``snapkit shell``."""
        return f"snapkit {self.reading or 'shell'}"

    def describe(self) -> str:
        """Name who has it open in one short phrase."""
        return f"{self.user} at {self.host}, pid {self.pid}, since {utc_text(self.at)} UTC"


def encode_opened(opened: Opened) -> dict[str, Any]:
    """Return what stands in the document."""
    counted = {"counted": activities.to_document(opened.counted)} if opened.counted else {}
    reading = {"reading": opened.reading} if opened.reading is not None else {}
    return (
        counted
        | reading
        | {
            "at": iso_utc(opened.at),
            "user": opened.user,
            "host": opened.host,
            "pid": opened.pid,
            "connect": [[grant.grantor, grant.grantee, grant.grantable] for grant in sorted(opened.connect)],
            "read_only": opened.read_only,
        }
    )


def decode_opened(found: dict[str, Any] | None) -> Opened | None:
    """Read it back; raise KeyError, TypeError or ValueError where it is malformed."""
    if found is None:
        return None
    read_only, reading = found["read_only"], found.get("reading")
    return Opened(
        at=read_iso_utc(found["at"]),
        user=_text(found["user"]),
        host=_text(found["host"]),
        pid=_number(found["pid"]),
        connect=tuple(
            Grant(_number(grantor), _number(grantee), bool(grantable))
            for grantor, grantee, grantable in found["connect"]
        ),
        read_only=None if read_only is None else _text(read_only),
        counted=activities.from_document(found.get("counted")),
        reading=None if reading is None else _text(reading),
    )


def _text(value: object) -> str:
    if not isinstance(value, str) or "\0" in value:
        raise TypeError(value)
    return value


def _number(value: object) -> int:
    """Read an OID, or a process ID."""
    if not isinstance(value, int) or not 0 <= value < 2**32:
        raise TypeError(value)
    return value
