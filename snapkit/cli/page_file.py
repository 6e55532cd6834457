"""A file that a page goes to: written whole or not at all, in place of what was there."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from secrets import token_hex

from snapkit.errors import NOTHING_CHANGED, OutputError, UsageError


def check_page_file(path: Path) -> None:
    """Raise UsageError if no page can be written there. It is asked before the long work, and leaves nothing behind."""
    if path.is_dir():
        raise UsageError(f"{str(path)!r} is a directory.", state=NOTHING_CHANGED, hint="Name a file for the page.")
    try:
        if _is_special(path):
            if not os.access(path, os.W_OK):
                raise PermissionError("You may not write to it")
            return
        made = _beside(path)
        made.unlink()
    except OSError as error:
        raise UsageError(_problem(path, error), state=NOTHING_CHANGED) from None


def write_page(path: Path, page: str) -> None:
    """Write the page; what was there stays as it is until all of it is on the disk. Raises OutputError."""
    try:
        if _is_special(path):
            path.write_text(page, encoding="utf-8")
            return
        made = _beside(path)
        try:
            with made.open("w", encoding="utf-8") as file:
                file.write(page)
                file.flush()
                os.fsync(file.fileno())
            with suppress(FileNotFoundError):
                made.chmod(path.stat().st_mode & 0o777)
            made.replace(path.resolve())
        except BaseException:
            made.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise OutputError(_problem(path, error), hint="Run the command again with another file.") from None


def _is_special(path: Path) -> bool:
    """Whether it is a pipe or a device, which cannot be replaced."""
    return path.exists() and not path.is_file()


def _beside(path: Path) -> Path:
    """Make an empty file in the directory of ``path``, or of what it links to, and return it."""
    target = path.resolve()
    made = target.with_name(f".{target.name[:200]}.{token_hex(4)}")
    os.close(os.open(made, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
    return made


def _problem(path: Path, error: OSError) -> str:
    return f"The page cannot be written to {str(path)!r}: {error.strerror or error}."
