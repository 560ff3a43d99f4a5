from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from configs.errors import ServerError
from tasks.servers.process_table import family, kill_all, memory_mb, require_free_ports, supervised
from tasks.servers.services import SUPERVISED, Service


def service(port: int) -> Service:
    return Service("prefect", ("true",), port=port, setting="BURNISH_PREFECT_PORT")


def test_a_held_port_is_told_with_its_holder_and_the_setting() -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]

        with pytest.raises(ServerError) as refused:
            require_free_ports([service(port)], "127.0.0.1")

    assert f"port {port} for prefect is held by process {os.getpid()}" in str(refused.value)
    assert "BURNISH_PREFECT_PORT" in str(refused.value)


def test_a_free_port_is_fine_and_a_foreign_address_is_not() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]

    require_free_ports([service(port)], "127.0.0.1")
    with pytest.raises(ServerError, match="correct BURNISH_HOST"):
        require_free_ports([service(port)], "192.0.2.1")


def test_what_a_service_started_is_found_and_killed_whoever_its_parent_is(tmp_path: Path) -> None:
    sleep = "[sys.executable, '-c', 'import time; time.sleep(60)'], stdout=subprocess.DEVNULL"
    orphan = f"import subprocess, sys; print(subprocess.Popen({sleep}).pid)"
    started = subprocess.run(
        [sys.executable, "-c", orphan],
        env={**os.environ, SUPERVISED: str(tmp_path)},
        stdout=subprocess.PIPE,
        check=True,
    )
    pid = int(started.stdout)

    assert [process.pid for process in supervised(tmp_path)] == [pid]
    assert supervised(tmp_path / "other") == []
    assert memory_mb(family(pid)) > 1
    assert kill_all(tmp_path, within_seconds=5) == 1
    assert not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
