"""What the services return; the command line renders them as text or as JSON."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from enum import Enum
from typing import ClassVar

from snapkit.core.checks.facts import Check, Status
from snapkit.core.client_session import ClientSession
from snapkit.core.comparison.writes import Written
from snapkit.core.connection.endpoint import Address
from snapkit.core.copying.estimates import Forecast
from snapkit.core.deploy.deploy import MigrationState
from snapkit.core.guarding import Health
from snapkit.core.inventory.entry import Entry
from snapkit.core.inventory.retention import Kept
from snapkit.core.outage.hold_rules import Phase
from snapkit.core.outage.standbys import Standby
from snapkit.core.plans.properties import Properties
from snapkit.core.plans.swap import SwapPlan
from snapkit.core.reporting import Caution
from snapkit.core.secrets import ShownCommand
from snapkit.core.values import dataclass
from snapkit.errors import (
    NOTHING_CHANGED,
    NotFoundError,
    PartialError,
    RollbackFailedError,
    RolledBackError,
    SnapkitError,
    UnknownOutcomeError,
)


class Outcome:
    """What a command returns: each result derives from it, and tells more where there is more to tell."""

    __slots__ = ()

    leaves_stdout: ClassVar[bool] = False
    """Whether stdout belongs to a command of the user's."""
    tells_where: ClassVar[bool] = True
    """Whether a person is told of the server with it; not where all that is printed is for another program."""

    @property
    def cautions(self) -> tuple[Caution, ...]:
        """What the run warns of."""
        return ()

    @property
    def shortfall(self) -> SnapkitError | None:
        """The error that the run ends with although there is a result; None if it did all that was asked."""
        return None

    @property
    def complaints(self) -> tuple[SnapkitError, ...]:
        """What a person is told of the shortfall, apart from what the result shows already."""
        return (self.shortfall,) if self.shortfall else ()

    @property
    def changed(self) -> tuple[str, ...]:
        """The names of the databases that were made, changed or dropped."""
        return ()

    @property
    def ran(self) -> tuple[ShownCommand, int | None] | None:
        """The command of the user's that was run, as far as it is shown, and its exit code, if that is known."""
        return None

    @property
    def exit_code(self) -> int | None:
        """What the run ends with, if that is the exit code of a command of the user's; None: the shortfall tells."""
        return None

    @property
    def outage(self) -> timedelta | None:
        """How long clients were held; None if that is no question."""
        return None


@dataclass(frozen=True, slots=True)
class ReplicaReceipt:
    """A standby that was told of, and whom a swap disconnected there, or would."""

    host: str
    port: int
    disconnected: tuple[ClientSession, ...] = ()


@dataclass(frozen=True, slots=True)
class PoolerReceipt:
    """A PgBouncer that was told of, and which of its databases were paused there, or would be."""

    host: str
    port: int
    databases: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class WrittenStep:
    """A step of a plan with its statements as SQL; those of an ``atomic`` one run in one transaction."""

    title: str
    sql: tuple[str, ...]
    atomic: bool


@dataclass(frozen=True, slots=True)
class Copying:
    """How much was copied, how long that took, and whether the file system shared blocks, as far as that tells."""

    size: int | None
    duration: timedelta
    blocks_shared: bool | None = None

    @property
    def rate(self) -> float | None:
        """Bytes a second."""
        seconds = self.duration.total_seconds()
        return self.size / seconds if self.size is not None and seconds > 0 else None


class Choice(Enum):
    """Why a copy was made in the way in which it was; the value is for programs."""

    ASKED = "asked"
    """It was asked for by name."""
    FASTEST = "fastest"
    """It is the fastest safe way to clone here."""
    OUTAGE_EXPECTED = "outage_expected"
    """Going by earlier backups, a clone would have held clients longer than they may be."""
    OUTAGE_REACHED = "outage_reached"
    """A clone had to be given up, since it held clients as long as they may be."""


@dataclass(frozen=True, slots=True)
class BackupPreview:
    """What a backup would do at the moment of asking.

    ``forecast`` is how long clients would be held, None where nothing tells that, and where nobody ``is_held``.
    """

    steps: tuple[WrittenStep, ...]
    is_held: bool
    forecast: Forecast | None = None
    cautions: tuple[Caution, ...] = ()


