"""Resumable training state: `<training key>/step-<n>/`, valid once its manifest is there.

A checkpoint holds the adapter, the optimizer and the progress. The learning rate, the order of the data and the
dropout are functions of step and seed, so they need no state of their own.
"""

from __future__ import annotations

import json
import logging
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from tasks.storage.durable import is_valid_directory, new_directory
from tasks.training.progress import Progress

WEIGHTS = "adapter.safetensors"
_OPTIMIZER = "optimizer.pt"
_PROGRESS = "progress.json"

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Checkpoint:
    """Everything that an interrupted fine-tune needs to go on."""

    weights: dict[str, torch.Tensor]
    optimizer: dict[str, Any]
    progress: Progress


def save_checkpoint(directory: Path, checkpoint: Checkpoint) -> None:
    """Write `directory/step-<n>/` atomically, then delete what no kept checkpoint needs."""
    target_path = step_directory(directory, checkpoint.progress.step)
    with new_directory(target_path) as target:
        save_file(checkpoint.weights, target / WEIGHTS, metadata={"format": "pt"})
        torch.save(checkpoint.optimizer, target / _OPTIMIZER)
        (target / _PROGRESS).write_text(json.dumps(checkpoint.progress.as_json(), allow_nan=False), encoding="utf-8")
    _delete_superseded(directory, written=target_path)


def newest_checkpoint(directory: Path) -> Checkpoint | None:
    """Load the newest valid checkpoint, or None."""
    path = _newest_valid(directory)
    if path is None:
        return None
    optimizer = torch.load(path / _OPTIMIZER, weights_only=True, map_location="cpu")
    return Checkpoint(weights=load_file(path / WEIGHTS), optimizer=optimizer, progress=_progress(path))


def newest_progress(directory: Path) -> Progress | None:
    """Return how far the newest valid checkpoint has come, or None."""
    path = _newest_valid(directory)
    return None if path is None else _progress(path)


def _newest_valid(directory: Path) -> Path | None:
    """Find the newest valid checkpoint.

    One whose files are torn, or whose best step's are, is skipped: a killed process or a full disk left it.
    """
    for path in _newest_first(directory):
        if not is_valid_directory(path):
            _log.warning("checkpoint %s is damaged; trying the one before", path)
            continue
        progress = _progress(path)
        best = step_directory(directory, progress.best_step)
        if progress.best_step and not is_valid_directory(best):
            _log.warning("checkpoint %s needs %s, which is damaged; trying the one before", path, best.name)
            continue
        return path
    return None


def step_directory(directory: Path, step: int) -> Path:
    """Where the checkpoint of a step stands."""
    return directory / f"step-{step:08d}"


def _progress(path: Path) -> Progress:
    return Progress(**json.loads((path / _PROGRESS).read_text(encoding="utf-8")))


def _newest_first(directory: Path) -> list[Path]:
    return sorted(directory.glob("step-*"), reverse=True)


def _delete_superseded(directory: Path, *, written: Path) -> None:
    """Keep the checkpoint just written, the valid one before it, and the best ones that these two name."""
    others = [path for path in _newest_first(directory) if path != written]
    before = next((path for path in others if path < written and is_valid_directory(path)), written)
    kept = {written, before, *(step_directory(directory, _progress(path).best_step) for path in (written, before))}
    for path in others:
        if path not in kept:
            shutil.rmtree(path, ignore_errors=True)
