"""The crash table: docs/crash-table.md, written from trials and read back to be held against others."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from tests.crash.plan import phases_of
from tests.crash.scenarios import SCENARIOS, Scenario
from tests.crash.trial import Trial
from tests.crash.verdict import Outcome
from tests.crash.ways import Way
from tests.gate import Phase, Point

Stop = tuple[Point, Phase]
"""A point, and where on its way the statement is when something dies."""


@dataclass(frozen=True)
class Result:
    """A trial that went as promised; ``waited`` is how long the application waited at most, in seconds."""

    trial: Trial
    outcome: Outcome
    waited: float


def stops_of(points: Iterable[Point]) -> list[Stop]:
    return [(point, phase) for point in points for phase in phases_of(point)]


INTRODUCTION = """\
# The crash table

This page shows what becomes of the database when snapkit, a connection or the server dies. It covers every command that
clones, swaps, drops or notes something, and every point of it.

A program makes this page: `python -m tests.crash` lets all of this happen on a real server. A test compares samples of
the page with new runs. It was made on PostgreSQL {version}: **{trials} trials at {stops} stops in {ways} ways to die,
all as promised.**

## How to read it

A *stop* is a moment of one statement:

| when | what it means |
|---|---|
| before | the server has not received the statement yet |
| inside | the server is executing the statement; its process is halted there |
| after | the server has answered, and snapkit does not know it yet |

The stops are those that the command was seen to make. A statement that changes nothing by itself has one stop: before.

At each stop, the run dies in these ways:

| way to die | what happens at the stop |
|---|---|
| SIGKILL | snapkit is killed |
| SIGTERM, Ctrl-C | the signal is sent; once snapkit has received it, the traffic goes on |
| Ctrl-C twice | the second comes while snapkit deals with the first |
| pg_terminate_backend | an administrator ends the session of this connection |
| connection cut | the connection is closed on both sides |
| connection silent | nothing comes through any more, and neither side is told |
| server stopped at once | `pg_ctl stop -m immediate`, which is like a crash; then the server is started again |
| disk of the clone full | the tablespace of the clone runs out of room in the middle of the clone |
| disk of the WAL full | `pg_wal` runs out of room, and the server crashes; an administrator makes room, and starts it again |
| server lost, standby promoted | the server is gone for good, and a standby that had everything takes its place; snapkit was connected to the server alone |

Not every way is tried at every stop:

- Some statements leave nothing behind (a question), or nothing by themselves (a GRANT inside a transaction). For these,
  SIGKILL, Ctrl-C and a cut connection are tried, and stand for all ways.
- The last two ways are tried only at statements that write.
- Of a copy made online, the stops are those of the working connection. Its programs and its other sessions work side by
  side, in another order each time; other tests let those die.

The columns of each command's first table:

| column | meaning |
|---|---|
| ends with | snapkit's [exit code](reference.md#exit-codes). With two Ctrl-C, the code depends on when the second one comes |
| the application | what the application noticed |
| afterwards | in what state the database is |
| what to type | what you have to do |
| waited | the longest time, in seconds, that the application had no answer in these trials. Five trials ran at a time, on a machine with two cores |

## What was checked

During each trial, an application works in the database, and reconnects at once when it is disconnected. After each
trial, this was checked on the server:

- The application is served again, under the database's own name, before anybody has done anything.
- The live database has the state before or the state after, never a mixture. That includes its owner, privileges,
  settings and comment.
- Every backup and every displaced database that is ready is sealed and complete, and has the content and the properties
  of its source.
