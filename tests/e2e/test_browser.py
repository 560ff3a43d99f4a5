"""What a person does in the two UIs, in a real browser: start a run, compare, look closer, walk back, move an alias."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.e2e.browser import Visit, open_chromium, visit
from tests.e2e.installation import PROJECT, Installation
from tests.e2e.servers import Servers, running_servers

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Page

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with open_chromium() as opened:
        yield opened


@pytest.fixture(scope="module")
def served(finished: Installation, first_things: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    """A copy of the finished installation with its servers up."""
    folder = tmp_path_factory.mktemp("served")
    finished.copy_to(folder / "home").with_all_of(first_things)
    with running_servers(folder) as running:
        yield running


@pytest.fixture
def seen(browser: Browser, request: pytest.FixtureRequest) -> Iterator[Visit]:
    """A visitor's page; what it showed at the end, of a failed test too, is kept as a screenshot."""
    with visit(browser) as begun:
        yield begun
        begun.page.screenshot(path=PROJECT / "build" / "last-pages" / f"{request.node.name}.png")


def open_recipe(page: Page, url: str) -> Locator:
    """From the front page to the runs of the recipe; returns the link of its newest run."""
    page.goto(f"{url}/#/experiments")
    page.locator("a[href*='#/experiments/']").filter(has_text=re.compile("^smoke$")).first.click()
    page.get_by_text("Model training", exact=True).click()
    return page.get_by_role("link", name=re.compile("smoke [0-9a-f]{8}")).first


def open_run(page: Page, url: str) -> None:
    """The page of the newest run, with its whole description."""
    open_recipe(page, url).click()
    page.get_by_text("Show more").click()


def open_version(page: Page, url: str) -> None:
    """From the model registry to the first version."""
    page.goto(f"{url}/#/models")
    page.get_by_text("Model training", exact=True).click()
    page.get_by_test_id("model-list-table").get_by_role("link", name="smoke", exact=True).click()
    page.get_by_role("link", name="Version 1", exact=True).click()


def follow(page: Page, link: str) -> Page:
    """Click a link of a description, which opens a new tab."""
    with page.expect_popup() as popup:
        page.get_by_role("link", name=link, exact=True).click()
    return popup.value


def test_a_run_stands_above_its_options_trials_and_scorecards(served: Servers, seen: Visit) -> None:
    from playwright.sync_api import expect

    page = seen.page
    run = open_recipe(page, served.mlflow_url)

    run.locator("xpath=ancestor::*[@role='gridcell'][1]").get_by_role("button").first.click()

    for child in ("option/classical", "trial/0", "trial/1", "evaluation", "test/candidate", "test/classical"):
        expect(page.get_by_role("link", name=child, exact=True)).to_be_visible()
    seen.keep_screenshot("mlflow-runs")

    run.click()
    expect(page.get_by_text("Fine-tuning does not pay", exact=False).first).to_be_visible()
    page.get_by_text("Show more").click()
    expect(page.get_by_text("smoke/1 gets no alias")).to_be_visible()
    seen.keep_screenshot("mlflow-run")


def test_the_trials_of_a_study_are_compared(served: Servers, seen: Visit) -> None:
    from playwright.sync_api import expect

    open_run(seen.page, served.mlflow_url)
    page = follow(seen.page, "the trials")
    for name in ("trial/0", "trial/1"):
        expect(page.get_by_role("link", name=name, exact=True)).to_be_visible()
    expect(page.get_by_text("2 matching runs")).to_be_visible()
    for metric in ("loss", "validation_exact_match"):
        expect(page.get_by_text(f"trial/1 ({metric})").first).to_be_attached()
    Visit(page, [], []).keep_screenshot("mlflow-curves")

    page.get_by_role("checkbox", name="Select all runs").click()
    page.get_by_test_id("runs-compare-button").click()

    expect(page.get_by_text("Comparing 2 Runs from 1 Experiment")).to_be_visible()
    expect(page.get_by_role("tab", name="Parallel Coordinates Plot")).to_be_visible()
    expect(page.locator(".parcoords text").first).to_be_visible()
    Visit(page, [], []).keep_screenshot("mlflow-parallel-coordinates")
    expect(page.get_by_text("lora_rank", exact=True)).to_be_visible()
    page.get_by_text("Show diff only").first.click()
    expect(page.get_by_text("lora_rank", exact=True)).to_be_hidden()
    page.get_by_text("Run Name:").scroll_into_view_if_needed()
    Visit(page, [], []).keep_screenshot("mlflow-differences")


