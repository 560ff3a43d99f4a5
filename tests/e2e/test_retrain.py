"""Retraining from the command line: it says why it goes or not, and trains the same thing once, whatever happens."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from configs.loading import load_recipe
from configs.settings import settings_from
from tests.e2e.installation import PROJECT, RUN_TIMEOUT_SECONDS, Installation, clean_environment
from tests.e2e.test_kill import assert_no_process_is_left, assert_nothing_runs

if TYPE_CHECKING:
    from tasks.tracking.mlflow_runs import Tracker

RETRAIN = ("retrain", "--recipe", "configs/smoke.yaml")
OTHER_DATA = (*RETRAIN, "data.source.options={count: 150}", "search.trials=1", "search.confirmation_seeds=0")
TRIGGERS = 5
HEAVY = ("torch", "transformers", "peft", "datasets", "great_expectations", "optuna", "sklearn")

_LOADED = """
import sys
from flows.__main__ import main
code = main(sys.argv[2:])
print("loaded:", *[name for name in sys.argv[1].split(",") if name in sys.modules])
sys.exit(code)
"""


@dataclass(frozen=True)
class Storm:
    """Several triggers for the same data at once, after a retrain for it was killed."""

    installation: Installation
    ended: list[subprocess.CompletedProcess[str]]

    def outputs(self, *, skipped: bool) -> list[str]:
        return [each.stdout for each in self.ended if ("Skipped: " in each.stdout) == skipped]


@pytest.fixture(scope="module")
def storm(finished: Installation, tmp_path_factory: pytest.TempPathFactory) -> Storm:
    installation = finished.copy_to(tmp_path_factory.mktemp("storm") / "home")
    killed = installation.burnish(*OTHER_DATA, BURNISH_KILL_AT="retrain:data-compared")
    assert killed.returncode == -9, killed.stderr
    assert_no_process_is_left(installation)
    started = [installation.start(*OTHER_DATA) for _ in range(TRIGGERS)]
    ended = []
    for command in started:
        output, errors = command.communicate(timeout=RUN_TIMEOUT_SECONDS)
        ended.append(subprocess.CompletedProcess(command.args, command.returncode, output, errors))
    return Storm(installation, ended)


def tracker_of(installation: Installation) -> Tracker:
    from tasks.tracking.mlflow_runs import Tracker

    return Tracker(f"sqlite:///{installation.home / 'mlflow.db'}", installation.home)


def retrained_runs(installation: Installation) -> list[Any]:
    """MLflow's runs that a retrain began, newest first."""
    tracker = tracker_of(installation)
    runs = tracker.runs(tracker.experiment("smoke"), tags={"burnish.kind": "recipe"})
    return [run for run in runs if "burnish.retrain.key" in run.data.tags]


def artifact(installation: Installation, run: Any, path: str) -> Any:
    text = tracker_of(installation).read_text(run.info.run_id, path)
    assert text is not None, f"{path} is missing"
    return json.loads(text)


def prefect_runs(installation: Installation) -> list[Any]:
    """Prefect's runs of the flow `retrain` in an installation."""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import FlowFilter, FlowRunFilter

    from tasks.tracking.prefect_server import recipe_tags

    settings = settings_from({"BURNISH_HOME": str(installation.home)}, project_root=installation.home)
    of_home = FlowRunFilter.model_validate({"tags": {"all_": recipe_tags("smoke", settings.installation)}})
    with get_client(sync_client=True) as client:
        return list(
            client.read_flow_runs(
                flow_filter=FlowFilter.model_validate({"name": {"any_": ["retrain"]}}), flow_run_filter=of_home
            )
        )


@pytest.mark.slow
def test_nothing_changed_is_told_and_touches_no_model(copied: Callable[[], Installation]) -> None:
    installation = copied()

    skipped = subprocess.run(
        [sys.executable, "-c", _LOADED, ",".join(HEAVY), *RETRAIN],
        env={**clean_environment(), **installation.environment, "BURNISH_HOME": str(installation.home)},
        cwd=PROJECT, capture_output=True, text=True, timeout=RUN_TIMEOUT_SECONDS,
    )  # fmt: skip

    (run,) = prefect_runs(installation)
    assert skipped.returncode == 0, skipped.stderr
    assert "Skipped: nothing changed since run" in skipped.stdout
    assert "nothing changed" not in skipped.stderr
    assert skipped.stdout.splitlines()[-1] == "loaded:"
    assert run.state.name == "Skipped"


@pytest.mark.slow
def test_of_many_triggers_at_once_one_trains_and_the_others_say_why_not(storm: Storm) -> None:
    assert [each.returncode for each in storm.ended] == [0] * TRIGGERS, [each.stderr for each in storm.ended]
    (trained,) = storm.outputs(skipped=False)
    assert "Decision" in trained
    for output in storm.outputs(skipped=True):
        assert "is being worked on by process" in output or "nothing changed since run" in output
    states = [run.state.name for run in prefect_runs(storm.installation)]
    assert (states.count("Rejected"), states.count("Skipped")) == (1, TRIGGERS - 1)


@pytest.mark.slow
def test_a_killed_retrain_is_gone_on_with_and_nothing_is_doubled(storm: Storm) -> None:
    (run,) = retrained_runs(storm.installation)

    assert run.info.status == "FINISHED"
    assert artifact(storm.installation, run, "summary.json")["model"]["version"] == "2"
    assert "Crashed" in [run.state.name for run in prefect_runs(storm.installation)]


