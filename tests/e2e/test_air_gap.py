"""The whole smoke recipe with nothing but loopback: no telemetry, no hub, no version check."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.installation import PROJECT, clean_environment

LOOPBACK_ONLY = """
import fcntl, os, socket, struct, sys
fcntl.ioctl(socket.socket(), 0x8914, struct.pack("16sH14x", b"lo", 0x1 | 0x40))  # SIOCSIFFLAGS: lo up
os.execv(sys.executable, [sys.executable, "-m", "flows", *sys.argv[1:]])
"""
SMOKE = ("finetune", "--recipe", "configs/smoke.yaml")
CONNECT = re.compile(
    r'connect\(\d+, \{sa_family=AF_INET6?, .*?(?:inet_addr\("([^"]+)"\)|inet_pton\(AF_INET6, "([^"]+)")'
)


def namespaces_work() -> bool:
    tool = shutil.which("unshare")
    return tool is not None and subprocess.run([tool, "-rn", "true"], capture_output=True, check=False).returncode == 0


@pytest.mark.slow
def test_the_smoke_recipe_needs_no_network(tmp_path: Path) -> None:
    environment = {**clean_environment(), "BURNISH_HOME": str(tmp_path / "home")}
    trace = tmp_path / "trace.txt"
    if namespaces_work():
        command = ["unshare", "-rn", sys.executable, "-c", LOOPBACK_ONLY, *SMOKE]
    else:
        assert shutil.which("strace"), "namespaces are refused here; install strace (.ci/run does)"
        command = ["strace", "-f", "-e", "trace=connect", "-o", str(trace), sys.executable, "-m", "flows", *SMOKE]

    done = subprocess.run(command, env=environment, cwd=PROJECT, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    assert "Verdict" in done.stdout
    if trace.exists():
        addresses = {first or second for first, second in CONNECT.findall(trace.read_text())}
        assert all(address.startswith("127.") or address == "::1" for address in addresses), addresses
