"""Named places at which a test can kill this process, to prove that the same command then finishes the work."""

from __future__ import annotations

import os
import signal
from collections import Counter

_reached: Counter[str] = Counter()


def reach(point: str) -> None:
    """Die by SIGKILL if BURNISH_KILL_AT is `point` or `point:n` and this is the n-th time here (default first).

    With BURNISH_KILL_PID set, that process (the command that a worker belongs to) dies first, as in a power cut.
    With BURNISH_KILL_LOG set, appends the point's name to that file instead of only counting,
    so that a test can list every durable write that a run makes.
    """
    wanted, log = os.environ.get("BURNISH_KILL_AT"), os.environ.get("BURNISH_KILL_LOG")
    if wanted is None and log is None:
        return
    _reached[point] += 1
    if log is not None:
        with open(log, "a", encoding="utf-8") as file:  # noqa: PTH123 - append of one line, atomic on POSIX
            file.write(f"{point}:{_reached[point]}\n")
    if wanted in (f"{point}:{_reached[point]}", point):
        for process in (int(os.environ.get("BURNISH_KILL_PID", os.getpid())), os.getpid()):
            os.kill(process, signal.SIGKILL)
