"""The JSON document of a run, as docs/reference.md describes it: bytes, milliseconds, RFC 3339 in UTC."""

from __future__ import annotations

import json
from datetime import datetime
from typing import TYPE_CHECKING, Any

from snapkit.cli.exit_codes import exit_code_of
from snapkit.core.utc import iso_utc

if TYPE_CHECKING:
    from snapkit.core.connection.endpoint import Whereabouts
    from snapkit.core.reporting import Caution
    from snapkit.errors import SnapkitError

SCHEMA_VERSION = 1

Document = dict[str, Any]


def envelope(
    command: str | None,
    status: str,
    data: Document | None,
    *,
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


def time_document(at: datetime) -> str:
    return iso_utc(at)
