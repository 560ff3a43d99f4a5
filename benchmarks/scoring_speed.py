"""How fast few-shot prompts are answered: Burnish against transformers' `generate`, on the same base and prompts.

    python -m benchmarks.scoring_speed --home HOME [--base DIGEST] [--records N] [--shots 24] [--pairs K] [--json FILE]

The records are those of configs/icd10.yaml, the examples are drawn at random and the same for all. Every run has a
process of its own, with as many threads as cores; the ways take turns. transformers runs each way at its best batch
size. Ends with status 1 if the accuracies of the three that generate are more than a point apart. Only the figures of
an idle machine count.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.plain_generate import WARM_UP_RECORDS, Answered, Arguments, Way
from configs.loading import SHIPPED, load_recipe, project_root_of
from configs.schema import Recipe
from tasks.data.mapping import to_records
from tasks.data.snapshots import read_snapshot, write_snapshot
from tasks.data.sources import load_rows, source_digest
from tasks.data.splitting import assign_splits, within_limits
from tasks.inference.answers import read_answers, select_records
from tasks.inference.jobs import AnswerArguments
from tasks.inference.options import Decoding, Option
from tasks.metrics.task_metrics import score_rows
from tasks.models.base_models import base_directory, import_base
from tasks.models.hardware import choose_device, choose_precision, detect_hardware
from tasks.models.worker import ModelWorker
from tasks.storage.child_process import child_environment, python_command

RECIPE = SHIPPED / "icd10.yaml"
OURS, LABELS = "Burnish, free generation", "Burnish, label scoring"
THEIRS: dict[str, Way] = {"`generate`, whole prompts": "plain", "`generate`, cached prefix": "cached"}
PLAIN, CACHED = THEIRS
_BATCH_SIZES: dict[Way, tuple[int, ...]] = {"plain": (1, 8, 16, 32), "cached": (1, 8, 16, 32, 64, 128)}
_LARGEST_DIFFERENCE = 0.01


@dataclass(frozen=True)
class Run:
    """One way, once over all records."""

    records_per_second: float
    texts: list[str]


class Contest:
    """Runs the ways, each in a process of its own."""

    def __init__(self, base: Path, tasks: Mapping[Decoding, AnswerArguments]) -> None:
        self._base, self._tasks = base, tasks
        hardware = detect_hardware()
        self.threads = hardware.cores
        self.precision = choose_precision("auto", hardware)
        self._device = choose_device(hardware, 0)

    def burnish(self, decoding: Decoding) -> Run:
        """Run the job that answers a split, as a fine-tune's baselines do."""
        task = self._tasks[decoding]
        warm_up = task.model_copy(update={"limit": WARM_UP_RECORDS})
        with ModelWorker(self._base, precision=self.precision, device=self._device, threads=self.threads) as worker:
            for each in (warm_up, task):
                result = worker.run("tasks.inference.jobs:answer", each.model_dump(mode="json"))
        answers = read_answers(task.answers, result["answers"])
        return Run(answers.records_per_second, [answer.output for answer in answers.answers])

    def transformers(self, way: Way, batch_size: int) -> Run:
        """Answer with `generate`."""
        (answered,) = self._generate(way, (batch_size,), self._tasks["generate"])
        return Run(len(answered.texts) / answered.seconds, answered.texts)

    def sweep(self, way: Way, records: int) -> dict[int, float]:
        """Records per second by batch size, over as many records as the largest batch holds."""
        sizes = _batch_sizes(way, records)
        task = self._tasks["generate"].model_copy(update={"limit": sizes[-1]})
        return {each.batch_size: sizes[-1] / each.seconds for each in self._generate(way, sizes, task)}

    def _generate(self, way: Way, batch_sizes: tuple[int, ...], task: AnswerArguments) -> list[Answered]:
        arguments = Arguments(
            base=self._base, precision=self.precision, device=self._device, way=way, batch_sizes=batch_sizes, task=task
        )
        done = subprocess.run(
            python_command("benchmarks.plain_generate"), input=arguments.model_dump_json(), stdout=subprocess.PIPE,
            text=True, env=child_environment(self.threads), check=True,
        )  # fmt: skip
        return [Answered(**each) for each in json.loads(done.stdout)]


def answer_tasks(recipe: Recipe, home: Path, *, records: int, shots: int) -> dict[Decoding, AnswerArguments]:
    """Store the recipe's records below a folder; what each kind of decoding is asked to do with the test records."""
    root = project_root_of(RECIPE)
    records_found = assign_splits(to_records(load_rows(recipe.data, root), recipe.data), recipe.data)
    digest = write_snapshot(
        within_limits(records_found, recipe.data),
        snapshots=home / "snapshots", source_digest=source_digest(recipe.data, root), labels=recipe.data.labels,
    )  # fmt: skip
    kinds: tuple[Decoding, ...] = ("generate", "label_scoring")
    return {
        decoding: AnswerArguments(
            option=Option(
                f"random-{shots}", "prompt", recipe.template, decoding=decoding, shots=shots, shot_strategy="random"
            ),
            snapshots=home / "snapshots", snapshot=digest, split="test", limit=records,
            labels=read_snapshot(home / "snapshots", digest).labels, max_new_tokens=recipe.evaluation.max_new_tokens,
            latency_records=0, answers=home / "answers", adapters=home / "adapters", seed=recipe.seed,
            token_budget=recipe.evaluation.batch_tokens,
        )
        for decoding in kinds
    }  # fmt: skip


