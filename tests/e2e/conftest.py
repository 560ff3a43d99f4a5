"""Installations for the end-to-end tests, on the smoke recipe."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from filelock import FileLock

from tests.e2e.installation import PROJECT, Installation, one_prefect_server
from tests.e2e.servers import Servers, running_servers


def made_once(name: str, tmp_path_factory: pytest.TempPathFactory, make: Callable[[Path], None]) -> Path:
    """A folder that the first of pytest's processes makes and the others find: copy it before changing it."""
    own = tmp_path_factory.getbasetemp()
    shared = own.parent if "PYTEST_XDIST_WORKER" in os.environ else own
    folder, done = shared / name, shared / f"{name}.made"
    with FileLock(shared / f"{name}.lock"):
        if not done.exists():
            folder.mkdir(mode=0o700)
            make(folder)
            done.touch()
    return folder


@pytest.fixture(scope="session")
def first_things(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What every new installation makes first, in eleven seconds: the tiny model, and Prefect's tables."""
    from configs.schema import TinyBase
    from tasks.models.base_models import import_base

    def make(folder: Path) -> None:
        import_base(TinyBase(kind="tiny"), bases=folder / "bases", project_root=PROJECT)
        with one_prefect_server(folder):
            pass

    return made_once("first-things", tmp_path_factory, make)


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

    def make(folder: Path) -> None:
        (folder / "user").mkdir()
        done = of(folder).smoke()
        assert done.returncode == 0, done.stderr

    def of(folder: Path) -> Installation:
        return Installation(folder / "home", {"PREFECT_API_URL": prefect_url, "HOME": str(folder / "user")})

    made, own = made_once("finished", tmp_path_factory, make), tmp_path_factory.mktemp("finished")
    shutil.copytree(made / "user", own / "user")
    of(made).copy_to(own / "home")
    return of(own)


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