- Nothing is gone, apart from what the command was to drop.
- What snapkit reported (exit code, message, JSON) agrees with what happened.
- The next backup works without any repair. After it and `snapkit recover`, nothing is left: no half-made clone, no
  session, no lock, and no file in the data directory. There is one exception, which is PostgreSQL's own: see
  [limits](limits.md#files-after-a-crash).
"""


def write(old: str, version: str, stops: Mapping[str, Sequence[Stop]], results: Sequence[Result]) -> str:
    """Return the page; commands, and ways to die, that were not tried this time keep what ``old`` says of them.

    The same stops stay in their order: what two connections send at about the same time comes in either.
    """
    sections = []
    before, _ = read(old)
    for scenario in SCENARIOS:
        mine = [result for result in results if result.trial.scenario == scenario]
        kept = _kept(old, scenario)
        if mine:
            order, new = before.get(scenario.name, []), stops[scenario.name]
            kept = _joined(kept, _section(scenario, order if set(order) == set(new) else new, mine))
        sections.append(kept)
    body = "\n".join(sections)
    all_stops, outcomes = read(body)
    introduction = INTRODUCTION.format(
        version=version, trials=len(outcomes), stops=sum(map(len, all_stops.values())), ways=len(Way)
    )
    return introduction + "\n" + body


def _kept(page: str, scenario: Scenario) -> str:
    match = _section_pattern(scenario).search(page)
    return match[0].rstrip("\n") + "\n" if match else ""


def _joined(old: str, new: str) -> str:
    """The section ``new``, and from ``old`` the rows of the ways that are not in it, if both have the same stops."""
    marker = "\n| stop | when |"
    if not old or old.partition(marker)[2] != new.partition(marker)[2]:
        return new
    head = new.partition("\n\n| way to die")[2].partition(marker)[0].rstrip("\n")
    rows = {way: [line for line in head.splitlines() if line.startswith(f"| {way.value} |")] for way in Way}
    for way, own in rows.items():
        rows[way] = own or [line for line in old.splitlines() if line.startswith(f"| {way.value} |")]
    title, frame = new.partition("\n\n")[0], new.splitlines()[4:6]
    lines = [line for way in Way for line in rows[way]]
    trials = sum(len(list(_numbers(line.split(" | ")[1]))) for line in lines)
    return (
        "\n".join([title, "", f"{trials} trials.", "", *frame, *lines, "", marker.lstrip("\n")])
        + new.partition(marker)[2]
    )


def _section_pattern(scenario: Scenario) -> re.Pattern[str]:
    return re.compile(rf"^## `snapkit {re.escape(scenario.name)}`$(.*?)(?=^## |\Z)", re.MULTILINE | re.DOTALL)


def _section(scenario: Scenario, stops: Sequence[Stop], results: Sequence[Result]) -> str:
    number = {stop: index for index, stop in enumerate(stops, 1)}
    lines = [
        f"## `snapkit {scenario.name}`",
        "",
        f"{len(results)} trials.",
        "",
        "| way to die | stops | ends with | the application | afterwards | what to type | waited |",
        "|---|---|---|---|---|---|---|",
    ]
    for way in Way:
        rows: dict[Outcome, list[Result]] = defaultdict(list)
        for result in results:
            if result.trial.way is way:
                rows[result.outcome].append(result)
        for outcome, same in sorted(rows.items(), key=lambda row: number[_stop(row[1][0])]):
            where = _ranges(number[_stop(each)] for each in same)
            code = "" if outcome.code is None else str(outcome.code)
            waited = max(each.waited for each in same)
            cells = (way.value, where, code, outcome.saw, outcome.state, outcome.then, f"{waited:.1f}")
            lines.append("| " + " | ".join(cells) + " |")
    lines += ["", "| stop | when | connection | statement |", "|---|---|---|---|"]
    for (point, phase), index in number.items():
        again = f" (number {point.occurrence})" if point.occurrence > 1 else ""
        lines.append(f"| {index} | {phase.value} | {point.connection} | `{point.label}`{again} |")
    return "\n".join([*lines, ""])


def _stop(result: Result) -> Stop:
    return result.trial.point, result.trial.phase


def _ranges(numbers: Iterable[int]) -> str:
    """``1-3, 7`` for 1, 2, 3 and 7."""
    pieces = []
    for _, group in groupby(enumerate(sorted(numbers)), key=lambda pair: pair[1] - pair[0]):
        run = [number for _, number in group]
        pieces.append(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}")
    return ", ".join(pieces)


def read(page: str) -> tuple[dict[str, list[Stop]], dict[Trial, Outcome]]:
    """Return what the page says: the stops of each command, and the outcome of each trial."""
    stops: dict[str, list[Stop]] = {}
    outcomes: dict[Trial, Outcome] = {}
    for scenario in SCENARIOS:
        match = _section_pattern(scenario).search(page)
        if match is None:
            continue
        stops[scenario.name] = [
            (Point(int(connection), label, int(again or 1)), Phase(phase))
            for phase, connection, label, again in re.findall(
                r"^\| \d+ \| (\w+) \| (\d+) \| `(.*)`(?: \(number (\d+)\))? \|$", match[1], re.MULTILINE
            )
        ]
        for row in re.findall(r"^\| ([A-Za-z_][^|\n]*?) \| (\d[\d, -]*) \| (.*) \|$", match[1], re.MULTILINE):
            code, saw, state, then, _ = row[2].split(" | ")
            outcome = Outcome(int(code) if code.strip() else None, saw, state, then)
            for index in _numbers(row[1]):
                outcomes[Trial(scenario, *stops[scenario.name][index - 1], Way(row[0]))] = outcome
    return stops, outcomes


def _numbers(ranges: str) -> Iterator[int]:
    for piece in ranges.split(", "):
        first, _, last = piece.partition("-")
        yield from range(int(first), int(last or first) + 1)
