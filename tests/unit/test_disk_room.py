"""What is said of databases that pile up, and of a disk that fills."""

from __future__ import annotations

from dataclasses import replace

from snapkit.core.checks.disk_room import Need, displaced_cautions, low_disk
from snapkit.core.inventory.kinds import Kind, State
from tests.unit.builders import make_entry

FIRST = make_entry("app_old_20260110_103045", kind=Kind.OLD, size_bytes=2**30)
SECOND = make_entry("app_old_20260111_103045", kind=Kind.OLD, size_bytes=2**30)


def test_databases_that_were_put_aside_are_told_once_they_are_several() -> None:
    pinned = make_entry("app_old_20260112_103045", kind=Kind.OLD, pinned=True)
    renamed = replace(make_entry("kept", kind=Kind.OLD), bears_its_name=False)
    invalid = make_entry("app_old_20260113_103045", kind=Kind.OLD, state=State.INVALID)
    other = make_entry("shop_old_20260113_103045", kind=Kind.OLD, source="shop")
    alone = (FIRST, make_entry(), pinned, renamed, invalid, other)
    assert displaced_cautions(alone) == ()
    (caution,) = displaced_cautions((*alone, SECOND))
    assert caution.code == "displaced_pile_up"
    assert caution.message.startswith("Rollbacks of app have left 2 displaced databases, which take 2.0 GB.")
    assert caution.message.endswith("snapkit prune --keep-old 1")
    (unmeasured,) = displaced_cautions((FIRST, replace(SECOND, size_bytes=None)))
    assert "have left 2 displaced databases." in unmeasured.message


def test_a_disk_is_low_when_a_further_backup_would_not_fit() -> None:
    need = Need("app", 2**30)
    assert low_disk(need, None) == low_disk(need, 2**30) == ()
    (caution,) = low_disk(need, 2**29)
    assert caution.code == "disk_low"
    assert caution.message.startswith("Only 512 MB are free on the server's disk. A backup of app takes 1.0 GB")
