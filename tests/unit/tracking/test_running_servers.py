from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import psutil
import pytest

from tasks.tracking.running_servers import (
    RunningServers,
    forget_servers,
    note_servers,
    noted_servers,
    use_running_servers,
)


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """A server that says it is well at /health and /api/health."""

    class Well(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.path.endswith("/health") else 404)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Well)
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


@pytest.fixture
def servers(address: str) -> RunningServers:
    own = psutil.Process()
    return RunningServers(address, f"{address}/api", own.pid, own.create_time(), {"salt": "x"})


def test_running_servers_are_used(tmp_path: Path, servers: RunningServers) -> None:
    note_servers(tmp_path, servers)
    environment: dict[str, str] = {}

    use_running_servers(tmp_path, environment)

    assert environment == {"PREFECT_API_URL": servers.prefect_api_url, "MLFLOW_TRACKING_URI": servers.mlflow_url}


def test_what_the_shell_names_is_left_alone(tmp_path: Path, servers: RunningServers) -> None:
    note_servers(tmp_path, servers)
    environment = {"PREFECT_API_URL": "http://other/api", "MLFLOW_TRACKING_URI": "sqlite:///own.db"}

    use_running_servers(tmp_path, environment)

    assert environment == {"PREFECT_API_URL": "http://other/api", "MLFLOW_TRACKING_URI": "sqlite:///own.db"}


def test_a_note_of_a_dead_supervisor_is_not_believed(tmp_path: Path, servers: RunningServers) -> None:
    """Another process may have its id by now, and another server its port."""
    note_servers(tmp_path, replace(servers, supervisor_started=servers.supervisor_started - 100))
    environment: dict[str, str] = {}

    use_running_servers(tmp_path, environment)

    assert noted_servers(tmp_path) is None
    assert environment == {}


def test_a_server_that_does_not_answer_is_not_used(tmp_path: Path, servers: RunningServers) -> None:
    note_servers(tmp_path, replace(servers, mlflow_url="http://127.0.0.1:1"))
    environment: dict[str, str] = {}

    use_running_servers(tmp_path, environment)

    assert environment == {"PREFECT_API_URL": servers.prefect_api_url}


def test_no_note_or_a_torn_one_is_no_server(tmp_path: Path, servers: RunningServers) -> None:
    assert noted_servers(tmp_path) is None
    note_servers(tmp_path, servers)
    (tmp_path / "servers" / "running.json").write_text("{")
    assert noted_servers(tmp_path) is None
    forget_servers(tmp_path)
    forget_servers(tmp_path)
