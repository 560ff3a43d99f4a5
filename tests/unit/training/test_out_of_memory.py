from __future__ import annotations

from typing import Any

import pytest

from tasks.models.worker import JobFailed, WorkerDied
from tasks.training.out_of_memory import ran_out_of_memory, train_within_memory

KILLED = WorkerDied(-9, "")


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (WorkerDied(-9, ""), True),
        (WorkerDied(-11, "segmentation fault"), False),
        (WorkerDied(1, "ImportError"), False),
        (JobFailed("OutOfMemoryError: CUDA out of memory. Tried to allocate 2 GiB", "OutOfMemoryError"), True),
        (JobFailed("RuntimeError: [enforce fail] DefaultCPUAllocator: can't allocate memory", "RuntimeError"), True),
        (JobFailed("RuntimeError: not enough memory: you tried to allocate 9 bytes.", "RuntimeError"), True),
        (JobFailed("MemoryError: ", "MemoryError"), True),
        (JobFailed("RuntimeError: mat1 and mat2 shapes cannot be multiplied", "RuntimeError"), False),
        (JobFailed("training diverged: not enough memory", "TrainingDiverged"), False),
    ],
)
def test_only_memory_counts_as_out_of_memory(error: JobFailed | WorkerDied, expected: bool) -> None:
    assert ran_out_of_memory(error) is expected


class Attempts:
    """Says its micro-batch, as the job does, then does what the script says."""

    def __init__(self, *script: BaseException | None, begins_with: int = 16, says: bool = True) -> None:
        self.limits: list[int | None] = []
        self.restarts = 0
        self._script, self._size, self._says = list(script), begins_with, says

    def run(self, arguments: dict[str, Any], on_report: Any) -> dict[str, Any]:
        self.limits.append(arguments.get("micro_batch_limit"))
        if self._says:
            on_report({"kind": "memory", "micro_batch_size": arguments.get("micro_batch_limit") or self._size})
        error = self._script.pop(0)
        if error is not None:
            raise error
        return {"state": "finished"}

    def train(self) -> dict[str, Any]:
        return train_within_memory(self.run, {}, lambda values: True, restart=self._restart)

    def _restart(self) -> None:
        self.restarts += 1


def test_out_of_memory_is_tried_once_more_with_half_the_micro_batch_in_a_new_process() -> None:
    attempts = Attempts(KILLED, None)

    assert attempts.train() == {"state": "finished"}
    assert (attempts.limits, attempts.restarts) == ([None, 8], 1)


def test_the_second_time_it_fails_with_its_reason() -> None:
    attempts = Attempts(KILLED, KILLED)

    with pytest.raises(JobFailed, match=r"micro-batch of 16, and again with 8 .*training.micro_batch_size"):
        attempts.train()
    assert attempts.limits == [None, 8]


def test_a_micro_batch_of_one_record_cannot_be_halved() -> None:
    attempts = Attempts(KILLED, begins_with=1)

    with pytest.raises(WorkerDied):
        attempts.train()


def test_a_death_before_the_fine_tune_began_is_not_its_own() -> None:
    attempts = Attempts(KILLED, says=False)

    with pytest.raises(WorkerDied):
        attempts.train()


@pytest.mark.parametrize("error", [JobFailed("diverged", "TrainingDiverged"), WorkerDied(1, ""), KeyboardInterrupt()])
def test_other_ends_are_not_tried_again(error: BaseException) -> None:
    attempts = Attempts(error)

    with pytest.raises(type(error)):
        attempts.train()
    assert attempts.limits == [None]


def test_another_failure_of_the_second_attempt_keeps_its_own_reason() -> None:
    with pytest.raises(JobFailed, match=r"^diverged$"):
        Attempts(KILLED, JobFailed("diverged", "TrainingDiverged")).train()
