"""How long a label may be: one that is given, and one that is shown."""

from __future__ import annotations

from snapkit.errors import UsageError

MAX_LABEL = 200
"""Characters of a label that is given. Documents that were written otherwise may hold longer ones."""


def checked_label(label: str | None) -> str | None:
    """Return a label that somebody gives; raise UsageError for one that is too long to be one."""
    if label is not None and len(label) > MAX_LABEL:
        raise UsageError(
            f"The label has {len(label)} characters; it may have {MAX_LABEL}.",
            state="Nothing was changed.",
            hint="It stands in every list. A longer story goes into: snapkit pin NAME --reason TEXT",
        )
    return label


def shown_label(label: str | None) -> str:
    """Return a label for a line of a list; of one that is too long, the beginning."""
    label = label or ""
    return label if len(label) <= MAX_LABEL else label[: MAX_LABEL - 1] + "…"
