from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from configs.schema import TinyBase, Training
from tasks.models.base_models import import_base
from tasks.models.loading import LoadedBase, load_base
from tasks.training.batches import Example
from tasks.training.engine import Plan

os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="session")
def base_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    bases = tmp_path_factory.mktemp("bases")
    digest = import_base(TinyBase(hidden_size=32, layers=2, vocabulary=300), bases=bases, project_root=bases)
    return bases / digest


@pytest.fixture
def loaded_bf16(base_directory: Path) -> LoadedBase:
    return _with_wide_logits(load_base(base_directory, precision="bf16", device="cpu"))


@pytest.fixture
def loaded_nf4(base_directory: Path) -> LoadedBase:
    return _with_wide_logits(load_base(base_directory, precision="nf4", device="cpu"))


@pytest.fixture
def loaded(base_directory: Path) -> Iterator[LoadedBase]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield _with_wide_logits(load_base(base_directory, precision="fp32", device="cpu"))
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def examples() -> tuple[Example, ...]:
    """Prompts of several lengths; the completion is one of two, told by the first token."""
    generator = np.random.default_rng(3)
    made = []
    for _ in range(44):
        kind = int(generator.integers(2))
        prompt = (1, 30 + kind, *generator.integers(40, 280, size=int(generator.integers(2, 9))).tolist())
        made.append(Example(prompt, (50 + kind, 60, 2) if kind else (50 + kind, 2)))
    return tuple(made)


@pytest.fixture
def make_plan(tmp_path: Path, examples: tuple[Example, ...]) -> Callable[..., Plan]:
    """Builds a plan whose looks find an ever better model; keyword arguments replace parts of it."""

    def make(training: Training, **parts: Any) -> Plan:
        values = iter(np.linspace(0.1, 0.9, 200))
        settings: dict[str, Any] = {
            "examples": examples,
            "validate": lambda: float(next(values)),
            "validation_records": 8,
            "seed": 17,
            "pad_id": 0,
            "checkpoints": tmp_path / "checkpoints",
            "micro_batch_size": training.micro_batch_size,
            "row_tokens": 128,
            "checkpoint_seconds": float("inf"),
        }
        return Plan(training=training, **{**settings, **parts})

    return make


def _with_wide_logits(loaded: LoadedBase) -> LoadedBase:
    """Scale the last norm: the output layer of a fresh random model allows hardly any certainty, and it is frozen."""
    loaded.model.get_decoder().norm.weight.data.fill_(10.0)
    return loaded
