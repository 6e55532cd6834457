"""Property tests are bounded by their number of examples, not by the speed of the machine."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("unit", deadline=None, max_examples=150)
settings.load_profile("unit")
