from __future__ import annotations

from pathlib import Path

import pytest

from configs.settings import Settings, settings_from


@pytest.fixture
def settings(mlflow_home: Path, tmp_path: Path) -> Settings:
    return settings_from({"BURNISH_HOME": str(mlflow_home)}, project_root=tmp_path)
