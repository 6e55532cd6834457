"""The room for locks."""

from __future__ import annotations

import pytest

from snapkit.core.copying.lock_room import LockTable


@pytest.mark.parametrize(
    ("locks", "is_too_small"),
    [
        (LockTable(64, 100, 1000, 2000), False),
        (LockTable(64, 100, 22_000, 63_000), True),
        (LockTable(10, 100, 750, 0), True),
        (LockTable(10, 100, 250, 300), False),
    ],
)
def test_a_copy_is_not_begun_where_there_is_no_room_for_its_locks(locks: LockTable, is_too_small: bool) -> None:
    assert locks.is_too_small is is_too_small
    enough = LockTable(locks.enough_per_transaction, locks.sessions, locks.tables, locks.others)
    assert not enough.is_too_small
    assert f"locks {locks.tables} tables" in locks.room
    assert f"to {locks.enough_per_transaction} or more (now {locks.per_transaction})" in locks.remedy
