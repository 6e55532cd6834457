"""One call of the command: its settings, its server, its terminal, and how its result is shown."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from functools import cached_property
from time import monotonic
from typing import TYPE_CHECKING

from snapkit.cli.connecting import choice_of, files_of, server_of, settings_in_force_of, settings_of
from snapkit.cli.exit_codes import ExitCode, exit_code_of
from snapkit.cli.options import CommonOptions
from snapkit.cli.terminal import Terminal, may_ask, print_error, unpadded
from snapkit.errors import NOTHING_CHANGED, UsageError

if TYPE_CHECKING:
    from rich.console import Console

    from snapkit.cli.audit import AuditEntry
    from snapkit.cli.envelope import Document
    from snapkit.cli.rendering import Rendering, Result
    from snapkit.core.connection.endpoint import Whereabouts
    from snapkit.core.deploy.deploy import Deploy
    from snapkit.core.outcome import Outcome
    from snapkit.core.reporting import Caution
    from snapkit.errors import SnapkitError
    from snapkit.postgres.connection.server import Server
    from snapkit.services.outage.pool_checks import Pooler
    from snapkit.services.outage.standbys import Replica
    from snapkit.settings.fields import Settings
    from snapkit.settings.files import Files
    from snapkit.settings.in_force import SettingInForce
    from snapkit.settings.url_choice import ConnectionChoice


@dataclass(slots=True)
class Call:
    """What can be told from the words alone, before they are parsed; right for errors of parsing too."""

    command: str | None
    as_json: bool
    verbose: bool
    no_color: bool
    option_before_command: str | None = None
    exit_code: int = 0
    """What the run ends with, whether or not anybody is there to read about it."""
    has_ended: bool = False
    """Whether the run has come to its end; what comes then is only the telling of it."""
    is_told: bool = False
    """Whether that has been printed: what comes then comes too late, and is not told besides."""
    cautions: tuple[Caution, ...] = ()
    warned: tuple[Caution, ...] = ()
    """Those of them that the person was told of already, by a question."""
    audit_entry: AuditEntry | None = None
    """Where the run is to be written down, once it has ended."""
    choice: ConnectionChoice | None = None
    """What names the connection, once that has been looked for."""
    server: Server | None = None

    @property
    def whereabouts(self) -> Whereabouts | None:
        """Where the run acts, as far as that is known by now; None if nothing names a connection."""
        if self.choice is None or not self.choice.names_something:
            return None
        if self.server is None:
            return self.choice.whereabouts()
        return self.choice.whereabouts(self.server.source, self.server.place)

    def end(self, exit_code: int, error: ExitCode | None, result: Outcome | None = None) -> None:
        """Take down what the run ends with, here and in the audit log if there is one.

        ``error`` says what went wrong with our own part; the exit code may be that of the user's command.
        """
        self.exit_code, self.has_ended = exit_code, True
        audit_entry, self.audit_entry = self.audit_entry, None
        if audit_entry is not None:
            self.cautions += audit_entry.end(exit_code, error, result)


class Invocation:
    """What a command gets, and what takes its result."""

    def __init__(self, call: Call, options: CommonOptions, *, changes: bool) -> None:
        """``changes``: whether the command may change something, and so belongs into the audit log."""
        # From here on the parsed options count: a word like --json may also have been the value of another option.
        call.as_json, call.verbose, call.no_color = options.as_json, options.verbose, options.no_color
        self._call = call
        self._options = options
        self._changes = changes
        self.environment: Mapping[str, str] = dict(os.environ)
        """As it was before .env completed it, maybe with a password: what programs of the user's get."""
        self._began = monotonic()
        self._after: list[str] = []
        self._has_shown_where = False
        self.terminal = Terminal.open(no_color=options.no_color, quiet=options.quiet)
        if options.verbose:
            _log_statements()

    def settings(self, flags: Mapping[str, str | Sequence[str] | None] | None = None) -> Settings:
        """Return the settings; ``flags`` are the command's own."""
        return settings_of(self._options, flags or {}, self._files)

    def settings_in_force(self) -> Sequence[SettingInForce]:
        """Return each setting with its value and where that comes from."""
        settings = self.settings()
        self._call.cautions, self._call.choice = settings.cautions, settings.connection
        return settings_in_force_of(self._options, self._files)

    @cached_property
    def _files(self) -> Files:
        return files_of(self._options)

    def server(self) -> Server:
        """Return the server that the settings name; nothing is connected yet."""
        return self._server

    @cached_property
    def _server(self) -> Server:
        settings = self.settings()
        self._call.cautions, self._call.choice = settings.cautions, settings.connection
        self._call.server, cautions = server_of(settings, self._files.directory)
        server = self._call.server
        self._call.cautions += cautions
        if self._options.verbose:
            self.terminal.note(f"Connection from {settings.connection.origin}.")
        if self._changes and settings.audit_log is not None:
            from snapkit.cli.audit import AuditEntry

            self._call.audit_entry = AuditEntry.begin(settings.audit_log, self.command, server, self._began)
        return server

    def note_choice(self) -> None:
        """Find out what names the connection, for an error that comes before the server was asked for."""
        from snapkit.errors import SnapkitError

        if self._call.choice is None:
            with suppress(SnapkitError):
                self._call.choice = choice_of(self._options, self._files)

    def replicas(self, urls: Sequence[str] | None) -> tuple[Replica, ...]:
        """Return the standbys that the settings name, or ``urls`` of the command line; nothing is connected yet."""
        source = self.server().source
        settings = self.settings({"replica_url": urls})
        if not settings.replica_url:
            return ()
        from snapkit.services.outage.standbys import replicas_of

        replicas = replicas_of(settings.replica_url, source, settings.maintenance_db)
        self._call.cautions += tuple(caution for replica in replicas for caution in replica.cautions)
        return replicas

    def poolers(self, urls: Sequence[str] | None, *, without: bool = False) -> tuple[Pooler, ...]:
        """Return the PgBouncers that the settings name, or ``urls`` of the command line; nothing is connected yet.

        ``without``: those that the settings name are not to be used.
        """
        if without and urls:
            raise UsageError("Give either --pgbouncer-url or --no-pgbouncer.", state=NOTHING_CHANGED)
        self.server()  # .env may have variables that complete the URLs
        settings = self.settings({"pgbouncer_url": () if without else urls})
        if not settings.pgbouncer_url:
            return ()
        from snapkit.services.outage.pool_checks import poolers_of

        poolers = poolers_of(settings.pgbouncer_url)
        self._call.cautions += tuple(caution for pooler in poolers for caution in pooler.cautions)
        return poolers

    def urls_of_user(self) -> Mapping[str, str]:
        """Return the URLs that the user has in the variables which programs read, wherever they stand."""
        given = {**self._files.dotenv, **{name: value for name, value in self.environment.items() if value}}
        return {name: given[name] for name in ("DATABASE_URL", "DIRECT_URL") if given.get(name)}

    def environment_with(self, changes: Mapping[str, str | None]) -> Mapping[str, str]:
        """Return the environment that we were given, for a command of the user's; None takes a variable away."""
        return {name: value for name, value in {**self.environment, **changes}.items() if value is not None}

    @property
    def command(self) -> str:
        return self._call.command or ""

    @property
    def is_json(self) -> bool:
        return self._call.as_json

    def answer_as_json(self) -> None:
        """Do as --json says."""
        self._call.as_json = True

    @property
    def is_quiet(self) -> bool:
        return self._options.quiet

    @property
    def cautions(self) -> tuple[Caution, ...]:
        """What there is to warn of so far, apart from what the result tells."""
        return self._call.cautions

    @property
    def whereabouts(self) -> Whereabouts | None:
        """Where the run acts, as far as that is known by now."""
        return self._call.whereabouts

    def add_caution(self, caution: Caution) -> None:
        self._call.cautions += (caution,)

    def asking_for_deploy(self) -> AbstractContextManager[Callable[[], Deploy]]:
        """Begin to ask, without the database, what is known of the deploy that this run is part of.

        The block gets what waits for the answer; what the command needs besides is best loaded before that is called.
        """
        from snapkit.settings.detect import asking_for_deploy

        return asking_for_deploy(self.environment, self._files.directory)

    def asks(self, yes: bool) -> bool:
        """Whether a question is to be asked."""
        return not yes and may_ask()

    def show(self, text: Callable[[Console], None]) -> None:
        """Show what a question is about; it is not the result, and so goes to stderr."""
        self._print_whereabouts(self.terminal.err)
        self._has_shown_where = True
        text(self.terminal.err)

    def confirm(self, question: str) -> None:
        """Ask, after a reminder that more than one database is named; raise InterruptedRunError unless it is yes."""
        self._call.warned = tuple(each for each in self._call.cautions if each.code == "two_databases")
        self.terminal.warn(self._call.warned)
        self.terminal.confirm(question)

    def _print_whereabouts(self, console: Console) -> None:
        from snapkit.cli.format import printable

        if (where := self._call.whereabouts) is not None:
            console.print(f"Server: {printable(str(where))}")

    def console_for_a_story(self) -> Console | None:
        """Return where what is not the result is told at length: stdout or, where that is for JSON, stderr."""
        return None if self._options.quiet else self.terminal.err if self._call.as_json else self.terminal.out

    def note_after(self, text: str) -> None:
        """Say ``text`` below the result, unless it is empty."""
        if text:
            self._after.append(text)

    def as_typed(
        self, name: str, replica_urls: Sequence[str] | None = None, pgbouncer_urls: Sequence[str] | None = None
    ) -> str:
        """Return ``name``, and the options that led here, as one types them; a password is left out."""
        import shlex

        from snapkit.core.connection.connection_url import without_password

        words = [name]
        options = self._options
        urls: Iterable[tuple[str, str | None]] = (
            ("--direct-url", options.direct_url),
            ("--url", options.url),
            *(("--replica-url", url) for url in replica_urls or ()),
            *(("--pgbouncer-url", url) for url in pgbouncer_urls or ()),
        )
        for flag, value in urls:
            if value:
                words += [flag, without_password(value)]
        if options.env_file:
            words += ["--env-file", str(options.env_file)]
        if options.maintenance_db:
            words += ["--maintenance-db", options.maintenance_db]
        return shlex.join(words)

    def finish(self, result: Result, rendering: Rendering[Result]) -> int:
        """Print the result and return the exit code. A result with a ``shortfall`` is told together with that error."""
        shortfall = result.shortfall
        own = exit_code_of(shortfall) if shortfall else ExitCode.DONE
        code = int(own) if result.exit_code is None else result.exit_code
        self._call.end(code, own or None, result)
        cautions = (*self._call.cautions, *result.cautions)
        if self._call.as_json:
            self._print_document(rendering.data(result), shortfall, cautions)
        else:
            self._print_text(result, rendering)
            self.terminal.warn([each for each in cautions if each not in self._call.warned])
            for error in result.complaints:
                print_error(error, no_color=self._options.no_color)
        sys.stdout.flush()
        self._call.is_told = True
        return code

    def _print_document(self, data: Document, shortfall: SnapkitError | None, cautions: tuple[Caution, ...]) -> None:
        from snapkit.cli.envelope import envelope, error_document

        is_partial = shortfall is not None and exit_code_of(shortfall) is ExitCode.PARTIAL
        status = "success" if shortfall is None else "partial" if is_partial else "error"
        error = error_document(shortfall) if shortfall else None
        where = self._call.whereabouts
        document = envelope(self._call.command, status, data, cautions=cautions, error=error, where=where)
        sys.stdout.write(document + "\n")

    def _print_text(self, result: Result, rendering: Rendering[Result]) -> None:
        if result.leaves_stdout:
            if not self._options.quiet:
                with unpadded(self.terminal.err):
                    rendering.text(result, self.terminal.err)
                if result.tells_where:
                    self._print_whereabouts(self.terminal.err)
            return
        from snapkit.cli.format import printable

        names = rendering.names(result) if rendering.names else None
        if self._options.quiet and names is not None:
            for name in names:
                sys.stdout.write(printable(name) + "\n")
            return
        with unpadded(self.terminal.out):
            rendering.text(result, self.terminal.out)
        # The question has said it to the person; what reads a pipe or a file has not seen the question.
        is_said = self._has_shown_where and self.terminal.out.is_terminal and self.terminal.err.is_terminal
        if result.tells_where and not self._options.quiet and not is_said:
            self._print_whereabouts(self.terminal.out)
        for text in self._after:
            self.terminal.out.print(text, soft_wrap=True)


def _log_statements() -> None:
    import logging

    logger = logging.getLogger("snapkit")
    if not logger.handlers:
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(logging.Formatter("%(message)s"))
        logger.addHandler(handler)
    logger.setLevel(logging.INFO)