def references(task: AnswerArguments) -> list[str]:
    """What was wanted of each record, in the order of the answers."""
    records = read_snapshot(task.snapshots, task.snapshot).split(task.split)
    return [record.completion for record in select_records(records, task.limit)]


def best_batches(contest: Contest, records: int) -> dict[Way, int]:
    """Print the sweep over batch sizes; the fastest of each way."""
    sizes = _batch_sizes("cached", records)
    print("| records/s at batch size | " + " | ".join(map(str, sizes)) + " |\n|---" + "|---" * len(sizes) + "|")
    best = {}
    for name, way in THEIRS.items():
        speeds = contest.sweep(way, records)
        shown = [f"{speeds[size]:.2f}" if size in speeds else "" for size in sizes]
        print(f"| {name} | " + " | ".join(shown) + " |", flush=True)
        best[way] = max(speeds, key=lambda size: speeds[size])
    return best


def _batch_sizes(way: Way, records: int) -> tuple[int, ...]:
    return tuple(sorted({min(size, records) for size in _BATCH_SIZES[way]}))


def compete(contest: Contest, batch_sizes: Mapping[Way, int], pairs: int) -> dict[str, list[Run]]:
    """Run all ways in turn, every second time in reverse."""
    ways = {
        OURS: lambda: contest.burnish("generate"),
        PLAIN: lambda: contest.transformers("plain", batch_sizes["plain"]),
        CACHED: lambda: contest.transformers("cached", batch_sizes["cached"]),
        LABELS: lambda: contest.burnish("label_scoring"),
    }
    runs = defaultdict(list)
    for pair in range(pairs):
        for name in list(ways)[:: -1 if pair % 2 else 1]:
            runs[name].append(ways[name]())
            print(f"  {name}: {runs[name][-1].records_per_second:.2f} records/s", file=sys.stderr, flush=True)
    return {name: runs[name] for name in ways}


def median_ratios(runs: Mapping[str, Sequence[Run]]) -> dict[str, float]:
    """How many times as fast one way is as another: the median over the turns."""
    speeds = {name: [run.records_per_second for run in each] for name, each in runs.items()}
    best = [max(pair) for pair in zip(speeds[PLAIN], speeds[CACHED], strict=True)]
    compared = {
        f"{OURS} ÷ the better `generate`": (speeds[OURS], best),
        f"{OURS} ÷ {PLAIN}": (speeds[OURS], speeds[PLAIN]),
        f"{LABELS} ÷ {OURS}": (speeds[LABELS], speeds[OURS]),
    }
    return {
        name: statistics.median(ours / other for ours, other in zip(*pair, strict=True))
        for name, pair in compared.items()
    }


def print_results(
    runs: Mapping[str, Sequence[Run]],
    accuracies: Mapping[str, float],
    ratios: Mapping[str, float],
    batch_sizes: Mapping[Way, int],
) -> None:
    """Print a row for each way, and the ratios."""
    ours = runs[OURS][0].texts
    print(f"\n| way | records/s | median | exact match | same answer as {OURS} |\n|---|---|---|---|---|")
    for name, each in runs.items():
        speeds = [run.records_per_second for run in each]
        shown = ", ".join(f"{speed:.2f}" for speed in speeds)
        batch = f", batch {batch_sizes[THEIRS[name]]}" if name in THEIRS else ""
        same = sum(text.strip() == other.strip() for text, other in zip(each[0].texts, ours, strict=True))
        print(
            f"| {name}{batch} | {shown} | {statistics.median(speeds):.2f} | {accuracies[name]:.3f} "
            f"| {same} of {len(ours)} |"
        )
    print("\n| median ratio | |\n|---|---|")
    for name, ratio in ratios.items():
        print(f"| {name} | {ratio:.2f} |")


def main() -> int:
    """Run the contest and print tables; returns the exit status."""
    options = parse_arguments()
    recipe, root = load_recipe(RECIPE), project_root_of(RECIPE)
    base = options.base or import_base(recipe.base, bases=options.home / "bases", project_root=root)
    with tempfile.TemporaryDirectory() as scratch:
        tasks = answer_tasks(recipe, Path(scratch), records=options.records, shots=options.shots)
        wanted = references(tasks["generate"])
        contest = Contest(base_directory(options.home / "bases", base).absolute(), tasks)
        print(f"{len(wanted)} records, {options.shots} examples, {contest.precision}, {contest.threads} threads\n")
        batch_sizes = best_batches(contest, len(wanted))
        runs = compete(contest, batch_sizes, options.pairs)
    ratios = median_ratios(runs)
    accuracies = {name: float(score_rows("exact_match", each[0].texts, wanted).mean()) for name, each in runs.items()}
    print_results(runs, accuracies, ratios, batch_sizes)
    if options.json:
        shape = {"records": len(wanted), "shots": options.shots, "precision": contest.precision}
        figures = {**shape, "batch_sizes": batch_sizes, "accuracies": accuracies, "ratios": ratios}
        answers = {name: [asdict(run) for run in each] for name, each in runs.items()}
        options.json.write_text(json.dumps({**figures, "runs": answers}, indent=1), encoding="utf-8")
    generated = [accuracies[name] for name in (OURS, PLAIN, CACHED)]
    return int(max(generated) - min(generated) > _LARGEST_DIFFERENCE)


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument(
        "--base", help="digest of an imported base (default: the recipe's, imported if it is not there)"
    )
    parser.add_argument("--records", type=int, default=256, help="test records (default 256, at most 512)")
    parser.add_argument("--shots", type=int, default=24, help="examples in each prompt (default 24)")
    parser.add_argument("--pairs", type=int, default=3, help="runs of each way (default 3)")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
