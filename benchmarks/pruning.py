"""What pruning saves and what it costs: training steps, and whether the winner is the one that no pruning finds.

`python -m benchmarks.pruning` prints Markdown tables. The first ones are a simulation on synthetic learning curves:
saturating ones whose height and speed differ from trial to trial, measured with the noise of 64 records. The last is
real fine-tunes of a tiny base, one study for each seed, with random draws, so that every policy is shown the same
trials; each fine-tune runs once and is replayed (`benchmarks.tiny_fine_tunes` says why that is exact).
`--seeds` says how many studies are trained (0: none).
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import optuna

from configs.schema import Search
from tasks.search.halving import why_behind
from tasks.training.schedule import look_steps

_LOOKS, _RECORDS = 4, 64
_STEPS = (26, 39, 50, 75)
"""Of synthetic trials; their looks don't fall on the same shares of the training."""

POLICIES = {
    "default": Search(),
    "nobody spared": Search(unpruned_trials=0),
    "halving alone": Search(hopeless_alpha=None),
    "hopeless ones alone": Search(unpruned_trials=10**6),
    "alpha 0.01": Search(hopeless_alpha=0.01),
    "alpha 0.1": Search(hopeless_alpha=0.1),
    "alpha 0.2": Search(hopeless_alpha=0.2),
    "first rung at a half": Search(min_fraction=0.5),
    "first rung at a quarter, halving alone": Search(min_fraction=0.25, hopeless_alpha=None),
}

Curve = Sequence[float]
"""Validation values at the looks, evenly spread."""
Study = tuple[Sequence[Curve], Sequence[float], Sequence[int]]
"""For each trial its curve, its quality and its steps."""


class Replayed(NamedTuple):
    """One study under one policy."""

    saved: float
    """Share of all training steps."""
    same_winner: bool
    """The trial with the best validation value is the same one as without pruning, or its equal."""
    loss: float
    """True quality of the unpruned winner above that of this one."""


def replay(curves: Sequence[Curve], quality: Sequence[float], steps: Sequence[int], search: Search) -> Replayed:
    """One trial after another, as a study of one slot does; the value of a trial is its best look."""
    known: list[dict[float, float]] = []
    taken, finished = 0.0, []
    for number, curve in enumerate(curves):
        looks: dict[float, float] = {}
        for place, value in list(zip(look_steps(steps[number], evaluations=len(curve)), curve, strict=True))[:-1]:
            looks[place / steps[number]] = value
            done = [known[other] for other in finished]
            if why_behind(looks, known, search, finished=done, independent=_RECORDS):
                taken += place
                break
        else:
            taken += steps[number]
            finished.append(number)
        known.append(looks)
    return _outcome(curves, quality, 1 - taken / sum(steps), finished)


def replay_optuna(curves: Sequence[Curve], quality: Sequence[float], steps: Sequence[int]) -> Replayed:
    """The same under Optuna's pruner, one look being one unit of resource: what Burnish used before."""
    study = optuna.create_study(
        direction="maximize", pruner=optuna.pruners.SuccessiveHalvingPruner(min_resource=1, reduction_factor=3)
    )
    taken, finished = 0.0, []
    for number, curve in enumerate(curves):
        trial = study.ask()
        for look, value in enumerate(curve[:-1], start=1):
            trial.report(value, look)
            if trial.should_prune():
                taken += steps[number] * look / len(curve)
                study.tell(trial, state=optuna.trial.TrialState.PRUNED)
                break
        else:
            taken += steps[number]
            finished.append(number)
            study.tell(trial, max(curve))
    return _outcome(curves, quality, 1 - taken / sum(steps), finished)


def _outcome(curves: Sequence[Curve], quality: Sequence[float], saved: float, finished: Sequence[int]) -> Replayed:
    best = max(range(len(curves)), key=lambda number: max(curves[number]))
    named = max(finished, key=lambda number: max(curves[number]))
    return Replayed(saved, max(curves[named]) == max(curves[best]), quality[best] - quality[named])


