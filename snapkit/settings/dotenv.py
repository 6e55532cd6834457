"""Read a .env file with python-dotenv, and keep its warnings."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

from dotenv import dotenv_values


def read_dotenv(path: Path) -> tuple[Mapping[str, str], Sequence[str]]:
    """Return the values in a file, and warnings about it. Raise OSError or UnicodeDecodeError if it is unreadable."""
    complaints = _Complaints()
    _logger.addHandler(complaints)
    try:
        values = {name: value for name, value in dotenv_values(path).items() if value is not None}
    finally:
        _logger.removeHandler(complaints)
    return values, complaints.texts


_logger = logging.getLogger("dotenv.main")


class _Complaints(logging.Handler):
    """Collects the warnings that python-dotenv would write to stderr."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(record.getMessage())