def test_the_outputs_of_two_options_stand_side_by_side(served: Servers, seen: Visit) -> None:
    from playwright.sync_api import expect

    open_run(seen.page, served.mlflow_url)
    page = follow(seen.page, "the outputs")
    page.set_viewport_size({"width": 3200, "height": 700})  # MLflow draws the columns in sight, the best option first
    table = page.get_by_role("grid").or_(page.get_by_role("treegrid")).last
    for option in served.installation.show()["options"]:
        expect(table.get_by_role("link", name=f"test/{option['name']}")).to_be_visible()

    page.get_by_label('Select "group by" columns').click()
    page.get_by_role("option", name="prompt").click()
    page.get_by_role("option", name="record_id").click()
    page.keyboard.press("Escape")
    page.set_viewport_size({"width": 1600, "height": 700})
    expect(table.get_by_role("columnheader", name="prompt")).to_be_visible()
    expect(table.get_by_text("concerning my parcel").first).to_be_visible()
    Visit(page, [], []).keep_screenshot("mlflow-outputs")


def test_the_prompts_that_were_scored_stand_in_the_prompt_registry(served: Servers, seen: Visit) -> None:
    from playwright.sync_api import expect

    seen.page.goto(f"{served.mlflow_url}/#/prompts")
    seen.page.get_by_role("link", name="smoke.prompt").click()

    expect(seen.page.get_by_text("{{ input }}").first).to_be_visible()


def test_a_version_leads_to_its_run_its_data_and_its_report(served: Servers, seen: Visit) -> None:
    from playwright.sync_api import expect

    installation, url = served.installation, served.mlflow_url
    summary, page = installation.show(), seen.page
    open_version(page, url)
    expect(page.get_by_text(summary["snapshot"])).to_be_attached()

    page.get_by_role("link", name=f"smoke {summary['snapshot'][:8]}").click()
    expect(page).to_have_url(re.compile(summary["run_id"]))
    page.get_by_role("tab", name="Overview").click()
    page.get_by_text(f"smoke ({summary['snapshot'][:36]})").first.click()
    expect(page.get_by_text("Data details for")).to_be_visible()
    seen.keep_screenshot("mlflow-data")
    page.keyboard.press("Escape")

    open_version(page, url)
    report = follow(page, "The report")
    inside = report.frame_locator("iframe")
    expect(inside.get_by_text("Decision: refused, gets no alias")).to_be_visible()
    expect(inside.locator(".verdict")).to_have_text(summary["verdict"]["sentence"])


def test_an_alias_set_on_the_page_is_told_by_the_history(served: Servers, seen: Visit) -> None:
    from playwright.sync_api import expect

    installation, url = served.installation, served.mlflow_url
    page = seen.page
    open_version(page, url)
    page.get_by_role("button", name="Add").first.click()
    page.get_by_role("dialog").locator("input").first.fill("champion")
    page.keyboard.press("Enter")
    seen.keep_screenshot("mlflow-alias")
    page.get_by_role("button", name="Save aliases").click()
    expect(page.get_by_role("dialog")).to_be_hidden()
    expect(page.get_by_text("@ champion")).to_be_visible()
    seen.keep_screenshot("mlflow-version")

    history = installation.burnish("history", "smoke").stdout

    assert re.search(r"champion → version 1: by hand, seen at \S+, unreviewed", history), history
