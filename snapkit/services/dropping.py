"""Drop entries one by one: one that fails does not stop the rest, and what was done is known wherever it stops."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field

from snapkit.core.model import Entry, State
from snapkit.core.planning import statements_to_drop
from snapkit.core.results import Failure
from snapkit.errors import BusyError, ConnectionFailedError, InterruptedRunError, SnapkitError
from snapkit.postgres import catalog
from snapkit.postgres.errors import SERVER_ERRORS, is_connection_loss, translate
from snapkit.postgres.execution import run
from snapkit.postgres.server import Connection
from snapkit.services.common import check_rights
from snapkit.services.opening import need_sealed, to_be_dropped

_MOST_NAMES = 10
"""So many are named one by one where a run ends before its time."""

Shielded = Callable[[], AbstractContextManager[None]]
"""Holds Ctrl-C back while a database is dropped: an interrupted DROP DATABASE leaves an invalid database behind, which
can only be dropped. https://www.postgresql.org/docs/current/sql-dropdatabase.html"""


@dataclass
class Drops:
    """What has been dropped so far, and what could not be; ``wanted`` is how many there are to drop, where known.

    Under ``shielded``, an interruption waits for the drop that is under way; it raises KeyboardInterrupt behind it.
    """

    removed: list[Entry] = field(default_factory=list)
    failed: list[Failure] = field(default_factory=list)
    wanted: int | None = None
    shielded: Shielded = nullcontext
    _under_way: bool = False

    def drop(self, connection: Connection, entry: Entry) -> None:
        """Drop one entry; its source's lock is held. A lost connection is raised: no other drop will go better."""
        try:
            with self.shielded():
                self._under_way = True
                error = _drop(connection, entry)
                if error is None:
                    self.removed.append(entry)
                else:
                    self.failed.append(Failure(entry, error))
                self._under_way = False
        except KeyboardInterrupt:
            if self._under_way or self.left != 0:  # else it came too late to matter
                raise

    @property
    def left(self) -> int | None:
        """How many are still to be dropped; None where that is not known."""
        return None if self.wanted is None else max(0, self.wanted - len(self.removed) - len(self.failed))

    def raise_if_alone(self) -> None:
        """Raise the error of the only entry there was, if it could not be dropped."""
        if not self.removed and len(self.failed) == 1:
            raise self.failed[0].error

    @contextmanager
    def told(self) -> Iterator[None]:
        """Whatever ends the block before its time says what has been dropped until then."""
        try:
            yield
        except BusyError:  # its source was not begun with
            raise
        except SnapkitError as error:
            error.state = self._state
            raise
        except SERVER_ERRORS as error:
            raise translate(error, self._state) from error
        except KeyboardInterrupt:
            hint = "Run the same command again, and it goes on from there." if self.left else None
            raise InterruptedRunError("Interrupted.", state=self._state, hint=hint) from None

    @property
    def _state(self) -> str:
        """The drop that was under way may have gone through all the same."""
        if len(self.removed) > _MOST_NAMES:
            surely = f"{len(self.removed)} databases, the last of them {self.removed[-1].name}"
        else:
            surely = ", ".join(entry.name for entry in self.removed) or "nothing"
        left = f" Still to be dropped: {self.left}." if self.left else ""
        seen = "What was under way" if self._under_way else "What there is"
        return f"Dropped for certain: {surely}.{left} {seen} is shown by: snapkit list"


def _drop(connection: Connection, entry: Entry) -> SnapkitError | None:
    try:
        check_rights(connection, entry.database, createdb=False)
        if catalog.name_of(connection, entry.database.oid) != entry.name:
            return BusyError(f"{entry.name!r} has been renamed or dropped by somebody else.")
        if entry.state is not State.READY:
            run(connection, *statements_to_drop(entry.database))
            return None
        with to_be_dropped(connection, entry):
            run(connection, *statements_to_drop(need_sealed(connection, entry).database))
    except SERVER_ERRORS as error:
        if is_connection_loss(error):
            raise
        return translate(error, f"{entry.name!r} was not dropped.")
    except ConnectionFailedError:
        raise
    except SnapkitError as error:
        return error
    return None
