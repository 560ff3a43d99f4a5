"""Says where the browser tests left their screenshots."""

from __future__ import annotations

import time

import pytest

from tests.e2e.browser import SCREENSHOTS

_STARTED = time.time()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    kept = [file for file in SCREENSHOTS.glob("*.png") if file.stat().st_mtime >= _STARTED]
    if kept:
        terminalreporter.write_line(f"{len(kept)} screenshots in {SCREENSHOTS}")
