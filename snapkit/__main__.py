"""``python -m snapkit`` and the ``snapkit`` command."""

import io
import signal
import sys
from types import FrameType

from snapkit.cli.main import main


def run() -> None:
    """Run the command. SIGTERM and SIGHUP end it as Ctrl-C does: cancelled on the server, cleaned up, and told."""
    for name in ("SIGTERM", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), _interrupt)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # what a terminal's encoding lacks must not make a run fail
            stream.reconfigure(errors="backslashreplace")
    sys.exit(main(sys.argv[1:]))


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    run()
