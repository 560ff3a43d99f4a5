"""What the system says of processes: which belong to an installation, what they weigh, who holds a port."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

import psutil

from configs.errors import ServerError
from tasks.servers.services import SUPERVISED, Service

_BYTES_PER_MIB = 1024**2
_LONGEST_COMMAND = 60


def supervised(home: Path) -> list[psutil.Process]:
    """Return supervisord of this home and all that it started, and what that started, whoever is its parent now."""
    found = []
    for process in psutil.process_iter():
        try:
            ours = process.environ().get(SUPERVISED) == str(home) and process.status() != psutil.STATUS_ZOMBIE
        except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
            continue
        if ours and process.pid != os.getpid():
            found.append(process)
    return found


def kill_all(home: Path, *, within_seconds: float) -> int:
    """Kill what is left of an installation's services; return how many there were.

    Raises:
        ServerError: some are still there after that time.
    """
    first = supervised(home)
    deadline = time.monotonic() + within_seconds
    left = first
    while left:
        for process in left:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(left, timeout=0.2)
        left = supervised(home)
        if left and time.monotonic() > deadline:
            raise ServerError(f"could not end {', '.join(str(process.pid) for process in left)}; are they yours?")
    return len(first)


def end_children(pid: int, *, within_seconds: float) -> None:
    """Ask what a process started to end, and wait for it; whoever needs longer is left to the caller."""
    try:
        children = psutil.Process(pid).children()
    except psutil.NoSuchProcess:
        return
    for child in children:
        with contextlib.suppress(psutil.NoSuchProcess):
            child.terminate()
    psutil.wait_procs(children, timeout=within_seconds)


def memory_mb(processes: Iterable[psutil.Process]) -> float:
    """Return the memory of processes in MiB, what they share counted once (PSS)."""
    total = 0
    for process in processes:
        try:
            total += process.memory_full_info().pss
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return total / _BYTES_PER_MIB


def worked_seconds(processes: Iterable[psutil.Process]) -> float:
    """Return the processor time that living processes have used."""
    total = 0.0
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            times = process.cpu_times()
            total += times.user + times.system
    return total


def family(pid: int) -> list[psutil.Process]:
    """Return a process and all that descend from it; empty if it is gone."""
    try:
        process = psutil.Process(pid)
        return [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def require_free_ports(services: Sequence[Service], host: str) -> None:
    """Make sure that each service can listen.

    Raises:
        ServerError: another program holds a port, or the address isn't this machine's; names all of them.
    """
    problems = [_port_problem(service, host) for service in services if service.port is not None]
    told = [problem for problem in problems if problem]
    if told:
        raise ServerError("; ".join(told))


def _port_problem(service: Service, host: str) -> str | None:
    assert service.port is not None
    kind = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(kind) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, service.port))
            probe.listen(1)
        except (OSError, UnicodeError) as error:
            if getattr(error, "errno", None) == errno.EADDRINUSE:
                return (
                    f"port {service.port} for {service.name} is held by {_holder(service.port)}; "
                    f"end that, or set {service.setting} to a free port"
                )
            return f"{service.name} can't listen at {host}:{service.port}: {error}; correct BURNISH_HOST"
    return None


def _holder(port: int) -> str:
    try:
        listening = [
            each.pid
            for each in psutil.net_connections(kind="tcp")
            if each.status == psutil.CONN_LISTEN and each.laddr and each.laddr.port == port
        ]
    except psutil.AccessDenied:
        listening = []
    for pid in listening:
        if pid is None:
            continue
        try:
            command = " ".join(psutil.Process(pid).cmdline())
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
        shown = command if len(command) <= _LONGEST_COMMAND else f"{command[: _LONGEST_COMMAND - 1]}…"
        return f"process {pid} ({shown})"
    return "another program"
