"""Burnish's fine-tune against TRL's SFTTrainer on this machine's CPU: records a second and quality.

    python -m benchmarks.training_speed [--home HOME] [--base DIGEST] [--shape short|long] [--sweep] [--seeds S]

Both train the same adapter on the same tokens, with the same learning rates and batches of the same size, each run in a
process of its own with one thread for each core. The two alternate. Loading, tokenisation, the first step and the
validation look (one record, after the last step) are outside of the time on both sides. `make bench-training` installs
TRL and sweeps. Run it on an idle machine.
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib.util
import json
import statistics
import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from benchmarks.arithmetic_floor import floor_seconds_per_record
from configs.loading import load_recipe, project_root_of
from configs.schema import Precision, Recipe, Template
from tasks.data.mapping import to_records
from tasks.data.records import Record, SplitName, Turn
from tasks.data.snapshots import read_snapshot, write_snapshot
from tasks.data.sources import load_rows
from tasks.data.splitting import assign_splits, within_limits
from tasks.inference.answers import read_answers
from tasks.inference.jobs import AnswerArguments
from tasks.inference.options import Option
from tasks.metrics.task_metrics import score_rows
from tasks.models.base_models import import_base
from tasks.models.hardware import choose_precision, detect_hardware
from tasks.models.tokenizer import load_tokenizer
from tasks.models.worker import ModelWorker
from tasks.storage.child_process import child_environment, python_command
from tasks.training.arguments import TrainArguments
from tasks.training.identity import training_key

_RECIPE = Path("configs/icd10.yaml")
_FIRST_SEED = 17
_TOKEN_BUDGET = 8192
_LONG_COMPLETION, _LONG_RECORD, _ROWS_PER_LONG_RECORD = 256, 512, 64
_LONGEST_TRL_RUN_SECONDS = 3600


@dataclass(frozen=True)
class Shape:
    """One kind of records."""

    batch_size: int
    records: int
    sweep_batches: int
    """Enough that batches by length have lengths to choose from."""
    changes: tuple[dict[str, Any], ...]
    """Of TRL's settings, tried one after the other from the machine's own precision on; one that is faster stays."""


SHAPES = {
    "short": Shape(
        batch_size=16,
        records=320,
        sweep_batches=12,
        changes=(
            {"batches": "by length"}, {"batches": "padding-free"}, {"precision": "fp32"}, {"accumulation": 2},
            {"accumulation": 4}, {"attention": "eager"}, {"compiled": True},
        ),
    ),
    # equally long: there is no padding to be free of
    "long": Shape(
        batch_size=8,
        records=24,
        sweep_batches=3,
        changes=({"accumulation": 2}, {"accumulation": 8}, {"attention": "eager"}, {"compiled": True}),
    ),
}  # fmt: skip


@dataclass(frozen=True)
class TrlSettings:
    """What may make SFTTrainer faster on a CPU without changing what is learnt."""

    precision: Precision = "fp32"
    """Of the frozen base; bf16 comes with autocast."""
    batches: Literal["shuffled", "by length", "padding-free"] = "by length"
    """Padding-free is TRL's packing within one batch; on the CPU it gives the logits of padded batches."""
    accumulation: int = 1
    """Forward passes of one step."""
    attention: Literal["sdpa", "eager"] = "sdpa"
    compiled: bool = False

    def __str__(self) -> str:
        passes = "one pass" if self.accumulation == 1 else f"{self.accumulation} passes"
        compiled = ", torch.compile" if self.compiled else ""
        return f"{self.precision}, {self.batches}, {passes} a step, {self.attention}{compiled}"


@dataclass(frozen=True)
class TrlRequest:
    """What `benchmarks.trl_trainer` is asked to do."""

    base_directory: str
    arguments: dict[str, Any]
    """`TrainArguments` as JSON."""
    settings: TrlSettings
    threads: int
    limit: int | None
    """Only so many of the records; None: all."""
    in_order: bool = False
    """Whether its batches are those of Burnish's fine-tune, and the loss of each step is kept."""


@dataclass(frozen=True)
class Run:
    """What one fine-tune came to."""

    records_per_second: float
    """Without the first step."""
    seconds: float
    """Of the whole training; Burnish's with one checkpoint and the look."""
    loss: float
    """Mean of all steps."""
    adapter: str
    losses: Sequence[float]
    """Of each step; TRL's where the batches are Burnish's."""


class TrlFailed(Exception):
    """TRL can't train with these settings here."""