@pytest.mark.slow
def test_a_later_trigger_for_the_same_is_skipped(storm: Storm) -> None:
    again = storm.installation.burnish(*OTHER_DATA)

    assert again.returncode == 0, again.stderr
    assert "Skipped: nothing changed since run" in again.stdout
    assert len(retrained_runs(storm.installation)) == 1
    assert_nothing_runs(storm.installation, trials=3)


@pytest.mark.slow
def test_what_the_data_gained_and_lost_is_told(storm: Storm) -> None:
    (run,) = retrained_runs(storm.installation)
    changes = artifact(storm.installation, run, "retrain/data_changes.json")

    assert (changes["before"], changes["now"]) == (240, 150)
    assert (changes["added"], changes["removed"], changes["changed"]) == (0, 90, 0)
    assert changes["trained_on_now_tested"] == 0


@pytest.mark.slow
def test_a_new_base_model_is_compared_with_the_champion_on_its_own_base(storm: Storm, tmp_path: Path) -> None:
    installation = storm.installation.copy_to(tmp_path / "home")
    assert installation.burnish("promote", "smoke/2", "--reason", "field trial").returncode == 0
    other_base = (*OTHER_DATA, "base.seed=1", "retraining.cool_down_hours=0")

    killed = installation.burnish(*other_base, BURNISH_KILL_AT="retrain:remembered")
    done = installation.burnish(*other_base)

    assert killed.returncode == -9, killed.stderr
    assert done.returncode == 0, done.stderr
    (run, old_run) = retrained_runs(installation)
    before, after = (artifact(installation, each, "summary.json") for each in (old_run, run))
    earlier, later = ({row["name"]: row["value"] for row in summary["options"]} for summary in (before, after))
    # the same test records: a champion that answers with its own base scores what it scored as a candidate
    assert later["champion (version 2)"] == earlier["candidate"]
    assert not {stage["name"] for stage in after["stages"] if stage["reused"]} & {"baseline", "search", "evaluate"}
    assert not after["decision"]["promote"]
    assert after["decision"]["champion_version"] == "2"

    assert "the base model changed since version 2 was trained" in run.data.tags["burnish.retrain.reasons"]
    warm = json.loads(run.data.tags["burnish.warm_start"])
    assert warm["run"] == before["run_id"]
    study = artifact(installation, run, "stages/search.json")["outputs"]["study"]
    assert study["trials"][0]["parameters"] == warm["parameters"]
    slices = artifact(installation, run, "retrain/slice_changes.json")
    assert slices["columns"][2:4] == ["champion (version 2)", "candidate"]
    assert {row[0] for row in slices["data"]} >= {"label billing", "channel email"}


@pytest.mark.slow
def test_a_champion_over_its_age_is_really_trained_again_and_once_though_nothing_changed(
    storm: Storm, tmp_path: Path
) -> None:
    installation = storm.installation.copy_to(tmp_path / "home")
    assert installation.burnish("promote", "smoke/2", "--reason", "field trial").returncode == 0
    aged = (*OTHER_DATA, "retraining.max_age_days=0.00001", "retraining.cool_down_hours=0")

    killed = installation.burnish(*aged, BURNISH_KILL_AT="retrain:remembered")
    done = installation.burnish(*aged)

    assert killed.returncode == -9, killed.stderr
    assert done.returncode == 0, done.stderr
    (run, old_run) = retrained_runs(installation)
    assert run.info.status == "FINISHED"
    assert "the champion is" in run.data.tags["burnish.retrain.reasons"]
    reused = {stage["name"]: stage["reused"] for stage in artifact(installation, run, "summary.json")["stages"]}
    assert reused["baseline"] and not reused["search"]
    earlier, later = (artifact(installation, each, "stages/search.json")["outputs"] for each in (old_run, run))
    assert later["candidate"] != earlier["candidate"]
    study = {"burnish.study": later["study"]["study_name"], "burnish.kind": "trial"}
    tracker = tracker_of(installation)
    assert len(tracker.runs(tracker.experiment("smoke"), tags=study)) == 1
    assert artifact(installation, run, "summary.json")["model"]["version"] == "3"


def test_records_that_were_cleaned_away_are_told_and_the_retrain_goes_on(
    storm: Storm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tasks.monitoring.tasks import compare_data
    from tasks.tracking.recipe_run import RecipeRun
    from tasks.tracking.stage_ledger import StageRecord

    installation = storm.installation.copy_to(tmp_path / "home")
    monkeypatch.setenv("BURNISH_HOME", str(installation.home))
    (retrained,) = retrained_runs(installation)
    changes = artifact(installation, retrained, "retrain/data_changes.json")
    tracker = tracker_of(installation)
    experiment = tracker.experiment("smoke")
    parent = tracker.open_parent(experiment, recipe_digest="other", params={})
    run = RecipeRun(load_recipe(PROJECT / "configs" / "smoke.yaml", ()), PROJECT, experiment, parent)
    checked = StageRecord("validate", "", {"snapshot": changes["snapshot_before"]}, 0.0, 0.0, parent, False)
    shutil.rmtree(installation.home / "snapshots" / changes["snapshot_now"])

    told = compare_data.fn(run, checked)

    assert "are not here any more" in told
    assert tracker.run(parent).data.tags["burnish.data_changes"] == told
