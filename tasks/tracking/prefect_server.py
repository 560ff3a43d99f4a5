"""A temporary Prefect server that dies with its parent, and the runs that a dead process left open in one."""

from __future__ import annotations

import importlib.util
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from filelock import FileLock

from configs.errors import ServerError
from tasks.storage.durable import make_private_directory
from tasks.storage.processes import may_be_alive, process_identity, spawn, stop
from tasks.tracking.running_servers import answers, health

_STARTUP_SECONDS = 900.0
"""One that ended is noticed at once; a living one took more than 300 s on 2 cores at a load of 15."""
_STOP_SECONDS = 5.0
_ATTEMPT_SECONDS = 5.0
_PATIENCE_SECONDS = 120.0
"""For a running server that takes connections and is slow to answer, as on a machine that is busy with fine-tunes."""
_PROCESS_TAG = "process:"
INSTALLATION_TAG = "installation:"
"""Begins the tag that names the installation of a flow run."""


@contextmanager
def prefect_server(
    home: Path, api_url: str | None, *, database_url: str | None = None, meanwhile: str | None = None
) -> Iterator[str]:
    """Give the API URL of a Prefect server for the block: the running one at `api_url`, else a temporary one.

    Prefect's own temporary server outlives a kill -9 of the flow; this one is ended by the kernel. Sets
    `PREFECT_API_URL`, so it must be entered before `prefect` is imported.

    Args:
        home: where a temporary server keeps its log, and its database unless `database_url` names one.
        api_url: of a running server.
        database_url: SQLAlchemy URL of the temporary server's database.
        meanwhile: a module that the block needs, imported while a temporary server starts: both take seconds.

    Raises:
        ServerError: `api_url` does not answer, or the temporary server does not start.
    """
    make_private_directory(home / "prefect")
    if api_url is not None:
        _require_healthy(api_url)
        yield api_url
        return
    log = home / "prefect" / "server.log"
    with log.open("ab") as output, ExitStack() as starting:
        # servers that begin at the same moment lock each other out of the database they share
        starting.enter_context(FileLock(home / "prefect" / ".starting.lock"))
        output.truncate(0)
        port = _free_port()
        process = _start(port, output.fileno(), database_url)
        url = f"http://127.0.0.1:{port}/api"
        os.environ["PREFECT_API_URL"] = url
        try:
            if meanwhile is not None:
                importlib.import_module(meanwhile)
            _wait_until_healthy(url, process, log)
            starting.close()
            with _without_heartbeats():
                yield url
        finally:
            _send_waiting_logs()
            os.environ.pop("PREFECT_API_URL", None)
            stop(process, grace_seconds=_STOP_SECONDS)


def recipe_tags(recipe_name: str, installation: str) -> list[str]:
    """Tags of every Prefect run of a recipe in an installation: another one's runs of an equal recipe are not ours."""
    return [f"recipe:{recipe_name}", f"{INSTALLATION_TAG}{installation}"]


def run_tags(recipe_name: str, installation: str) -> list[str]:
    """Tags of the Prefect runs that this process makes of a recipe: they also name the process."""
    return [*recipe_tags(recipe_name, installation), f"{_PROCESS_TAG}{process_identity()}"]


def close_dead_flow_runs(tags: Sequence[str], *, alive: str | None) -> int:
    """Mark as Crashed what carries `tags` and still counts as running though its process is dead; return how many.

    Only the holder of the recipe's lease may call this: a run of another host did not end, or it would hold the lease.
    Runs of living processes of this host are left alone, since they may wait for the lease or be about to give up.
    `alive` is the id of the caller's own flow run.
    """
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import FlowRunFilter, TaskRunFilter
    from prefect.states import Crashed

    unfinished = {"state": {"type": {"any_": ["RUNNING", "PENDING", "CANCELLING"]}}, "tags": {"all_": list(tags)}}
    crashed = Crashed(message="its process is gone; closed by the next run of the recipe")
    with get_client(sync_client=True) as client:
        flow_runs = client.read_flow_runs(flow_run_filter=FlowRunFilter.model_validate(unfinished))
        dead = [run for run in flow_runs if str(run.id) != alive and not _lives(run.tags)]
        for run in dead:
            client.set_flow_run_state(run.id, crashed, force=True)
        task_runs = client.read_task_runs(task_run_filter=TaskRunFilter.model_validate(unfinished))
        dead_ids = {run.id for run in dead}
        for task_run in task_runs:
            if task_run.flow_run_id in dead_ids:
                client.set_task_run_state(task_run.id, crashed, force=True)
    return len(dead)


def _lives(tags: Sequence[str]) -> bool:
    return any(tag.startswith(_PROCESS_TAG) and may_be_alive(tag.removeprefix(_PROCESS_TAG)) for tag in tags)


@contextmanager
def _without_heartbeats() -> Iterator[None]:
    """Nobody hears them on a server that dies with its parent, and each flow waits up to a second for its last."""
    from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings

    with temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}):
        yield


def _send_waiting_logs() -> None:
    """Send what Prefect has still to send, or it complains of the missing server when the process ends."""
    handlers = sys.modules.get("prefect.logging.handlers")
    if handlers is not None:
        handlers.APILogWorker.drain_all(timeout=_STOP_SECONDS)


def _start(port: int, output: int, database_url: str | None) -> subprocess.Popen[bytes]:
    specification = importlib.util.find_spec("prefect")
    assert specification is not None and specification.origin is not None
    command = [
        sys.executable, "-m", "uvicorn", "--app-dir", str(Path(specification.origin).parent.parent),
        "--factory", "prefect.server.api.server:create_app",
        "--host", "127.0.0.1", "--port", str(port), "--log-level", "error", "--lifespan", "on",
    ]  # fmt: skip
    environment = {**os.environ, "PREFECT_UI_ENABLED": "0", "PREFECT__SERVER_EPHEMERAL": "1"}
    if database_url is not None:
        environment["PREFECT_API_DATABASE_CONNECTION_URL"] = database_url
    return spawn(command, environment=environment, stdout=output, stderr=output)


def _wait_until_healthy(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + _STARTUP_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise ServerError(
                f"the temporary Prefect server ended with status {process.returncode}; its log is {log}; "
                "if it speaks of a newer database schema, move prefect.db away or update Burnish"
            )
        if answers(f"{url}/health", within_seconds=_ATTEMPT_SECONDS):
            return
        time.sleep(0.1)
    raise ServerError(f"the temporary Prefect server did not answer in {_STARTUP_SECONDS:.0f} s; its log is {log}")


def _require_healthy(url: str) -> None:
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while (found := health(f"{url}/health", within_seconds=_ATTEMPT_SECONDS)) == "slow":
        if time.monotonic() > deadline:
            raise ServerError(
                f"the Prefect server at {url} takes connections but has not answered for {_PATIENCE_SECONDS:.0f} s; "
                "wait until the machine is less busy, or restart the server"
            )
    if found == "away":
        raise ServerError(
            f"no Prefect server answers at {url}; start it (`prefect server start`), or unset PREFECT_API_URL "
            "to use a temporary one"
        )


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
