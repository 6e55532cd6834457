"""Sizes as text."""

from __future__ import annotations


def size_text(size: int | None) -> str:
    """Return a size as PostgreSQL writes it (``pg_size_pretty``: units of 1024), short enough for a column."""
    if size is None:
        return "unknown"
    value = float(size)
    for unit in ("bytes", "kB", "MB", "GB"):
        if round(value) < 1024:
            return f"{value:.0f} {unit}" if unit == "bytes" or value >= 10 else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} TB"
