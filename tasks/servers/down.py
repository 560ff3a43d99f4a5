"""Stop the servers of an installation, so that no process stays."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock

from tasks.servers.process_table import end_children, kill_all, supervised
from tasks.servers.services import WORKER
from tasks.servers.supervisord import Supervisor
from tasks.storage.durable import make_private_directory
from tasks.tracking.running_servers import forget_servers

_RUN_SECONDS = 20.0
"""How long a flow run may take to stop its training and to tell MLflow and Prefect; checkpoints are there anyway."""
STOP_SECONDS = 60.0
"""How long everything may take to end; supervisord itself kills a service that needs longer than its own limit."""


@contextmanager
def servers_lock(home: Path) -> Iterator[None]:
    """Let one command at a time start or stop the servers of a home."""
    with FileLock(make_private_directory(home / "locks") / "servers.lock"):
        yield


def bring_down(home: Path) -> int:
    """Stop the worker, then the servers, then kill whatever is left; return how many processes there were."""
    with servers_lock(home):
        return take_down(home, Supervisor(home))


def take_down(home: Path, supervisor: Supervisor) -> int:
    """Do as `bring_down` says; the caller holds the lock."""
    count = len(supervised(home))
    if supervisor.is_up():
        _end_flow_runs(supervisor)
        supervisor.stop_service(WORKER)
        supervisor.shut_down()
        deadline = time.monotonic() + STOP_SECONDS
        while supervisor.is_up() and time.monotonic() < deadline:
            time.sleep(0.1)
    kill_all(home, within_seconds=STOP_SECONDS)
    forget_servers(home)
    supervisor.socket.unlink(missing_ok=True)
    return count


def _end_flow_runs(supervisor: Supervisor) -> None:
    """Let flow runs end by themselves while the servers can still be told: a worker that stops kills its runs."""
    worker = supervisor.states().get(WORKER)
    if worker is not None and worker.pid is not None:
        end_children(worker.pid, within_seconds=_RUN_SECONDS)
