"""Tables and figures as the page shows them."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Sequence


def table(head: Sequence[str], rows: Sequence[Sequence[str]], words: int = 1) -> str:
    """Return a table whose first ``words`` columns are text, the others figures; nothing if it has no rows."""
    if not rows:
        return ""
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * words}{'---:|' * (len(head) - words)}"]
    lines += [f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |" for row in rows]
    return "\n".join(lines)


def duration(milliseconds: float | None) -> str:
    if milliseconds is None:
        return "–"
    if milliseconds < 1000:
        return f"{milliseconds:.0f} ms"
    return f"{milliseconds / 1000:.2f} s" if milliseconds < 10_000 else f"{milliseconds / 1000:.1f} s"


def megabytes(number: float | None) -> str:
    """Bytes, as MB of a million."""
    if number is None:
        return "–"
    return f"{number / 1e6:.1f} MB" if abs(number) < 1e7 else f"{number / 1e6:.0f} MB"


def factor(ratio: float | None) -> str:
    return "" if ratio is None else f"{ratio:.2f}" if ratio < 10 else f"{ratio:.0f}"


def per_run(number: float) -> str:
    return "0" if number == 0 else f"{number:.1f}" if number < 10 else f"{number:.0f}"


def counted(counts: dict[str, int]) -> str:
    return ", ".join(f"{code}: {number:,}" for code, number in counts.items()) or "none"


def wrapped(text: str) -> str:
    """Wrap paragraphs as the other pages are wrapped."""
    paragraphs = re.split(r"\n\s*\n", textwrap.dedent(text).strip())
    return "\n\n".join(textwrap.fill(" ".join(each.split()), 120, break_on_hyphens=False) for each in paragraphs)
