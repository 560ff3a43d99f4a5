"""Named places at which a test can kill this process, to prove that the same command then finishes the work."""

from __future__ import annotations

import os
import signal
from collections import Counter
from pathlib import Path

_reached: Counter[str] = Counter()


def reach(point: str) -> None:
    """Die by SIGKILL if BURNISH_KILL_AT is `point` or `point:n` and this is the n-th time here (default first).

    With BURNISH_KILL_PID set, that process (the command that a worker belongs to) dies first, as in a power cut.
    With BURNISH_KILL_LOG set, appends the point's name to that file instead of only counting,
    so that a test can list every durable write that a run makes.
    With BURNISH_KILL_NEXT set, dies here unless that file names the point already, and adds it to the file first: a
    run started again and again dies at each durable write once.
    With BURNISH_HOLD_AT set, in the same form, this process stops there until somebody continues it (SIGCONT).
    """
    wanted, log, killed = (os.environ.get(f"BURNISH_KILL_{what}") for what in ("AT", "LOG", "NEXT"))
    held = os.environ.get("BURNISH_HOLD_AT")
    if wanted is None and log is None and killed is None and held is None:
        return
    _reached[point] += 1
    place = f"{point}:{_reached[point]}"
    if held in (place, point):
        os.kill(os.getpid(), signal.SIGSTOP)
    if log is not None:
        _append(log, place)
    if killed is not None and place not in Path(killed).read_text(encoding="utf-8").split():
        _append(killed, place)
        wanted = place
    if wanted in (place, point):
        for process in (int(os.environ.get("BURNISH_KILL_PID", os.getpid())), os.getpid()):
            os.kill(process, signal.SIGKILL)


def run_out_of_memory(step: int, *, micro_batch_size: int) -> None:
    """Die as by the kernel's hand if BURNISH_OUT_OF_MEMORY is `size:step`, and both are reached or exceeded."""
    wanted = os.environ.get("BURNISH_OUT_OF_MEMORY")
    if wanted is None:
        return
    size, _, first_step = wanted.partition(":")
    if micro_batch_size >= int(size) and step >= int(first_step):
        os.kill(os.getpid(), signal.SIGKILL)


def _append(file: str, place: str) -> None:
    with Path(file).open("a", encoding="utf-8") as lines:  # one line, atomic on POSIX
        lines.write(f"{place}\n")
