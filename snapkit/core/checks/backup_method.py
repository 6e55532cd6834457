"""How a backup would be made, how long it would hold clients, and whether there is room for it."""

from __future__ import annotations

from snapkit.core.checks.disk_room import MAKE_ROOM, Need, no_room
from snapkit.core.checks.facts import Check, Estimate, Facts, Status, in_one_line
from snapkit.core.copying.estimates import many_files
from snapkit.core.durations import duration_text
from snapkit.core.inventory.kinds import Strategy
from snapkit.core.sizes import size_text


def check_method(facts: Facts) -> Check:
    if not facts.estimates:
        return Check("method", Status.WARNING, "Without the database, snapkit cannot tell how a clone would be made.")
    chosen, *others = facts.estimates
    besides = f" Other strategies: {'; '.join(_outlook(each, facts) for each in others)}." if others else ""
    return Check("method", Status.OK, f"A backup would use {_outlook(chosen, facts)}.{besides}")


def _outlook(estimate: Estimate, facts: Facts) -> str:
    """Say what a method would cost those who work on the database, or why a run would refuse it."""
    forecast = estimate.forecast
    if estimate.strategy is Strategy.ONLINE and facts.online_refused is not None:
        return f"{estimate.strategy} (not possible: {in_one_line(facts.online_refused).removesuffix('.')})"
    if forecast is None:
        return f"{estimate.strategy} (how long is not known before the first such backup)"
    time = duration_text(forecast.duration)
    if forecast.at_least:
        return (
            f"{estimate.strategy} (would hold clients for {time} or more, as estimated from the number and size of its "
            "files)"
        )
    if estimate.strategy is Strategy.ONLINE:
        return f"{estimate.strategy} (takes about {time}, and holds nobody)"
    return f"{estimate.strategy} (would hold clients for about {time})"


def check_files(facts: Facts) -> Check:
    chosen = next(iter(facts.estimates), None)
    if chosen is not None and chosen.forecast is not None:
        said = f"clients would be held for {chosen.forecast.text}"
        for caution in many_files(facts.source, chosen.extent, chosen.forecast.duration, said):
            return Check("files", Status.WARNING, f"{caution.message}.")
    return Check("files", Status.OK, "As far as is known, the number of files does not slow a clone down.")


def check_locks(facts: Facts) -> Check:
    if facts.locks is None:
        return Check("locks", Status.OK, "Without a connection to the database, snapkit cannot see the room for locks.")
    if facts.locks.is_too_small:
        return Check(
            "locks", Status.WARNING, f"{facts.locks.room} --strategy online is refused.", f"{facts.locks.remedy}."
        )
    return Check("locks", Status.OK, "The server has room for the locks that --strategy online takes.")


def check_room(facts: Facts) -> Check:
    chosen = next(iter(facts.estimates), None)
    size = chosen.extent.size if chosen else None
    if size is None or facts.free_bytes is None:
        return Check("disk", Status.OK, "snapkit cannot see how much room is free on the server's disk.")
    said = no_room(Need(facts.source, size), facts.free_bytes)
    if said is None:
        room = f"{size_text(facts.free_bytes)} are free on the server's disk"
        return Check("disk", Status.OK, f"A backup takes {size_text(size)}, and {room}.")
    may_share = chosen is not None and chosen.strategy is Strategy.CLONE
    hint = f"{MAKE_ROOM}. Or name another disk with --tablespace."
    return Check("disk", Status.WARNING if may_share else Status.PROBLEM, said, hint)
