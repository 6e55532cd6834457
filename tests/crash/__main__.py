"""``python -m tests.crash``; in a module of its own, since worker processes cannot import this one."""

import sys

from tests.crash.run import main

if __name__ == "__main__":
    sys.exit(main())
