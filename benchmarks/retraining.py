"""How long a retrain takes to say that nothing changed, and to follow an event; storms of triggers; kills.

`python -m benchmarks.retraining` prints a Markdown table and ends with status 1 if a bar is missed. `--triggers` says
how many commands or events come at once; `--no-kills` leaves out the retrain that is killed at every durable write (15
minutes), `--no-events` what needs `burnish up` (5 minutes).
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.kills import killed_in_succession
from tests.e2e.installation import Installation, one_prefect_server
from tests.e2e.servers import wait_for
from tests.e2e.test_events import Place, events, place_with_servers
from tests.e2e.test_kill import essence
from tests.e2e.test_retrain import OTHER_DATA, RETRAIN, prefect_runs, retrained_runs

if TYPE_CHECKING:
    from prefect.client.schemas.objects import FlowRun

_SKIPS = 5
_LONGEST_SKIP_SECONDS = 5.0
_LONGEST_REACTION_SECONDS = 15.0
_CHANGES = 3


def skip_seconds(installation: Installation) -> list[float]:
    """Flow time of retrains for which nothing changed, in seconds."""
    for _ in range(_SKIPS):
        done = installation.burnish(*RETRAIN)
        if "Skipped: nothing changed" not in done.stdout:
            raise SystemExit(f"not skipped: {done.stdout}{done.stderr}")
    return sorted(run.total_run_time.total_seconds() for run in prefect_runs(installation))


def storm(installation: Installation, triggers: int) -> str:
    """Start commands for the same new data at once; "1 trained, the others skipped", or what else became of them."""
    started = [installation.start(*OTHER_DATA) for _ in range(triggers)]
    outputs = [command.communicate() for command in started]
    failed = [errors.strip() for command, (_, errors) in zip(started, outputs, strict=True) if command.returncode]
    skipped = sum("Skipped: " in output for output, _ in outputs)
    trained = len(retrained_runs(installation))
    if (trained, skipped, failed) == (1, triggers - 1, []):
        return "1 trained, the others skipped"
    return f"{trained} trained, {skipped} skipped, {len(failed)} failed: {failed[:1]}"


def reaction_seconds(place: Place, retrain: FlowRun) -> float:
    """From the newest change that the watcher told to the retrain at work."""
    told = max(event.occurred for event in events(place, "burnish.data.changed"))
    return (retrain.start_time - told).total_seconds()


def main() -> int:
    """Run the measurements; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--triggers", type=int, default=10, help="commands at once (default 10)")
    parser.add_argument("--no-kills", action="store_true", help="leave out the retrain killed at every durable write")
    parser.add_argument("--no-events", action="store_true", help="leave out what needs `burnish up`")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, one_prefect_server(Path(name)) as url:
        scratch = Path(name)
        finished = Installation(scratch / "finished", {"PREFECT_API_URL": url})
        if (done := finished.smoke()).returncode:
            raise SystemExit(done.stderr)
        print("| what | found | bar |\n|---|---|---|")
        seconds = skip_seconds(finished.copy_to(scratch / "skips"))
        shown = f"{seconds[len(seconds) // 2]:.1f} s (longest of {_SKIPS}: {seconds[-1]:.1f} s)"
        failures = row(
            "flow time of a skip", shown, f"{_LONGEST_SKIP_SECONDS:.0f} s", seconds[-1] <= _LONGEST_SKIP_SECONDS
        )
        stormed = finished.copy_to(scratch / "storm")
        found = storm(stormed, options.triggers)
        failures += row(
            f"{options.triggers} triggers, one Prefect server", found, "one trains", found.startswith("1 tr")
        )
        alone = Installation(finished.copy_to(scratch / "alone").home, {"PREFECT_API_URL": ""})
        found = storm(alone, options.triggers)
        failures += row(f"{options.triggers} triggers, no server", found, "one trains", found.startswith("1 tr"))
        if not options.no_events:
            failures += reactions(scratch / "events", options.triggers)
        if not options.no_kills:
            failures += kills(finished.copy_to(scratch / "kills"), essence(stormed.show()))
    return 1 if failures else 0


def reactions(folder: Path, triggers: int) -> int:
    """Changes of the data and a storm of requests on running servers."""
    folder.mkdir()
    with place_with_servers(folder) as place:
        place.watch()
        seconds = []
        for number in range(_CHANGES):
            place.append(f"my invoice {number}")
            place.watch()
            seconds.append(reaction_seconds(place, place.the_one_retrain()))
        bar = f"{_LONGEST_REACTION_SECONDS:.0f} s"
        shown = ", ".join(f"{each:.1f} s" for each in seconds)
        failures = row("look → retrain at work", shown, bar, max(seconds) <= _LONGEST_REACTION_SECONDS)
        place.append("my last invoice")
        place.emit_many("burnish.retrain.requested", triggers, reason="a storm")
        ended = [place.servers.wait(run.id).state.name for run in _all_of(place, triggers)]
    trained = sum(name in ("Promoted", "Rejected") for name in ended)
    found = f"{trained} trained, {ended.count('Skipped')} skipped"
    return failures + row(f"{triggers} events at once", found, "one trains", (trained, len(ended)) == (1, triggers))


def _all_of(place: Place, count: int) -> list[FlowRun]:
    found = wait_for(lambda: len(runs := place.retrains()) >= count and runs, what=f"{count} runs")
    return list(found)


def kills(installation: Installation, expected: dict[str, Any]) -> int:
    """Kill a retrain at every durable write in succession; the last command must end as an unharmed one."""
    count, found = killed_in_succession(installation, expected, OTHER_DATA, trials=3)
    return row(f"a retrain killed at {count} durable writes in succession", found, "same", found == "same")


def row(what: str, found: str, bar: str, passed: bool) -> int:
    """Print one row; 1 if it misses its bar."""
    print(f"| {what} | {found} | {bar} |", flush=True)
    return int(not passed)


if __name__ == "__main__":
    sys.exit(main())
