from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from configs.errors import BaseModelError
from tasks.models.worker import JobFailed, ModelWorker, WorkerDied

PROBE = "tasks.models.probe:probe"
PARENT = """
import sys, time
from pathlib import Path
from tasks.models.worker import ModelWorker

def on_report(values):
    print(worker.process_id, flush=True)
    {then}
    return True

with ModelWorker(Path(sys.argv[1]), precision="fp32", device="cpu", threads=1) as worker:
    worker.run("tasks.models.probe:probe", {{"text": "a", "passes": 10**9}}, on_report)
"""


def ask(passes: int) -> dict[str, Any]:
    return {"text": "Pain in the left knee", "passes": passes}


def gone(pid: int, seconds: float = 20) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
            return True
        time.sleep(0.02)
    return False


def parent_with_a_busy_worker(tiny_base: Path, *, then: str) -> tuple[subprocess.Popen[bytes], int]:
    command = [sys.executable, "-c", PARENT.format(then=then), str(tiny_base)]
    parent = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True)
    assert parent.stdout is not None
    return parent, int(parent.stdout.readline())


def test_jobs_run_one_after_another_in_one_process(shared_worker: ModelWorker) -> None:
    first = shared_worker.run(PROBE, ask(1))
    process_id = shared_worker.process_id

    second = shared_worker.run(PROBE, ask(2))

    assert (first["passes"], second["passes"]) == (1, 2)
    assert first["finite"] and first["parameters"] > 0
    assert shared_worker.process_id == process_id


def test_the_worker_keeps_to_its_threads(shared_worker: ModelWorker) -> None:
    assert shared_worker.run(PROBE, ask(1))["threads"] == 1


def test_the_worker_loads_no_orchestration(shared_worker: ModelWorker) -> None:
    modules = shared_worker.run(PROBE, ask(1))["modules"]

    assert "torch" in modules
    assert not {"prefect", "mlflow", "optuna", "great_expectations", "sklearn", "pandas"} & set(modules)


def test_reports_arrive_in_order_and_the_parent_can_stop_the_job(shared_worker: ModelWorker) -> None:
    reports = []

    def stop_at_three(values: dict[str, Any]) -> bool:
        reports.append(values["pass"])
        return len(reports) < 3

    result = shared_worker.run(PROBE, ask(10), stop_at_three)

    assert reports == [1, 2, 3]
    assert result["passes"] == 3


def test_a_job_that_raises_fails_with_its_reason_and_the_worker_goes_on(shared_worker: ModelWorker) -> None:
    with pytest.raises(JobFailed, match=r"^KeyError: 'text'$") as failure:
        shared_worker.run(PROBE, {})
    process_id = shared_worker.process_id

    assert failure.value.kind == "KeyError"
    assert shared_worker.run(PROBE, ask(1))["passes"] == 1
    assert shared_worker.process_id == process_id


@pytest.mark.parametrize("job", ["os:system", "tasks.models.probe", "tasks.models.probe:nothing", "tasks.nothing:x"])
def test_only_functions_of_the_rooms_are_jobs(shared_worker: ModelWorker, job: str) -> None:
    with pytest.raises(JobFailed):
        shared_worker.run(job, {})


def test_a_killed_worker_is_told_and_the_next_job_has_a_new_one(worker: ModelWorker) -> None:
    def kill(values: dict[str, Any]) -> bool:
        assert worker.process_id is not None
        os.kill(worker.process_id, signal.SIGKILL)
        return True

    with pytest.raises(WorkerDied, match=r"by signal 9 .* probably out of memory") as death:
        worker.run(PROBE, ask(10), kill)

    assert death.value.exit_code == -signal.SIGKILL
    assert worker.run(PROBE, ask(1))["passes"] == 1


def test_an_error_in_the_parents_report_ends_the_job_and_comes_through(worker: ModelWorker) -> None:
    worker.run(PROBE, ask(1))
    process_id = worker.process_id
    assert process_id is not None

    def fail(values: dict[str, Any]) -> bool:
        raise ConnectionError("the study's database is gone")

    with pytest.raises(ConnectionError):
        worker.run(PROBE, ask(10), fail)

    assert gone(process_id)
    assert worker.run(PROBE, ask(1))["passes"] == 1


def test_a_base_that_is_not_there_is_a_clear_error(tmp_path: Path) -> None:
    with (
        ModelWorker(tmp_path / "nothing", precision="fp32", device="cpu", threads=1) as worker,
        pytest.raises(BaseModelError, match="nothing"),
    ):
        worker.run(PROBE, ask(1))


def test_a_base_that_could_not_be_loaded_long_before_the_job_is_the_same_clear_error(tmp_path: Path) -> None:
    with ModelWorker(tmp_path / "nothing", precision="fp32", device="cpu", threads=1) as worker:
        assert worker.process_id is not None
        assert gone(worker.process_id, seconds=120)

        with pytest.raises(BaseModelError, match="nothing"):
            worker.run(PROBE, ask(1))


def test_leaving_the_block_ends_the_process(tiny_base: Path) -> None:
    with ModelWorker(tiny_base, precision="fp32", device="cpu", threads=1) as worker:
        process_id = worker.process_id

    assert process_id is not None
    assert gone(process_id)


def test_a_killed_parent_leaves_no_worker(tiny_base: Path) -> None:
    parent, worker = parent_with_a_busy_worker(tiny_base, then="time.sleep(60)")
    assert psutil.pid_exists(worker)

    os.kill(parent.pid, signal.SIGKILL)
    parent.communicate()

    assert gone(worker)


def test_ctrl_c_leaves_no_worker(tiny_base: Path) -> None:
    parent, worker = parent_with_a_busy_worker(tiny_base, then="pass")

    os.killpg(parent.pid, signal.SIGINT)
    _, errors = parent.communicate(timeout=60)

    assert gone(worker)
    assert b"KeyboardInterrupt" in errors
    assert b"WorkerDied" not in errors


def test_what_the_job_prints_does_not_disturb_the_protocol(
    tiny_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    noise = 'import atexit, sys; print("{}" * 20000, flush=True); print("{}" * 20000, file=sys.stderr, flush=True)\n'
    (tmp_path / "sitecustomize.py").write_text(noise)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))

    with ModelWorker(tiny_base, precision="fp32", device="cpu", threads=1) as worker:
        assert worker.run(PROBE, ask(1))["passes"] == 1
