from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from configs.errors import ServerError
from tasks.tracking.mlflow_runs import MetricRow, Tracker


def open_parent(tracker: Tracker, experiment: str, *, digest: str = "a") -> str:
    return tracker.open_parent(experiment, recipe_digest=digest, params={"seed": 1})


def test_an_experiment_is_made_once(tracker: Tracker) -> None:
    assert tracker.experiment("icd10") == tracker.experiment("icd10")


def test_artifacts_lie_in_the_home(tracker: Tracker) -> None:
    run_id = open_parent(tracker, tracker.experiment("icd10"))

    tracker.log_text(run_id, "hello", "notes/hello.txt")

    assert [path.read_text() for path in (tracker.home / "artifacts").rglob("hello.txt")] == ["hello"]


def test_a_deleted_experiment_is_answered_with_the_command_that_restores_it(tracker: Tracker) -> None:
    experiment = tracker.experiment("icd10")
    tracker.client.delete_experiment(experiment)

    with pytest.raises(ServerError, match=f"mlflow experiments restore -x {experiment}"):
        tracker.experiment("icd10")


@pytest.mark.parametrize("left", ["RUNNING", "KILLED", "FAILED"])
def test_an_unfinished_parent_of_the_same_recipe_is_continued(tracker: Tracker, left: str) -> None:
    experiment = tracker.experiment("icd10")
    first = open_parent(tracker, experiment)
    if left != "RUNNING":
        tracker.finish(first, left)  # type: ignore[arg-type]

    again = open_parent(tracker, experiment)

    assert (again, tracker.run(again).info.status) == (first, "RUNNING")


def test_a_finished_parent_is_left_alone(tracker: Tracker) -> None:
    experiment = tracker.experiment("icd10")
    first = open_parent(tracker, experiment)
    tracker.finish(first, "FINISHED")

    assert open_parent(tracker, experiment) != first


def test_another_recipe_gets_another_parent(tracker: Tracker) -> None:
    experiment = tracker.experiment("icd10")

    assert open_parent(tracker, experiment, digest="a") != open_parent(tracker, experiment, digest="b")


def test_a_child_stands_once_under_its_parent(tracker: Tracker) -> None:
    experiment = tracker.experiment("icd10")
    parent, other = open_parent(tracker, experiment, digest="a"), open_parent(tracker, experiment, digest="b")
    first = tracker.child(parent, "trial/0", kind="trial", tags={})
    tracker.finish(first, "KILLED")

    again = tracker.child(parent, "trial/0", kind="trial", tags={"resumed": "yes"})

    assert again == first
    assert tracker.run(again).info.status == "RUNNING"
    assert tracker.run(again).data.tags["resumed"] == "yes"
    assert first not in {
        tracker.child(parent, "trial/1", kind="trial", tags={}),
        tracker.child(other, "trial/0", kind="trial", tags={}),
    }


def test_a_trial_of_a_study_that_goes_on_under_another_parent_stays_one_run(tracker: Tracker) -> None:
    experiment = tracker.experiment("icd10")
    first, second = open_parent(tracker, experiment, digest="a"), open_parent(tracker, experiment, digest="b")
    trial = tracker.child(first, "trial/0", kind="trial", tags={}, identity="study", of_any_parent=True)

    again = tracker.child(second, "trial/0", kind="trial", tags={}, identity="study", of_any_parent=True)
    of_another_study = tracker.child(second, "trial/0", kind="trial", tags={}, identity="other", of_any_parent=True)

    assert again == trial
    assert tracker.run(trial).data.tags["mlflow.parentRunId"] == first
    assert of_another_study != trial


def test_runs_are_found_by_what_they_hold(tracker: Tracker) -> None:
    experiment = tracker.experiment("icd10")
    parent = open_parent(tracker, experiment)
    trial = tracker.child(parent, "trial/0", kind="trial", tags={"burnish.study": "s"})
    tracker.child(parent, "option/classical", kind="option", tags={})
    tracker.client.create_run(experiment)

    assert [run.info.run_id for run in tracker.runs(experiment, tags={"burnish.kind": "trial"})] == [trial]
    assert [run.info.run_id for run in tracker.runs(experiment, tags={"burnish.study": None})] == [trial]
    assert len(tracker.runs(experiment, tags={"burnish.kind": None})) == 3


def test_a_run_is_renamed_and_described(tracker: Tracker) -> None:
    run_id = open_parent(tracker, tracker.experiment("icd10"))

    tracker.rename(run_id, "icd10 1a2b3c4d")
    tracker.describe(run_id, "**pays**")

    run = tracker.run(run_id)
    assert (run.info.run_name, run.data.tags["mlflow.runName"]) == ("icd10 1a2b3c4d", "icd10 1a2b3c4d")
    assert run.data.tags["mlflow.note.content"] == "**pays**"


@pytest.mark.parametrize("name", ["nearest-8 (label scoring)", "ada's wording", 'the "best"', "答え"])
def test_a_child_of_any_name_is_found_again(tracker: Tracker, name: str) -> None:
    parent = open_parent(tracker, tracker.experiment("icd10"))

    assert tracker.child(parent, name, kind="option", tags={}) == tracker.child(parent, name, kind="option", tags={})


