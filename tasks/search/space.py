"""From `search.space` to the parameters of one trial, and from these to a training section."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, get_args

from pydantic import ValidationError

from configs.drawing_order import in_drawing_order
from configs.schema import Choices, Range, Recipe, Search, Training
from tasks.storage.durable import digest_of

if TYPE_CHECKING:
    from optuna import Trial

Space = Mapping[str, Range | Choices]
Parameters = Mapping[str, Any]


class CombinationRefused(Exception):
    """Values that are allowed each by itself, but not together."""


def templates_to_try(recipe: Recipe, known: Mapping[str, Any]) -> dict[str, Any]:
    """Return the wordings that fine-tunes are trained with, by the name that `training.template` has for them.

    Args:
        recipe: names one, and perhaps others in `search.space`.
        known: every wording by that name.
    """
    searched = recipe.search.space.get("template")
    names = [recipe.training.template, *(map(str, searched.choices) if isinstance(searched, Choices) else ())]
    return {name: known[name] for name in sorted(set(names))}


def worthwhile_search(search: Search, templates: Mapping[str, Any]) -> Search:
    """Return the section without a choice of template where both wordings are the same and nothing hangs on it."""
    hangs_on_it = any("template" in values.when for values in search.space.values())
    if hangs_on_it or len({digest_of(template) for template in templates.values()}) > 1:
        return search
    space = {field: values for field, values in search.space.items() if field != "template"}
    return search.model_copy(update={"space": space})


def suggest(trial: Trial, space: Space) -> dict[str, Any]:
    """Let Optuna choose a value for each field whose condition holds, in an order that doesn't hang on the YAML's."""
    drawn: dict[str, Any] = {}
    for field in in_drawing_order(space):
        if all(drawn.get(other) == wanted for other, wanted in space[field].when.items()):
            drawn[field] = _suggest_one(trial, field, space[field])
    return drawn


def own_parameters(space: Space, training: Training) -> dict[str, Any]:
    """Return the recipe's own values of the fields that are searched, as far as the space contains them.

    The first trial runs with these, so that a search never ends below the defaults it started from. A field whose
    own value the user left out of the space is drawn like any other.
    """
    return _known_parameters(space, {field: getattr(training, field) for field in space})


def fitting_parameters(space: Space, earlier: Parameters) -> dict[str, Any]:
    """Return those values of an earlier study that the present space contains; other fields are drawn."""
    return _known_parameters(space, earlier)


def resolve_training(training: Training, parameters: Parameters) -> Training:
    """Return the recipe's training section with the parameters of a trial.

    Raises:
        CombinationRefused: the values contradict each other, as when micro_batch_size doesn't divide batch_size.
    """
    try:
        return Training.model_validate({**training.model_dump(), **parameters})
    except ValidationError as error:
        reasons = "; ".join(str(each["msg"]).removeprefix("Value error, ") for each in error.errors())
        raise CombinationRefused(f"search.space allows a combination that training doesn't: {reasons}") from error


def shown_parameters(parameters: Parameters) -> str:
    """The values of a trial in one line."""
    return ", ".join(
        f"{key}={value:.3g}" if isinstance(value, float) else f"{key}={value}" for key, value in parameters.items()
    )


def _known_parameters(space: Space, values: Parameters) -> dict[str, Any]:
    """The values that the space contains, without those of fields whose condition is known not to hold."""
    known: dict[str, Any] = {}
    off: set[str] = set()
    for field in in_drawing_order(space):
        conditions = space[field].when.items()
        if any(other in off or known.get(other, wanted) != wanted for other, wanted in conditions):
            off.add(field)
        elif (value := _within(values.get(field), space[field])) is not None:
            known[field] = value
    return known


def _suggest_one(trial: Trial, field: str, values: Range | Choices) -> Any:
    if isinstance(values, Choices):
        return trial.suggest_categorical(field, values.choices)
    if is_whole(field):
        return trial.suggest_int(field, int(values.low), int(values.high), log=values.log)
    return trial.suggest_float(field, values.low, values.high, log=values.log)


def _within(own: Any, values: Range | Choices) -> Any | None:
    if isinstance(values, Choices):
        return next((choice for choice in values.choices if choice == own), None)
    return own if isinstance(own, int | float) and values.low <= own <= values.high else None


def is_whole(field: str) -> bool:
    """Whether a training field holds whole numbers."""
    annotation = Training.model_fields[field].annotation
    return annotation is int or int in get_args(annotation)
