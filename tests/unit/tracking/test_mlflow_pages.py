from urllib.parse import parse_qs, urlsplit

from tasks.tracking.mlflow_pages import outputs_page, run_page, trials_page


def query(page: str) -> dict[str, list[str]]:
    return parse_qs(urlsplit(page.removeprefix("#")).query)


def test_a_page_holds_at_any_address_of_mlflow() -> None:
    for page in (run_page("1", "r"), trials_page("1", study="s"), outputs_page("1", parent="r", metric="exact_match")):
        assert page.startswith("#/experiments/1/runs")


def test_an_artifact_is_shown_on_its_run() -> None:
    assert run_page("1", "r", artifact="smoke.html") == "#/experiments/1/runs/r/artifacts/smoke.html"


def test_the_trials_of_one_study_are_shown_best_first() -> None:
    asked = query(trials_page("1", study="smoke-0123"))

    assert asked["searchFilter"] == ["tags.burnish.kind = 'trial' and tags.burnish.study = 'smoke-0123'"]
    assert (asked["orderByKey"], asked["orderByAsc"]) == (["metrics.`validation_best`"], ["false"])


def test_the_outputs_are_those_of_one_recipe_run() -> None:
    asked = query(outputs_page("1", parent="r", metric="exact_match"))

    assert asked["searchFilter"] == ["tags.burnish.kind = 'scorecard' and tags.mlflow.parentRunId = 'r'"]
    assert asked["compareRunsMode"] == ["ARTIFACT"]
