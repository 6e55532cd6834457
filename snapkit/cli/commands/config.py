"""``snapkit config``."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from snapkit.cli.invocation import Invocation
from snapkit.cli.registry import registry
from snapkit.core.outcome import Outcome
from snapkit.core.values import dataclass

if TYPE_CHECKING:
    from rich.console import Console

    from snapkit.cli.envelope import Document
    from snapkit.settings.in_force import SettingInForce


@dataclass(frozen=True, slots=True)
class Configuration(Outcome):
    """The settings that are in force."""

    settings: tuple[SettingInForce, ...]
    tells_where: ClassVar[bool] = False


def _text(result: Configuration, console: Console) -> None:
    from snapkit.cli.format import printable
    from snapkit.cli.table import Column, fitted, print_stacked, print_table

    columns = [
        Column("NAME", [each.name for each in result.settings]),
        Column("VALUE", [printable(_value(each)) for each in result.settings], least=24),
        Column("FROM", [printable(each.origin) for each in result.settings]),
    ]
    shown = fitted(columns, console.width)
    if shown is not None:
        print_table(shown, console)
        return
    for each in result.settings:
        print_stacked(each.name, None, (printable(_value(each)), f"from {printable(each.origin)}"), console)


def _value(setting: SettingInForce) -> str:
    return "not set" if setting.value is None else setting.value


def _data(result: Configuration) -> Document:
    return {"settings": [{"name": each.name, "value": each.value, "from": each.origin} for each in result.settings]}


@registry.command("config", changes=False, text=_text, data=_data, examples=["snapkit config"])
def config(run: Invocation) -> Configuration:
    """Show the settings that are in force, and where each comes from."""
    return Configuration(tuple(run.settings_in_force()))
