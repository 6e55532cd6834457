"""Read a .env file as python-dotenv does, and keep what it has to say of it."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

from dotenv import dotenv_values


def read_dotenv(path: Path) -> tuple[Mapping[str, str], Sequence[str]]:
    """Return the values in a file, and complaints about it; raise OSError or UnicodeDecodeError if it is unreadable."""
    complaints = _Complaints()
    _logger.addHandler(complaints)
    try:
        values = {name: value for name, value in dotenv_values(path).items() if value is not None}
    finally:
        _logger.removeHandler(complaints)
    return values, complaints.texts


_logger = logging.getLogger("dotenv.main")


class _Complaints(logging.Handler):
    """Collects what python-dotenv has to say of a file, which it would write to stderr by itself."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(record.getMessage())
