import json
import os
import re
import stat
from pathlib import Path
from typing import Any

import pytest

from tasks.storage.lease import home_in_use
from tests.e2e.installation import PROJECT, Installation

STAGES = ["prepare", "validate", "baseline", "search", "evaluate", "register", "promote"]


def table_of_outputs(installation: Installation) -> list[dict[str, str]]:
    """A row for each test record: its prompt, and what each option said."""
    tables = [json.loads(file.read_text()) for file in (installation.home / "artifacts").rglob("outputs.json")]
    table = next(table for table in tables if {"prompt", "classical", "candidate"} <= set(table["columns"]))
    return [dict(zip(table["columns"], row, strict=True)) for row in table["data"]]


def test_the_summary_has_the_documented_form(finished: Installation) -> None:
    answer = finished.burnish("show", "smoke", "--json")
    assert answer.returncode == 0, answer.stderr
    summary = json.loads(answer.stdout)

    assert summary["recipe"] == "smoke"
    assert summary["overrides"] == []
    assert set(summary["chosen"]) == {"learning_rate"}
    assert [stage["name"] for stage in summary["stages"]] == STAGES
    assert {"classical", "prompt", "candidate"} <= {option["kind"] for option in summary["options"]}
    for option in summary["options"]:
        assert option["low"] <= option["value"] <= option["high"]
        assert option["low"] < option["high"]
    assert summary["verdict"]["kind"] in ("pays", "does_not_pay", "cannot_tell")
    assert isinstance(summary["decision"]["promote"], bool)
    assert summary["decision"]["reasons"]
    assert summary["model"]["version"] == "1"
    assert summary["cost"]["training"] > 0
    assert 100 < summary["peak_rss_mb"] < 6000
    assert summary["test_records_found"] >= summary["options"][0]["n"]
    assert "tiny random model" in summary["warnings"][0]


def test_a_smoke_model_that_is_beaten_gets_no_alias(finished: Installation) -> None:
    summary = finished.summary()

    assert summary["verdict"]["recommended"] == "classical"
    assert summary["model"]["aliases"] == []


def test_the_report_is_one_file_without_scripts_or_addresses(finished: Installation) -> None:
    html = (finished.home / "reports" / "smoke.html").read_text()

    assert "Content-Security-Policy" in html
    assert "<script" not in html
    assert not re.search(r'(?:src|href)="(?!#)', html)
    assert html.index("Fine-tuning") < html.index("Decision") < html.index("Options on the same")


def test_state_is_private(finished: Installation) -> None:
    assert stat.S_IMODE(finished.home.stat().st_mode) == 0o700
    for path in [*finished.home.rglob("*.parquet"), finished.home / "mlflow.db", finished.home / "optuna.db"]:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_nothing_changed_redoes_nothing(finished: Installation) -> None:
    before = finished.summary()

    again = finished.smoke()

    assert again.returncode == 0, again.stderr
    assert "rules evaluated, 0 rows dropped" in again.stderr  # what validation found then is told again
    assert re.search(r"records: \d+ train, \d+ validation, 36 test", again.stderr)
    after = finished.summary()
    assert all(stage["reused"] for stage in after["stages"])
    assert after["options"] == before["options"]
    assert after["model"] == before["model"]


def test_predict_answers_with_the_registered_version(finished: Installation) -> None:
    answer = finished.burnish("predict", "--model", "smoke/1", "Hello about my invoice")

    assert answer.returncode == 0, answer.stderr
    assert answer.stdout.strip() in ("billing", "delivery", "login", "returns")


def test_predict_answers_with_any_option_of_the_run_as_it_was_scored(finished: Installation) -> None:
    outputs = table_of_outputs(finished)
    texts = [row["prompt"] for row in outputs[:3]]
    prompt = next(option["name"] for option in finished.summary()["options"] if option["kind"] == "prompt")

    recommended = finished.burnish("predict", "--recipe", "smoke", *texts)
    prompted = finished.burnish("predict", "--recipe", "smoke", "--option", prompt, *texts)

    assert recommended.stdout.splitlines() == [row["classical"] for row in outputs[:3]], recommended.stderr
    assert "answered by classical" in recommended.stderr
    assert prompted.stdout.splitlines() == [row[prompt] for row in outputs[:3]], prompted.stderr


def test_two_options_are_compared_as_the_verdict_compared_them(finished: Installation) -> None:
    gain = finished.summary()["verdict"]["gain"]

    compared = finished.burnish("compare", "smoke", "smoke:classical")

    assert f"on the {gain['n']} test records of 12 groups" in compared.stdout, compared.stderr
    interval = f"(95% interval {100 * gain['low']:+.1f} to {100 * gain['high']:+.1f}"
    assert f"difference {100 * gain['difference']:+.1f} points {interval}" in compared.stdout
    assert f"{gain['method']}; p = {gain['p_value']:.2g}" in compared.stdout


def test_an_option_that_the_run_does_not_have_is_refused_with_those_it_has(finished: Installation) -> None:
    unknown = finished.burnish("predict", "--recipe", "smoke", "--option", "oracle", "Hello")

    assert unknown.returncode == 2
    assert "no option 'oracle'; it has " in unknown.stderr
    assert "classical" in unknown.stderr


def test_a_second_command_on_the_same_recipe_is_refused(finished: Installation) -> None:
    from tasks.storage.lease import recipe_lease
    from tasks.storage.locks import FileLocks

    with recipe_lease(FileLocks(finished.home), "smoke"):
        second = finished.smoke()

    assert second.returncode == 2
    assert str(os.getpid()) in second.stderr


