"""What a person may ask of a flow, in a Prefect form or from the command line: the flows' only parameters.

A recipe is named, or given by path. What comes through Prefect (a form, a schedule, an event) may name only recipes,
data and models below the configured roots; `configs.roots` checks that where the request is carried out.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue

from configs.schema import DIGEST_PATTERN, Name, Section

Stage = Literal["prepare", "validate", "baseline", "search", "evaluate"]
"""Where a run may end early."""


class _RecipeChoices:
    """Offers the recipes below the configured roots, as they are when the form is made."""

    def __get_pydantic_json_schema__(self, core_schema: Any, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        from configs.roots import recipe_names

        return {**handler(core_schema), "enum": recipe_names()}


RecipeName = Annotated[str, Field(min_length=1), _RecipeChoices()]


class RecipeRequest(Section):
    """A recipe, and what differs from it."""

    recipe: RecipeName
    """The recipe, by name."""
    overrides: tuple[str, ...] = ()
    """Values that differ from the file, each as key=value, such as training.epochs=2."""

    def resolved_overrides(self) -> tuple[str, ...]:
        """The overrides, with what other fields of the request say of the recipe."""
        return self.overrides


class FinetuneRequest(RecipeRequest):
    """Run a recipe."""

    trials: int | None = Field(default=None, ge=1, le=10000)
    """Budget of the search: trials. Left out: what the recipe says."""
    minutes: float | None = Field(default=None, gt=0)
    """Budget of the search: no new trial starts after this many minutes. Left out: what the recipe says."""

    def resolved_overrides(self) -> tuple[str, ...]:
        """The overrides, then the budgets."""
        budgets = {"search.trials": self.trials, "search.minutes": self.minutes}
        return (*self.overrides, *(f"{key}={value}" for key, value in budgets.items() if value is not None))


class RetrainRequest(RecipeRequest):
    """Run a recipe again if there is a reason to."""

    force: bool = False
    """Train anew, with a fresh seed, even though nothing changed, it was trained already, or it cools down."""
    reason: str = Field(default="", max_length=1000)
    """Why; kept with the run. Asking with a reason is a reason to retrain what was not trained yet."""
    source: str | None = Field(default=None, pattern=DIGEST_PATTERN)
    """Digest of the changed data, when an event asks. A run with this or a reason waits for one that is at work."""


class WatchRequest(RecipeRequest):
    """Look once whether the recipe's data changed, and tell Prefect if so."""


class NotifyRequest(RecipeRequest):
    """Tell the recipe's webhook of a retrain that left no new champion."""

    outcome: Literal["failed", "crashed", "rejected"]
    """What became of the retrain: an error, a process that died, or a candidate that did not clear every gate."""
    flow_run: str = Field(default="", max_length=200)
    """Id of its Prefect flow run."""
    flow_run_name: str = Field(default="", max_length=200)
    """Name of its Prefect flow run."""


class PromoteRequest(Section):
    """Make a version the champion by hand."""

    model: Name
    """Registered model: the recipe's name."""
    version: str = Field(pattern=r"^[0-9]{1,9}$")
    """Which of its versions."""
    reason: str = Field(min_length=3, max_length=1000)
    """Why; kept in the history."""


class RollbackRequest(Section):
    """Make the previous champion the champion again."""

    model: Name
    """Registered model: the recipe's name."""
    reason: str = Field(min_length=3, max_length=1000)
    """Why; kept in the history."""
