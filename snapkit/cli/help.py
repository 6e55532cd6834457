"""The pages of ``--help``: commands in groups, options in panels, an example and the page that says more.

They are plain text: Rich's tables would double the start-up time.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from typer.core import TyperArgument, TyperCommand, TyperGroup, TyperOption

from snapkit.cli.commands import index

if TYPE_CHECKING:
    from typer._click import Context, HelpFormatter, Parameter

REFERENCE = "docs/reference.md"

CONNECTION, OUTPUT = "Connection", "Output"
"""The panels of the options that every command has; its own stand in the first one."""


def epilog_of(name: str, examples: Sequence[str]) -> str:
    """Return what stands below the options of a command: how it is called, and where more is told."""
    return "\n".join(["Examples:" if len(examples) > 1 else "Example:", *(f"  {each}" for each in examples)]) + (
        f"\n\nMore: {REFERENCE}#snapkit-{name}"
    )


class HelpCommand(TyperCommand):
    """A command, whose help shows its own options before those that every command has."""

    def collect_usage_pieces(self, ctx: Context) -> list[str]:
        return [
            piece.strip("{}") for piece in super().collect_usage_pieces(ctx)
        ]  # Typer's mark of what has to be there

    def format_options(self, ctx: Context, formatter: HelpFormatter) -> None:
        panels: dict[str, list[tuple[str, str]]] = {"Arguments": [], "Options": [], CONNECTION: [], OUTPUT: []}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None:
                panels[_panel_of(parameter)].append(record)
        for title, records in panels.items():
            if records:
                with formatter.section(title):
                    formatter.write_dl(records)

    def format_epilog(self, ctx: Context, formatter: HelpFormatter) -> None:
        formatter.write(f"\n{self.epilog}\n")


def _panel_of(parameter: Parameter) -> str:
    if isinstance(parameter, TyperArgument):
        return "Arguments"
    return (parameter.rich_help_panel if isinstance(parameter, TyperOption) else None) or "Options"


class HelpGroup(TyperGroup):
    """All commands, in groups; they stand before the few options that go without one."""

    def format_options(self, ctx: Context, formatter: HelpFormatter) -> None:
        self.format_commands(ctx, formatter)
        records = [parameter.get_help_record(ctx) for parameter in self.get_params(ctx)]
        with formatter.section("Options"):
            formatter.write_dl([each for each in records if each is not None])

    def format_commands(self, ctx: Context, formatter: HelpFormatter) -> None:
        width = max(map(len, index.FILES))
        for title, names in index.GROUPS.items():
            with formatter.section(title):
                formatter.write_dl(
                    [(name.ljust(width), self._summary(name)) for name in names if name in self.commands]
                )

    def _summary(self, name: str) -> str:
        """What a command does, whole: Typer's own would be cut off at the edge."""
        return (self.commands[name].help or "").partition("\n\n")[0].replace("\n", " ")

    def format_epilog(self, ctx: Context, formatter: HelpFormatter) -> None:
        formatter.write(f"\n{self.epilog}\n")
