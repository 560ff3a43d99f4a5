"""A study over real fine-tunes of a tiny model, in a worker process."""

import os
import signal
from contextlib import contextmanager

import optuna
import pytest

from configs.schema import Range, Search, Template, Training
from tasks.data.records import Record, Turn
from tasks.data.smoke import records as smoke_rows
from tasks.data.snapshots import write_snapshot
from tasks.models.worker import ModelWorker
from tasks.search.study_runner import TrialCallbacks, run_study
from tasks.storage.durable import is_valid_directory
from tasks.training.arguments import TrainArguments
from tasks.training.identity import training_key
from tests.integration.search.fake_training import Heard

SEED = 17
TEMPLATE = Template()
TRAINING = Training(lora_rank=4, batch_size=8, evaluations=3, max_validation_records=8)
SEARCH = Search(space={"learning_rate": Range(low=1.0e-4, high=1.0e-2, log=True)}, trials=3)


@pytest.fixture
def snapshot(tmp_path):
    splits = ["train"] * 3 + ["validation", "test"]
    records = [
        Record(f"{number:016d}", splits[number % 5], str(number), (Turn("user", row["prompt"]),), row["completion"])
        for number, row in enumerate(smoke_rows(count=60))
    ]
    return write_snapshot(records, snapshots=tmp_path / "snapshots", source_digest="0" * 64, labels="infer")


@pytest.fixture
def study(trained_home, snapshot, tmp_path, url):
    """Runs the study with a callback for reports; `study.workers` are its workers."""

    def arguments(request):
        labels = ("billing", "delivery", "login", "returns")
        key = training_key(
            request.training,
            TEMPLATE,
            snapshot=snapshot,
            base_digest=trained_home.base,
            precision="fp32",
            seed=request.seed,
            labels=labels,
            metric="exact_match",
            decoding="label_scoring",
            max_new_tokens=8,
        )
        wanted = TrainArguments(
            training=request.training,
            template=TEMPLATE,
            snapshots=tmp_path / "snapshots",
            snapshot=snapshot,
            labels=labels,
            metric="exact_match",
            decoding="label_scoring",
            seed=request.seed,
            checkpoints=tmp_path / "checkpoints",
            training_key=key,
            adapters=tmp_path / "adapters",
            max_new_tokens=8,
            token_budget=2048,
        )
        return wanted.model_dump(mode="json")

    @contextmanager
    def open_trainer(slot):
        with ModelWorker(trained_home.base_directory, precision="fp32", device="cpu", threads=1) as worker:
            run.workers.append(worker)
            yield lambda request, on_report: worker.run("tasks.training.jobs:train", arguments(request), on_report)

    def run(on_step):
        heard = Heard().callbacks()
        callbacks = TrialCallbacks(heard.on_trial_started, on_step, heard.on_trial_ended)
        return run_study(
            study_name="study",
            study_url=url,
            search=SEARCH,
            training=TRAINING,
            seed=SEED,
            independent_records=TRAINING.max_validation_records,
            open_trainer=open_trainer,
            callbacks=callbacks,
        )

    run.workers = []
    return run


@pytest.mark.slow
def test_a_worker_that_is_killed_costs_that_trial_alone(study):
    def kill_worker(request, report):
        if request.name == "trial/1":
            os.kill(study.workers[0].process_id, signal.SIGKILL)

    result = study(kill_worker)

    reasons = {row.number: row.reason for row in result.trials if row.state == "failed"}
    assert list(reasons) == [1]
    assert "signal 9" in reasons[1]
    assert sum(row.state in ("finished", "pruned") for row in result.trials) == 3


@pytest.mark.slow
def test_an_interrupt_ends_the_worker_and_the_next_command_resumes_the_trial(study, url, tmp_path):
    interrupted = []

    def interrupt_once(request, report):
        if request.name == "trial/0" and report["kind"] == "validation" and not interrupted:
            interrupted.append(report["step"])
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        study(interrupt_once)
    states = [trial.state.name for trial in optuna.load_study(study_name="study", storage=url).trials]
    replayed = []
    result = study(lambda request, report: report["kind"] != "memory" and replayed.append((request.name, report)))

    assert "RUNNING" not in states
    assert all(worker.process_id is None for worker in study.workers)
    assert replayed[0][0] == "trial/0"
    assert replayed[0][1]["replayed"] is True
    assert len(result.trials) == 3
    assert is_valid_directory(tmp_path / "adapters" / result.adapter)
