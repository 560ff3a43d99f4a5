"""From `search.space` to the parameters of one trial, and from these to a training section."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, get_args

from pydantic import ValidationError

from configs.schema import Choices, Range, Training

if TYPE_CHECKING:
    from optuna import Trial

Space = Mapping[str, Range | Choices]
Parameters = Mapping[str, Any]


class CombinationRefused(Exception):
    """Values that are allowed each by itself, but not together."""


def suggest(trial: Trial, space: Space) -> dict[str, Any]:
    """Let Optuna choose a value for each field of the space, in alphabetical order, so that YAML order is nothing."""
    return {field: _suggest_one(trial, field, space[field]) for field in sorted(space)}


def own_parameters(space: Space, training: Training) -> dict[str, Any]:
    """Return the recipe's own values of the fields that are searched, as far as the space contains them.

    The first trial runs with these, so that a search never ends below the defaults it started from. A field whose
    own value the user left out of the space is drawn like any other.
    """
    own = {field: _within(getattr(training, field), space[field]) for field in sorted(space)}
    return {field: value for field, value in own.items() if value is not None}


def fitting_parameters(space: Space, earlier: Parameters) -> dict[str, Any]:
    """Return those values of an earlier study that the present space contains; other fields are drawn."""
    known = {field: _within(earlier[field], space[field]) for field in sorted(space) if field in earlier}
    return {field: value for field, value in known.items() if value is not None}


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


def _suggest_one(trial: Trial, field: str, values: Range | Choices) -> Any:
    if isinstance(values, Choices):
        return trial.suggest_categorical(field, values.choices)
    if _is_whole(field):
        return trial.suggest_int(field, int(values.low), int(values.high), log=values.log)
    return trial.suggest_float(field, values.low, values.high, log=values.log)


def _within(own: Any, values: Range | Choices) -> Any | None:
    if isinstance(values, Choices):
        return next((choice for choice in values.choices if choice == own), None)
    return own if isinstance(own, int | float) and values.low <= own <= values.high else None


def _is_whole(field: str) -> bool:
    annotation = Training.model_fields[field].annotation
    return annotation is int or int in get_args(annotation)
