"""The entry point: from words to an exit code. Every error ends here, as text or as JSON, never as a traceback."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from itertools import pairwise
from typing import Annotated

import typer

from snapkit import __version__
from snapkit.cli.commands import index
from snapkit.cli.ctrl_c import interrupted, uninterrupted
from snapkit.cli.exit_codes import ExitCode, exit_code_of
from snapkit.cli.help import HelpGroup
from snapkit.cli.invocation import Call
from snapkit.cli.registry import registry
from snapkit.cli.streams import settle, stdout_that_tells
from snapkit.errors import NotFoundError, OutputError, SnapkitError, unexpected


def main(words: Sequence[str]) -> int:
    """Run the command that ``words`` name, and return its exit code."""
    if words and words[0] in ("help", "version"):
        from snapkit.cli.suggestions import translated

        words = translated(words)
    call = _guess(words)
    if "_SNAPKIT_COMPLETE" in os.environ:  # a shell completes what is typed; Typer does without Rich if there is none
        sys.modules["rich"] = None  # type: ignore[assignment]
    if not words:
        main(["--help"])
        return int(ExitCode.USAGE)
    try:
        with stdout_that_tells():
            return _run_interruptible(words, call)
    except BrokenPipeError:  # who read our output has gone; what the run ends with stays the same
        settle()
        return call.exit_code
    except OutputError as error:
        settle()
        return _report_lost(error, call)


def _run_interruptible(words: Sequence[str], call: Call) -> int:
    try:
        return _run(words, call)
    except KeyboardInterrupt:  # once more, while the first one was dealt with
        try:
            return _report(interrupted(), call)
        except KeyboardInterrupt:  # and again, before that was taken no notice of
            return _report(interrupted(), call)


def _run(words: Sequence[str], call: Call) -> int:
    try:
        application = _application(call, whole="_SNAPKIT_COMPLETE" in os.environ)
        return int(application(args=list(words), prog_name="snapkit", standalone_mode=False) or 0)
    except OutputError:
        raise
    except SnapkitError as error:
        return _report(error, call)
    except typer.TyperException as error:
        from snapkit.cli.suggestions import usage_error

        return _report(usage_error(error, call, words), call)
    except typer.Abort:
        return _report(interrupted(), call)
    except BrokenPipeError:
        raise
    except Exception as error:
        return _report(unexpected(error), call)


def _guess(words: Sequence[str]) -> Call:
    """Read from the words alone what an error of parsing them has to know."""
    names = index.NAMES
    is_option = bool(words) and words[0].startswith("-")
    command = next((names[word] for word in (words if is_option else words[:1]) if word in names), None)
    options = set(words[: words.index("--")] if "--" in words else words)
    return Call(
        command=command,
        as_json=bool({"--json", "--format=json"} & options) or ("--format", "json") in pairwise(words),
        verbose=bool({"--verbose", "-v"} & options),
        no_color="--no-color" in options,
        option_before_command=words[0] if is_option and command else None,
    )


def application_for(words: Sequence[str] = ()) -> typer.Typer:
    """Return the application that would take ``words``, to be looked at: which commands and options there are."""
    return _application(_guess(words), whole=True)


def _application(call: Call, *, whole: bool = False) -> typer.Typer:
    app = typer.Typer(
        name="snapkit",
        help="The undo button of a PostgreSQL database: back up before a deploy, roll back in milliseconds.",
        epilog="More, with examples: snapkit COMMAND --help",
        cls=HelpGroup,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["--help", "-h"]},
    )
    app.callback()(_version_option)
    return registry.build(app, call, whole=whole)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"snapkit {__version__}")
        raise typer.Exit


def _version_option(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Take the options that stand before a command's name."""


def _report(error: SnapkitError, call: Call) -> int:
    if call.is_told:
        return call.exit_code
    with uninterrupted():
        return _tell(error, call)


def _report_lost(error: OutputError, call: Call) -> int:
    """Say that the output is lost, and what the run had come to without it."""
    from snapkit.cli.terminal import print_error

    if call.has_ended:
        error.state = f"The command itself had ended by then, with exit code {call.exit_code}."
        error.hint = "To see what there is: snapkit list"
    call.end(call.exit_code or int(exit_code_of(error)), exit_code_of(error))
    print_error(error, no_color=call.no_color)
    return call.exit_code


def _tell(error: SnapkitError, call: Call) -> int:
    call.end(int(exit_code_of(error)), exit_code_of(error))
    if call.verbose and error.__cause__ is not None:  # of an error of ours alone the message tells all
        import traceback

        traceback.print_exception(error.__cause__, file=sys.stderr)
    if call.as_json:
        from snapkit.cli.envelope import envelope, error_document

        said = error_document(error)
        document = envelope(call.command, "error", None, cautions=call.cautions, error=said, where=call.whereabouts)
        sys.stdout.write(document + "\n")
        sys.stdout.flush()
    else:
        from snapkit.cli.terminal import Terminal, print_error

        Terminal.open(no_color=call.no_color, quiet=True).warn(
            [each for each in call.cautions if each not in call.warned]
        )
        # What is not there may be there elsewhere; other errors name the server where it matters.
        where = call.whereabouts if isinstance(error, NotFoundError) else None
        print_error(error, no_color=call.no_color, where=where)
    call.is_told = True
    return call.exit_code
