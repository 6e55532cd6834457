"""The kinds of entry, the states that one can be in, and the strategies by which a copy is made."""

from __future__ import annotations

from enum import StrEnum


class Kind(StrEnum):
    """What a database in the inventory is."""

    BACKUP = "backup"
    OLD = "old"
    PARTIAL = "partial"


class State(StrEnum):
    """Whether it can be used."""

    READY = "ready"
    INCOMPLETE = "incomplete"
    INVALID = "invalid"
    UNMANAGED = "unmanaged"
    ALTERED = "altered"
    """It is ours, and not as we sealed it; see ``sealing``."""


class Strategy(StrEnum):
    """How PostgreSQL copies the files of a clone; ``ONLINE``: definitions and rows instead, while clients work."""

    CLONE = "clone"
    FILE_COPY = "file-copy"
    WAL_LOG = "wal-log"
    ONLINE = "online"