@dataclass(frozen=True)
class Bench:
    """What stays the same in all runs."""

    base_directory: Path
    recipe: Recipe
    shape: Shape
    records: int
    """To train on."""
    snapshot: str
    labels: tuple[str, ...] | None
    precision: Precision
    threads: int
    scratch: Path

    def arguments(self, seed: int) -> dict[str, Any]:
        """What Burnish's job is asked for; TRL reads its own configuration out of it."""
        training = self.recipe.training
        folders: dict[str, Any] = {name: self.scratch / name for name in ("snapshots", "checkpoints", "adapters")}
        defines: dict[str, Any] = {
            "snapshot": self.snapshot, "labels": self.labels, "metric": "exact_match", "seed": seed,
            "decoding": "label_scoring" if self.labels else "generate", "max_new_tokens": 1,
        }  # fmt: skip
        base, template = self.base_directory.name, self.recipe.template
        key = training_key(training, template, base_digest=base, precision=self.precision, **defines)
        return TrainArguments(
            training=training, template=template, training_key=key, token_budget=_TOKEN_BUDGET, **folders, **defines
        ).model_dump(mode="json")

    def worker(self) -> ModelWorker:
        """A fresh process."""
        return ModelWorker(self.base_directory, precision=self.precision, device="cpu", threads=self.threads)


def burnish(bench: Bench, seed: int) -> Run:
    """Fine-tune with Burnish's own job; it reports each step before the look that follows the last one."""
    ends: list[tuple[int, float]] = []

    def listen(values: dict[str, Any]) -> bool:
        if values["kind"] == "step":
            ends.append((values["step"], time.perf_counter()))
        return True

    with bench.worker() as worker:
        result = worker.run("tasks.training.jobs:train", bench.arguments(seed), listen)
    (first, started), (last, ended) = ends[0], ends[-1]
    losses = [point["loss"] for point in result["curve"]]
    return Run(
        records_per_second=(last - first) * bench.shape.batch_size / (ended - started),
        seconds=result["seconds"],
        loss=statistics.fmean(losses),
        adapter=result["adapter"],
        losses=losses,
    )


