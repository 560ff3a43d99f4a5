"""The command line as a user runs it, on the smoke recipe."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

PROJECT = Path(__file__).resolve().parents[2]
RUN_TIMEOUT_SECONDS = 280


@dataclass(frozen=True)
class Installation:
    """One BURNISH_HOME and the commands run on it."""

    home: Path
    environment: Mapping[str, str] = field(default_factory=dict)

    def burnish(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "flows", *arguments],
            env={**os.environ, **self.environment, "BURNISH_HOME": str(self.home), **environment},
            cwd=PROJECT,
            capture_output=True,
            text=True,
            timeout=RUN_TIMEOUT_SECONDS,
            check=False,
        )

    def smoke(self, *overrides: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return self.burnish("finetune", "--recipe", "configs/smoke.yaml", *overrides, **environment)

    def show(self) -> dict[str, Any]:
        answer = self.burnish("show", "smoke", "--json")
        assert answer.returncode == 0, answer.stderr
        summary: dict[str, Any] = json.loads(answer.stdout)
        return summary

    def copy_to(self, home: Path) -> Installation:
        shutil.copytree(self.home, home)
        return Installation(home, self.environment)


@pytest.fixture(scope="session")
def prefect_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """One running Prefect server for all end-to-end tests: 1.5 s a run instead of 10."""
    from configs.environment import set_private_switches
    from tasks.tracking.prefect_server import prefect_server

    home = tmp_path_factory.mktemp("prefect")
    set_private_switches()
    os.environ["PREFECT_HOME"] = str(home / "prefect")
    with prefect_server(home, None) as url:
        yield url


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory, prefect_url: str) -> Installation:
    """An installation in which the smoke recipe has run once. Read-only: copy it before changing it."""
    installation = Installation(tmp_path_factory.mktemp("finished") / "home", {"PREFECT_API_URL": prefect_url})
    done = installation.smoke()
    assert done.returncode == 0, done.stderr
    return installation


@pytest.fixture
def installation(tmp_path: Path, prefect_url: str) -> Installation:
    """A new, empty installation."""
    return Installation(tmp_path / "home", {"PREFECT_API_URL": prefect_url})


@pytest.fixture
def copied(finished: Installation, tmp_path: Path) -> Callable[[], Installation]:
    """Makes copies of the finished installation."""
    count = iter(range(1000))
    return lambda: finished.copy_to(tmp_path / f"home-{next(count)}")
