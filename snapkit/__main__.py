"""``python -m snapkit`` and the ``snapkit`` command."""

import gc
import io
import os
import sys

from snapkit.cli.ctrl_c import come_again, end_as_ctrl_c_does, end_whatever_comes, ended_at_once

_OBJECTS_MADE_IN_A_ROW = 200_000
"""For so many more than were let go of, twice what a run makes, the garbage collector lets a run be. Python's own 700
makes it look through all that importing has made a hundred times, for next to nothing: a seventh of the start."""


def run() -> None:
    """Run the command."""
    gc.set_threshold(_OBJECTS_MADE_IN_A_ROW)
    _open_what_is_closed()
    with ended_at_once():
        from snapkit.cli.main import main
        from snapkit.cli.streams import settle
    end_as_ctrl_c_does()
    come_again()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # what a terminal's encoding lacks must not make a run fail
            stream.reconfigure(errors="backslashreplace")
    code = main(sys.argv[1:])
    end_whatever_comes()
    settle()
    gc.freeze()  # the end of the process frees everything: nothing is to be searched for garbage before
    sys.exit(code)


def _open_what_is_closed() -> None:
    """Let a stream that we were started without go nowhere: else a connection would get its number, and its output."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            nowhere = os.open(os.devnull, os.O_RDWR)
            if nowhere != number:
                os.dup2(nowhere, number)
                os.close(nowhere)
            os.set_inheritable(number, True)
            setattr(sys, name, os.fdopen(number, "w" if number else "r"))


if __name__ == "__main__":
    run()
