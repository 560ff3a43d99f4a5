"""Real MLflow on a temporary SQLite database; the migration runs once per session and its file is copied."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.trained_home import TrainedHome, make_trained_home

if TYPE_CHECKING:
    from tasks.tracking.mlflow_runs import Tracker


@pytest.fixture(scope="session")
def migrated_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tasks.tracking.mlflow_database import prepare_store

    home = tmp_path_factory.mktemp("migrated")
    prepare_store(f"sqlite:///{home / 'mlflow.db'}", home)
    return home / "mlflow.db"


@pytest.fixture
def mlflow_home(migrated_database: Path, tmp_path: Path) -> Path:
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    shutil.copyfile(migrated_database, home / "mlflow.db")
    return home


@pytest.fixture
def tracker(mlflow_home: Path) -> Tracker:
    from tasks.tracking.mlflow_runs import Tracker

    return Tracker(f"sqlite:///{mlflow_home / 'mlflow.db'}", mlflow_home)


@pytest.fixture(scope="session")
def trained_home(tmp_path_factory: pytest.TempPathFactory) -> TrainedHome:
    """A home with a tiny base, an adapter of random weights and a snapshot: made once, never changed."""
    return make_trained_home(tmp_path_factory.mktemp("trained"))
