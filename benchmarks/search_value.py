"""What a search is worth: the candidate's test metric at equal compute, for three ways to spend it.

`python -m benchmarks.search_value [--recipe smoke] [--seeds 3] [--trials 8] [key=value ...]` runs whole recipes, each
seed in an installation of its own, says each outcome on stderr and prints a Markdown table:

- *defaults*: the recipe's own values, trained with fresh seeds, the best on validation named;
- *random*: random draws, nothing pruned; what it costs is the budget of the next;
- *search*: TPE with pruning, and `search.max_cost` at what *random* cost.

A difference within the spread of *defaults* over the seeds is no difference. `icd10` takes hours on two cores.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from tests.e2e.installation import Installation

_MOST_CONFIRMATIONS = 10
_APART = 100
"""Of the recipe's seeds: confirmations take the ones behind them."""
_MORE_TRIALS = 10
"""The search may begin so many times as many trials: pruned ones are cheap, the money ends it."""


class Outcome(NamedTuple):
    """One way to spend the compute, with one seed."""

    way: str
    seed: int
    metric: float
    """The candidate's, on the test set."""
    cost: float
    """Of all training, in the recipe's currency."""


def outcomes(recipe: str, overrides: Sequence[str], seed: int, trials: int) -> Iterator[Outcome]:
    """Run one seed's three ways."""
    with tempfile.TemporaryDirectory() as folder:
        installation = Installation(Path(folder) / "home")
        unpruned = {"trials": trials, "sampler": "random", "pruner": "none"}
        random = _run(installation, recipe, "random", seed, unpruned, overrides)
        yield random
        more = {"trials": trials * _MORE_TRIALS, "max_cost": max(random.cost, 1e-9)}
        yield _run(installation, recipe, "search", seed, more, overrides)
        alone = {"space": "{}", "trials": 1, "confirmation_seeds": min(_MOST_CONFIRMATIONS, trials + 1)}
        yield _run(installation, recipe, "defaults", seed, alone, overrides)


def _run(
    installation: Installation,
    recipe: str,
    way: str,
    seed: int,
    search: Mapping[str, object],
    overrides: Sequence[str],
) -> Outcome:
    asked = ["search.slots=1", *overrides, f"seed={_APART * seed}"]
    asked += [f"search.{key}={value}" for key, value in search.items()]
    done = installation.burnish("finetune", "--recipe", recipe, *asked)
    if done.returncode:
        raise SystemExit(f"{recipe} {asked}: {done.stderr}")
    summary = json.loads(installation.burnish("show", "--json").stdout)
    candidate = next(option for option in summary["options"] if option["kind"] == "candidate")
    outcome = Outcome(way, seed, candidate["value"], summary["cost"]["training"])
    print(outcome, f"n {candidate['n']}, {summary['chosen']}", file=sys.stderr, flush=True)
    return outcome


def table(found: list[Outcome]) -> Iterator[str]:
    """Markdown."""
    yield "| way | test metric, mean over seeds | standard deviation | lowest | highest | cost, mean |"
    yield "|---|---|---|---|---|---|"
    for way in ("defaults", "random", "search"):
        values = [each.metric for each in found if each.way == way]
        spread = statistics.stdev(values) if len(values) > 1 else float("nan")
        cost = statistics.mean(each.cost for each in found if each.way == way)
        yield (
            f"| {way} | {statistics.mean(values):.4f} | {spread:.4f} | {min(values):.4f} | {max(values):.4f} "
            f"| {cost:.5f} |"
        )


def main() -> int:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", default="smoke")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--trials", type=int, default=8)
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="values that differ from the recipe's")
    options = parser.parse_args()
    found = [
        each
        for seed in range(options.seeds)
        for each in outcomes(options.recipe, options.overrides, seed, options.trials)
    ]
    print("\n".join(table(found)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
