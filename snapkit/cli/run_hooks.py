"""The hooks around an operation: before it, after it, and when it fails."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

from snapkit.cli.ctrl_c import error_of
from snapkit.cli.exit_codes import exit_code_of
from snapkit.core.hooks import Event, Hooks, Occasion, Operation, facts_before, facts_of_failure, runs_hooks
from snapkit.core.reporting import Caution
from snapkit.errors import NOTHING_CHANGED, InterruptedRunError, SnapkitError
from snapkit.processes.command_exit import complaint

if TYPE_CHECKING:
    from snapkit.cli.envelope import Document
    from snapkit.cli.invocation import Invocation
    from snapkit.core.inventory.entry import Entry
    from snapkit.core.outcome import Outcome

Receipt = TypeVar("Receipt", bound="Outcome")


def hooked(
    run: Invocation,
    operation: Operation,
    work: Callable[[], Receipt],
    *,
    facts: Callable[[Receipt], Mapping[str, str]],
    data: Callable[[Receipt], Document],
    entry: Entry | None = None,
    look: Callable[[], Entry] | None = None,
    label: str | None = None,
) -> Receipt:
    """Do ``work`` between the hooks that the settings name for it.

    ``facts`` and ``data`` are what a hook after it is told of its receipt: as variables, and as JSON.
    ``entry`` is what a rollback is about to swap in, where that is known; else ``look`` tells, and is called if a hook
    before it is to know. ``label`` is the one that a backup is about to get. A ``before_`` hook that fails raises
    SnapkitError, and ``work`` is not begun. What goes wrong with another hook is a warning of the run.
    """
    hooks = run.settings().hooks
    if not hooks.commands or not runs_hooks(os.environ):
        return work()
    server = run.server()
    around = _Around(run, hooks, Occasion(operation, run.command, server.source, str(server.place), entry, label))
    try:
        around.before(look)
        receipt = work()
    except (Exception, KeyboardInterrupt) as raised:
        around.failed(error_of(raised))
        raise
    around.after(facts(receipt), lambda: data(receipt), receipt.cautions)
    return receipt


def tell_failure(run: Invocation, operation: Operation, entry: Entry, error: SnapkitError) -> None:
    """Run the hook for a failure of something around ``entry`` that was not done between hooks."""
    hooks = run.settings().hooks
    if hooks.commands and runs_hooks(os.environ):
        server = run.server()
        occasion = Occasion(operation, run.command, server.source, str(server.place), entry)
        _Around(run, hooks, occasion).failed(error)


class _Around:
    """The hooks of one run."""

    def __init__(self, run: Invocation, hooks: Hooks, occasion: Occasion) -> None:
        self._run_of = run
        self._hooks = hooks
        self._occasion = occasion

    def before(self, look: Callable[[], Entry] | None) -> None:
        event = self._occasion.operation.before
        if look is not None and event in self._hooks.commands:
            self._occasion = replace(self._occasion, entry=look())
        try:
            failure = self._run(event, {}, lambda: self._document("pending", self._known()))
        except KeyboardInterrupt:
            raise InterruptedRunError(f"Interrupted in the {event} hook.", state=NOTHING_CHANGED) from None
        if failure is not None:
            raise SnapkitError(
                failure,
                state=NOTHING_CHANGED,
                hint="The hook's command is in the settings file, in the table 'hooks'.",
            )

    def after(self, facts: Mapping[str, str], data: Callable[[], Document], cautions: tuple[Caution, ...]) -> None:
        """Run the hook for a success."""
        self._try(self._occasion.operation.after, facts, lambda: self._document("success", data(), cautions))

    def failed(self, error: SnapkitError) -> None:
        """Run the hook for a failure."""
        from snapkit.cli.envelope import error_document

        said = error_document(error)
        code = exit_code_of(error)
        facts = facts_of_failure(code.code, int(code), said["message"])
        self._try(Event.ON_FAILURE, facts, lambda: self._document("error", None, error=said))

    def _known(self) -> Document:
        """What a hook before the operation is told: the keys are those of what the operation returns."""
        from snapkit.cli.entry_facts import entry_document

        occasion = self._occasion
        if occasion.operation is Operation.BACKUP:
            return {"source": occasion.source, "label": occasion.label}
        return {"source": occasion.source, "restored": entry_document(occasion.entry) if occasion.entry else None}

    def _document(
        self,
        status: str,
        data: Document | None,
        cautions: tuple[Caution, ...] = (),
        error: Document | None = None,
    ) -> str:
        from snapkit.cli.envelope import envelope

        said = (*self._run_of.cautions, *cautions)
        return envelope(
            self._occasion.operation, status, data, cautions=said, error=error, where=self._run_of.whereabouts
        )

    def _try(self, event: Event, facts: Mapping[str, str], document: Callable[[], str]) -> None:
        """Run a hook whose failure changes nothing any more: a warning. Ctrl-C ends the hook, and nothing else."""
        try:
            failure = self._run(event, facts, document)
        except KeyboardInterrupt:
            failure = f"The {event} hook was interrupted, and ended."
        if failure is not None:
            self._run_of.add_caution(Caution("hook_failed", failure))

    def _run(self, event: Event, facts: Mapping[str, str], document: Callable[[], str]) -> str | None:
        """Run the hook for an event, if there is one; return what went wrong with it."""
        words = self._hooks.commands.get(event)
        if words is None:
            return None
        from snapkit.processes.background import run_in_background

        environment = {**self._run_of.environment, **facts_before(event, self._occasion), **facts}
        ending = run_in_background(words, environment, document() + "\n", self._hooks.timeout, self._pass_on)
        return complaint(event, ending, self._hooks.timeout)

    def _pass_on(self, said: bytes) -> None:
        """What hooks say goes to stderr, whichever stream they write to; nowhere if the run is to be quiet."""
        if not self._run_of.is_quiet:
            with suppress(OSError):  # nobody reads it any more
                sys.stderr.flush()
                sys.stderr.buffer.write(said)
                sys.stderr.buffer.flush()
