"""Child processes that never outlive their parent."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

_PR_SET_PDEATHSIG = 1
_KIB_PER_MIB = 1024
_LIBC = ctypes.CDLL(None, use_errno=True)


def die_with_parent(parent_pid: int) -> None:
    """Ask Linux for SIGKILL when the parent dies; leave at once if it already has."""
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent_pid:
        os._exit(1)


def spawn(
    command: Sequence[str],
    *,
    environment: Mapping[str, str] | None = None,
    stdin: int | IO[bytes] | None = subprocess.DEVNULL,
    stdout: int | IO[bytes] | None = None,
    stderr: int | IO[bytes] | None = None,
    pass_fds: Sequence[int] = (),
    cwd: str | None = None,
) -> subprocess.Popen[bytes]:
    """Start `command` so that the kernel kills it when this process dies, in a process group of its own.

    A signal to the group of this process (Ctrl-C, `timeout`) reaches this process alone, which then ends its children
    in its own order: a Prefect server that went first would be waited for.

    The signal follows the *thread* that calls `spawn`: call it from a thread that lives as long as the child should.
    """
    return subprocess.Popen(
        bound_to_this_process(command),
        env=None if environment is None else dict(environment),
        stdin=stdin, stdout=stdout, stderr=stderr, pass_fds=tuple(pass_fds), cwd=cwd, process_group=0,
    )  # fmt: skip


def run_to_end(
    command: Sequence[str], *, environment: Mapping[str, str] | None = None, cwd: str | None = None
) -> tuple[int, str]:
    """Run a child as `spawn` does and wait for it; return its exit status and the last line that it wrote."""
    with tempfile.TemporaryFile() as output:
        process = spawn(command, environment=environment, stdout=output, stderr=subprocess.STDOUT, cwd=cwd)
        try:
            exit_code = process.wait()
        finally:
            stop(process, grace_seconds=1)
        output.seek(0)
        written = output.read().decode(errors="replace").strip()
    return exit_code, written.rpartition("\n")[2] or "no output"


def bound_to_this_process(command: Sequence[str]) -> list[str]:
    """The command as a child of this process that dies with it.

    It runs below a small launcher (this file) which sets the death signal and then becomes the command, so there is no
    fork hook that could deadlock in a threaded parent.
    """
    return [sys.executable, __file__, str(os.getpid()), *command]


def stop(process: subprocess.Popen[bytes], *, grace_seconds: float) -> None:
    """End a child: SIGTERM, then SIGKILL after the grace period; always reaped."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(grace_seconds)
        except subprocess.TimeoutExpired:
            process.kill()
    process.wait()


def peak_rss_mb(process_id: int | None = None) -> float:
    """Largest resident memory so far of one process (default: this one), in MiB; 0 if it is gone.

    From /proc, since `getrusage` also counts the process that this one was started from.
    """
    try:
        status = Path(f"/proc/{process_id or 'self'}/status").read_text(encoding="ascii")
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    sizes = [int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM:")]
    return max(sizes, default=0) / _KIB_PER_MIB


def family_peak_rss_mb() -> float:
    """Largest resident memory so far of this process or of any that it started, ended or alive, in MiB."""
    import psutil

    alive = [peak_rss_mb(child.pid) for child in psutil.Process().children(recursive=True)]
    ended = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / _KIB_PER_MIB
    return max(peak_rss_mb(), ended, *alive)


def process_identity() -> str:
    """Name this process for `may_be_alive`: host, process id and start."""
    import psutil

    own = psutil.Process()
    return f"{socket.gethostname()}:{own.pid}:{own.create_time():.2f}"


def may_be_alive(identity: str) -> bool:
    """Whether the process of that identity still runs on this host; of another host nothing can be told: False.

    A killed process that its parent has not waited for (a container may have nobody who does) runs no more.
    """
    import psutil

    host, _, number = identity.rpartition(":")[0].rpartition(":")
    if host != socket.gethostname() or not number.isdecimal():
        return False
    try:
        process = psutil.Process(int(number))
        same = f"{process.create_time():.2f}" == identity.rpartition(":")[2]
        return same and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


if __name__ == "__main__":
    die_with_parent(int(sys.argv[1]))
    os.execvp(sys.argv[2], sys.argv[2:])
