"""``snapkit doctor``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from snapkit.cli.invocation import Invocation
from snapkit.cli.registry import registry

if TYPE_CHECKING:
    from rich.console import Console

    from snapkit.cli.envelope import Document
    from snapkit.services.doctor import Diagnosis


def _text(result: Diagnosis, console: Console) -> None:
    from rich.table import Table
    from rich.text import Text

    from snapkit.cli.format import count_text, printable
    from snapkit.core.checks.facts import Status

    styles = {Status.OK: "green", Status.WARNING: "yellow", Status.PROBLEM: "bold red"}
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for check in result.checks:
        message = Text(printable(check.message))
        if check.hint:
            message.append("\n" + printable(check.hint), style="italic")
        table.add_row(Text(check.status.value, style=styles[check.status]), message)
    console.print(table)
    found = count_text(result.problems, "problem") if result.problems else "No problem"
    console.print(f"{found} found. Nothing was changed.", style="bold red" if result.problems else "bold green")


def _data(result: Diagnosis) -> Document:
    return {
        "checks": [
            {"name": check.name, "status": check.status.value, "message": check.message, "hint": check.hint}
            for check in result.checks
        ]
    }


@registry.command("doctor", changes=False, text=_text, data=_data, examples=["snapkit doctor"])
def doctor(run: Invocation) -> Diagnosis:
    """Check all that a backup and a rollback need; change nothing."""
    server = run.server()
    from snapkit.services.doctor import diagnose

    return diagnose(server, run.poolers(None))