def test_leftovers_are_closed_but_neither_the_parent_at_work_nor_runs_of_people(tracker: Tracker) -> None:
    experiment = tracker.experiment("icd10")
    dead, kept = open_parent(tracker, experiment, digest="a"), open_parent(tracker, experiment, digest="b")
    orphan = tracker.child(dead, "trial/0", kind="trial", tags={})
    by_hand = tracker.client.create_run(experiment).info.run_id

    closed = tracker.close_leftovers(experiment, keep=kept)

    assert set(closed) == {dead, orphan}
    assert {tracker.run(run).info.status for run in (dead, orphan)} == {"KILLED"}
    assert {tracker.run(run).info.status for run in (kept, by_hand)} == {"RUNNING"}


def test_nested_params_are_logged_by_dotted_key_and_long_ones_cut(tracker: Tracker) -> None:
    recipe = {"data": {"labels": ["a", "b"], "split": {}}, "name": "x", "text": "t" * 7000, "none": None}
    run_id = tracker.open_parent(tracker.experiment("icd10"), recipe_digest="a", params=recipe)

    params = tracker.run(run_id).data.params

    assert {key: params[key] for key in ("data.labels", "data.split", "name", "none")} == {
        "data.labels": '["a", "b"]',
        "data.split": "{}",
        "name": "x",
        "none": "null",
    }
    assert len(params["text"]) == 6000


def test_more_params_and_metrics_than_one_request_holds_are_all_logged(tracker: Tracker) -> None:
    run_id = tracker.open_parent(
        tracker.experiment("icd10"), recipe_digest="a", params={f"p{number}": number for number in range(250)}
    )

    tracker.log_metrics_batch(run_id, [MetricRow("loss", 1.0 / (step + 1), step) for step in range(2500)])

    assert len(tracker.run(run_id).data.params) == 250
    assert len(tracker.client.get_metric_history(run_id, "loss")) == 2500


def test_a_loss_that_is_not_a_number_can_be_logged(tracker: Tracker) -> None:
    run_id = open_parent(tracker, tracker.experiment("icd10"))

    tracker.log_metrics_batch(run_id, [MetricRow("loss", math.nan, 1)])

    assert math.isnan(tracker.run(run_id).data.metrics["loss"])


def test_a_table_logged_twice_has_its_rows_once(tracker: Tracker) -> None:
    run_id = open_parent(tracker, tracker.experiment("icd10"))

    for _ in range(2):
        tracker.log_table(run_id, {"record": ["r1", "r2"], "output": ["A", "B"]}, "outputs.json")

    stored = json.loads(tracker.read_text(run_id, "outputs.json") or "")
    assert stored == {"columns": ["record", "output"], "data": [["r1", "A"], ["r2", "B"]]}
    tag = tracker.run(run_id).data.tags["mlflow.loggedArtifacts"]
    assert json.loads(tag) == [{"path": "outputs.json", "type": "table"}]


def test_a_file_is_stored_and_a_missing_artifact_reads_as_none(tracker: Tracker, tmp_path: Path) -> None:
    run_id = open_parent(tracker, tracker.experiment("icd10"))
    (tmp_path / "report.html").write_text("<p>")

    tracker.log_file(run_id, tmp_path / "report.html", "report")

    assert tracker.read_text(run_id, "report/report.html") == "<p>"
    assert tracker.read_text(run_id, "report/other.html") is None


def test_the_whole_snapshot_digest_is_on_the_run(tracker: Tracker) -> None:
    run_id = open_parent(tracker, tracker.experiment("icd10"))

    tracker.log_snapshot_input(run_id, "d" * 64, name="icd10")

    [logged] = tracker.run(run_id).inputs.dataset_inputs
    assert (logged.dataset.digest, json.loads(logged.dataset.source)) == ("d" * 36, {"snapshot": "d" * 64})


def test_what_mlflow_refuses_is_said_with_what_was_being_done(tracker: Tracker) -> None:
    with pytest.raises(ServerError, match="can't read the run nothing in MLflow at sqlite"):
        tracker.run("nothing")


def test_an_active_run_named_in_the_environment_is_not_written_to(
    tracker: Tracker, monkeypatch: pytest.MonkeyPatch
) -> None:
    experiment = tracker.experiment("icd10")
    hijacked = tracker.client.create_run(experiment).info.run_id
    monkeypatch.setenv("MLFLOW_RUN_ID", hijacked)

    parent = open_parent(tracker, experiment)
    tracker.log_metrics_batch(parent, [MetricRow("loss", 1.0, 0)])

    assert tracker.run(hijacked).data.metrics == {}


def asked_twice(tracker: Tracker, monkeypatch: pytest.MonkeyPatch, request: str) -> None:
    """A server that carries a request out, goes away, and is asked again."""
    real = getattr(tracker.client, request)
    monkeypatch.setattr(Tracker, "is_server", True)
    monkeypatch.setattr(tracker.client, request, lambda *given, **named: [real(*given, **named) for _ in range(2)][1])


def test_a_run_that_a_server_created_twice_is_there_once(tracker: Tracker, monkeypatch: pytest.MonkeyPatch) -> None:
    experiment = tracker.experiment("icd10")
    tracker.finish(open_parent(tracker, experiment), "FINISHED")
    asked_twice(tracker, monkeypatch, "create_run")

    parent = open_parent(tracker, experiment)
    child = tracker.child(parent, "trial/0", kind="trial", tags={})
    other = tracker.child(parent, "trial/1", kind="trial", tags={}, of_any_parent=True)

    running = [run.info.run_id for run in tracker.runs(experiment, tags={}, status="RUNNING")]
    assert sorted(running) == sorted([parent, child, other]), "each once, and none deleted for another's sake"
    assert len(tracker.runs(experiment, tags={}, status="FINISHED")) == 1
