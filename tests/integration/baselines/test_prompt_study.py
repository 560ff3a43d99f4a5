"""The study over prompts in a real database: its budget, what it finds, and a kill in the middle."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import optuna
import pytest

from configs.schema import Baseline, Chain, Template
from tasks.baselines.prompt_options import prompt_options, wordings
from tasks.baselines.prompt_study import prompt_axes, study_prompts
from tasks.inference.options import Option

TEMPLATE = Template(prompt="{{ prompt }}:")
BASELINE = Baseline(
    shots=(0, 2, 8),
    strategies=("random", "nearest"),
    orders=3,
    templates={name: Template(prompt=f"{name} {{{{ prompt }}}}") for name in ("short", "long", "polite")},
)
PROMPTS = prompt_options(BASELINE, TEMPLATE, ("yes", "no"))
WORDINGS = wordings(BASELINE, TEMPLATE)
GOOD = {"examples": 0.3, "order of 8": 0.05, "template": 0.2, "decoding": 0.1}


class Killed(BaseException):
    """Stands for SIGKILL: nothing catches it."""


def worth(option: Option) -> float:
    """Best for 8 nearest examples, the other way round, in the polite wording, by generating."""
    axes = dict(prompt_axes(option, WORDINGS))
    wanted = {"examples": "nearest-8", "order of 8": 1, "template": "polite", "decoding": "generate"}
    return sum(GOOD[axis] for axis, value in wanted.items() if axes.get(axis) == value)


def study(folder: Path, *, trials: int, score: Callable[[Option], float] = worth, seed: int = 1) -> dict[str, float]:
    return study_prompts(
        PROMPTS, wordings=WORDINGS, score=score, trials=trials, name="icd10/prompts-1",
        url=f"sqlite:///{folder / 'optuna.db'}", seed=seed,
    )  # fmt: skip


def states(folder: Path) -> list[str]:
    stored = optuna.load_study(study_name="icd10/prompts-1", storage=f"sqlite:///{folder / 'optuna.db'}")
    return [trial.state.name for trial in stored.trials]


def test_each_prompt_has_axes_of_its_own() -> None:
    axes = [prompt_axes(option, WORDINGS) for option in PROMPTS]

    assert len(set(axes)) == len(PROMPTS) == (1 + 2 * (2 + 3)) * 4 * 2
    assert axes[0] == (("examples", "none"), ("template", "recipe"), ("decoding", "generate"))


def test_the_budget_is_kept_and_no_prompt_is_scored_twice(tmp_path: Path) -> None:
    asked: list[str] = []

    def score(option: Option) -> float:
        asked.append(option.name)
        return worth(option)

    scores = study(tmp_path, trials=20, score=score)

    assert len(scores) == len(asked) == len(set(asked)) == 20
    assert asked[0] == "zero-shot"
    assert scores == {option.name: worth(option) for option in PROMPTS if option.name in scores}
    assert states(tmp_path).count("COMPLETE") == 20
    assert "RUNNING" not in states(tmp_path)


def test_it_finds_better_prompts_than_chance_would(tmp_path: Path) -> None:
    found = []
    for seed in range(5):
        (tmp_path / str(seed)).mkdir()
        found.append(max(study(tmp_path / str(seed), trials=20, seed=seed).values()))
    everything = sorted((worth(option) for option in PROMPTS), reverse=True)

    # the best of 20 out of 88 drawn by chance is on average the fourth best
    assert sum(value >= everything[2] for value in found) >= 4


def test_a_larger_budget_goes_on_with_the_same_study(tmp_path: Path) -> None:
    first = study(tmp_path, trials=6)
    asked: list[str] = []
    study(tmp_path, trials=10, score=lambda option: asked.append(option.name) or worth(option))

    assert len(asked) == 4
    assert not set(asked) & set(first)


@pytest.mark.parametrize("point", ["while scoring", "prompts:enqueued", "prompts:drawn", "prompts:told"])
def test_a_killed_study_goes_on_as_it_would_have(tmp_path: Path, point: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("whole", "killed"):
        (tmp_path / name).mkdir()
    expected = study(tmp_path / "whole", trials=12)
    left = 1 if point == "prompts:enqueued" else 5

    def die(reached: str) -> None:
        nonlocal left
        left -= reached == point
        if left == 0:
            left = -1
            raise Killed

    def score(option: Option) -> float:
        die("while scoring")
        return worth(option)

    monkeypatch.setattr("tasks.baselines.prompt_study.reach", die)
    with pytest.raises(Killed):
        study(tmp_path / "killed", trials=12, score=score)

    assert study(tmp_path / "killed", trials=12, score=score) == expected
    assert "RUNNING" not in states(tmp_path / "killed")


def test_a_budget_above_their_number_tries_every_prompt(tmp_path: Path) -> None:
    assert set(study(tmp_path, trials=1000)) == {option.name for option in PROMPTS}


def test_a_smaller_budget_than_before_takes_the_first_ones(tmp_path: Path) -> None:
    (tmp_path / "small").mkdir()
    study(tmp_path, trials=12)

    assert study(tmp_path, trials=6) == study(tmp_path / "small", trials=6)


def test_equal_wordings_are_one(tmp_path: Path) -> None:
    twice = Baseline(shots=(0,), templates={name: Template(prompt="same {{ prompt }}") for name in ("a", "b")})
    prompts = prompt_options(twice, TEMPLATE, ("yes", "no"))

    found = study_prompts(
        prompts, wordings=wordings(twice, TEMPLATE), score=worth, trials=9, name="x/prompts-1",
        url=f"sqlite:///{tmp_path / 'optuna.db'}", seed=1,
    )  # fmt: skip

    assert list(wordings(twice, TEMPLATE)) == ["recipe", "a"]
    assert len(found) == len(prompts) == 4


def test_one_prompt_of_each_kind_is_tried_before_the_study_draws(tmp_path: Path) -> None:
    chain = Chain(first=Template(prompt="Sum up {{ prompt }}"), then=Template(prompt="{{ first_answer }}:"))
    baseline = BASELINE.model_copy(update={"chains": {"summary": chain}})
    asked: list[str] = []

    study_prompts(
        prompt_options(baseline, TEMPLATE, None), wordings=WORDINGS, name="x/prompts-1", trials=5, seed=1,
        score=lambda option: asked.append(option.name) or 0.0, url=f"sqlite:///{tmp_path / 'optuna.db'}",
    )  # fmt: skip

    assert asked[:4] == ["zero-shot", "random-2", "nearest-2", "chain summary"]
