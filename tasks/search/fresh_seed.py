"""The seed of a study: the recipe's, or a fresh one where a retrain trains again what was trained already."""

from __future__ import annotations

import json

from tasks.storage.durable import digest_of
from tasks.storage.faults import reach
from tasks.tracking.recipe_run import RecipeRun

_TAG = "burnish.fresh_seed"
_BELOW = 2**31


def choose_fresh_seed(run: RecipeRun, *, key: str) -> int:
    """Fix another seed than the recipe's on its run, unless one was for what is to be trained: a resumed run keeps it.

    Args:
        run: the recipe at work; another run gets another seed.
        key: of the retrain's decision.
    """
    stored = _stored(run)
    if stored is not None and stored[0] == key:
        return stored[1]
    seed = int(digest_of({"seed": run.recipe.seed, "run": run.run_id, "key": key})[:16], 16) % _BELOW
    run.tracker.set_tags(run.run_id, {_TAG: json.dumps([key, seed])})
    reach("fresh-seed:stored")
    return seed


def seed_of_study(run: RecipeRun) -> int:
    """The seed that the run's study begins with."""
    stored = _stored(run)
    return run.recipe.seed if stored is None else stored[1]


def _stored(run: RecipeRun) -> tuple[str, int] | None:
    text = run.tracker.run(run.run_id).data.tags.get(_TAG)
    if text is None:
        return None
    key, seed = json.loads(text)
    return str(key), int(seed)
