from __future__ import annotations

import re
from dataclasses import replace

import pytest

from configs.schema import NAME_PATTERN
from tasks.tracking.mlflow_prompts import RegistryPrompt, prompt_name, register_prompts
from tasks.tracking.mlflow_runs import Tracker

ZERO_SHOT = RegistryPrompt("a" * 64, "Term: {{ input }}\nChapter:", "zero-shot", {"burnish.shots": "0"})
NEAREST = RegistryPrompt("b" * 64, "{{ examples }}\n\nTerm: {{ input }}", "nearest-8", {"burnish.shots": "8"})
CHAT = RegistryPrompt("c" * 64, [{"role": "user", "content": "{{ input }}"}], "chat", {})


def best(tracker: Tracker) -> int:
    return int(tracker.client.get_prompt_version_by_alias("icd10.prompt", "best").version)


def test_each_prompt_is_a_version_and_the_first_is_the_best(tracker: Tracker) -> None:
    assert register_prompts(tracker, "icd10", [NEAREST, ZERO_SHOT, CHAT]) == [1, 2, 3]

    assert best(tracker) == 1
    found = tracker.client.load_prompt("prompts:/icd10.prompt/2")
    assert found.format(input="Kinking of ureter") == "Term: Kinking of ureter\nChapter:"
    assert found.tags["burnish.shots"] == "0"
    assert found.commit_message == "zero-shot"
    assert tracker.client.load_prompt("prompts:/icd10.prompt/3").template == CHAT.template


def test_the_same_prompt_is_registered_once_and_the_best_may_change(tracker: Tracker) -> None:
    register_prompts(tracker, "icd10", [NEAREST, ZERO_SHOT])

    again = register_prompts(tracker, "icd10", [replace(ZERO_SHOT, tags={"burnish.shots": "none"}), NEAREST])

    assert again == [2, 1]
    assert best(tracker) == 2
    assert tracker.client.load_prompt("prompts:/icd10.prompt/2").tags["burnish.shots"] == "none"


def test_a_kill_between_version_and_alias_is_made_up_for(tracker: Tracker, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(type(tracker.client), "set_prompt_alias", killed)
        register_prompts(tracker, "icd10", [ZERO_SHOT])

    assert register_prompts(tracker, "icd10", [ZERO_SHOT]) == [1]
    assert best(tracker) == 1


def test_prompts_are_no_models(tracker: Tracker) -> None:
    register_prompts(tracker, "icd10", [ZERO_SHOT])

    assert tracker.client.search_registered_models() == []
    assert tracker.client.search_model_versions("name = 'icd10'") == []


def test_no_recipe_can_have_the_name_of_anothers_prompts() -> None:
    assert not re.match(NAME_PATTERN, prompt_name("icd10"))


def test_without_prompts_nothing_is_made(tracker: Tracker) -> None:
    assert register_prompts(tracker, "icd10", []) == []
    assert list(tracker.client.search_prompts()) == []
