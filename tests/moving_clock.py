"""A server whose clock can be set anew, as an administrator, NTP or a failover does it."""

from __future__ import annotations

import os
import shutil
import subprocess
from datetime import timedelta
from pathlib import Path

from tests.cluster import Cluster

CAN_MOVE = shutil.which("cc") is not None
"""Whether there is a compiler for what stands between the server and its clock.

libfaketime is not used for that: asked in a signal handler, as PostgreSQL does, it may tell the machine's own time
(0.9.10), and timeouts of hours that have not gone by end sessions.
"""


class ClusterWithMovingClock(Cluster):
    """Its clock is the machine's, moved by what ``move`` was told last; the server is started anew for that."""

    _offset = timedelta(0)

    def launch(self) -> None:
        library = self.root / "clock.so"
        if not library.exists():
            source = Path(__file__).with_name("clock.c")
            subprocess.run(["cc", "-O2", "-shared", "-fPIC", "-o", library, source], check=True)
        before = dict(os.environ)
        os.environ |= {"LD_PRELOAD": str(library), "SNAPKIT_CLOCK_OFFSET": f"{self._offset.total_seconds():.0f}"}
        try:
            super().launch()
        finally:
            os.environ.clear()
            os.environ |= before

    def move(self, by: timedelta) -> None:
        """Set the clock ``by`` so much ahead of the machine's, or behind. All sessions end."""
        self._offset = by
        self.stop()
        self.launch()
