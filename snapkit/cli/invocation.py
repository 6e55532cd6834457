"""One call of the command: its settings, its server, its terminal, and how its result is shown."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from snapkit.cli.connecting import server_of, settings_of, silence_libraries
from snapkit.cli.exit_codes import ExitCode
from snapkit.cli.options import CommonOptions
from snapkit.cli.terminal import Terminal, may_ask, unpadded

if TYPE_CHECKING:
    from rich.console import Console

    from snapkit.core.model import Caution
    from snapkit.postgres.server import Server
    from snapkit.services.poolers import Pooler
    from snapkit.services.replicas import Replica
    from snapkit.settings import Settings


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
    cautions: tuple[Caution, ...] = ()


class Invocation:
    """What a command gets, and what takes its result."""

    def __init__(self, call: Call, options: CommonOptions) -> None:
        # From here on the parsed options count: a word like --json may also have been the value of another option.
        call.as_json, call.verbose, call.no_color = options.as_json, options.verbose, options.no_color
        self._call = call
        self._options = options
        self._after: list[str] = []
        self.terminal = Terminal.open(no_color=options.no_color, quiet=options.quiet)
        if options.verbose:
            _log_statements()

    def settings(self, flags: Mapping[str, str | Sequence[str] | None] | None = None) -> Settings:
        """Return the settings; ``flags`` are the command's own."""
        return settings_of(self._options, flags or {})

    def server(self) -> Server:
        """Return the server that the settings name; nothing is connected yet."""
        return self._server

    @cached_property
    def _server(self) -> Server:
        settings = self.settings()
        self._call.cautions = settings.cautions
        server, cautions = server_of(settings)
        self._call.cautions += cautions
        if self._options.verbose:
            self.terminal.note(f"Connection from {settings.connection.origin}.")
        return server

    def replicas(self, urls: Sequence[str] | None) -> tuple[Replica, ...]:
        """Return the standbys that the settings name, or ``urls`` of the command line; nothing is connected yet."""
        source = self.server().source
        settings = self.settings({"replica_url": urls})
        if not settings.replica_url:
            return ()
        from snapkit.services.replicas import replicas_of

        replicas = replicas_of(settings.replica_url, source, settings.maintenance_db)
        self._call.cautions += tuple(caution for replica in replicas for caution in replica.cautions)
        return replicas

    def poolers(self, urls: Sequence[str] | None) -> tuple[Pooler, ...]:
        """Return the PgBouncers that the settings name, or ``urls`` of the command line; nothing is connected yet."""
        self.server()  # .env may have variables that complete the URLs
        settings = self.settings({"pgbouncer_url": urls})
        if not settings.pgbouncer_url:
            return ()
        from snapkit.services.poolers import poolers_of

        poolers = poolers_of(settings.pgbouncer_url)
        self._call.cautions += tuple(caution for pooler in poolers for caution in pooler.cautions)
        return poolers

    def asks(self, yes: bool) -> bool:
        """Whether a question is to be asked."""
        return not yes and may_ask()

    def show(self, preview: Any) -> None:
        """Show what a question is about; it is not the result, and so goes to stderr."""
        from snapkit.cli.text import render

        render(preview, self.terminal.err)

    def narrator(self) -> Narration:
        """Return who tells the demo's story: on stdout or, where that is for JSON, on stderr; nobody if quiet."""
        silence_libraries()
        return Narration(
            None if self._options.quiet else self.terminal.err if self._call.as_json else self.terminal.out
        )

    def note_after(self, text: str) -> None:
        """Say ``text`` below the result."""
        self._after.append(text)

    def as_typed(
        self, name: str, replica_urls: Sequence[str] | None = None, pgbouncer_urls: Sequence[str] | None = None
    ) -> str:
        """Return ``name``, and the options that led here, as one types them; a password is left out."""
        import shlex

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
                words += [flag, _without_password(value)]
        if options.env_file:
            words += ["--env-file", str(options.env_file)]
        if options.maintenance_db:
            words += ["--maintenance-db", options.maintenance_db]
        return shlex.join(words)

    def finish(self, result: Any) -> int:
        """Print the result and return the exit code."""
        failures = len(getattr(result, "failed", ()))
        problems = getattr(result, "problems", 0)
        cautions = (*self._call.cautions, *getattr(result, "cautions", ()))
        code = ExitCode.PARTIAL if failures else ExitCode.FAILED if problems else ExitCode.DONE
        self._call.exit_code = int(code)
        if self._call.as_json:
            self._print_document(result, failures, problems, cautions)
        else:
            self._print_text(result)
            self.terminal.warn(cautions)
        sys.stdout.flush()
        return int(code)

    def _print_document(self, result: Any, failures: int, problems: int, cautions: tuple[Caution, ...]) -> None:
        from snapkit.cli.document import data_of, envelope, partial_document, problems_document

        status, error = "success", None
        if failures:
            status, error = "partial", partial_document(failures, failures + len(result.removed))
        elif problems:
            status, error = "error", problems_document(problems)
        sys.stdout.write(envelope(self._call.command, status, data_of(result), cautions, error) + "\n")

    def _print_text(self, result: Any) -> None:
        from snapkit.cli.format import printable
        from snapkit.cli.terminal import print_error
        from snapkit.cli.text import names_of, render

        names = names_of(result)
        if self._options.quiet and names:
            for name in names:
                sys.stdout.write(printable(name) + "\n")
        else:
            with unpadded(self.terminal.out):
                render(result, self.terminal.out)
            for text in self._after:
                self.terminal.out.print(text, soft_wrap=True)
        for failure in getattr(result, "failed", ()):
            print_error(failure.error, no_color=self._options.no_color)


class Narration:
    """Tells the demo's story on a console."""

    def __init__(self, console: Console | None) -> None:
        self._console = console

    def say(self, text: str) -> None:
        if self._console is not None:
            self._console.print(f"\n{text}")

    def type(self, command: str) -> None:
        if self._console is not None:
            self._console.print(f"\n$ {command}", style="bold cyan")

    def show(self, result: Any) -> None:
        from snapkit.cli.text import render

        if self._console is not None:
            with unpadded(self._console):
                render(result, self._console)


def _without_password(url: str) -> str:
    """Return ``url`` with three dots in place of its password, if it has one; query parameters likewise."""
    scheme, separator, rest = url.partition("://")
    credentials, at, place = rest.partition("@")
    if at and "/" not in credentials and ":" in credentials:
        rest = credentials.partition(":")[0] + ":...@" + place
    place, mark, query = rest.partition("?")
    kept = [piece for piece in query.split("&") if "password" not in piece.partition("=")[0].lower()]
    return scheme + separator + place + (mark + "&".join(kept) if kept and mark else "")


def _log_statements() -> None:
    import logging

    logger = logging.getLogger("snapkit")
    if not logger.handlers:
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(logging.Formatter("%(message)s"))
        logger.addHandler(handler)
    logger.setLevel(logging.INFO)
