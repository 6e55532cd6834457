"""Drop entries one by one: one that fails does not stop the rest, and what was done is known wherever it stops."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from snapkit.core.model import Entry
from snapkit.core.planning import statements_to_drop
from snapkit.core.results import Failure
from snapkit.errors import BusyError, InterruptedRunError, PrivilegeError, SnapkitError
from snapkit.postgres import catalog
from snapkit.postgres.errors import SERVER_ERRORS, is_connection_loss, translate
from snapkit.postgres.execution import run
from snapkit.postgres.server import Connection
from snapkit.services.common import check_rights


@dataclass
class Drops:
    """What has been dropped so far, and what could not be."""

    removed: list[Entry] = field(default_factory=list)
    failed: list[Failure] = field(default_factory=list)

    def drop(self, connection: Connection, entry: Entry) -> None:
        """Drop one entry; its source's lock is held. A lost connection is raised: no other drop will go better."""
        error = _drop(connection, entry)
        if error is None:
            self.removed.append(entry)
        else:
            self.failed.append(Failure(entry, error))

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
            raise InterruptedRunError("Interrupted.", state=self._state) from None

    @property
    def _state(self) -> str:
        """The drop that was under way may have gone through all the same."""
        surely = ", ".join(entry.name for entry in self.removed) or "nothing"
        return f"Dropped for certain: {surely}. What was under way is shown by: snapkit list"


def _drop(connection: Connection, entry: Entry) -> SnapkitError | None:
    try:
        check_rights(connection, entry.database, createdb=False)
        if catalog.name_of(connection, entry.database.oid) != entry.name:
            return BusyError(f"{entry.name!r} has been renamed or dropped by somebody else.")
        run(connection, *statements_to_drop(entry.database))
    except SERVER_ERRORS as error:
        if is_connection_loss(error):
            raise
        return translate(error, f"{entry.name!r} was not dropped.")
    except PrivilegeError as error:
        return error
    return None
