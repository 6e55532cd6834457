"""The pure parts of the benchmark: statistics, results, and a page made of results that nobody measured."""

from __future__ import annotations

import base64
import hashlib
import hmac
from pathlib import Path
from typing import Any

import pytest

from benchmarks.contenders import CLONE, DSLR, FILE_COPY, MANUAL, SNAPKIT
from benchmarks.findings import Place, places, ratio, select, summarise
from benchmarks.goals import verdicts
from benchmarks.markdown import duration, factor, megabytes, table
from benchmarks.overhead import after_startup
from benchmarks.page import page_of
from benchmarks.pooler import PAUSED
from benchmarks.results import Results, Row
from benchmarks.scram import salt_and_iterations, scram_keys
from benchmarks.startup import LIST
from benchmarks.statistics import median, paired_ratio, percentile

HERE = {"postgres": "18", "filesystem": "XFS with reflink", "megabytes": 2000, "size_bytes": 2_010_000_000}


def _ran(contender: str, operation: str, number: int, wall: float, clients: int = 0, **more: Any) -> Row:
    row = {
        "scenario": "operations", **HERE, "contender": contender, "operation": operation, "round": number,
        "clients": clients, "wall_ms": wall, "cpu_ms": 5.0, "wal_bytes": 10, "disk_bytes": 20, "good": True,
    }  # fmt: skip
    return row | more


ROWS: list[Row] = [
    *(_ran(SNAPKIT, "backup", number, 600.0 + number) for number in (1, 2, 3)),
    *(_ran(FILE_COPY, "backup", number, 1200.0 + 2 * number) for number in (1, 2, 3)),
    _ran(DSLR, "backup", 1, 5000.0, good=False),
    *(
        _ran(DSLR, "rollback", number, 800.0, 20, waits_ms=[3.0, 700.0], failed={"57P01": 2}, turned_away={"none": 5})
        for number in (1, 2)
    ),
    *(
        {
            "scenario": "swaps", **HERE, "contender": contender, "clients": 20, "round": number, "good": True,
            "wall_ms": 500.0, "waits_ms": [1.0, wait], "failed": {}, "lost_its_name": False,
        }
        for contender, wait in ((SNAPKIT, 90.0), (MANUAL, 160.0))
        for number in (1, 2)
    ),
    *(
        _ran(contender, "backup", number, wall * speed, scenario="overhead", filesystem=filesystem)
        for filesystem in ("ext4", "XFS with reflink")
        for number, speed in ((1, 1.0), (2, 1.5), (3, 1.1))
        for contender, wall in ((SNAPKIT, 1090.0), (after_startup(FILE_COPY), 1000.0), (after_startup(CLONE), 1300.0))
    ),
    {"scenario": "startup", "command": LIST, "round": 1, "wall_ms": 300.0, "cpu_ms": 250.0},
    {
        "scenario": "pgbouncer", **HERE, "mode": PAUSED, "minutes": 10, "clients": 20, "row": "total",
        "operations": 500, "refused": 0, "queries": 123_456, "failed": 1, "turned_away": 0, "load_seconds": 600.0,
    },
    {
        "scenario": "interrupted", **HERE, "contender": DSLR, "way": "the command is killed", "cut": 1, "cuts": 1,
        "at_once": "missing", "finally": "as backed up", "live_kept": False, "backup_kept": True,
    },
]  # fmt: skip


@pytest.mark.parametrize(
    ("percent", "expected"), [(50, 3), (95, 5), (100, 5), (1, 1)], ids=["middle", "tail", "all", "least"]
)
def test_a_percentile_is_one_of_the_values(percent: float, expected: float) -> None:
    assert percentile([5, 1, 4, 2, 3], percent) == expected


def test_nothing_has_no_statistics() -> None:
    assert percentile([], 95) is None
    assert median([]) is None
    assert paired_ratio({1: 1.0}, {2: 1.0}) is None


def test_a_ratio_is_that_of_the_same_rounds() -> None:
    # The machine was ten times slower in round 2, for both; round 3 is only theirs.
    assert paired_ratio({1: 10.0, 2: 100.0}, {1: 20.0, 2: 200.0, 3: 5.0}) == 2.0


def test_times_are_of_what_succeeded_and_waits_of_everything() -> None:
    rows = [
        _ran(DSLR, "rollback", 1, 400.0, waits_ms=[1.0, 9.0], failed={"57P01": 3}, turned_away={}),
        _ran(DSLR, "rollback", 2, 5000.0, waits_ms=[5000.0], failed={}, turned_away={"none": 4}, good=False),
    ]
    summary = summarise(rows)
    assert (summary.runs, summary.good, summary.wall_ms) == (2, 1, 400.0)
    assert summary.waits == (9.0, 5000.0)
    assert (summary.failed, summary.turned_away) == (1.5, 2.0)


def test_what_was_skipped_is_not_a_measurement() -> None:
    assert select([*ROWS, {"scenario": "online", "skipped": "no such option"}], "online") == []
    assert places(ROWS) == [Place("18", "XFS with reflink"), Place("18", "ext4")]


def test_rounds_are_compared_with_each_other() -> None:
    ours = select(ROWS, "operations", contender=SNAPKIT, operation="backup")
    theirs = select(ROWS, "operations", contender=FILE_COPY, operation="backup")
    assert ratio(ours, theirs) == pytest.approx(2.0)


