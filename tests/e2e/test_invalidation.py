"""What is redone when something changes: exactly the stages that depend on it."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

from tests.e2e.installation import PROJECT, Installation

ALL = ["prepare", "validate", "baseline", "search", "evaluate", "register", "promote"]


def redone(installation: Installation, *overrides: str) -> list[str]:
    done = installation.smoke(*overrides)
    assert done.returncode == 0, done.stderr
    return [stage["name"] for stage in installation.show()["stages"] if not stage["reused"]]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        # a gate touches the promotion alone and a suite the validation alone: together they redo no third stage
        (["promotion.max_slice_loss=0.2", "validation.overrides={email_addresses: stop}"], ["validate", "promote"]),
        (["search.trials=3"], ["search", "evaluate", "promote"]),
        (["training.lora_alpha=16"], ["search", "evaluate", "register", "promote"]),
        (["data.source.options={count: 243}"], ALL),
        (["base.seed=1"], ALL[1:]),
    ],
    ids=lambda given: given[0],
)
def test_a_change_redoes_what_depends_on_it(
    copied: Callable[[], Installation], overrides: list[str], expected: list[str]
) -> None:
    found = redone(copied(), *overrides)

    if overrides == ["search.trials=3"] and "register" in found:
        found.remove("register")  # the third trial may have won
    assert found == expected


@pytest.mark.slow
def test_a_touched_file_redoes_nothing(copied: Callable[[], Installation]) -> None:
    os.utime(PROJECT / "tasks" / "data" / "smoke.py")
    os.utime(PROJECT / "configs" / "smoke.yaml")

    assert redone(copied()) == []
