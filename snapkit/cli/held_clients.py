"""Whom a run has disturbed and for how long: for people, and as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING

from snapkit.cli.envelope import Document, time_document
from snapkit.cli.format import count_text
from snapkit.core.durations import duration_text, milliseconds

if TYPE_CHECKING:
    from snapkit.core.client_session import ClientSession
    from snapkit.core.outage.hold_rules import Phase
    from snapkit.core.outage.pooled_databases import PoolerReceipt
    from snapkit.core.outage.standbys import ReplicaReceipt
    from snapkit.services.backup import BackupReceipt
    from snapkit.services.rollback import SwapReceipt

Fact = tuple[str, str]


def disconnected_facts(sessions: Sequence[ClientSession]) -> list[Fact]:
    """Return who was sent out, and whose transaction was ended with that."""
    amid = [session for session in sessions if session.state not in (None, "idle")]
    at_work = f"; {len(amid)} of them {'was' if len(amid) == 1 else 'were'} at work:" if amid else ""
    rows = [("Disconnected", sessions_text(sessions) + at_work)]
    rows += [("", f"{session.describe()}: {session.doing()}") for session in amid[:5]]
    return rows + ([("", f"and {len(amid) - 5} more")] if len(amid) > 5 else [])


def times_text(duration: timedelta, phases: Sequence[Phase]) -> str:
    """Say how long it took, and in which parts; those that a person would not notice are left out."""
    noticeable = [phase for phase in phases if phase.duration >= timedelta(milliseconds=10)]
    parts = ", ".join(f"{phase.name} {duration_text(phase.duration)}" for phase in noticeable)
    return duration_text(duration) + (f" ({parts})" if parts else "")


def sessions_text(sessions: Sequence[ClientSession]) -> str:
    """Say how many sessions, and whose."""
    if not sessions:
        return "nobody"
    return f"{count_text(len(sessions), 'session')} ({_who(sessions)})"


def leaving_text(sessions: Sequence[ClientSession]) -> str:
    """The same of those that are still there."""
    return sessions_text(sessions) + (", will be disconnected" if sessions else "")


def place_text(replica: ReplicaReceipt) -> str:
    return f"{replica.host}:{replica.port}"


def paused_text(pooler: PoolerReceipt, when: str = "paused") -> str:
    return f"{pooler.host}:{pooler.port} ({when} {', '.join(pooler.databases)})"


def _who(sessions: Sequence[ClientSession]) -> str:
    """Sessions by application, or by user where an application gave no name; the most frequent first."""
    counts: dict[str, int] = {}
    for session in sessions:
        name = session.application or session.user or "unknown"
        counts[name] = counts.get(name, 0) + 1
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    shown = [name if number == 1 else f"{number} × {name}" for name, number in ordered[:4]]
    return ", ".join(shown + (["…"] if len(ordered) > 4 else []))


def held_document(result: BackupReceipt | SwapReceipt) -> Document:
    """Return how long everything took, and whom it disturbed."""
    return {
        "outage_ms": milliseconds(result.outage),
        "duration_ms": milliseconds(result.duration),
        "phases": [
            {"name": phase.name, "duration_ms": milliseconds(phase.duration), "holds_clients": phase.holds}
            for phase in result.phases
        ],
        "sessions_disconnected": len(result.disconnected),
        "sessions": [_session(session) for session in result.disconnected],
    }


def _session(session: ClientSession) -> Document:
    return {
        "pid": session.pid,
        "user": session.user,
        "application": session.application,
        "client": session.client,
        "connected_at": time_document(session.backend_start) if session.backend_start else None,
        "state": session.state,
        "state_since": time_document(session.state_since) if session.state_since else None,
    }


def replicas_document(replicas: Sequence[ReplicaReceipt]) -> list[Document]:
    return [
        {"host": replica.host, "port": replica.port, "sessions_disconnected": len(replica.disconnected)}
        for replica in replicas
    ]


def poolers_document(poolers: Sequence[PoolerReceipt]) -> list[Document]:
    return [{"host": each.host, "port": each.port, "databases": list(each.databases)} for each in poolers]
