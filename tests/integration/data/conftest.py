"""No clock in tests: Hypothesis would fail an example that a busy machine makes slow."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("no-clock", deadline=None)
settings.load_profile("no-clock")
