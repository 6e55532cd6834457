"""Background workers: which would not come back, and which have not."""

from __future__ import annotations

import pytest

from snapkit.core.outage.workers import Cron, Worker, missing, not_back, would_stay_away

SCHEDULER = Worker(7, "pg_cron launcher")
OTHER = Worker(8, "TimescaleDB Background Worker Scheduler")


@pytest.mark.parametrize(
    ("cron", "workers", "known", "is_refused"),
    [
        (Cron(), (), True, False),
        (Cron(), (OTHER,), True, False),
        (Cron("app", "1.5"), (SCHEDULER, OTHER), True, True),
        (Cron("app", "1.4-1"), (SCHEDULER,), True, True),
        (Cron("app", None), (SCHEDULER,), True, True),
        (Cron("app", "nonsense"), (SCHEDULER,), True, True),
        (Cron("app", "1.6"), (SCHEDULER,), True, False),
        (Cron("app", "2.0"), (SCHEDULER,), True, False),
        # The role may not know the setting, but is shown the worker.
        (Cron(None, None), (SCHEDULER,), False, True),
        # It is not shown what a session is, but may know the setting.
        (Cron("app", None), (), False, True),
        (Cron("app", "1.6"), (), False, False),
        (Cron("postgres", None), (), False, False),
        # The scheduler has ended already.
        (Cron("app", "1.5"), (), True, False),
    ],
)
def test_what_is_refused(cron: Cron, workers: tuple[Worker, ...], known: bool, is_refused: bool) -> None:
    refused = would_stay_away("app", cron, workers, kinds_are_known=known)
    assert (refused is not None) is is_refused
    if refused is not None:
        assert "--stop-workers" in str(refused.hint)
        assert "--strategy online" in str(refused.hint)
        assert ("cannot copy" in str(refused.hint)) is (cron.version is not None)
        assert ("pid 7" in refused.message) is (SCHEDULER in workers)


def test_who_is_not_back() -> None:
    again = Worker(9, SCHEDULER.kind)
    apply = Worker(10, "logical replication apply worker")
    assert missing((SCHEDULER, OTHER), (again,), moved=False) == (OTHER,)
    assert missing((SCHEDULER,), (SCHEDULER,), moved=False) == (SCHEDULER,), "it has not even left"
    assert missing((SCHEDULER, Worker(11, SCHEDULER.kind)), (again,), moved=False) == (Worker(11, SCHEDULER.kind),)
    assert missing((apply,), (), moved=False) == (apply,)
    assert missing((apply,), (), moved=True) == ()


def test_how_it_is_told() -> None:
    assert not_back((), 6) == ()
    (caution,) = not_back((SCHEDULER, OTHER), 6)
    assert caution.code == "workers_gone"
    assert "pg_cron launcher (pid 7), TimescaleDB Background Worker Scheduler (pid 8)" in caution.message
    assert "within 6 s" in caution.message