def synthetic_study(trials: int, rng: np.random.Generator) -> tuple[list[list[float]], list[float], list[int]]:
    """Curves that saturate at a trial's quality, from a common start, each with its own speed."""
    quality = 0.85 - np.abs(rng.normal(0, 0.12, trials))
    speed = rng.lognormal(1.3, 0.5, trials)
    fractions = np.arange(1, _LOOKS + 1) / _LOOKS
    truth = 0.2 + (quality[:, None] - 0.2) * (1 - np.exp(-speed[:, None] * fractions)) / (1 - np.exp(-speed[:, None]))
    values = rng.binomial(_RECORDS, np.clip(truth, 0, 1)) / _RECORDS
    return values.tolist(), quality.tolist(), rng.choice(_STEPS, trials).tolist()


def table(studies: Sequence[Study]) -> Iterator[str]:
    """Markdown: each policy over all studies."""
    yield "| policy | studies | steps saved | equal winner | quality lost, mean | quality lost, 95th percentile |"
    yield "|---|---|---|---|---|---|"
    for name, search in [*POLICIES.items(), ("before: Optuna's pruner", None)]:
        done = [replay(*study, search) if search else replay_optuna(*study) for study in studies]
        losses = sorted(each.loss for each in done)
        yield (
            f"| {name} | {len(done)} | {statistics.mean(each.saved for each in done):.0%} "
            f"| {statistics.mean(each.same_winner for each in done):.0%} | {statistics.mean(losses):.4f} "
            f"| {losses[int(0.95 * (len(losses) - 1))]:.4f} |"
        )


def recorded_studies(seeds: Sequence[int], trials: int) -> Iterator[Study]:
    """Real studies without pruning; the quality of a trial is its own validation value."""
    from benchmarks.tiny_fine_tunes import SPACE, TRAINING, as_trainers, tiny_fine_tunes
    from tasks.search.results import TrialRequest
    from tasks.search.space import resolve_training
    from tasks.search.study_runner import TrialCallbacks, run_study

    search = Search(space=SPACE, trials=trials, pruner="none", sampler="random", confirmation_seeds=0)
    silent = TrialCallbacks(lambda request: None, lambda request, report: None, lambda row: None)
    with tempfile.TemporaryDirectory() as folder:
        trainer = tiny_fine_tunes(Path(folder))
        for seed in seeds:
            url = f"sqlite:///{folder}/optuna-{seed}.db"
            result = run_study(
                study_name="study", study_url=url, search=search, training=TRAINING, seed=seed,
                independent_records=_RECORDS, open_trainer=as_trainers(trainer), callbacks=silent,
            )  # fmt: skip
            curves, quality, steps = [], [], []
            for row in (each for each in result.trials if each.was_trained):
                training = resolve_training(TRAINING, row.parameters)
                request = TrialRequest(row.name, row.number, row.parameters, training, row.seed)
                curve: list[float] = []
                trainer(request, lambda report, curve=curve: curve.append(report["value"]) or True)
                curves.append(curve)
                quality.append(row.value or 0.0)
                steps.append(row.steps)
            print(f"study of seed {seed}: {len(curves)} fine-tunes", file=sys.stderr, flush=True)
            yield curves, quality, steps


def halves(study: Study) -> Iterator[Study]:
    """The first half of a study's trials, and the second one."""
    curves, quality, steps = study
    middle = len(curves) // 2
    yield curves[:middle], quality[:middle], steps[:middle]
    yield curves[middle:], quality[middle:], steps[middle:]


def main() -> int:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=1000, help="simulated, of 8 trials; fewer of more; 0: none")
    parser.add_argument("--seeds", type=int, default=20, help="studies that are trained; 0: none")
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--trials", type=int, default=8)
    parser.add_argument("--halves", action="store_true", help="also take the halves of each real study as studies")
    options = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    rng = np.random.default_rng(17)
    for trials in (8, 16, 32) if options.studies else ():
        count = options.studies // (trials // 8)
        print(f"\nSynthetic curves, {trials} trials a study\n")
        print("\n".join(table([synthetic_study(trials, rng) for _ in range(count)])))
    if options.seeds:
        seeds = range(options.first_seed, options.first_seed + options.seeds)
        print(f"\nReal fine-tunes of a tiny base, {options.trials} trials a study\n")
        studies = list(recorded_studies(seeds, options.trials))
        print("\n".join(table(studies)))
        if options.halves:
            print(f"\nTheir halves, as studies of {options.trials // 2} trials\n")
            print("\n".join(table([half for study in studies for half in halves(study)])))
    return 0


if __name__ == "__main__":
    sys.exit(main())
