"""What `burnish provision` leaves on a Prefect server, and what a Kubernetes Job of ours runs, on a real server."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from configs.environment import set_private_switches
from configs.errors import ServerError

PROJECT = Path(__file__).resolve().parents[3]
TEMPLATE = PROJECT / "infra" / "kubernetes" / "base-job-template.json"
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("team") / "home"


@pytest.fixture(scope="module")
def api_url(home: Path) -> Iterator[str]:
    from tasks.tracking import prefect_server as module

    before = dict(os.environ)
    set_private_switches()
    patched = pytest.MonkeyPatch()
    patched.setattr(module, "_STARTUP_SECONDS", 600.0)  # however slow the machine is
    os.environ["PREFECT_HOME"] = str(home / "prefect")
    try:
        with module.prefect_server(home, None) as url:
            yield url
    finally:
        patched.undo()
        os.environ.clear()
        os.environ.update(before)


@pytest.fixture
def client(api_url: str) -> Iterator[Any]:
    from tasks.servers.prefect_deployments import prefect_client

    with prefect_client(api_url) as client:
        yield client


def provision(api_url: str, job_template: Path | None) -> list[str]:
    from tasks.servers.provision import provision_prefect

    return list(provision_prefect(api_url, job_template=job_template))


def test_the_second_time_nothing_is_installed_and_another_kind_of_worker_is_refused(
    api_url: str, client: Any, tmp_path: Path
) -> None:
    first, second = provision(api_url, TEMPLATE), provision(api_url, TEMPLATE)

    assert "installed the work pool burnish" in first
    assert "installed the deployment finetune" in first
    assert second == []
    with pytest.raises(ServerError, match="must be of type 'burnish', got 'burnish-kubernetes'"):
        provision(api_url, None)
    template = json.loads(TEMPLATE.read_text())
    template["variables"]["properties"]["gpus"]["default"] = "1"
    (tmp_path / "changed.json").write_text(json.dumps(template))
    assert provision(api_url, tmp_path / "changed.json") == ["installed the work pool burnish"]
    assert client.read_work_pool("burnish").base_job_template == template


def test_a_server_that_does_not_answer_is_named() -> None:
    with pytest.raises(ServerError, match=r"no Prefect server answers at http://127\.0\.0\.1:9/api"):
        provision("http://127.0.0.1:9/api", None)


def test_a_job_runs_our_flow_and_none_of_what_else_its_deployment_says(
    client: Any, api_url: str, home: Path, tmp_path: Path
) -> None:
    shell = {"prefect.deployments.steps.run_shell_script": {"script": f"touch {tmp_path / 'shell'}"}}
    run = submit(client, "flows.notice.notice", pull_steps=[shell], path=str(tmp_path))

    done = execute(run, api_url, home)

    assert done.returncode == 0, done.stderr
    assert client.read_flow_run(run).state.is_completed()
    assert not (tmp_path / "shell").exists()


@pytest.mark.parametrize("entrypoint", ["os.system", "evil.py:flow", None])
def test_a_job_runs_nothing_else(client: Any, api_url: str, home: Path, tmp_path: Path, entrypoint: str | None) -> None:
    (tmp_path / "evil.py").write_text("from prefect import flow\nflow = flow(lambda: None)\n")
    run = submit(client, entrypoint, path=str(tmp_path))

    done = execute(run, api_url, home)

    assert done.returncode == 2
    assert "runs the flows of prefect.yaml only" in done.stderr


def submit(client: Any, entrypoint: str | None, **more: Any) -> UUID:
    deployment = client.create_deployment(
        client.create_flow_from_name("notice"), "planted", entrypoint=entrypoint, **more
    )
    return UUID(str(client.create_flow_run_from_deployment(deployment).id))


def execute(run: UUID, api_url: str, home: Path) -> subprocess.CompletedProcess[str]:
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("PREFECT_", "MLFLOW_"))}
    environment |= {"BURNISH_HOME": str(home), "PREFECT_API_URL": api_url, "PREFECT__FLOW_RUN_ID": str(run)}
    return subprocess.run(
        [sys.executable, "-m", "tasks.servers.confined_run"],
        env={**environment, "PREFECT_HOME": str(home / "prefect"), "PYTHONPATH": str(PROJECT)},
        cwd=PROJECT, capture_output=True, text=True,
    )  # fmt: skip
