"""Each SQLSTATE that is worth a sentence of its own becomes the error that is meant by it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import psycopg
import pytest

from snapkit import errors
from snapkit.cli.exit_codes import ExitCode, exit_code_of
from snapkit.postgres.connection.sqlstates import is_connection_loss, is_sharing_refused, translate


@pytest.mark.parametrize(
    ("sqlstate", "kind", "code", "hint"),
    [
        ("55006", errors.BusyError, ExitCode.BUSY, None),
        ("55P03", errors.BusyError, ExitCode.BUSY, None),
        ("40P01", errors.BusyError, ExitCode.BUSY, None),
        ("42501", errors.PrivilegeError, ExitCode.PRIVILEGE, None),
        ("42P04", errors.BusyError, ExitCode.BUSY, "Another run"),
        ("3D000", errors.NotFoundError, ExitCode.NOT_FOUND, None),
        ("53100", errors.DiskFullError, ExitCode.DISK_FULL, "Make room"),
        ("53300", errors.ConnectionFailedError, ExitCode.CONNECTION, "max_connections"),
        ("57P03", errors.ConnectionFailedError, ExitCode.CONNECTION, "starting up"),
        ("57P01", errors.ConnectionFailedError, ExitCode.CONNECTION, None),
        ("25P03", errors.ConnectionFailedError, ExitCode.CONNECTION, None),
        ("08006", errors.ConnectionFailedError, ExitCode.CONNECTION, None),
        ("28P01", errors.ConnectionFailedError, ExitCode.CONNECTION, "password"),
        ("28000", errors.ConnectionFailedError, ExitCode.CONNECTION, "pg_hba.conf"),
        ("25006", errors.SnapkitError, ExitCode.FAILED, "primary"),
        ("57014", errors.SnapkitError, ExitCode.FAILED, "cancelled"),
        ("XX000", errors.SnapkitError, ExitCode.FAILED, None),
    ],
)
def test_each_sqlstate(sqlstate: str, kind: type[errors.SnapkitError], code: ExitCode, hint: str | None) -> None:
    error = translate(psycopg.errors.lookup(sqlstate)("what the server said"), "Nothing was changed.")
    assert type(error) is kind
    assert exit_code_of(error) is code
    assert error.state == "Nothing was changed."
    assert hint is None or (error.hint is not None and hint in error.hint)


@pytest.mark.parametrize(
    ("error", "lost"),
    [
        (psycopg.OperationalError("server closed the connection unexpectedly"), True),
        (psycopg.InterfaceError("the connection is closed"), True),
        (psycopg.errors.lookup("57P01")("terminating connection"), True),
        (psycopg.errors.lookup("25P03")("terminating connection due to idle-in-transaction timeout"), True),
        (psycopg.errors.lookup("25P04")("terminating connection due to transaction timeout"), True),
        (psycopg.errors.lookup("25P02")("current transaction is aborted"), False),
        (psycopg.InternalError("no SQLSTATE"), False),
        (psycopg.errors.lookup("53100")("disk full"), False),
        (psycopg.errors.lookup("42501")("permission denied"), False),
        (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"), False),
    ],
)
def test_a_lost_connection_is_told_from_an_error_of_a_statement(error: Exception, lost: bool) -> None:
    assert is_connection_loss(error) is lost


def test_text_that_is_not_utf_8_is_said_to_be_that() -> None:
    error = translate(UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"), "")
    assert "not UTF-8" in error.message


class _Told(psycopg.Error):
    """An error with the fields that the server sends."""

    def __init__(self, sqlstate: str, function: str | None) -> None:
        super().__init__("could not clone file")
        self.sqlstate = sqlstate
        self._function = function

    @property
    def diag(self) -> Any:
        return SimpleNamespace(source_function=self._function)


@pytest.mark.parametrize(
    ("sqlstate", "function", "refused"),
    [
        ("XX000", "clone_file", True),  # EXDEV, EINVAL, EOPNOTSUPP, ENOSYS
        ("42501", "clone_file", True),  # EPERM
        ("53100", "clone_file", False),  # ENOSPC
        ("58030", "clone_file", False),  # EIO
        ("57014", "clone_file", False),
        ("XX000", "copy_file", False),
        ("XX000", None, False),
        ("42501", "createdb", False),
    ],
)
def test_it_is_told_when_blocks_may_not_be_shared(sqlstate: str, function: str | None, refused: bool) -> None:
    assert is_sharing_refused(_Told(sqlstate, function)) is refused
