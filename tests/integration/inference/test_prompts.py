from __future__ import annotations

from dataclasses import replace

import pytest

from configs.errors import RecipeError
from configs.schema import Template
from tasks.data.records import Record, Turn
from tasks.inference.options import Option
from tasks.inference.prompts import PromptWriter
from tasks.models.loading import load_tokenizer
from tests.trained_home import TrainedHome

TEMPLATE = Template(
    prompt="Term: {{ prompt }}\nChapter:", completion=" {{ completion }}", separator="\n\n", max_tokens=40
)
FEW_SHOT = Option("random-2", "prompt", TEMPLATE, shots=2, shot_strategy="random")
CANDIDATE = Option("candidate", "candidate", TEMPLATE, adapter="a" * 64)


def record(number: int, prompt: str, completion: str) -> Record:
    return Record(f"{number:04d}", "train", str(number), (Turn("user", prompt),), completion)


QUERY = record(1, "kinking of ureter", "kidney")
SHOTS = [record(2, "broken arm", "injury"), record(3, "cataract", "eye")]


def writer(trained_home: TrainedHome, option: Option, *, context_tokens: int = 1000) -> PromptWriter:
    return PromptWriter(option, load_tokenizer(trained_home.base_directory), context_tokens=context_tokens)


def decoded(trained_home: TrainedHome, token_ids: list[int]) -> str:
    return str(load_tokenizer(trained_home.base_directory).decode(token_ids))


def test_examples_stand_before_the_record_in_their_order(trained_home: TrainedHome) -> None:
    ids = writer(trained_home, FEW_SHOT).prompt_ids(QUERY, SHOTS)

    assert decoded(trained_home, ids) == (
        "<s>Term: broken arm\nChapter: injury\n\nTerm: cataract\nChapter: eye\n\nTerm: kinking of ureter\nChapter:"
    )


def test_a_prompt_has_room_for_each_of_its_examples(trained_home: TrainedHome) -> None:
    few_shot = writer(trained_home, FEW_SHOT).prompt_ids(QUERY, SHOTS)
    cut = writer(trained_home, replace(FEW_SHOT, shots=0)).prompt_ids(QUERY, SHOTS)

    assert len(few_shot) > TEMPLATE.max_tokens
    assert len(cut) == TEMPLATE.max_tokens


def test_a_prompt_never_exceeds_the_context_of_the_model(trained_home: TrainedHome) -> None:
    assert len(writer(trained_home, FEW_SHOT, context_tokens=25).prompt_ids(QUERY, SHOTS)) == 25


def test_the_answer_of_a_prompt_ends_at_the_separator(trained_home: TrainedHome) -> None:
    made = writer(trained_home, FEW_SHOT)
    ids = load_tokenizer(trained_home.base_directory).encode(" eye\n\nTerm: x", add_special_tokens=False)

    assert made.is_complete is not None
    assert made.is_complete(ids)
    assert not made.is_complete(ids[:2])
    assert made.text(ids) == " eye"


def test_the_answer_of_a_fine_tune_may_hold_the_separator(trained_home: TrainedHome) -> None:
    made = writer(trained_home, CANDIDATE)
    ids = load_tokenizer(trained_home.base_directory).encode(" eye\n\nmore", add_special_tokens=False)

    assert made.is_complete is None
    assert made.text(ids) == " eye\n\nmore"


@pytest.mark.parametrize(("option", "ending"), [(FEW_SHOT, "\n\n"), (CANDIDATE, "</s>")])
def test_a_label_is_scored_with_what_ends_it(trained_home: TrainedHome, option: Option, ending: str) -> None:
    ids = writer(trained_home, option).label_ids(QUERY, "eye")

    assert decoded(trained_home, ids) == " eye" + ending


def test_a_prompt_without_separator_ends_with_the_end_token(trained_home: TrainedHome) -> None:
    option = replace(FEW_SHOT, template=TEMPLATE.model_copy(update={"separator": ""}))

    assert decoded(trained_home, writer(trained_home, option).label_ids(QUERY, "eye")) == " eye</s>"


def test_an_option_without_template_is_refused(trained_home: TrainedHome) -> None:
    with pytest.raises(RecipeError, match="'classical' has no template"):
        writer(trained_home, Option("classical", "classical"))