@dataclass(frozen=True, slots=True)
class BackupReceipt(Outcome):
    """A backup that was made. ``outage`` is how long new clients had to wait."""

    backup: Entry
    source_oid: int
    """Of the database that was backed up."""
    choice: Choice
    address: Address
    copy: Copying
    outage: timedelta
    phases: tuple[Phase, ...]
    duration: timedelta
    disconnected: tuple[ClientSession, ...]
    replicas: tuple[ReplicaReceipt, ...] = ()
    poolers: tuple[PoolerReceipt, ...] = ()
    interrupted: bool = False
    """Whether the run was told to end when the backup could no longer be undone."""
    cautions: tuple[Caution, ...] = ()

    @property
    def changed(self) -> tuple[str, ...]:
        return (self.backup.name,)


@dataclass(frozen=True, slots=True)
class SwapReceipt(Outcome):
    """A rollback or an undo that was made. ``restored`` is as it was before; ``displaced`` None if nothing was live.

    ``restored_kept``: a clone was swapped in, and the entry is still there. ``backups_left``: how many the source has
    now.
    """

    source: str
    restored: Entry
    restored_kept: bool
    backups_left: int
    displaced: Entry | None
    outage: timedelta
    phases: tuple[Phase, ...]
    duration: timedelta
    disconnected: tuple[ClientSession, ...]
    replicas: tuple[ReplicaReceipt, ...] = ()
    poolers: tuple[PoolerReceipt, ...] = ()
    written_since: Written | None = None
    was_backup: str | None = None
    """The name of the backup that was live until now, if the rollback to it was taken back."""
    cautions: tuple[Caution, ...] = ()

    @property
    def changed(self) -> tuple[str, ...]:
        return (self.restored.name, *((self.displaced.name,) if self.displaced else ()))


@dataclass(frozen=True, slots=True)
class SwapPreview:
    """What a rollback or an undo would do, and on whom, at the moment of asking.

    ``backups_left`` is how many backups the source would have then. ``standbys`` are those whose sessions would go on
    reading the displaced database.
    """

    plan: SwapPlan
    backups_left: int
    steps: tuple[WrittenStep, ...]
    now: datetime
    sessions: tuple[ClientSession, ...]
    replicas: tuple[ReplicaReceipt, ...] = ()
    standbys: tuple[Standby, ...] = ()
    poolers: tuple[PoolerReceipt, ...] = ()
    written_since: Written | None = None
    """What the live database has that the backup has not; None where that is no question."""
    migrations_now: tuple[MigrationState, ...] = ()
    """How far migrations have come in the live database, as far as that could be read."""
    cautions: tuple[Caution, ...] = ()


@dataclass(frozen=True, slots=True)
class Listing(Outcome):
    """The inventory, newest first; ``sized`` tells unknown sizes from sizes that nobody asked for.

    ``free_bytes`` is the room left on the server's disk, where sizes were asked for and it can be known.
    """

    source: str | None
    entries: tuple[Entry, ...]
    now: datetime
    sized: bool
    cautions: tuple[Caution, ...] = ()
    free_bytes: int | None = None

    @property
    def total_bytes(self) -> int:
        return sum(entry.size_bytes or 0 for entry in self.entries)


@dataclass(frozen=True, slots=True)
class EntryReport(Outcome):
    """One entry, and what can be known about it; ``change`` says what was done to it, if anything."""

    entry: Entry
    properties: Properties | None
    now: datetime
    change: str | None = None
    cautions: tuple[Caution, ...] = ()

    @property
    def changed(self) -> tuple[str, ...]:
        return (self.entry.name,)


@dataclass(frozen=True, slots=True)
class Diagnosis(Outcome):
    """How every check came out."""

    checks: tuple[Check, ...]

    @property
    def problems(self) -> int:
        return sum(check.status is Status.PROBLEM for check in self.checks)

    @property
    def shortfall(self) -> SnapkitError | None:
        if not self.problems:
            return None
        return SnapkitError(
            f"{self.problems} check{'' if self.problems == 1 else 's'} found a problem.",
            hint="What to do stands with each of them in data.checks.",
        )

    @property
    def complaints(self) -> tuple[SnapkitError, ...]:
        return ()


@dataclass(frozen=True, slots=True)
class Failure:
    """An entry that could not be dropped."""

    entry: Entry
    error: SnapkitError


