"""Kill the smoke recipe at every durable write and at random moments; the same command must finish it the same way.

`python -m benchmarks.kills` kills one run in succession at every durable write (each command goes on until the next
one), then fresh runs at a sample of the writes and at random moments. `--points` and `--moments` say how many of each.
Prints a Markdown table and ends with status 1 if any run differs.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.e2e.installation import Installation, one_prefect_server
from tests.e2e.test_kill import assert_no_process_is_left, assert_nothing_runs, essence

FINETUNE = ("finetune", "--recipe", "configs/smoke.yaml")


def durable_writes(scratch: Path, url: str) -> tuple[list[str], dict[str, Any], float]:
    """Run once unharmed: every point that was reached, what the run came to, and its seconds."""
    log = scratch / "points.txt"
    installation = Installation(scratch / "whole", {"PREFECT_API_URL": url})
    started = time.monotonic()
    done = installation.smoke(BURNISH_KILL_LOG=str(log))
    if done.returncode:
        raise SystemExit(done.stderr)
    return list(dict.fromkeys(log.read_text().split())), essence(installation.show()), time.monotonic() - started


def outcome(
    installation: Installation, expected: dict[str, Any], command: Sequence[str] = FINETUNE, *, trials: int = 2
) -> str:
    """Finish a killed run by the same command; "same", or what differs."""
    assert_no_process_is_left(installation)
    again = installation.burnish(*command)
    if again.returncode:
        return f"exit {again.returncode}: {again.stderr.strip().splitlines()[-1]}"
    assert_nothing_runs(installation, trials=trials)
    assert_no_process_is_left(installation)
    found = essence(installation.show())
    return "same" if found == expected else f"differs: {[key for key in found if found[key] != expected[key]]}"


def killed_in_succession(
    installation: Installation, expected: dict[str, Any], command: Sequence[str] = FINETUNE, *, trials: int = 2
) -> tuple[int, str]:
    """Kill each command at the first durable write that no earlier one was killed at, until one gets through."""
    log = installation.home.with_suffix(".kills")
    log.touch()
    while (done := installation.burnish(*command, BURNISH_KILL_NEXT=str(log))).returncode == -signal.SIGKILL:
        print(f"  {log.read_text().split()[-1]}", file=sys.stderr, flush=True)
    kills = len(log.read_text().split())
    if done.returncode:
        return kills, f"exit {done.returncode}: {done.stderr.strip().splitlines()[-1]}"
    return kills, outcome(installation, expected, command, trials=trials)


def main() -> int:
    """Run the sweep; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--points", type=int, default=10, help="fresh runs killed at a durable write (default 10)")
    parser.add_argument("--moments", type=int, default=20, help="fresh runs killed at a random moment (default 20)")
    parser.add_argument("--no-succession", action="store_true", help="leave out the run killed at every write")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, one_prefect_server(Path(name)) as url:
        scratch = Path(name)
        points, expected, seconds = durable_writes(scratch, url)
        print(f"{len(points)} durable writes in a run of {seconds:.0f} s\n\n| killed at | outcome |\n|---|---|")
        failures = 0
        if not options.no_succession:
            installation = Installation(scratch / "succession", {"PREFECT_API_URL": url})
            kills, found = killed_in_succession(installation, expected)
            failures += report(f"{kills} durable writes in succession", found, reached=kills > 0)
        sample = points[:: max(1, len(points) // options.points)][: options.points] if options.points else []
        for number, point in enumerate(sample):
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
