"""A run killed anywhere is finished by the same command, with the same result."""

from __future__ import annotations

import signal
import time
from typing import Any

import psutil
import pytest

from tests.e2e.installation import RUN_TIMEOUT_SECONDS, Installation
from tests.e2e.servers import wait_for

POINTS = [
    "run:child-created:4",
    "stage:search:before-commit",
    "register:after-version",
    "stage:promote:before-commit",
]
"""The most entangled ones, one run after another killed at the next; `python -m benchmarks.kills` goes through every
durable write, through each in a fresh run, and through random moments."""


def essence(summary: dict[str, Any]) -> dict[str, Any]:
    """What a run that was killed must have in common with one that was not."""
    return {
        "stages": [stage["name"] for stage in summary["stages"]],
        "options": [(row["name"], row["value"], row["low"], row["high"]) for row in summary["options"]],
        "verdict": summary["verdict"]["kind"],
        "promote": summary["decision"]["promote"],
        "look": summary["decision"]["look"],
        "version": summary["model"]["version"],
    }


def processes_of(installation: Installation) -> list[psutil.Process]:
    """Every process that works on this installation."""
    home = str(installation.home)
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("BURNISH_HOME") == home and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return found


def assert_no_process_is_left(installation: Installation) -> None:
    deadline = time.monotonic() + 60
    while (left := processes_of(installation)) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert left == []


def assert_nothing_runs(installation: Installation, *, trials: int = 2) -> None:
    """Nothing is RUNNING in MLflow, Optuna or Prefect."""
    import optuna
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import FlowRunFilter

    from tasks.tracking.mlflow_runs import Tracker

    tracker = Tracker(f"sqlite:///{installation.home / 'mlflow.db'}", installation.home)
    for experiment in tracker.client.search_experiments():
        assert tracker.runs(experiment.experiment_id, tags={}, status="RUNNING") == []
    url = f"sqlite:///{installation.home / 'optuna.db'}"
    states = [
        trial.state.name
        for name in optuna.study.get_all_study_names(url)
        for trial in optuna.load_study(study_name=name, storage=url).trials
    ]
    assert "RUNNING" not in states
    assert sum(state in ("COMPLETE", "PRUNED") for state in states) == trials
    running = FlowRunFilter.model_validate({"state": {"type": {"any_": ["RUNNING", "PENDING"]}}})
    with get_client(sync_client=True) as client:
        assert client.read_flow_runs(flow_run_filter=running) == []


@pytest.mark.slow
def test_the_same_command_finishes_what_kills_left(finished: Installation, installation: Installation) -> None:
    for point in POINTS:
        killed = installation.smoke(BURNISH_KILL_AT=point)
        assert killed.returncode == -9, (point, killed.stderr)
        assert_no_process_is_left(installation)

    done = installation.smoke()

    assert done.returncode == 0, done.stderr
    assert essence(installation.summary()) == essence(finished.summary())
    assert_nothing_runs(installation)
    assert_no_process_is_left(installation)


@pytest.mark.slow
def test_a_command_without_a_server_leaves_none_behind_when_killed(installation: Installation) -> None:
    alone = Installation(installation.home, {"PREFECT_API_URL": ""})

    killed = alone.smoke(BURNISH_KILL_AT="stage:prepare:after-commit")

    assert killed.returncode == -9
    assert_no_process_is_left(alone)


@pytest.mark.slow
def test_ctrl_c_is_tidy(installation: Installation) -> None:
    command = installation.start_smoke()
    wait_for((installation.home / "snapshots").exists, what="the first stage's work")

    command.send_signal(signal.SIGINT)
    _, errors = command.communicate(timeout=RUN_TIMEOUT_SECONDS)

    # Python ends by the signal itself where the interrupt passed through code made from a string
    assert command.returncode in (130, -signal.SIGINT), errors
    assert "the same command goes on from here" in errors
    assert_no_process_is_left(installation)
