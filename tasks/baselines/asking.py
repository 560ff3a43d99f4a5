"""Answer new texts with a cheaper option of an earlier run, exactly as it was scored."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from configs.errors import BurnishError, RecipeError
from configs.settings import Settings
from tasks.baselines.classical_classifier import fit_and_answer
from tasks.baselines.retrieval import is_retrieval, retrieve_answers
from tasks.data.records import records_of_texts
from tasks.data.snapshots import read_snapshot
from tasks.inference.answers import option_from_json
from tasks.inference.options import Option
from tasks.models.tasks import worker_for
from tasks.registry.predicting import refuse_unknown_columns
from tasks.storage.shared_directories import at_hand
from tasks.tracking.recipe_run import RecipeRun, tracker_at

if TYPE_CHECKING:
    from tasks.data.snapshots import Snapshot

OPTIONS_FILE = "options.json"
"""Artifact of the recipe's run: its cheaper options, and all that their answers depend on."""


def options_text(run: RecipeRun, baseline: Mapping[str, Any], *, snapshot: str, base: str, precision: str) -> str:
    """Return the content of `OPTIONS_FILE`.

    Args:
        run: of the recipe.
        baseline: what the stage gave.
        snapshot: digest of the data that the options take examples from, or learn.
        base: digest of the base model.
        precision: of the base.
    """
    recipe = run.recipe
    return json.dumps(
        {
            "options": {option["name"]: option for option in baseline["options"]},
            "snapshot": snapshot,
            "base": base,
            "precision": precision,
            "seed": recipe.seed,
            "max_new_tokens": recipe.evaluation.max_new_tokens,
            "token_budget": recipe.evaluation.batch_tokens,
        },
        indent=1,
    )


def ask_option(
    settings: Settings, run_id: str, name: str, texts: Sequence[str], *, columns: Mapping[str, str]
) -> list[str]:
    """Return one answer for each text.

    Args:
        settings: where MLflow, the snapshots and the base models are.
        run_id: the recipe's run that scored the option.
        name: of the option, as `burnish show` has it.
        texts: prompts; for a chat recipe each is one user turn.
        columns: metadata of every text, for the template; a classical option reads the text alone.

    Raises:
        RecipeError: the run has no such option.
        RegistryError: the option takes no such column.
        BurnishError: it is older than this command, or its template needs columns that are not given.
    """
    text = tracker_at(settings).read_text(run_id, OPTIONS_FILE)
    if text is None:
        raise BurnishError("that run was made before options could be asked; run `burnish finetune` once more")
    values = json.loads(text)
    if name not in values["options"]:
        known = ", ".join(sorted([*values["options"], "candidate"]))
        raise RecipeError(f"the run has no option {name!r}; it has {known}")
    option = option_from_json(values["options"][name])
    at_hand(settings, "snapshots", values["snapshot"])
    snapshot = read_snapshot(settings.snapshots, values["snapshot"])
    refuse_unknown_columns(columns, sorted(snapshot.records[0].metadata), what=f"option {name}")
    if option.kind == "classical":
        return _ask_classical(snapshot, option, texts, seed=values["seed"])
    return _ask_prompt(settings, snapshot, option, texts, {**values, "columns": dict(columns)})


def _ask_classical(snapshot: Snapshot, option: Option, texts: Sequence[str], *, seed: int) -> list[str]:
    train, queries, chosen = snapshot.split("train"), records_of_texts(texts, {}), option.classical_settings
    if is_retrieval(chosen):
        answers = retrieve_answers(train, queries, settings=chosen, latency_records=0)
    else:
        answers = fit_and_answer(train, queries, settings=chosen, seed=seed, latency_records=0)
    return [answer.output for answer in answers.answers]


def _ask_prompt(
    settings: Settings, snapshot: Snapshot, option: Option, texts: Sequence[str], values: Mapping[str, Any]
) -> list[str]:
    arguments = {
        "option": values["options"][option.name],
        "snapshots": str(settings.snapshots),
        "snapshot": values["snapshot"],
        "texts": list(texts),
        "labels": list(snapshot.labels) if snapshot.labels else None,
        "adapters": str(settings.adapters),
        **{key: values[key] for key in ("max_new_tokens", "seed", "token_budget", "columns")},
    }
    with worker_for(settings, values["base"], precision=values["precision"]) as worker:
        outputs: list[str] = worker.run("tasks.inference.jobs:answer_texts", arguments)["outputs"]
    return outputs
