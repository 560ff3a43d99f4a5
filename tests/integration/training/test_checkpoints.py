from __future__ import annotations

import pickle
from pathlib import Path

import pytest
import torch

from tasks.training.checkpoints import (
    Checkpoint,
    newest_checkpoint,
    save_checkpoint,
    step_directory,
)
from tasks.training.progress import Progress


def _save(directory: Path, *, step: int, best_step: int) -> None:
    progress = Progress(step=step, best_step=best_step, best_value=0.5, recent_losses=[1.0 / 3])
    optimizer = {"state": {0: {"step": torch.tensor(float(step))}}, "param_groups": [{"lr": 0.1, "params": [0]}]}
    save_checkpoint(directory, Checkpoint({"a": torch.full((2, 2), float(step))}, optimizer, progress))


def _steps(directory: Path) -> list[int]:
    return sorted(int(path.name.removeprefix("step-")) for path in directory.glob("step-*"))


def test_what_was_saved_is_loaded(tmp_path: Path) -> None:
    _save(tmp_path, step=4, best_step=4)

    checkpoint = newest_checkpoint(tmp_path)

    assert checkpoint is not None
    assert torch.equal(checkpoint.weights["a"], torch.full((2, 2), 4.0))
    assert checkpoint.optimizer["state"][0]["step"] == 4
    assert checkpoint.progress == Progress(step=4, best_step=4, best_value=0.5, recent_losses=[1.0 / 3])


def test_without_a_checkpoint_there_is_none(tmp_path: Path) -> None:
    assert newest_checkpoint(tmp_path / "nothing") is None


def test_the_best_and_the_last_two_are_kept(tmp_path: Path) -> None:
    for step in range(1, 8):
        _save(tmp_path, step=step, best_step=min(step, 3))

    assert _steps(tmp_path) == [3, 6, 7]


def test_the_best_that_the_one_before_names_is_kept_too(tmp_path: Path) -> None:
    for step, best_step in ((1, 1), (2, 1), (3, 1), (4, 4)):
        _save(tmp_path, step=step, best_step=best_step)

    assert _steps(tmp_path) == [1, 3, 4]


def test_a_damaged_one_is_not_counted_among_the_kept(tmp_path: Path) -> None:
    for step in (1, 2, 3):
        _save(tmp_path, step=step, best_step=1)
    (step_directory(tmp_path, 3) / "progress.json").write_text("{")

    _save(tmp_path, step=4, best_step=1)

    assert _steps(tmp_path) == [1, 2, 4]


def test_one_whose_best_is_damaged_is_skipped(tmp_path: Path) -> None:
    for step, best_step in ((1, 1), (2, 1), (3, 3), (4, 3)):
        _save(tmp_path, step=step, best_step=best_step)
    (step_directory(tmp_path, 3) / "adapter.safetensors").write_bytes(b"")

    assert newest_checkpoint(tmp_path) is None
    assert _steps(tmp_path) == [3, 4]


def test_ten_thousand_steps_still_sort_by_number(tmp_path: Path) -> None:
    for step in (9_999, 10_000):
        _save(tmp_path, step=step, best_step=9_999)

    checkpoint = newest_checkpoint(tmp_path)

    assert checkpoint is not None and checkpoint.progress.step == 10_000


def test_a_pickled_object_is_not_loaded(tmp_path: Path) -> None:
    progress = Progress(step=1, best_step=1)
    save_checkpoint(tmp_path, Checkpoint({"a": torch.zeros(1)}, {"state": Path("x")}, progress))

    with pytest.raises(pickle.UnpicklingError, match="Weights only"):
        newest_checkpoint(tmp_path)
