"""The MLflow server as `burnish up` starts it, where its basic-auth configuration is set."""

from __future__ import annotations

import os
import shutil
import subprocess
import urllib.error
import urllib.request
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path

import pytest

from configs.servers import server_settings_from
from configs.settings import settings_from
from tasks.servers.services import PROJECT, planned_services, shared_environment
from tasks.tracking.running_servers import answers
from tests.e2e.servers import free_ports, wait_for

ASKED = "/api/2.0/mlflow/experiments/search?max_results=1"


@pytest.fixture(scope="module")
def url(migrated_database: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("mlflow-password")
    auth = folder / "auth.ini"
    auth.write_text(
        f"[mlflow]\ndatabase_uri = sqlite:///{folder / 'auth.db'}\nadmin_username = boss\ndefault_permission = READ\n"
        "authorization_function = mlflow.server.auth:authenticate_request_basic_auth\n"
    )
    mlflow_port, prefect_port = free_ports(2)
    given = {
        **os.environ, "BURNISH_HOME": str(folder / "home"), "BURNISH_MLFLOW_PORT": str(mlflow_port),
        "BURNISH_PREFECT_PORT": str(prefect_port), "MLFLOW_AUTH_CONFIG_PATH": str(auth),
        "MLFLOW_AUTH_ADMIN_PASSWORD": "a long secret", "MLFLOW_FLASK_SERVER_SECRET_KEY": "key",
    }  # fmt: skip
    given.pop("MLFLOW_TRACKING_URI", None)
    settings, servers = settings_from(given, project_root=folder), server_settings_from(given)
    (folder / "home").mkdir()
    shutil.copyfile(migrated_database, folder / "home" / "mlflow.db")
    [mlflow] = [each for each in planned_services(settings, servers, project=PROJECT) if each.name == "mlflow"]
    environment = shared_environment(settings, servers, roots="", given=given)
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(mlflow.command, env=environment, stdout=log, stderr=log, cwd=folder)
    try:

        def ready() -> bool:
            assert server.poll() is None, (folder / "log").read_text()
            return answers(str(mlflow.health_url))

        wait_for(ready, what="MLflow")
        yield servers.mlflow_url
    finally:
        server.terminate()
        server.wait(timeout=60)


def status(url: str, *, who: str = "", host: str = "") -> int:
    request = urllib.request.Request(url)
    if who:
        request.add_header("Authorization", f"Basic {b64encode(who.encode()).decode()}")
    if host:
        request.add_header("Host", host)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def test_nobody_reads_runs_without_a_password(url: str) -> None:
    assert status(url + ASKED) == 401
    assert status(url + ASKED, who="boss:wrong") == 401
    assert status(url + ASKED, who="boss:a long secret") == 200


def test_it_is_guarded_from_foreign_pages_all_the_same(url: str) -> None:
    assert status(url + ASKED, who="boss:a long secret", host="evil.example") == 403
