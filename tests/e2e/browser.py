"""A real Chromium on the pages that people use, and the screenshots that it leaves."""

from __future__ import annotations

import io
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from tests.e2e.installation import PROJECT

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Page

SCREENSHOTS = Path(os.environ.get("BURNISH_SCREENSHOTS") or PROJECT / "build" / "screenshots").absolute()
"""Where screenshots are kept. BURNISH_SCREENSHOTS=docs/guides/images renews those of the guides."""
_MOST_BYTES = 150_000
_VIEWPORT = {"width": 1280, "height": 760}
_FIRST_VISIT_IS_OVER = """
    localStorage.setItem("mlflow.assistant.panelOpen_v1", "false");
    localStorage.setItem("mlflow.assistant.fab.autoOpenedOnFirstLoad_v1", "true");
    localStorage.setItem("mlflow.detectIssues.guidanceShown_v1", "true");
    localStorage.setItem("_mlflow_model_registry_promo_modal_dismissed_v1", "true");
"""
"""MLflow greets a new visitor with panels and hints that lie over its pages."""
_FEW_FRAMES = """
    const drawn = window.requestAnimationFrame.bind(window);
    window.requestAnimationFrame = (draw) => setTimeout(() => drawn(draw), 200);
    window.cancelAnimationFrame = clearTimeout;
"""
"""Prefect draws the graph of a run anew in each frame; without a GPU that keeps a core busy."""
_CLOSED = "/mlflow/assistant"
"""The only part of a page that the guard refuses to everybody."""
_PATIENCE_MILLISECONDS = 60_000
"""Pages take their time beside other tests; what is wrong stays wrong."""


@contextmanager
def open_chromium() -> Iterator[Browser]:
    """Debian's Chromium. Playwright keeps an event loop in this thread meanwhile, so Prefect must not run in it."""
    executable = shutil.which("chromium")
    if executable is None:
        pytest.skip("no chromium on this machine; Debian's package is `chromium`, and .ci/run installs it")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
        browser = playwright.chromium.launch(executable_path=executable, args=arguments)
        yield browser
        browser.close()


@dataclass
class Visit:
    """One visitor's page, with what went wrong on it."""

    page: Page
    requests: list[str]
    """Addresses that the page asked for."""
    complaints: list[str]
    """Errors on the page's console."""
    refused: list[str] = field(default_factory=list)
    """Addresses of what a server answered with 403."""

    def keep_screenshot(self, name: str, *, of: Locator | None = None) -> None:
        """Keep a screenshot of the page, or of a part of it, as `<name>.png` of at most 150 KB."""
        from PIL import Image

        shot = (of or self.page).screenshot(animations="disabled", caret="hide")
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        file = SCREENSHOTS / f"{name}.png"
        Image.open(io.BytesIO(shot)).convert("RGB").quantize(128).save(file, optimize=True)
        assert file.stat().st_size <= _MOST_BYTES, f"{file} is too large for the documentation"

    def requests_outside(self) -> list[str]:
        """What was asked of other machines."""
        return [url for url in self.requests if urlsplit(url).hostname not in (None, "", "127.0.0.1", "localhost")]


@contextmanager
def visit(browser: Browser, **context_options: object) -> Iterator[Visit]:
    """A visitor who has been here before; ends by asserting that pages ask no other machine, and get what they ask."""
    from playwright.sync_api import expect

    expect.set_options(timeout=_PATIENCE_MILLISECONDS)
    context = browser.new_context(**{"viewport": _VIEWPORT, **context_options})  # type: ignore[arg-type]
    context.add_init_script(_FIRST_VISIT_IS_OVER)
    context.add_init_script(_FEW_FRAMES)
    page = context.new_page()
    page.set_default_timeout(_PATIENCE_MILLISECONDS)
    seen = Visit(page, [], [])
    context.on("request", lambda request: seen.requests.append(request.url))
    context.on("response", lambda answer: seen.refused.append(answer.url) if answer.status == 403 else None)
    context.on("console", lambda said: seen.complaints.append(said.text) if said.type == "error" else None)
    try:
        yield seen
    finally:
        context.close()
    assert seen.requests_outside() == []
    assert [url for url in seen.refused if _CLOSED not in url] == []