def test_a_version_moves_by_hand_only_with_a_reason_and_the_history_tells(copied: object) -> None:
    installation: Installation = copied()  # type: ignore[operator]

    assert installation.burnish("promote", "smoke/1", "--reason", " ").returncode == 2
    moved = installation.burnish("promote", "smoke/1", "--reason", "shown to the board")

    assert moved.returncode == 0, moved.stderr
    assert "shown to the board" in installation.burnish("history", "smoke").stdout


def test_clean_removes_what_is_old_and_nothing_that_a_version_or_the_newest_run_needs(copied: object) -> None:
    installation: Installation = copied()  # type: ignore[operator]
    stale = installation.home / "answers" / ("f" * 64)
    stale.mkdir()
    (stale / "answers.parquet").write_bytes(b"old")
    for path in installation.home.rglob("*"):
        if path.is_file():
            os.utime(path, (0, 0))

    shown = installation.burnish("clean", "--dry-run")
    assert stale.exists()
    with home_in_use(installation.home, when_alone=lambda: None):
        busy = installation.burnish("clean")
    cleaned = installation.burnish("clean")

    assert (shown.returncode, busy.returncode, cleaned.returncode) == (0, 2, 0), cleaned.stderr
    assert "a recipe is at work" in busy.stderr
    assert f"would remove answers/{stale.name}" in shown.stdout
    assert "stays bases" in cleaned.stdout
    assert not stale.exists()
    again = installation.smoke()
    assert again.returncode == 0, again.stderr
    assert all(stage["reused"] for stage in installation.summary()["stages"])
    assert installation.burnish("predict", "--model", "smoke/1", "Hello").returncode == 0


def test_doctor_says_what_to_do(finished: Installation) -> None:
    healthy = finished.burnish("doctor")
    assert healthy.returncode == 0, healthy.stdout

    base = next(path for path in (finished.home / "bases").iterdir() if len(path.name) == 64)
    config = base / "config.json"
    content = config.read_bytes()
    try:
        config.write_bytes(content + b" ")
        broken = finished.burnish("doctor")
    finally:
        config.write_bytes(content)

    assert broken.returncode == 1
    assert "delete the damaged folders" in broken.stdout


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (["show", "nothing"], "there are runs of smoke;"),
        (["history", "nothing"], "nothing"),
        (["predict", "--model", "x/1", "a"], "x"),
    ],
)
def test_what_is_not_there_is_one_clear_error(finished: Installation, command: list[str], said: str) -> None:
    answer = finished.burnish(*command)

    assert answer.returncode == 2
    assert answer.stderr.startswith("burnish: ")
    assert said in answer.stderr
    assert "Traceback" not in answer.stderr


def test_outputs_of_an_option_are_a_table_in_mlflow(finished: Installation) -> None:
    tables = list((finished.home / "artifacts").rglob("outputs.json"))

    assert tables
    assert {"record_id", "reference"} <= set(json.loads(tables[0].read_text())["columns"])


def test_runs_in_mlflow_say_what_they_are(finished: Installation) -> None:
    from mlflow import MlflowClient

    summary = finished.summary()
    url = f"sqlite:///{finished.home / 'mlflow.db'}"
    client = MlflowClient(url, registry_uri=url)
    [experiment] = client.search_experiments(filter_string="name = 'smoke'")

    def found(where: str) -> dict[str, Any]:
        return {run.info.run_name: run for run in client.search_runs([experiment.experiment_id], where)}

    [(name, parent)] = found("tags.burnish.kind = 'recipe'").items()
    assert name == f"smoke {summary['snapshot'][:8]}"
    assert parent.data.metrics["gain"] < 0
    assert parent.data.tags["mlflow.note.content"].startswith("**Fine-tuning does not pay")
    assert {
        "burnish.verdict": "does_not_pay",
        "burnish.snapshot": summary["snapshot"],
    }.items() <= parent.data.tags.items()
    trials = found(f"tags.burnish.kind = 'trial' and tags.burnish.study = '{parent.data.tags['burnish.study']}'")
    assert set(trials) == {"trial/0", "trial/1"}
    for trial in trials.values():
        assert {"loss", "validation_exact_match", "validation_best", "training_seconds"} <= set(trial.data.metrics)
        assert float(trial.data.tags["burnish.machine_seconds"]) > 0
        assert trial.data.tags["burnish.snapshot"] == summary["snapshot"]
        assert trial.data.tags["mlflow.note.content"].startswith("**finished**")
    [candidate] = found("tags.burnish.candidate = 'yes'").values()
    version = client.get_model_version("smoke", "1")
    assert version.tags["burnish.adapter"] == candidate.data.tags["burnish.adapter"]
    assert version.run_id == parent.info.run_id
    scored = found(f"tags.burnish.kind = 'scorecard' and tags.mlflow.parentRunId = '{parent.info.run_id}'")
    assert set(scored) == {f"test/{option['name']}" for option in summary["options"]}
    for run in (parent, *trials.values(), *scored.values()):
        assert summary["snapshot"].startswith(run.inputs.dataset_inputs[0].dataset.digest)


def test_no_path_outside_home_is_written(finished: Installation) -> None:
    user = Path(finished.environment["HOME"])

    assert list(user.rglob("*")) == []
    assert {path.name for path in PROJECT.iterdir()} & {"mlruns", "mlflow.db", "mlartifacts", ".burnish"} == set()
