from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from configs.schema import TinyBase
from tasks.models.base_models import base_directory, import_base
from tasks.models.worker import ModelWorker

SOURCE = TinyBase(hidden_size=32, layers=2, vocabulary=300)


@pytest.fixture(scope="session")
def tiny_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    bases = tmp_path_factory.mktemp("home") / "bases"
    return base_directory(bases, import_base(SOURCE, bases=bases, project_root=bases))


@pytest.fixture(scope="session")
def shared_worker(tiny_base: Path) -> Iterator[ModelWorker]:
    """One worker for the tests that leave it alive: starting one takes seconds."""
    with ModelWorker(tiny_base, precision="fp32", device="cpu", threads=1) as worker:
        yield worker


@pytest.fixture
def worker(tiny_base: Path) -> Iterator[ModelWorker]:
    with ModelWorker(tiny_base, precision="fp32", device="cpu", threads=1) as worker:
        yield worker
