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

What becomes of the database when snapkit, a connection or the server dies, at every point of every command that clones, swaps, drops or notes. This page is
written by a run of `python -m tests.crash`, which lets all of it happen on a real server, and a test holds samples of it
against new runs. It was made on PostgreSQL {version}: **{trials} trials at {stops} stops in {ways} ways to die, all as
promised.**

A *stop* is a moment of one statement: *before* the server gets it, *inside* (the server's process is halted in the midst of
it), or *after*: the server has answered, and snapkit does not know. The stops are those that the command was seen to make;
what does not write has one. Where a statement leaves nothing behind, as a question does, or nothing by itself, as a GRANT in the midst of
a transaction, three ways stand for all: SIGKILL, Ctrl-C, and the connection cut. Of a copy made online they are those of the working
connection; programs and sessions that work side by side come in another order each time, and die in tests of their own.
The last two ways are for statements that write. The ways to die:

| way | what happens at the stop |
|---|---|
| SIGKILL | snapkit is killed |
| SIGTERM, Ctrl-C | the signal is sent; once it is taken, the traffic goes on |
| Ctrl-C twice | the second while snapkit deals with the first |
| pg_terminate_backend | an administrator ends the session of this connection |
| connection cut | the connection is closed on both sides |
| connection silent | nothing comes through any more, and neither side hears of it |
| server stopped at once | `pg_ctl stop -m immediate`, as a crash is; then it is started again |
| disk of the clone full | the tablespace that the clone goes to has no room left, in the midst of it |
| disk of the WAL full | `pg_wal` has no room left: the server crashes, an administrator makes room, and it is started again |
| server lost, standby promoted | the server is gone for good, and a standby that had everything takes its place; snapkit was connected to the server alone |

While that happens an application works in the database, and comes back at once when it is disconnected. After each trial
this was checked on the server:

- the application is served again, under the database's own name, before anybody has done anything;
- the content of the live database is wholly the one or the other state, its owner, privileges, settings and comment included;
- every backup or displaced database that is ready is sealed, whole, and has the content and the properties of its source;
- nothing is gone that the command was not to drop;
- what snapkit reported (exit code, message, JSON) agrees with what happened;
- the next backup works without any repair, and after it and `snapkit recover` nothing is left: no half-made clone, no session, no
  lock, and no file in the data directory. The one exception is PostgreSQL's own: see [limits](limits.md#files-after-a-crash).

*Waited* is the longest time, in seconds, that the application went without an answer in these trials; with five trials at a time on a
machine of two cores. *Ends with* is the [exit code](reference.md#exit-codes); where the second Ctrl-C comes in time decides which of
several it is.
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
