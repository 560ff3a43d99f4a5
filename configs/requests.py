"""What a person may ask of a flow, in a Prefect form or from the command line: the flows' only parameters.

A recipe is named, or given by path. What comes through Prefect (a form, a schedule, an event) may name only recipes,
data and models below the configured roots; `configs.roots` checks that where the request is carried out.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue

from configs.schema import Name, Section

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


class FinetuneRequest(RecipeRequest):
    """Run a recipe."""

    until: Stage | None = None
    """End after this stage; leave it out to run every stage."""
    trials: int | None = Field(default=None, ge=1, le=10000)
    """Budget of the search: trials. Left out: what the recipe says."""
    minutes: float | None = Field(default=None, gt=0)
    """Budget of the search: no new trial starts after this many minutes. Left out: what the recipe says."""


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