def each_error_once(failures: Iterable[Failure]) -> tuple[SnapkitError, ...]:
    """Return the errors of the failures, one for all that failed for the same reason; its state names them."""
    same: dict[tuple[type[SnapkitError], str, str | None], list[Failure]] = {}
    for failure in failures:
        error = failure.error
        same.setdefault((type(error), error.message, error.hint), []).append(failure)
    return tuple(
        group[0].error
        if len(group) == 1
        else kind(
            message,
            state=f"For that reason {len(group)} were not dropped: {', '.join(each.entry.name for each in group)}.",
            hint=hint,
        )
        for (kind, message, hint), group in same.items()
    )


def not_all_dropped(removed: Sequence[Entry], failed: Sequence[Failure]) -> SnapkitError | None:
    """Return the error of a run that could not drop all that it was to drop; None if it could."""
    if not failed:
        return None
    return PartialError(
        f"{len(failed)} of {len(failed) + len(removed)} could not be dropped.",
        hint="The reasons stand with each entry in data.failed.",
    )


@dataclass(frozen=True, slots=True)
class RemovalPreview:
    """What prune or delete would drop and what stays; sizes included. ``failed`` is what could not be dropped now."""

    kept: tuple[Kept, ...]
    removed: tuple[Entry, ...]
    steps: tuple[WrittenStep, ...]
    now: datetime
    cautions: tuple[Caution, ...] = ()
    failed: tuple[Failure, ...] = ()


@dataclass(frozen=True, slots=True)
class Removal(Outcome):
    """What prune or delete dropped; ``as_confirmed``: exactly what the user was shown beforehand, and agreed to."""

    kept: tuple[Kept, ...]
    removed: tuple[Entry, ...]
    failed: tuple[Failure, ...]
    now: datetime
    as_confirmed: bool = False
    cautions: tuple[Caution, ...] = ()

    @property
    def freed_bytes(self) -> int:
        return sum(entry.size_bytes or 0 for entry in self.removed)

    @property
    def changed(self) -> tuple[str, ...]:
        return tuple(entry.name for entry in self.removed)

    @property
    def shortfall(self) -> SnapkitError | None:
        return not_all_dropped(self.removed, self.failed)

    @property
    def complaints(self) -> tuple[SnapkitError, ...]:
        return each_error_once(self.failed)


@dataclass(frozen=True, slots=True)
class Recovery(Outcome):
    """What interrupted runs had left, and what became of it; ``ended`` are forgotten sessions of ours.

    ``resumed`` are databases of poolers that were paused, and are so no more; ``sealed`` the entries that a shell had
    left open.
    """

    removed: tuple[Entry, ...]
    failed: tuple[Failure, ...]
    ended: tuple[ClientSession, ...]
    resumed: tuple[PoolerReceipt, ...] = ()
    sealed: tuple[Entry, ...] = ()
    opened: tuple[Entry, ...] = ()
    """Those that were opened to their owners, since pg_upgrade wants it so."""
    cautions: tuple[Caution, ...] = ()

    @property
    def changed(self) -> tuple[str, ...]:
        return tuple(entry.name for entry in self.removed)

    @property
    def shortfall(self) -> SnapkitError | None:
        return not_all_dropped(self.removed, self.failed)

    @property
    def complaints(self) -> tuple[SnapkitError, ...]:
        return each_error_once(self.failed)


@dataclass(frozen=True, slots=True)
class ShellReceipt(Outcome):
    """An entry that was looked into, and is sealed again; ``exit_code`` is the command's own."""

    entry: Entry
    command: ShownCommand
    exit_code: int
    cautions: tuple[Caution, ...] = ()
    leaves_stdout: ClassVar[bool] = True
    tells_where: ClassVar[bool] = False

    @property
    def changed(self) -> tuple[str, ...]:
        return (self.entry.name,)

    @property
    def ran(self) -> tuple[ShownCommand, int | None]:
        return self.command, self.exit_code


