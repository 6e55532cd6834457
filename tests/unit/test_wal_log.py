"""What is said of a clone by WAL_LOG that has failed."""

from __future__ import annotations

import pytest

from snapkit.cli.exit_codes import ExitCode, exit_code_of
from snapkit.core.copying.wal_log import with_danger
from snapkit.core.inventory.kinds import Strategy
from snapkit.errors import ConnectionFailedError, DiskFullError, SnapkitError

PINNED = "PostgreSQL says: buffer is pinned in InvalidateBuffer. (SQLSTATE XX000)"


@pytest.mark.parametrize("sqlstate", ["XX000", "XX001", "53100", "58030"])
def test_what_a_full_disk_does_to_it_is_told_with_what_to_do_at_once(sqlstate: str) -> None:
    error = with_danger(SnapkitError(PINNED, state="Untouched."), Strategy.WAL_LOG, sqlstate)
    assert isinstance(error, DiskFullError)
    assert exit_code_of(error) is ExitCode.DISK_FULL
    assert error.message.startswith(PINNED)
    assert "unable to start again" in error.message
    assert error.state == "Untouched."
    assert error.hint is not None
    assert error.hint.index("make room") < error.hint.index("CHECKPOINT") < error.hint.index("recover")


@pytest.mark.parametrize("hint", [None, "Check host and port."])
def test_any_other_failure_carries_the_caution(hint: str | None) -> None:
    error = with_danger(ConnectionFailedError("Hung up.", hint=hint), Strategy.WAL_LOG, None)
    assert isinstance(error, ConnectionFailedError)
    assert error.hint is not None
    assert error.hint.startswith(hint or "If a wal-log clone")
    assert "CHECKPOINT" in error.hint


@pytest.mark.parametrize("strategy", [Strategy.CLONE, Strategy.FILE_COPY])
def test_other_ways_to_clone_are_in_no_such_danger(strategy: Strategy) -> None:
    error = SnapkitError(PINNED)
    assert with_danger(error, strategy, "XX000") is error
    assert error.hint is None
