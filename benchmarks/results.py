"""What was measured, as JSON lines: an interrupted run goes on from them, and the page is written from them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

Row = dict[str, Any]


class Results:
    """A file to which each measurement is added as soon as it is made."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows: list[Row] = []
        self._cut_off = False
        if path.exists():
            text = path.read_text()
            self.rows = [row for line in text.splitlines() if (row := _parse(line)) is not None]
            self._cut_off = not text.endswith("\n") and bool(text)

    def add(self, scenario: str, key: Mapping[str, Any], values: Mapping[str, Any]) -> None:
        """Keep a measurement; ``key`` tells what it is one of."""
        row = {"scenario": scenario, **key, **values}
        self.rows.append(row)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a") as file:
            file.write("\n" * self._cut_off + json.dumps(row) + "\n")
        self._cut_off = False

    def has(self, scenario: str, key: Mapping[str, Any]) -> bool:
        """Whether that was measured already. What was skipped for a reason was not."""
        wanted = {"scenario": scenario, **key}
        return any("skipped" not in row and wanted.items() <= row.items() for row in self.rows)

    def of(self, scenario: str) -> list[Row]:
        return [row for row in self.rows if row["scenario"] == scenario]


def _parse(line: str) -> Row | None:
    """Read a line; None for one that was cut off when a run was killed."""
    try:
        row = json.loads(line)
    except ValueError:
        return None
    return row if isinstance(row, dict) and "scenario" in row else None
