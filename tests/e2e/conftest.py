"""Installations for the end-to-end tests, on the smoke recipe."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.installation import PROJECT, Installation, one_prefect_server
from tests.e2e.servers import Servers, running_servers


@pytest.fixture(scope="session")
def first_things(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What every new installation makes first, in eleven seconds: the tiny model, and Prefect's tables."""
    from configs.schema import TinyBase
    from tasks.models.base_models import import_base

    folder = tmp_path_factory.mktemp("first-things")
    import_base(TinyBase(kind="tiny"), bases=folder / "bases", project_root=PROJECT)
    with one_prefect_server(folder):
        pass
    return folder


@pytest.fixture(scope="session")
def prefect_url(tmp_path_factory: pytest.TempPathFactory, first_things: Path) -> Iterator[str]:
    """One running Prefect server for all end-to-end tests."""
    home = tmp_path_factory.mktemp("prefect")
    shutil.copytree(first_things / "prefect", home / "prefect")
    with one_prefect_server(home) as url:
        yield url


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory, prefect_url: str) -> Installation:
    """An installation in which the smoke recipe has run once. Read-only: copy it before changing it."""
    folder = tmp_path_factory.mktemp("finished")
    (folder / "user").mkdir()
    installation = Installation(folder / "home", {"PREFECT_API_URL": prefect_url, "HOME": str(folder / "user")})
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


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    """An installation with MLflow, Prefect and a worker up, for the tests of one file; 20 to 40 s to start."""
    with running_servers(tmp_path_factory.mktemp("servers")) as running:
        yield running
