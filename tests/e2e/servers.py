"""An installation with its servers up, as `burnish up` leaves it."""

from __future__ import annotations

import json
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

from tests.e2e.installation import Installation

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.client.schemas.objects import FlowRun

PATIENCE_SECONDS = 900.0
_DONE = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")


@dataclass(frozen=True)
class Servers:
    """A running installation, and what its first `up` said."""

    installation: Installation
    mlflow_url: str
    prefect_url: str
    up_output: str
    up_seconds: float

    @property
    def api_url(self) -> str:
        return f"{self.prefect_url}/api"

    @property
    def home(self) -> Path:
        return self.installation.home

    def client(self) -> SyncPrefectClient:
        from prefect.client.orchestration import SyncPrefectClient

        return SyncPrefectClient(api=self.api_url)

    def submit(self, deployment: str, **parameters: Any) -> FlowRun:
        """Start a run of `flow/deployment`, as its form in the UI does."""
        with self.client() as client:
            found = client.read_deployment_by_name(deployment)
            return client.create_flow_run_from_deployment(found.id, parameters=parameters)

    def run(self, flow_run: UUID) -> FlowRun:
        with self.client() as client:
            return client.read_flow_run(flow_run)

    def events(self, name: str) -> list[Any]:
        """Events of a name that the Prefect server has."""
        from prefect.events.filters import EventFilter

        with self.client() as client:
            return list(client.read_events(EventFilter.model_validate({"event": {"name": [name]}}), limit=50).events)

    def wait(self, flow_run: UUID) -> FlowRun:
        """Wait until a run ends."""
        return wait_for(lambda: done(self.run(flow_run)), what=f"flow run {flow_run} to end")


def done(run: FlowRun) -> FlowRun | None:
    return run if run.state and run.state.type.value in _DONE else None


def wait_for(look: Callable[[], Any], *, what: str) -> Any:
    """Look until there is something; fail when nothing comes, however slow the machine is."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        if found := look():
            return found
        time.sleep(0.2)
    raise AssertionError(f"waited {PATIENCE_SECONDS:.0f} s for {what}")


def ask(url: str, body: Any = None, **headers: str) -> tuple[int, str]:
    """Send a request as a program or a browser would; return status and text."""
    data = None if body is None else json.dumps(body).encode()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    request = urllib.request.Request(url, data, {"Content-Type": "application/json", **named})
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, answer.read().decode(errors="replace")
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode(errors="replace")


def free_ports(count: int) -> list[int]:
    probes = [socket.socket() for _ in range(count)]
    for probe in probes:
        probe.bind(("127.0.0.1", 0))
    ports = [int(probe.getsockname()[1]) for probe in probes]
    for probe in probes:
        probe.close()
    return ports


@contextmanager
def running_servers(folder: Path, **environment: str) -> Iterator[Servers]:
    """`burnish up` on free ports in the home below `folder`; `burnish down` at the end."""
    mlflow_port, prefect_port = free_ports(2)
    ports = {"BURNISH_MLFLOW_PORT": str(mlflow_port), "BURNISH_PREFECT_PORT": str(prefect_port)}
    installation = Installation(folder / "home", {**ports, **environment})
    started = time.monotonic()
    up = installation.burnish("up")
    seconds = time.monotonic() - started
    assert up.returncode == 0, up.stderr
    mlflow_url, prefect_url = f"http://127.0.0.1:{mlflow_port}", f"http://127.0.0.1:{prefect_port}"
    try:
        yield Servers(installation, mlflow_url, prefect_url, up.stdout, seconds)
    finally:
        installation.burnish("down")
