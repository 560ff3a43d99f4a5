"""supervisord, which keeps the services alive: the only module that talks to it, over a private unix socket."""

from __future__ import annotations

import contextlib
import http.client
import os
import subprocess
import sys
import tempfile
import time
import xmlrpc.client
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from configs.errors import ServerError
from tasks.storage.durable import digest_of, make_private_directory

_LONGEST_SOCKET_PATH = 100
"""Linux allows 107 characters."""
_START_SECONDS = 15.0
_ENDED = ("STOPPED", "EXITED", "FATAL", "UNKNOWN")


@dataclass(frozen=True)
class ProcessState:
    """What supervisord knows of a service."""

    name: str
    state: str
    """RUNNING, STARTING, BACKOFF (died, is tried again), STOPPED, EXITED, FATAL (given up) or STOPPING."""
    pid: int | None
    started: float
    """When, in seconds since 1970."""
    died: float | None
    """When the one before it ended, if it did, in seconds since 1970."""
    reason: str

    @property
    def is_down(self) -> bool:
        """Whether nobody will start it but a person."""
        return self.state in _ENDED


class Supervisor:
    """supervisord of one installation, running or not."""

    def __init__(self, home: Path) -> None:
        """Find its places; nothing is started."""
        self.folder = home / "servers"
        self.socket = socket_path(home)

    def is_up(self) -> bool:
        """Whether it answers."""
        try:
            with self._calls() as supervisor:
                return bool(supervisor.getState()["statename"] == "RUNNING")
        except (OSError, xmlrpc.client.Error, http.client.HTTPException):
            return False

    def start(self, configuration: str, environment: Mapping[str, str]) -> None:
        """Start it as a daemon, with no service running yet.

        Raises:
            ServerError: it does not start.
        """
        make_private_directory(self.folder)
        _private_folder(self.socket.parent)
        file = self.folder / "supervisord.conf"
        file.touch(mode=0o600)
        file.write_text(configuration, encoding="utf-8")
        started = subprocess.run(
            [sys.executable, "-m", "supervisor.supervisord", "--configuration", str(file)],
            env=dict(environment), cwd=self.folder, stdin=subprocess.DEVNULL,
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        deadline = time.monotonic() + _START_SECONDS
        while not self.is_up():
            if started.returncode != 0 or time.monotonic() > deadline:
                said = (started.stderr or started.stdout).strip().splitlines()
                raise ServerError(f"supervisord does not start: {' '.join(said[-2:])}; its log is {self.folder}")
            time.sleep(0.05)

    def pid(self) -> int:
        """Return its process id."""
        with self._calls() as supervisor:
            return int(supervisor.getPID())

    def states(self) -> dict[str, ProcessState]:
        """Return what it knows of each service."""
        with self._calls() as supervisor:
            return {info["name"]: _state(info) for info in supervisor.getAllProcessInfo()}

    def start_service(self, name: str) -> None:
        """Start a service, if it does not run."""
        with self._calls() as supervisor, contextlib.suppress(xmlrpc.client.Fault):
            supervisor.startProcess(name, False)

    def stop_service(self, name: str) -> None:
        """Stop a service and wait until it ended, by SIGKILL if need be."""
        with self._calls() as supervisor, contextlib.suppress(xmlrpc.client.Fault):
            supervisor.stopProcess(name, True)

    def shut_down(self) -> None:
        """Ask it to stop everything and end."""
        with self._calls() as supervisor, contextlib.suppress(xmlrpc.client.Fault, OSError, http.client.HTTPException):
            supervisor.shutdown()

    @contextlib.contextmanager
    def _calls(self) -> Iterator[Any]:
        from supervisor.xmlrpc import SupervisorTransport

        transport = SupervisorTransport(None, None, f"unix://{self.socket}")
        try:
            yield xmlrpc.client.ServerProxy("http://localhost", transport=transport).supervisor
        finally:
            transport.close()


def socket_path(home: Path, *, temporary: Path | None = None) -> Path:
    """Return the socket's place: below the home, or where its path is too long, in a private temporary folder."""
    usual = home / "servers" / "supervisord.sock"
    if len(str(usual)) <= _LONGEST_SOCKET_PATH:
        return usual
    temporary = Path(tempfile.gettempdir()) if temporary is None else temporary
    return temporary / f"burnish-{os.getuid()}" / f"{digest_of(str(home))[:16]}.sock"


def _private_folder(folder: Path) -> None:
    make_private_directory(folder)
    found = folder.lstat()
    if found.st_uid != os.getuid() or found.st_mode & 0o077 or folder.is_symlink():
        raise ServerError(f"{folder} must be a folder of yours that nobody else may enter; remove it and try again")


def _state(info: Mapping[str, Any]) -> ProcessState:
    return ProcessState(
        name=str(info["name"]),
        state=str(info["statename"]),
        pid=int(info["pid"]) or None,
        started=float(info["start"]),
        died=float(info["stop"]) if info["stop"] else None,
        reason=str(info["spawnerr"] or info["description"]),
    )