@dataclass(frozen=True, slots=True)
class GuardReceipt(Outcome):
    """What came of a guarded command. ``failure`` says why it failed; None if all went well.

    ``command_exit_code`` is None where it is not known: it could not be started (``was_run``), or we failed ourselves.
    ``rollback`` is None where there was none: all went well, or the database was to be kept as it is, or it is proved
    that ``nothing_written`` was there for one to undo. An error in its place says why it failed.
    """

    backup: BackupReceipt
    command: ShownCommand
    command_exit_code: int | None
    health: Health
    failure: str | None = None
    failed_as: type[SnapkitError] = SnapkitError
    """What kind of error it is that the command was not run."""
    was_run: bool = True
    rollback: SwapReceipt | SnapkitError | None = None
    nothing_written: bool = False
    removal: Removal | None = None
    prune_cautions: tuple[Caution, ...] = ()
    leaves_stdout: ClassVar[bool] = True

    @property
    def cautions(self) -> tuple[Caution, ...]:
        """Those of all its parts."""
        swap = self.rollback.cautions if isinstance(self.rollback, SwapReceipt) else ()
        prune = self.removal.cautions if self.removal else ()
        still = (_still(self.backup.backup.source),) if self.nothing_written else ()
        return (*self.backup.cautions, *swap, *still, *prune, *self.prune_cautions)

    @property
    def outage(self) -> timedelta:
        """How long clients were held in all."""
        swap = self.rollback.outage if isinstance(self.rollback, SwapReceipt) else timedelta(0)
        return self.backup.outage + swap

    @property
    def changed(self) -> tuple[str, ...]:
        swap = self.rollback.changed if isinstance(self.rollback, SwapReceipt) else ()
        prune = self.removal.changed if self.removal else ()
        return tuple(dict.fromkeys((*self.backup.changed, *swap, *prune)))

    @property
    def ran(self) -> tuple[ShownCommand, int | None]:
        return self.command, self.command_exit_code

    @property
    def shortfall(self) -> SnapkitError | None:
        """What the run ends with, the receipt notwithstanding; None if all went well."""
        if self.failure is None:
            return None
        source, name = self.backup.backup.source, self.backup.backup.name
        as_it_was_left = f"{source!r} is as the command left it"
        if not self.was_run:
            return self.failed_as(
                self.failure,
                state=f"The command was not run: {source!r} is as it was. The backup {name!r} is there.",
                hint=f"It is no longer needed? snapkit delete {name}",
            )
        match self.rollback:
            case None if self.nothing_written:
                return RolledBackError(
                    self.failure,
                    state=f"There was nothing to roll back: {source!r} is as it was before the command.",
                    hint=f"The backup is no longer needed? snapkit delete {name}",
                )
            case None:
                return SnapkitError(
                    self.failure,
                    state=f"{as_it_was_left} (--on-failure keep).",
                    hint=f"If it is to go back all the same: snapkit rollback {name}",
                )
            case UnknownOutcomeError() as error:
                return error
            case RolledBackError() as error:
                return RolledBackError(
                    f"{self.failure} {error.message}",
                    state=f"{source!r} is as it was before the command.",
                    hint="See what there is: snapkit list",
                )
            case SnapkitError() as error:
                state, hint = (
                    f"{as_it_was_left}; the backup {name!r} is there.",
                    _then(error, f"snapkit rollback {name}"),
                )
                if isinstance(error, NotFoundError):
                    state, hint = f"{as_it_was_left}; the backup {name!r} is gone.", "snapkit list"
                elif not _left_all_as_it_was(error):
                    state = error.state or ""
                    hint = f"See what there is (snapkit list). To roll back: snapkit rollback {name}"
                return RollbackFailedError(
                    f"{self.failure} The rollback failed, too: {error.message}", state=state, hint=hint
                )
            case receipt:
                return RolledBackError(
                    self.failure,
                    state=f"The database was rolled back: {source!r} is as it was before the command.",
                    hint=_where_it_is(receipt),
                )


def _still(source: str) -> Caution:
    return Caution(
        "nothing_written",
        f"Nothing was swapped: while the command ran, nothing was written to {source!r}. The server has handed out no "
        "transaction ID, and no sequence has moved.",
    )


def _then(error: SnapkitError, command: str) -> str:
    """Say what to type: behind what has to be done before, where something that does not pass was in the way."""
    if error.is_passing or not error.hint:
        return command
    return error.hint if "snapkit rollback" in error.hint else f"{error.hint} Then: {command}"


def _left_all_as_it_was(error: SnapkitError) -> bool:
    """Whether it is certain that a rollback which ended so changed nothing since the command."""
    return error.state is None or error.state.startswith(NOTHING_CHANGED.removesuffix("."))


def _where_it_is(receipt: SwapReceipt) -> str | None:
    """Say where what the command left is to be found."""
    if receipt.displaced is None:
        return None
    return f"What the command left is kept as {receipt.displaced.name!r}."
