"""What a person does in Prefect's UI, in a real browser: run a recipe from its form, and cancel a run in training."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

from tests.e2e.browser import Visit, open_chromium, visit
from tests.e2e.installation import PROJECT, Installation
from tests.e2e.servers import PATIENCE_SECONDS, Servers, running_servers, wait_for
from tests.e2e.test_kill import processes_of
from tests.e2e.test_servers import LONG, long_run, steps

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Page

pytestmark = pytest.mark.slow

OUTSIDE = "amplitude.com"
"""What Prefect's page asks at each visit, and the policy of `request_guard` refuses."""
_PATIENCE = PATIENCE_SECONDS * 1000


@pytest.fixture(scope="module")
def served(finished: Installation, first_things: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    """A copy of the finished installation with its servers up: its stages are reused."""
    folder = tmp_path_factory.mktemp("prefect-ui")
    finished.copy_to(folder / "home").with_all_of(first_things)
    with running_servers(folder) as running:
        yield running


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with open_chromium() as opened:
        yield opened


@pytest.fixture
def seen(browser: Browser, request: pytest.FixtureRequest) -> Iterator[Visit]:
    """A visitor's page, patient; what it showed at the end, of a failed test too, is kept as a screenshot."""
    from playwright.sync_api import expect

    with visit(browser) as begun:
        expect.set_options(timeout=_PATIENCE)
        begun.page.set_default_timeout(_PATIENCE)
        yield begun
        begun.page.screenshot(path=PROJECT / "build" / "last-pages" / f"{request.node.name}.png")
    assert [said for said in begun.complaints if "Security Policy" in said and OUTSIDE not in said] == []


def open_form(page: Page, url: str) -> None:
    """From the front page to the form of the deployment `finetune`."""
    page.goto(url)
    page.get_by_role("link", name="Deployments", exact=True).first.click()
    page.locator("a[href*='/deployments/deployment/']").filter(has_text=re.compile("^finetune$")).first.click()
    page.get_by_role("button", name="Run", exact=True).click()
    page.get_by_role("menuitem", name="Custom run").click()
    page.get_by_role("button", name="Submit").wait_for()


def choose_recipe(page: Page, name: str) -> None:
    page.get_by_label("Select Recipe").click()
    page.get_by_role("option", name=name, exact=True).click()


def set_trials(page: Page, trials: int) -> None:
    page.get_by_role("tab", name="int", exact=True).click()
    page.get_by_role("spinbutton").fill(str(trials))


def add_overrides(page: Page, overrides: Sequence[str]) -> None:
    for number, override in enumerate(overrides):
        page.get_by_role("button", name="Add item").click()
        page.locator("form textarea").nth(number).fill(override)


def submit(page: Page) -> None:
    """Start the run, and open its page from the deployment's list of runs."""

    def sent() -> str | None:
        with page.expect_response(re.compile("/create_flow_run$")) as answer:
            page.get_by_role("button", name="Submit").click()
        if answer.value.status == 503:  # its database is busy: the page says so, and a person asks again
            return None
        return str(answer.value.json()["id"])

    flow_run = wait_for(sent, what="the server to take the run")
    page.locator(f"a[href*='/runs/flow-run/{flow_run}']").first.click()
    page.wait_for_url(re.compile(f"/runs/flow-run/{flow_run}"))


def state_of(page: Page, name: str) -> Locator:
    """The state in the head of a run's page, if it is this one."""
    return page.locator("div.gap-4.text-muted-foreground").first.get_by_text(name, exact=True)


def cancel(page: Page) -> None:
    page.get_by_role("button", name="Open menu").first.click()
    page.get_by_role("menuitem", name="Cancel", exact=True).click()
    page.get_by_role("alertdialog").get_by_role("button", name="Cancel Flow Run").click()


def test_a_run_is_started_from_its_form_and_seen_completed(served: Servers, seen: Visit) -> None:
    from playwright.sync_api import expect

    page = seen.page
    open_form(page, served.prefect_url)
    choose_recipe(page, "smoke")
    set_trials(page, 2)
    seen.keep_screenshot("prefect-form")
    submit(page)

    expect(state_of(page, "Completed")).to_be_visible()
    seen.keep_screenshot("prefect-completed")

    shown = served.installation.show()
    assert all(stage["reused"] for stage in shown["stages"])


def test_a_run_is_cancelled_in_training_by_the_pages_own_button(served: Servers, seen: Visit) -> None:
    from playwright.sync_api import expect

    page = seen.page
    assert not steps(served)
    open_form(page, served.prefect_url)
    choose_recipe(page, "smoke")
    add_overrides(page, LONG)
    submit(page)
    expect(state_of(page, "Running")).to_be_visible()
    wait_for(lambda: steps(served), what="the training")
    trainers = [each for each in processes_of(served.installation) if "worker_process" in str(each.cmdline())]
    assert trainers

    cancel(page)

    expect(state_of(page, "Cancelled")).to_be_visible()
    seen.keep_screenshot("prefect-cancelled")
    psutil.wait_procs(trainers, timeout=PATIENCE_SECONDS)
    assert not any(process.is_running() for process in trainers)
    assert long_run(served).info.status == "KILLED"
    assert steps(served)
    assert all((step / "manifest.json").is_file() for step in steps(served))
