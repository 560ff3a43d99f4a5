"""Prefect tasks of the inference room: the answers of options, each asked for once."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING, Any

from prefect import task

from tasks.data.records import SplitName
from tasks.inference.answers import option_as_json, option_key
from tasks.inference.options import Conditions, Option
from tasks.models.hardware import libraries_of
from tasks.models.tasks import open_worker, precision_of
from tasks.storage.shared_directories import at_hand, share
from tasks.tracking.identity import stage_identity
from tasks.tracking.recipe_run import RecipeRun, run_stage

if TYPE_CHECKING:
    from configs.schema import Precision
    from tasks.models.worker import ModelWorker

log = logging.getLogger("burnish")

_LIBRARIES = ("torch", "transformers", "peft", "scikit-learn")


@task(name="answer with the model")
def answer_with_model(
    run: RecipeRun, snapshot: str, base: str, options: Sequence[Option], *, split: SplitName, limit: int | None
) -> dict[str, dict[str, Any]]:
    """Answer the records of a split with each option, by name; an option that was asked before is not asked again.

    Returns:
        For each option's name what the worker job `answer` returned: the digest of the answers and their times.
    """
    found: dict[str, dict[str, Any]] = {}
    with ExitStack() as stack:
        workers: dict[Precision, ModelWorker] = {}

        def ask(option: Option) -> dict[str, Any]:
            conditions = _conditions(run, snapshot, option)
            if conditions.precision not in workers:
                opened = open_worker(run, base, slot=0, slots=1, precision=conditions.precision)
                workers[conditions.precision] = stack.enter_context(opened)
            arguments = _arguments(run, snapshot, option, conditions, split=split, limit=limit)
            result: dict[str, Any] = workers[conditions.precision].run("tasks.inference.jobs:answer", arguments)
            share(run.settings, "answers", result["answers"])
            return result

        for option in options:
            log.info("  %s on %s", option.name, split)
            conditions = _conditions(run, snapshot, option)
            inputs = {
                "option": option_key(option), "snapshot": snapshot, "base": base, "split": split, "limit": limit,
                "max_new_tokens": conditions.max_new_tokens, "seed": run.recipe.seed,
                "latency_records": _latency_records(run, split), "precision": conditions.precision,
                "consistency": _consistency(run, option, split),
            }  # fmt: skip
            libraries = (*_LIBRARIES, *libraries_of(conditions.precision))
            identity = stage_identity("answers", inputs, rooms=["tasks.inference"], libraries=libraries)
            name = f"answers/{split}/{option_key(option)[:16]}"
            record = run_stage(
                run, name,
                identity=identity, work=partial(ask, option),
                still_there=lambda outputs: at_hand(run.settings, "answers", outputs["answers"]),
            )  # fmt: skip
            found[option.name] = dict(record.outputs)
    return found


def _latency_records(run: RecipeRun, split: SplitName) -> int:
    """Latency is measured on test records only; on validation it would only cost time."""
    return run.recipe.evaluation.latency_records if split == "test" else 0


def _consistency(run: RecipeRun, option: Option, split: SplitName) -> dict[str, Any] | None:
    """As for latency; an option that scores labels leaves nothing to chance."""
    wanted = run.recipe.evaluation.consistency
    return wanted.model_dump() if wanted and split == "test" and option.decoding == "generate" else None


def _conditions(run: RecipeRun, snapshot: str, option: Option) -> Conditions:
    from tasks.data.snapshots import read_snapshot

    if option.conditions is not None:
        return option.conditions
    labels = read_snapshot(run.settings.snapshots, snapshot).labels
    return Conditions(tuple(labels) if labels else None, run.recipe.evaluation.max_new_tokens, precision_of(run))


def _arguments(
    run: RecipeRun, snapshot: str, option: Option, conditions: Conditions, *, split: SplitName, limit: int | None
) -> dict[str, Any]:
    return {
        "option": option_as_json(option),
        "snapshots": str(run.settings.snapshots),
        "snapshot": snapshot,
        "split": split,
        "limit": limit,
        "labels": list(conditions.labels) if conditions.labels else None,
        "max_new_tokens": conditions.max_new_tokens,
        "latency_records": _latency_records(run, split),
        "consistency": _consistency(run, option, split),
        "answers": str(run.settings.answers),
        "adapters": str(run.settings.adapters),
        "seed": run.recipe.seed,
        "token_budget": run.recipe.evaluation.batch_tokens,
    }
