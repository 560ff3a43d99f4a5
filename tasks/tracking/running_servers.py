"""The servers that run for an installation, as `burnish up` noted them: every other command uses them."""

from __future__ import annotations

import json
import os
import urllib.request
from collections.abc import Mapping, MutableMapping
from dataclasses import asdict, dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Literal

import psutil

from tasks.storage.durable import write_json

_ANSWER_SECONDS = 2.0
_BUSY_SECONDS = 10.0
"""How long a server of ours may take to answer beside a training before a command goes on without it."""


@dataclass(frozen=True)
class RunningServers:
    """What a state file says. It is believed while the supervisor that it names lives."""

    mlflow_url: str
    prefect_api_url: str
    supervisor_pid: int
    supervisor_started: float
    """When that process began, in seconds since 1970: a process id alone may name another by now."""
    settings: Mapping[str, str]
    """Digests of the settings that they were started with, by name."""


def note_servers(home: Path, servers: RunningServers) -> None:
    """Write the state file."""
    write_json(_file(home), asdict(servers))


def forget_servers(home: Path) -> None:
    """Remove the state file."""
    _file(home).unlink(missing_ok=True)


def noted_servers(home: Path) -> RunningServers | None:
    """Return what the state file says, if its supervisor lives."""
    try:
        servers = RunningServers(**json.loads(_file(home).read_text(encoding="utf-8")))
        alive = abs(psutil.Process(servers.supervisor_pid).create_time() - servers.supervisor_started) < 1
    except (OSError, ValueError, TypeError, psutil.Error):
        return None
    return servers if alive else None


def use_running_servers(home: Path, environment: MutableMapping[str, str] | None = None) -> None:
    """Point this process at the running servers, each that answers and that the shell does not name otherwise.

    Runs are then seen live in both UIs, and no two servers write one database.
    """
    environment = os.environ if environment is None else environment
    servers = noted_servers(home)
    if servers is None:
        return
    if not environment.get("PREFECT_API_URL") and answers(
        f"{servers.prefect_api_url}/health", within_seconds=_BUSY_SECONDS
    ):
        environment["PREFECT_API_URL"] = servers.prefect_api_url
    if not environment.get("MLFLOW_TRACKING_URI") and answers(
        f"{servers.mlflow_url}/health", within_seconds=_BUSY_SECONDS
    ):
        environment["MLFLOW_TRACKING_URI"] = servers.mlflow_url


def answers(url: str, *, within_seconds: float = _ANSWER_SECONDS) -> bool:
    """Whether a server says that it is well."""
    return health(url, within_seconds=within_seconds) == "well"


def health(url: str, *, within_seconds: float) -> Literal["well", "slow", "away"]:
    """Ask a server once; slow is one that takes the connection and says nothing in time."""
    try:
        with urllib.request.urlopen(url, timeout=within_seconds) as answer:
            return "well" if answer.status == 200 else "away"
    except TimeoutError:  # one while connecting comes as a URLError
        return "slow"
    except (OSError, ValueError, HTTPException):
        return "away"


def _file(home: Path) -> Path:
    return home / "servers" / "running.json"
