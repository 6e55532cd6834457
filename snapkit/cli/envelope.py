"""Results as JSON documents, as docs/reference.md describes them: bytes, milliseconds, RFC 3339 in UTC."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from functools import singledispatch
from typing import Any

from snapkit.cli.deploy_facts import deploy_document, migration_document, written_document
from snapkit.cli.dry_run import DemoOutcome, DryRun, Script
from snapkit.cli.exit_codes import ExitCode, exit_code_of
from snapkit.cli.format import count_text
from snapkit.core.client_session import ClientSession
from snapkit.core.connection.endpoint import Whereabouts
from snapkit.core.durations import milliseconds
from snapkit.core.inventory.entry import Entry
from snapkit.core.inventory.freshness import SourceStatus, StatusReport
from snapkit.core.inventory.kinds import Kind
from snapkit.core.inventory.opened import Opened
from snapkit.core.inventory.retention import Kept
from snapkit.core.outcome import (
    BackupPreview,
    BackupReceipt,
    Diagnosis,
    EntryReport,
    Failure,
    GuardReceipt,
    Listing,
    PoolerReceipt,
    Recovery,
    Removal,
    RemovalPreview,
    ReplicaReceipt,
    ShellReceipt,
    SwapPreview,
    SwapReceipt,
)
from snapkit.core.reporting import Caution
from snapkit.errors import SnapkitError

SCHEMA_VERSION = 1

Document = dict[str, Any]


def envelope(
    command: str | None,
    status: str,
    data: Document | None,
    cautions: tuple[Caution, ...] = (),
    error: Document | None = None,
    where: Whereabouts | None = None,
) -> str:
    """Return the one document that a command prints with --json; ``where`` it acts, if anything names that."""
    return json.dumps(
        {
            "schema_version": SCHEMA_VERSION,
            "command": command,
            "status": status,
            "data": data,
            "warnings": [{"code": caution.code, "message": caution.message} for caution in cautions],
            "error": error,
            **({"server": _server(where)} if where is not None else {}),
        },
        indent=2,
    )


def _server(where: Whereabouts) -> Document:
    return {
        "host": where.host,
        "port": where.port,
        "database": where.database,
        "user": where.user,
        "named_by": where.named_by,
    }


def error_document(error: SnapkitError) -> Document:
    code = exit_code_of(error)
    said = error.message if error.message.endswith((".", "?", ":", "\n")) else error.message + "."
    message = said + (f" {error.state}" if error.state else "")
    return {"code": code.code, "exit_code": int(code), "message": message, "hint": error.hint}


def partial_document(failed: int, wanted: int) -> Document:
    """The error of a run that did some of several things."""
    return {
        "code": ExitCode.PARTIAL.code,
        "exit_code": int(ExitCode.PARTIAL),
        "message": f"{failed} of {wanted} could not be dropped.",
        "hint": "The reasons stand with each entry in data.failed.",
    }


def problems_document(problems: int) -> Document:
    """The error of a doctor that found problems."""
    return {
        "code": ExitCode.FAILED.code,
        "exit_code": int(ExitCode.FAILED),
        "message": f"{count_text(problems, 'check')} found a problem.",
        "hint": "What to do stands with each of them in data.checks.",
    }


def entry_document(entry: Entry) -> Document:
    return {
        "name": entry.name,
        "source": entry.source,
        "kind": entry.kind.value,
        "state": entry.state.value,
        "created_at": _time(entry.created_at),
        "size_bytes": entry.size_bytes,
        "label": entry.label,
        "pinned": entry.pinned,
        "pin_reason": entry.pin_reason,
        "strategy": entry.strategy.value if entry.strategy else None,
        "not_given": list(entry.not_given),
        "opened": _opened(entry.opened) if entry.opened else None,
        "deploy": deploy_document(entry.deploy),
    }


def _opened(opened: Opened) -> Document:
    return {"at": _time(opened.at), "user": opened.user, "host": opened.host, "pid": opened.pid}


def _time(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@singledispatch
def data_of(result: object) -> Document:
    """Return what stands under ``data`` for a result."""
    raise NotImplementedError(type(result))


@data_of.register
def _(result: BackupReceipt) -> Document:
    return {
        "backup": entry_document(result.backup),
        "strategy_reason": result.choice.value,
        **_held(result),
        "copied_bytes": result.copy.size,
        "bytes_per_second": round(result.copy.rate) if result.copy.rate is not None else None,
        "blocks_shared": result.copy.blocks_shared,
        "host": result.address.host,
        "port": result.address.port,
        "replicas": _replicas(result.replicas),
        "poolers": _poolers(result.poolers),
    }


@data_of.register
def _(result: SwapReceipt) -> Document:
    return {
        "source": result.source,
        "restored": entry_document(result.restored),
        "restored_kept": result.restored_kept,
        "backups_left": result.backups_left,
        "displaced": entry_document(result.displaced) if result.displaced else None,
        **_held(result),
        "replicas": _replicas(result.replicas),
        "poolers": _poolers(result.poolers),
        "written_since": written_document(result.written_since),
    }


def _held(result: BackupReceipt | SwapReceipt) -> Document:
    """How long everything took, and whom it disturbed."""
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
        "connected_at": _time(session.backend_start) if session.backend_start else None,
        "state": session.state,
        "state_since": _time(session.state_since) if session.state_since else None,
    }


def _replicas(replicas: tuple[ReplicaReceipt, ...]) -> list[Document]:
    return [
        {"host": replica.host, "port": replica.port, "sessions_disconnected": len(replica.disconnected)}
        for replica in replicas
    ]


def _poolers(poolers: tuple[PoolerReceipt, ...]) -> list[Document]:
    return [{"host": each.host, "port": each.port, "databases": list(each.databases)} for each in poolers]


@data_of.register
def _(result: Listing) -> Document:
    return {
        "entries": [entry_document(entry) for entry in result.entries],
        "total_size_bytes": result.total_bytes if result.sized else None,
        **({"free_bytes": result.free_bytes} if result.sized else {}),
    }


@data_of.register
def _(result: StatusReport) -> Document:
    return {
        "max_age_ms": milliseconds(result.max_age) if result.max_age else None,
        "sources": [_status(each, result) for each in result.sources],
    }


def _status(status: SourceStatus, report: StatusReport) -> Document:
    age = status.age(report.now)
    is_judged = report.max_age is not None
    return {
        "source": status.source,
        "ok": status not in (*report.without, *report.too_old) if is_judged else None,
        "backups": len(status.backups),
        "newest": entry_document(status.newest) if status.newest else None,
        "age_ms": None if age is None else milliseconds(age),
        "backups_size_bytes": status.size(Kind.BACKUP) if report.sized else None,
        "old_size_bytes": status.size(Kind.OLD) if report.sized else None,
    }


@data_of.register
def _(result: EntryReport) -> Document:
    database, own = result.entry.database, result.entry.metadata
    more = {
        "oid": database.oid,
        "owner": database.owner,
        "tablespace": database.tablespace,
        "sealed": not database.allow_connections,
        "altered": result.entry.altered,
        "comment": own.comment if own else None,
    }
    return {"entry": entry_document(result.entry) | more}


def _kept(kept: tuple[Kept, ...]) -> list[Document]:
    return [{"entry": entry_document(each.entry), "reasons": list(each.reasons)} for each in kept]


@data_of.register
def _(result: Diagnosis) -> Document:
    return {
        "checks": [
            {"name": check.name, "status": check.status.value, "message": check.message, "hint": check.hint}
            for check in result.checks
        ]
    }


def _failed(failures: tuple[Failure, ...]) -> list[Document]:
    return [{"entry": entry_document(each.entry), "error": error_document(each.error)} for each in failures]


@data_of.register
def _(result: Removal) -> Document:
    return {
        "kept": _kept(result.kept),
        "removed": [entry_document(entry) for entry in result.removed],
        "failed": _failed(result.failed),
        "freed_bytes": result.freed_bytes,
    }


@data_of.register
def _(result: GuardReceipt) -> Document:
    return {
        "backup": entry_document(result.backup.backup),
        "backup_outage_ms": milliseconds(result.backup.outage),
        "command": list(result.command.shown),
        "command_words": result.command.words,
        "command_exit_code": result.command_exit_code,
        "health": result.health.value,
        "rollback": data_of(result.rollback) if isinstance(result.rollback, SwapReceipt) else None,
        "prune": data_of(result.removal) if result.removal else None,
    }


@data_of.register
def _(result: Recovery) -> Document:
    return {
        "removed": [entry_document(entry) for entry in result.removed],
        "failed": _failed(result.failed),
        "sessions_ended": len(result.ended),
        "poolers_resumed": _poolers(result.resumed),
        "sealed": [entry_document(entry) for entry in result.sealed],
        "opened": [entry_document(entry) for entry in result.opened],
    }


@data_of.register
def _(result: ShellReceipt) -> Document:
    return {
        "entry": entry_document(result.entry),
        "command": list(result.command.shown),
        "command_words": result.command.words,
        "command_exit_code": result.exit_code,
    }


@data_of.register
def _(result: DryRun) -> Document:
    document: Document = {"plan": [{"step": step.title, "sql": list(step.sql)} for step in result.steps]}
    if isinstance(result.preview, BackupPreview):
        forecast = result.preview.forecast
        document["holds_clients"] = result.preview.is_held
        document["expected_outage_ms"] = milliseconds(forecast.duration) if forecast else None
        document["expected_at_least"] = forecast.at_least if forecast else None
    if isinstance(result.preview, RemovalPreview):
        document["kept"] = _kept(result.preview.kept)
        document["removed"] = [entry_document(entry) for entry in result.preview.removed]
        document["failed"] = _failed(result.preview.failed)
    if isinstance(result.preview, SwapPreview):
        document["restored"] = entry_document(result.preview.plan.entry)
        document["written_since"] = written_document(result.preview.written_since)
        document["migrations_now"] = [migration_document(each) for each in result.preview.migrations_now]
    return document


@data_of.register
def _(result: Script) -> Document:
    return {"sql": result.sql}


@data_of.register
def _(result: DemoOutcome) -> Document:
    return {"database_url": result.database_url, "stop_command": result.stop_command}
