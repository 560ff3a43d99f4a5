import tempfile
from pathlib import Path

import pytest


def in_memory():
    """A directory in memory where there is one: SQLite waits for the disk at each of these tests' many commits."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as directory:
        yield Path(directory)


memory_path = pytest.fixture(in_memory)
module_memory_path = pytest.fixture(in_memory, scope="module")


@pytest.fixture
def url(memory_path):
    return f"sqlite:///{memory_path / 'optuna.db'}"


@pytest.fixture
def other_url(memory_path):
    return f"sqlite:///{memory_path / 'other.db'}"