def trl(bench: Bench, settings: TrlSettings, *, seed: int, limit: int | None = None, in_order: bool = False) -> Run:
    """Fine-tune with SFTTrainer.

    Raises:
        TrlFailed: with the last line that it wrote.
    """
    request = TrlRequest(str(bench.base_directory), bench.arguments(seed), settings, bench.threads, limit, in_order)
    command = python_command("benchmarks.trl_trainer", json.dumps(dataclasses.asdict(request)))
    try:
        done = subprocess.run(
            command, env=child_environment(bench.threads), capture_output=True, text=True, check=True,
            timeout=_LONGEST_TRL_RUN_SECONDS,
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise TrlFailed(f"not done after {error.timeout:.0f} s") from error
    except subprocess.CalledProcessError as error:
        lines = [line for line in error.stderr.splitlines() if line.strip()]
        raise TrlFailed(lines[-1][:200] if lines else f"exit status {error.returncode}") from error
    return Run(**json.loads(done.stdout.splitlines()[-1]))


def sweep(bench: Bench) -> TrlSettings:
    """Print a table of settings, each timed on a few batches, and return the fastest."""
    limit = min(bench.shape.sweep_batches * bench.shape.batch_size, bench.records)

    def rate(settings: TrlSettings) -> float:
        try:
            found = trl(bench, settings, seed=_FIRST_SEED, limit=limit).records_per_second
        except TrlFailed as error:
            print(f"| {settings} | {error} |", flush=True)
            return 0.0
        print(f"| {settings} | {found:.3g} |", flush=True)
        return found

    print(f"\n| TRL's settings, on {limit} records | records/s |\n|---|---|")
    best = TrlSettings(bench.precision, "shuffled")
    fastest = rate(best)
    for change in bench.shape.changes:
        tried = dataclasses.replace(best, **change)
        if tried != best and (found := rate(tried)) > fastest:
            best, fastest = tried, found
    return best


def compare(bench: Bench, settings: TrlSettings, *, pairs: int) -> list[tuple[Run, Run]]:
    """Alternate the two, each pair with a seed of its own, and print a row for each pair."""
    print(f"\nTRL: {settings}. Burnish: {bench.precision}. {bench.threads} threads.\n")
    print("| seed | Burnish records/s | TRL records/s | ratio | whole run, s | loss |\n|---|---|---|---|---|---|")
    rows = []
    for seed in range(_FIRST_SEED, _FIRST_SEED + pairs):
        ours, theirs = burnish(bench, seed), trl(bench, settings, seed=seed)
        rows.append((ours, theirs))
        print(
            f"| {seed} | {ours.records_per_second:.3g} | {theirs.records_per_second:.3g} | {_ratio(rows[-1]):.2f} "
            f"| {ours.seconds:.1f} / {theirs.seconds:.1f} | {ours.loss:.3f} / {theirs.loss:.3f} |",
            flush=True,
        )
    return rows


def accuracies(bench: Bench, adapters: Sequence[str]) -> list[float]:
    """Score adapters on the test records as Burnish scores a candidate: the most likely label."""
    records = {
        record.record_id: record for record in read_snapshot(bench.scratch / "snapshots", bench.snapshot).split("test")
    }
    found = []
    with bench.worker() as worker:
        for adapter in adapters:
            option = Option(
                "candidate", "candidate", template=bench.recipe.template, decoding="label_scoring", adapter=adapter
            )
            arguments = AnswerArguments(
                option=option, snapshots=bench.scratch / "snapshots", snapshot=bench.snapshot, split="test", limit=None,
                labels=bench.labels, max_new_tokens=1, latency_records=0, answers=bench.scratch / "answers",
                adapters=bench.scratch / "adapters", seed=_FIRST_SEED, token_budget=_TOKEN_BUDGET,
            )  # fmt: skip
            digest = worker.run("tasks.inference.jobs:answer", arguments.model_dump(mode="json"))["answers"]
            answers = read_answers(bench.scratch / "answers", digest).answers
            wanted = [records[answer.record_id].completion for answer in answers]
            found.append(float(score_rows("exact_match", [answer.output for answer in answers], wanted).mean()))
    return found


def compare_losses(bench: Bench, settings: TrlSettings) -> None:
    """Print the loss of each step on the same batches without dropout: the two should learn the same."""
    training = bench.recipe.training.model_copy(update={"lora_dropout": 0.0})
    plain = dataclasses.replace(bench, recipe=bench.recipe.model_copy(update={"training": training}))
    ours = burnish(plain, _FIRST_SEED).losses
    theirs = trl(plain, settings, seed=_FIRST_SEED, in_order=True).losses
    print("| step | Burnish | TRL |\n|---|---|---|")
    for step, (one, other) in enumerate(zip(ours, theirs, strict=True), start=1):
        print(f"| {step} | {one:.4f} | {other:.4f} |")


def compare_quality(bench: Bench, pairs: Sequence[tuple[Run, Run]]) -> list[tuple[float, float]]:
    """Print both accuracies for each seed, and the mean difference."""
    rows = []
    print("\n| seed | Burnish accuracy | TRL accuracy | difference |\n|---|---|---|---|")
    for seed, pair in enumerate(pairs, start=_FIRST_SEED):
        ours, theirs = accuracies(bench, [run.adapter for run in pair])
        rows.append((ours, theirs))
        print(f"| {seed} | {ours:.3f} | {theirs:.3f} | {ours - theirs:+.3f} |", flush=True)
    print(f"\nMean difference: {statistics.fmean(ours - theirs for ours, theirs in rows):+.3f}")
    return rows


def _ratio(pair: tuple[Run, Run]) -> float:
    return pair[0].records_per_second / pair[1].records_per_second


def prepare(options: argparse.Namespace, scratch: Path) -> Bench:
    """Bring the base and the records, and settle what both tools are given."""
    recipe, shape = load_recipe(_RECIPE), SHAPES[options.shape]
    root, bases = project_root_of(_RECIPE), options.home / "bases"
    base = options.base or import_base(recipe.base, bases=bases, project_root=root)
    training = recipe.training.model_copy(
        update={"batch_size": shape.batch_size, "evaluations": 1, "max_validation_records": 1}
    )
    count = options.records or shape.records
    if count % shape.batch_size or count < 2 * shape.batch_size:
        raise SystemExit(f"--records must be a multiple of {shape.batch_size}, two at least, got {count}")
    template, labels = recipe.template, recipe.data.labels
    if options.shape == "long":
        template = Template(
            prompt="{{ prompt }}\nDescriptions:", completion=" {{ completion }}", max_tokens=_LONG_RECORD
        )
        records, labels = _long_records(recipe, count, base_directory=bases / base), None
    else:
        data = recipe.data.model_copy(update={"max_train_records": count})
        records = within_limits(assign_splits(to_records(load_rows(data, root), data), data), data)
    snapshot = write_snapshot(records, snapshots=scratch / "snapshots", source_digest="0" * 64, labels=labels)
    hardware = dataclasses.replace(detect_hardware(), gpus=())
    return Bench(
        base_directory=bases / base, recipe=recipe.model_copy(update={"training": training, "template": template}),
        shape=shape, records=count, snapshot=snapshot, labels=read_snapshot(scratch / "snapshots", snapshot).labels,
        precision=choose_precision("auto", hardware), threads=hardware.cores, scratch=scratch,
    )  # fmt: skip


def _long_records(recipe: Recipe, count: int, *, base_directory: Path) -> list[Record]:
    """Many terms in a row, and their descriptions; cut to the wanted numbers of tokens (the template cuts prompts)."""
    tokenizer = load_tokenizer(base_directory)
    rows = load_rows(recipe.data, project_root_of(_RECIPE)).rows
    held_out: dict[int, SplitName] = {count: "validation", count + 1: "test"}
    records = []
    for number in range(count + 2):
        part = [rows[(number * _ROWS_PER_LONG_RECORD + place) % len(rows)] for place in range(_ROWS_PER_LONG_RECORD)]
        descriptions = tokenizer(" " + "; ".join(row["description"] for row in part), add_special_tokens=False)
        completion = tokenizer.decode(descriptions["input_ids"][: _LONG_COMPLETION - 1]).removeprefix(" ")
        prompt = "; ".join(row["term"] for row in part)
        turns = (Turn("user", prompt),)
        records.append(Record(f"{number:016d}", held_out.get(number, "train"), str(number), turns, completion))
    return records


def main() -> None:
    """Sweep, compare, and print what came of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--home", type=Path, default=Path(".burnish"), help="its folder bases holds the base model")
    parser.add_argument("--base", help="digest of a base model there (default: the recipe's, imported if need be)")
    parser.add_argument("--shape", choices=sorted(SHAPES), default="short", help="of the records (default short)")
    parser.add_argument("--records", type=int, help="to train on (default 320 short or 24 long ones)")
    parser.add_argument("--pairs", type=int, default=3, help="runs of each tool (default 3)")
    parser.add_argument("--sweep", action="store_true", help="look for TRL's fastest settings first")
    parser.add_argument("--batches", choices=["shuffled", "by length", "padding-free"], default="by length",
                        help="TRL's, where nothing is swept (default by length)")  # fmt: skip
    parser.add_argument("--seeds", type=int, default=0, help="pairs, more than --pairs if need be, that are scored")
    parser.add_argument("--losses", action="store_true", help="print each step's loss on the same batches, no speeds")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    options = parser.parse_args()
    if options.seeds and options.shape == "long":
        parser.error("--seeds scores labels, which only --shape short has")
    if importlib.util.find_spec("trl") is None:
        parser.error("TRL is not installed; run `make bench-training`, or pip install -e '.[demo,bench]'")
    with tempfile.TemporaryDirectory() as scratch:
        bench = prepare(options, Path(scratch))
        settings = TrlSettings(bench.precision, options.batches)
        if options.losses:
            compare_losses(bench, settings)
            return
        if options.sweep:
            settings = sweep(bench)
        pairs = compare(bench, settings, pairs=max(options.pairs, options.seeds))
        scores = compare_quality(bench, pairs[: options.seeds]) if options.seeds else []
        floor = floor_seconds_per_record(bench)
    ratio = statistics.median(map(_ratio, pairs))
    ours, theirs = (statistics.median(run.records_per_second for run in runs) for runs in zip(*pairs, strict=True))
    print(f"Share of the arithmetic floor: Burnish {floor * ours:.0%}, TRL {floor * theirs:.0%}.")
    rival = "TRL at its best" if options.sweep else "TRL with settings that were not swept"
    print(f"\n**Burnish trains {ratio:.2f} times as fast as {rival}** (median of {len(pairs)} pairs).")
    if options.json:
        figures = {
            "ratio": ratio, "settings": dataclasses.asdict(settings), "precision": bench.precision,
            "floor_seconds_per_record": floor, "accuracies": scores,
            "pairs": [[dataclasses.asdict(run) for run in pair] for pair in pairs],
        }  # fmt: skip
        options.json.write_text(json.dumps(figures, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
