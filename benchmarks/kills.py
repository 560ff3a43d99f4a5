"""Kill the smoke recipe at every durable write and at random moments; the same command must finish it the same way.

`python -m benchmarks.kills` goes through all of it (hours on two cores); `--points 10 --moments 5` takes an even sample
of the durable writes and fewer random moments. Prints a Markdown table and ends with status 1 if any run differs.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tasks.tracking.prefect_server import prefect_server
from tests.e2e.installation import Installation
from tests.e2e.test_kill import assert_no_process_is_left, assert_nothing_runs, essence


def durable_writes(scratch: Path, url: str) -> tuple[list[str], dict[str, Any], float]:
    """Run once unharmed: every point that was reached, what the run came to, and its seconds."""
    log = scratch / "points.txt"
    installation = Installation(scratch / "whole", {"PREFECT_API_URL": url})
    started = time.monotonic()
    done = installation.smoke(BURNISH_KILL_LOG=str(log))
    if done.returncode:
        raise SystemExit(done.stderr)
    return list(dict.fromkeys(log.read_text().split())), essence(installation.show()), time.monotonic() - started


def outcome(installation: Installation, expected: dict[str, Any]) -> str:
    """Finish a killed run by the same command; "same", or what differs."""
    assert_no_process_is_left(installation)
    again = installation.smoke()
    if again.returncode:
        return f"exit {again.returncode}: {again.stderr.strip().splitlines()[-1]}"
    assert_nothing_runs(installation)
    assert_no_process_is_left(installation)
    found = essence(installation.show())
    return "same" if found == expected else f"differs: {[key for key in found if found[key] != expected[key]]}"


def main() -> int:
    """Run the sweep; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--points", type=int, default=None, help="durable writes to try (default: all)")
    parser.add_argument("--moments", type=int, default=20, help="random moments to try")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, prefect_server(Path(name), None) as url:
        scratch = Path(name)
        points, expected, seconds = durable_writes(scratch, url)
        step = max(1, len(points) // options.points) if options.points else 1
        print(f"{len(points)} durable writes in a run of {seconds:.0f} s\n\n| killed at | outcome |\n|---|---|")
        failures = 0
        for number, point in enumerate(points[::step]):
            installation = Installation(scratch / f"point-{number}", {"PREFECT_API_URL": url})
            killed = installation.smoke(BURNISH_KILL_AT=point)
            failures += report(point, outcome(installation, expected), reached=killed.returncode == -9)
        draw = random.Random(0)
        for number in range(options.moments):
            installation = Installation(scratch / f"moment-{number}", {"PREFECT_API_URL": url})
            moment = draw.uniform(0, seconds)
            command = installation.start_smoke()
            time.sleep(moment)
            os.kill(command.pid, signal.SIGKILL)
            command.communicate()
            failures += report(f"{moment:.1f} s", outcome(installation, expected), reached=True)
    return 1 if failures else 0


def report(where: str, found: str, *, reached: bool) -> int:
    """Print one row; 1 if it is a failure."""
    print(f"| {where}{'' if reached else ' (not reached)'} | {found} |", flush=True)
    return int(found != "same")


if __name__ == "__main__":
    sys.exit(main())
