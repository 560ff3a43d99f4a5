"""Lets Ctrl-C act, runs the long tests first, and says where the browser tests left their screenshots."""

from __future__ import annotations

import signal
import time

import pytest

from configs.garbage import collect_seldom
from tests.e2e.browser import SCREENSHOTS

_STARTED = time.time()


def pytest_configure() -> None:
    """Spare the time that looking for garbage takes, and let Ctrl-C act: a shell's background jobs ignore it.

    So does all that they start, and the tests of Ctrl-C would wait for ever.
    """
    collect_seldom()
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The end-to-end files take minutes each: begun last, one of them would keep a single core busy at the end."""
    items.sort(key=lambda item: "e2e" not in item.path.parts)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    kept = [file for file in SCREENSHOTS.glob("*.png") if file.stat().st_mtime >= _STARTED]
    if kept:
        terminalreporter.write_line(f"{len(kept)} screenshots in {SCREENSHOTS}")
