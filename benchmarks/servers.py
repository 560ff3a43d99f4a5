"""How long `burnish up` takes, what everything weighs at rest, and how fast a cancelled run stops.

`python -m benchmarks.servers` prints a Markdown table and ends with status 1 if a bar is missed; only the figures of an
idle machine count. `--cancels` says how many runs are cancelled.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

import psutil

from benchmarks.retraining import row
from tests.e2e.servers import Servers, running_servers, wait_for
from tests.e2e.test_kill import processes_of
from tests.e2e.test_servers import LONG, cancel, is_training, steps

_LONGEST_UP_SECONDS = 40.0
_MOST_MEMORY_MB = 1200.0
_LONGEST_CANCEL_SECONDS = 15.0
_PAUSE_SECONDS = 0.1


def second_up_seconds(servers: Servers) -> float:
    """How long an `up` takes that changes nothing."""
    began = time.monotonic()
    again = servers.installation.burnish("up")
    if again.returncode or "nothing changed" not in again.stdout:
        raise SystemExit(f"a second up: {again.stdout}{again.stderr}")
    return time.monotonic() - began


def memory_at_rest_mb(servers: Servers) -> float:
    """What `burnish status` says of everything together."""
    status = servers.installation.burnish("status").stdout
    return float(next(line for line in status.splitlines() if line.startswith("memory")).split()[1])


def cancel_seconds(servers: Servers) -> tuple[float, float]:
    """Cancel a run in training: seconds until the training stopped, and until the run is Cancelled."""
    before = set(steps(servers))
    run = servers.submit("finetune/finetune", request={"recipe": "smoke", "overrides": LONG})
    wait_for(
        lambda: is_training(servers, run.id) and set(steps(servers)) - before and trainers(servers), what="the training"
    )
    ending = trainers(servers)
    cancel(servers, run.id)
    asked = time.monotonic()
    stopped = cancelled = 0.0
    while not (stopped and cancelled):
        if not stopped and not any(process.is_running() for process in ending):
            stopped = time.monotonic() - asked
        state = servers.run(run.id).state
        if state is not None and state.is_final():
            if state.name != "Cancelled":
                raise SystemExit(f"the cancelled run ended as {state.name}: {state.message}")
            cancelled = cancelled or time.monotonic() - asked
        time.sleep(_PAUSE_SECONDS)
    return stopped, cancelled


def trainers(servers: Servers) -> list[psutil.Process]:
    """The processes that train."""
    return [each for each in processes_of(servers.installation) if "worker_process" in str(each.cmdline())]


def seconds_row(what: str, seconds: list[float], bar: float) -> int:
    """Print a row of one or more durations."""
    shown = f"{sorted(seconds)[len(seconds) // 2]:.1f} s"
    if len(seconds) > 1:
        shown += f" (n = {len(seconds)}, longest {max(seconds):.1f} s)"
    return row(what, shown, f"≤ {bar:.0f} s", max(seconds) <= bar)


def main() -> int:
    """Run the measurements; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cancels", type=int, default=3, help="runs that are cancelled (default 3)")
    options = parser.parse_args()
    print("| what | found | bar |\n|---|---|---|")
    with tempfile.TemporaryDirectory() as name, running_servers(Path(name)) as servers:
        failures = seconds_row("first `up`, in an empty home", [servers.up_seconds], _LONGEST_UP_SECONDS)
        failures += seconds_row("`up` again", [second_up_seconds(servers)], _LONGEST_UP_SECONDS)
        memory = memory_at_rest_mb(servers)
        failures += row("memory at rest", f"{memory:.0f} MB", f"≤ {_MOST_MEMORY_MB:.0f} MB", memory <= _MOST_MEMORY_MB)
        stopped, cancelled = zip(*(cancel_seconds(servers) for _ in range(options.cancels)), strict=True)
        failures += seconds_row("cancelled → training stopped", list(stopped), _LONGEST_CANCEL_SECONDS)
        failures += seconds_row("cancelled → run Cancelled", list(cancelled), _LONGEST_CANCEL_SECONDS)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