def test_goals_are_judged_by_the_figures() -> None:
    judged = {verdict.goal: verdict.reached for verdict in verdicts(ROWS)}
    assert judged == {
        "backup within 10 % of the best statement alone plus start-up": True,
        "median backup in less than a second where blocks are shared": True,
        "clients wait at most 150 ms for a rollback, at the 95th percentile": True,
        "no query fails behind PgBouncer": False,
    }


def test_a_backup_is_held_against_its_parts_turn_by_turn() -> None:
    slower = [row | {"wall_ms": row["wall_ms"] * 1.05} if row.get("contender") == SNAPKIT else row for row in ROWS]
    verdict = verdicts(slower)[0]
    spread = "×1.14 (1.14 to 1.14 in the middle half of 3 turns)"
    told = f"{spread}: 1.26 s (median of 3); `snapkit list, then CREATE DATABASE, FILE_COPY` 1.10 s"
    assert (verdict.found, verdict.reached) == (told, False)


@pytest.mark.parametrize(
    ("speed", "bad", "told", "reached"),
    [
        (1.0, (), "846 ms (median of 6); beside its parts ×1.09", True),
        (1.3, (), "1.10 s (median of 6); beside its parts ×1.42", False),
        (1.0, (2,), "846 ms (median of 4, and 2 failed); beside its parts ×1.09", False),
        (1.0, (1, 2, 3), "– (median of 0, and 6 failed)", False),
    ],
)
def test_where_blocks_are_shared_the_median_of_all_backups_is_judged(
    speed: float, bad: tuple[int, ...], told: str, reached: bool
) -> None:
    def measured(row: Row) -> Row:
        return row | {"wall_ms": row["wall_ms"] * speed, "good": row["round"] not in bad}

    rows = [measured(row) if row.get("contender") == SNAPKIT else row for row in ROWS]
    (verdict,) = (each for each in verdicts(rows) if "blocks are shared" in each.goal)
    assert verdict.found.startswith(told)
    assert (verdict.where, verdict.reached) == ("PostgreSQL 18, XFS with reflink, 2000 MB", reached)


def test_backups_that_all_failed_are_not_passed_over() -> None:
    rows = [row | {"good": False} if row.get("contender") == SNAPKIT else row for row in ROWS]
    verdict = verdicts(rows)[0]
    assert (verdict.where, verdict.found) == ("PostgreSQL 18, ext4, 2000 MB", "– (median of 0, and 3 failed)")
    assert not verdict.reached


def test_figures_are_shown_with_units() -> None:
    assert [duration(each) for each in (None, 3.4, 999.0, 1500.0, 45_000.0)] == [
        "–",
        "3 ms",
        "999 ms",
        "1.50 s",
        "45.0 s",
    ]
    assert [megabytes(each) for each in (None, 1_500_000, 2_010_000_000)] == ["–", "1.5 MB", "2010 MB"]
    assert [factor(each) for each in (None, 1.234, 23.4)] == ["", "1.23", "23"]
    assert table(["a", "b"], [["x|y", "1"]]) == "| a | b |\n|---|---:|\n| x\\|y | 1 |"


def test_the_page_says_what_the_results_say() -> None:
    page = page_of(ROWS, {"backup": "performance/backup.svg"})
    assert "| snapkit | 602 ms |" in page
    assert "1.20 s (×2.00)" in page
    assert "| DSLR | failed |" in page
    assert "1 of 123,456 queries" in page
    assert "DSLR: 0 of 1" in page
    assert "![Backup: whole command by size, without clients](performance/backup.svg)" in page
    assert "{plot" not in page


def test_a_page_of_nothing_claims_nothing() -> None:
    page = page_of([], {})
    assert "## Backup" not in page
    assert "reached" not in page


def test_keys_of_a_password_are_those_of_the_standard() -> None:
    """RFC 7677, section 3, has an example: with these keys its proof and its signature come out."""
    secret = "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$stored:server"
    keys = scram_keys("pencil", *salt_and_iterations(secret))
    exchange = (
        b"n=user,r=rOprNGfwEbeRWgbNEkqO,"
        b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,"
        b"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
    )
    client, server = (base64.b64decode(key) for key in keys)
    signature = hmac.digest(hashlib.sha256(client).digest(), exchange, "sha256")
    proof = bytes(ours ^ theirs for ours, theirs in zip(client, signature, strict=True))
    assert base64.b64encode(proof) == b"dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
    assert base64.b64encode(hmac.digest(server, exchange, "sha256")) == b"6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="


def test_results_are_taken_up_again_after_a_cut(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    results = Results(path)
    results.add("operations", {"round": 1, "contender": SNAPKIT}, {"wall_ms": 1.0})
    results.add("operations", {"round": 2, "contender": SNAPKIT}, {"skipped": "a reason"})
    with path.open("a") as file:
        file.write('{"scenario": "operations", "rou')
    again = Results(path)
    assert again.has("operations", {"round": 1, "contender": SNAPKIT})
    assert not again.has("operations", {"round": 2, "contender": SNAPKIT})
    assert not again.has("operations", {"round": 1, "contender": DSLR})
    again.add("operations", {"round": 3, "contender": SNAPKIT}, {"wall_ms": 2.0})
    assert [row["round"] for row in Results(path).rows] == [1, 2, 3]
