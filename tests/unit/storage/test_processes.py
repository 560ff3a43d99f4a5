import os
import signal
import subprocess
import sys
import time

import psutil

from tasks.storage.processes import family_peak_rss_mb, may_be_alive, peak_rss_mb, process_identity, spawn, stop

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


def test_a_signal_to_the_group_of_the_parent_leaves_its_children_to_the_parent() -> None:
    child = spawn([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        assert os.getpgid(child.pid) == child.pid != os.getpgid(0)
    finally:
        stop(child, grace_seconds=0.1)


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


def test_a_process_is_known_by_host_id_and_start() -> None:
    own = process_identity()
    host, number, start = own.split(":")

    assert may_be_alive(own)
    assert not may_be_alive(f"{host}:{number}:{float(start) - 5:.2f}")  # its id was given to another process since
    assert not may_be_alive(f"elsewhere:{number}:{start}")
    assert not may_be_alive("no identity")


def test_the_identity_of_an_ended_process_is_dead() -> None:
    command = "from tasks.storage.processes import process_identity; print(process_identity())"
    ended = subprocess.run([sys.executable, "-c", command], capture_output=True, text=True, check=True)

    assert not may_be_alive(ended.stdout.strip())


def test_a_killed_process_that_nobody_waited_for_is_dead() -> None:
    command = "from tasks.storage.processes import process_identity; print(process_identity(), flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", command], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as killed:
        assert killed.stdout is not None
        identity = killed.stdout.readline().decode().strip()
        assert may_be_alive(identity)

        killed.kill()

        assert gone(killed.pid)
        assert psutil.pid_exists(killed.pid)
        assert not may_be_alive(identity)
