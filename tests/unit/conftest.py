"""Property tests are bounded by their number of examples, not by the speed of the machine."""

from __future__ import annotations

import os

from hypothesis import settings

settings.register_profile("unit", deadline=None, max_examples=150)
settings.register_profile("thorough", parent=settings.get_profile("unit"), max_examples=1000)
settings.register_profile("lines", parent=settings.get_profile("unit"), max_examples=20, derandomize=True)
"""For a run that only sees which lines there are tests for."""
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "unit"))
