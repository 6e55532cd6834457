"""What a run has to say does not fail for want of a reader."""

from __future__ import annotations

import os
import sys
from typing import IO, cast

import pytest

from snapkit.cli.streams import Forgiving, settle
from snapkit.cli.terminal import Terminal


@pytest.mark.parametrize("color", ["", "1"])
def test_a_reader_that_has_gone_changes_nothing(monkeypatch: pytest.MonkeyPatch, color: str) -> None:
    """Rich itself would end the run with exit code 1."""
    monkeypatch.setenv("FORCE_COLOR", color)
    monkeypatch.setenv("TERM", "xterm")
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w", buffering=1) as stderr:
        monkeypatch.setattr(sys, "stderr", stderr)
        terminal = Terminal.open(no_color=False, quiet=False)
        with terminal.progress("Waiting"):
            terminal.note("one")
            terminal.note("two")
        settle()


def test_a_stream_that_is_closed_is_forgiven() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    stream = os.fdopen(writer, "w")
    stream.close()
    forgiving = Forgiving(cast("IO[str]", stream))
    assert forgiving.write("lost") == 4
    forgiving.flush()
    assert forgiving.closed
