"""What becomes of a row that clients may have changed after a boundary: carried, left aside, or a conflict.

Up to three versions of the row are compared: that of the backup, that of the boundary (when the guarded command had
ended), and that of now, in the displaced database. What the boundary's version has and the backup's has not may be the
command's own, so it is never carried. What today's version has and the boundary's has not was written by clients.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

from snapkit.core.values import dataclass

Values = Sequence[str | None]
"""The values of a row as text, in the order of the columns that both sides have."""


class Action(StrEnum):
    """What is to be done with a row."""

    NOTHING = "nothing"
    """It is the same with or without the late writes."""
    INSERT = "insert"
    UPDATE = "update"
    DELETE = "delete"
    LEAVE = "leave"
    """Its change may be the command's own, so it stays aside."""
    CONFLICT = "conflict"


@dataclass(frozen=True, slots=True)
class Decision:
    """``columns`` are the indexes of those that an update sets. ``merged``: the command changed other ones."""

    action: Action
    columns: tuple[int, ...] = ()
    merged: bool = False
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class AtBoundary:
    """What is known of a row at the boundary.

    ``untouched`` is proved: it was as in the backup. Otherwise ``is_known`` says whether ``values`` are its version
    then, None for no row.
    """

    untouched: bool = False
    is_known: bool = False
    values: Values | None = None


UNTOUCHED = AtBoundary(untouched=True)
TOUCHED = AtBoundary()
"""It was written between backup and boundary, and how it was left then is not known."""

OWN = "written while the command ran: it cannot be told apart from the command's own"
UNKNOWN = "also written while the command ran, and its version at the end of the command is not known"
_MADE = "it was inserted while the command ran, and changed afterwards"
_REMADE = "it was deleted while the command ran, and inserted again afterwards"
_LOST = "it was changed while the command ran, and deleted afterwards"
_BOTH = "the same columns were changed while the command ran and afterwards"

_NOTHING = Decision(Action.NOTHING)
_LEAVE = Decision(Action.LEAVE, reason=OWN)


def decide(backup: Values | None, boundary: AtBoundary, now: Values | None) -> Decision:
    """Return what is to be done with a row so that the database of the backup has what clients wrote late.

    None in place of values: there is no such row.
    """
    if backup is None and now is None:
        return _NOTHING
    if boundary.untouched:
        return _bring(backup, backup, now)
    if same(backup, now):
        return _NOTHING  # whoever changed it, it is as it was
    if not boundary.is_known:
        return Decision(Action.LEAVE, reason=UNKNOWN)
    if same(boundary.values, now):
        return _LEAVE
    return _bring(backup, boundary.values, now)


def _bring(backup: Values | None, boundary: Values | None, now: Values | None) -> Decision:
    """Decide for a row whose three versions are known."""
    if boundary is None:
        if backup is not None:
            return _conflict(_REMADE)
        return Decision(Action.INSERT)
    if backup is None:
        return _conflict(_MADE)
    own = changed(backup, boundary)
    if now is None:
        return _conflict(_LOST) if own else Decision(Action.DELETE)
    late = changed(boundary, now)
    if not late:
        return _NOTHING
    if not set(own).isdisjoint(late):
        return _conflict(_BOTH)
    return Decision(Action.UPDATE, late, merged=bool(own))


def _conflict(reason: str) -> Decision:
    return Decision(Action.CONFLICT, reason=reason)


def changed(before: Values, after: Values) -> tuple[int, ...]:
    """Return the indexes of the values that differ."""
    return tuple(index for index, (old, new) in enumerate(zip(before, after, strict=True)) if old != new)


def same(left: Values | None, right: Values | None) -> bool:
    if left is None or right is None:
        return left is right
    return not changed(left, right)


class Fit(StrEnum):
    """How a decision fits the row that the live database has by now."""

    FITS = "fits"
    DONE = "done"
    """The live row is as it is to be already."""
    TAKEN = "another row has its key by now"
    GONE = "the row was deleted since the rollback"
    CHANGED = "the row was changed since the rollback"


def fit(decision: Decision, backup: Values | None, now: Values | None, live: Values | None) -> Fit:
    """Compare the live row with what the decision was made for: the row of the backup."""
    if decision.action is Action.INSERT:
        return Fit.FITS if live is None else Fit.DONE if same(live, now) else Fit.TAKEN
    if decision.action is Action.DELETE:
        return Fit.DONE if live is None else Fit.FITS if same(live, backup) else Fit.CHANGED
    if live is None:
        return Fit.GONE
    wanted = [(backup[i], now[i], live[i]) for i in decision.columns] if backup is not None and now is not None else []
    if all(new == present for _, new, present in wanted):
        return Fit.DONE
    return Fit.FITS if all(old == present for old, _, present in wanted) else Fit.CHANGED
