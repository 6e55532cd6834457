"""``python -m snapkit`` and the ``snapkit`` command."""

import io
import sys

from snapkit.cli.interruption import end_as_ctrl_c_does, end_whatever_comes
from snapkit.cli.main import main
from snapkit.cli.streams import settle


def run() -> None:
    """Run the command."""
    end_as_ctrl_c_does()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # what a terminal's encoding lacks must not make a run fail
            stream.reconfigure(errors="backslashreplace")
    code = main(sys.argv[1:])
    end_whatever_comes()
    settle()
    sys.exit(code)


if __name__ == "__main__":
    run()
