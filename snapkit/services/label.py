"""Pin an entry, unpin it, or give it a label; ``wanted`` names it, None is the newest ready backup."""

from __future__ import annotations

from datetime import timedelta

from snapkit.core.reporting import Observe, unobserved
from snapkit.postgres.connection.server import Server
from snapkit.services.entries.change import EntryReport, rewrite_document


def pin_entry(
    server: Server, wanted: str | None, reason: str | None, lock_wait: timedelta, observe: Observe = unobserved
) -> EntryReport:
    """Pin an entry: prune and delete leave it alone, and a rollback swaps in a clone of it."""
    return rewrite_document(
        server,
        wanted,
        lock_wait,
        lambda document: document.with_pin(True, reason or document.pin_reason),
        done="pinned",
        observe=observe,
    )


def unpin_entry(server: Server, wanted: str | None, lock_wait: timedelta, observe: Observe = unobserved) -> EntryReport:
    """Remove the protection of a pinned backup."""
    return rewrite_document(
        server, wanted, lock_wait, lambda document: document.with_pin(False), done="unpinned", observe=observe
    )


def label_entry(
    server: Server, wanted: str | None, label: str, lock_wait: timedelta, observe: Observe = unobserved
) -> EntryReport:
    """Give an entry a label; an empty label removes it."""
    return rewrite_document(
        server,
        wanted,
        lock_wait,
        lambda document: document.with_label(label or None),
        done="labelled" if label else "without a label",
        observe=observe,
    )
