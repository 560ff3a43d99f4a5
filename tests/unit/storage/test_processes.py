import os
import signal
import subprocess
import sys
import time

import psutil

from tasks.storage.processes import family_peak_rss_mb, peak_rss_mb, spawn, stop

PARENT = """
import sys, time
from tasks.storage.processes import spawn
child = spawn([sys.executable, "-c", "import time; time.sleep(60)"])
print(child.pid, flush=True)
time.sleep(60)
"""


def gone(pid: int, seconds: float = 10) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
            return True
        time.sleep(0.02)
    return False


def test_a_child_dies_when_its_parent_is_killed() -> None:
    parent = subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE)
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    assert psutil.pid_exists(child)

    os.kill(parent.pid, signal.SIGKILL)
    parent.wait()

    assert gone(child)


def test_stop_ends_a_child_that_ignores_the_polite_signal() -> None:
    code = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('x', flush=True); time.sleep(60)"
    child = spawn([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert child.stdout is not None
    child.stdout.readline()

    stop(child, grace_seconds=0.1)

    assert child.returncode == -signal.SIGKILL


def test_peak_memory_counts_children_alive_and_ended() -> None:
    command = [sys.executable, "-c", "x = b'x' * (300 << 20); print(flush=True); input()"]
    before = family_peak_rss_mb()

    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        alive = peak_rss_mb(child.pid)
        of_all = family_peak_rss_mb()
        child.communicate(b"\n")

    assert 300 <= alive <= of_all
    assert family_peak_rss_mb() >= max(before, 300)
    assert peak_rss_mb(child.pid) == 0
