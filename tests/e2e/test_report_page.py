"""The HTML report as people open it: from the file, on a phone, at night."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from tests.e2e.browser import open_chromium, visit
from tests.e2e.installation import Installation

if TYPE_CHECKING:
    from playwright.sync_api import Browser, ColorScheme

pytestmark = pytest.mark.slow

PLOTS = [
    "What the fine-tune gains over each option",
    "Options on the same 36 test records of 12 groups",
    "Training curves",
    "Search history",
    "Which values went together",
    "What ran when",
    "What quality costs",
]
_LEAST_CONTRAST = 4.5
"""WCAG 2, level AA, for text of normal size."""
_CONTRASTS = """() => {
  const channels = text => text.match(/[\\d.]+/g).map(Number);
  const paint = text => { const [r, g, b, a] = channels(text); return a === 0 ? null : [r, g, b] };
  const light = colour => colour.map(v => v / 255).map(v => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const white = [255, 255, 255];
  const behind = node => node ? paint(getComputedStyle(node).backgroundColor) ?? behind(node.parentElement) : white;
  const contrast = (node, colour) => {
    const [dark, bright] = [light(colour), light(behind(node))].sort((a, b) => a - b);
    return (bright + 0.05) / (dark + 0.05);
  };
  const found = [];
  for (const node of document.querySelectorAll('body *')) {
    const style = getComputedStyle(node), mark = getComputedStyle(node, '::before');
    const own = [...node.childNodes].some(child => child.nodeType === 3 && child.textContent.trim());
    const ink = node instanceof SVGElement ? style.fill : style.color;
    const shown = own && !node.closest('defs, style, metadata');
    if (shown) found.push([node.textContent.trim(), contrast(node, paint(ink))]);
    if (mark.content !== 'none') found.push([mark.content, contrast(node, paint(mark.color))]);
  }
  return found;
}"""
_SQUEEZED = """() => [...document.querySelectorAll('th, .pass, .fail')].filter(cell => {
  const text = document.createRange(), words = cell.textContent.trim().split(/\\s+/).length;
  text.selectNodeContents(cell);
  return text.getBoundingClientRect().height > parseFloat(getComputedStyle(cell).lineHeight) * (words + 0.5);
}).map(cell => cell.textContent.trim())"""
"""Cells that are higher than one line a word: their words were broken."""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with open_chromium() as opened:
        yield opened


def address(finished: Installation) -> str:
    return (finished.home / "reports" / "smoke.html").as_uri()


def test_the_report_opens_from_its_file_without_complaint_or_request(finished: Installation, browser: Browser) -> None:
    with visit(browser) as seen:
        seen.page.goto(address(finished))

        assert seen.page.locator(".verdict").inner_text().startswith("Fine-tuning does not pay")
        headings = seen.page.locator("h2:has(+ .plot svg)").all_inner_texts()
        assert [heading.partition(":")[0] for heading in headings] == PLOTS
        seen.keep_screenshot("report")

    assert seen.complaints == []
    assert seen.requests == [address(finished)]


def test_the_report_fits_a_phone(finished: Installation, browser: Browser) -> None:
    with visit(browser, viewport={"width": 390, "height": 844}) as seen:
        seen.page.goto(address(finished))

        assert seen.page.evaluate("document.documentElement.scrollWidth") == 390
        assert seen.page.evaluate(_SQUEEZED) == []
        seen.keep_screenshot("report-phone")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_report_can_be_read_by_day_and_by_night(
    finished: Installation, browser: Browser, scheme: ColorScheme
) -> None:
    with visit(browser, color_scheme=scheme) as seen:
        seen.page.goto(address(finished))
        if scheme == "dark":
            assert seen.page.evaluate("matchMedia('(prefers-color-scheme: dark)').matches")
            seen.keep_screenshot("report-dark")

        contrasts = seen.page.evaluate(_CONTRASTS)

    assert len(contrasts) > 100
    assert [(text, ratio) for text, ratio in contrasts if ratio < _LEAST_CONTRAST] == []
