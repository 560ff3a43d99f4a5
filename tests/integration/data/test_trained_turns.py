"""Which tokens of a conversation are trained, with a real tokenizer and real chat templates."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from configs.errors import RecipeError
from configs.schema import Template
from tasks.data.preview import preview
from tasks.data.records import Record, Turn
from tasks.data.templates import render
from tasks.data.tokens import Encoded, encode, encode_prompt
from tasks.training.batches import Example, pack_batch

CHATML = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
GLUED = (
    "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}</s>{% endfor %}"
    "{% if add_generation_prompt %}assistant: {% endif %}"
)
LAST_ONLY_ONCE = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n"
    "{% if m['role'] == 'assistant' and not loop.last %}earlier {% endif %}{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
ALL = Template(kind="chat", train_on="all_assistant_turns")
LAST = Template(kind="chat")
CONTENT = st.text(alphabet="ab:\n <|>/_simendtarou é", max_size=12)
EARLIER = st.lists(st.tuples(st.sampled_from(["system", "user", "assistant", "tool"]), CONTENT), max_size=6)


@pytest.fixture(scope="module")
def base_tokenizer() -> Any:
    from tasks.models.tiny_base import train_tokenizer

    tokenizer = train_tokenizer(512)
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|im_start|>", "<|im_end|>"]})
    return tokenizer


def with_template(tokenizer: Any, chat_template: str) -> Any:
    tokenizer.chat_template = chat_template
    return tokenizer


def record(*turns: tuple[Any, str], completion: str = "answer") -> Record:
    return Record("id-1", "train", "g", tuple(Turn(role, content) for role, content in turns), completion)


def decoded(tokenizer: Any, ids: Any) -> str:
    return str(tokenizer.decode(list(ids), clean_up_tokenization_spaces=False))


def trained_texts(tokenizer: Any, encoded: Encoded) -> list[str]:
    parts = [encoded.prompt_ids[start:end] for start, end in encoded.trained]
    return [decoded(tokenizer, ids) for ids in (*parts, encoded.completion_ids)]


@pytest.mark.parametrize(("chat_template", "end"), [(CHATML, "<|im_end|>"), (GLUED, "</s>")])
@given(earlier=EARLIER, completion=CONTENT)
def test_the_trained_tokens_are_the_assistants_texts_and_what_ends_them(
    base_tokenizer: Any, chat_template: str, end: str, earlier: list[tuple[str, str]], completion: str
) -> None:
    tokenizer = with_template(base_tokenizer, chat_template)
    talk = record(*earlier, completion=completion)

    encoded = encode(tokenizer, render(ALL, talk, tokenizer=tokenizer), 10_000)

    said = [content for role, content in earlier if role == "assistant"]
    assert trained_texts(tokenizer, encoded) == [f"{text}{end}" for text in (*said, completion)]


@pytest.mark.parametrize("chat_template", [CHATML, GLUED])
@given(earlier=EARLIER, completion=CONTENT)
def test_an_earlier_turn_is_trained_as_the_tokens_that_it_would_be_as_a_completion(
    base_tokenizer: Any, chat_template: str, earlier: list[tuple[str, str]], completion: str
) -> None:
    tokenizer = with_template(base_tokenizer, chat_template)
    encoded = encode(tokenizer, render(ALL, record(*earlier, completion=completion), tokenizer=tokenizer), 10_000)
    places = [index for index, (role, _) in enumerate(earlier) if role == "assistant"]

    for place, (start, end) in zip(places, encoded.trained, strict=True):
        system = [turn for turn in earlier[place:] if turn[0] == "system"]  # they all stand at the beginning
        until = record(*system, *earlier[:place], completion=earlier[place][1])
        if not system:
            alone = encode(tokenizer, render(ALL, until, tokenizer=tokenizer), 10_000)
            assert alone.prompt_ids == encoded.prompt_ids[:start]
            assert alone.completion_ids == encoded.prompt_ids[start:end]


@given(earlier=EARLIER, completion=CONTENT, max_tokens=st.integers(8, 60))
def test_cutting_from_the_left_moves_the_mask_along(
    base_tokenizer: Any, earlier: list[tuple[str, str]], completion: str, max_tokens: int
) -> None:
    tokenizer = with_template(base_tokenizer, CHATML)
    rendered = render(ALL, record(*earlier, completion=completion), tokenizer=tokenizer)
    whole, cut = encode(tokenizer, rendered, 10_000), encode(tokenizer, rendered, max_tokens)

    kept = len(cut.prompt_ids) - 1
    expected = mask(whole)[len(whole.prompt_ids) - kept :] if kept else []
    assert cut.prompt_ids[1:] == whole.prompt_ids[len(whole.prompt_ids) - kept :][:kept]
    assert mask(cut)[1:] == expected
    assert mask(cut)[0] is False


def mask(encoded: Encoded) -> list[bool]:
    trained = {place for start, end in encoded.trained for place in range(start, end)}
    return [place in trained for place in range(len(encoded.prompt_ids))]


@given(earlier=EARLIER, completion=CONTENT)
def test_every_trained_token_is_a_target_and_nothing_else_is(
    base_tokenizer: Any, earlier: list[tuple[str, str]], completion: str
) -> None:
    tokenizer = with_template(base_tokenizer, CHATML)
    encoded = encode(tokenizer, render(ALL, record(*earlier, completion=completion), tokenizer=tokenizer), 10_000)
    example = Example(tuple(encoded.prompt_ids), tuple(encoded.completion_ids), encoded.trained)

    batch = pack_batch([example, Example((1, 5), (6,))], pad_id=0)

    own = batch.rows == 0
    said = [content for role, content in earlier if role == "assistant"]
    assert decoded(tokenizer, batch.targets[own]) == "".join(f"{text}<|im_end|>" for text in (*said, completion))
    assert own.sum() == example.label_count
    assert (batch.input_ids[0][batch.columns[own][:-1] + 1] == batch.targets[own][:-1]).all()


def test_only_the_completion_is_trained_unless_the_recipe_asks(base_tokenizer: Any) -> None:
    tokenizer = with_template(base_tokenizer, CHATML)
    talk = record(("user", "a"), ("assistant", "b"), ("user", "c"))

    encoded = encode(tokenizer, render(LAST, talk, tokenizer=tokenizer), 200)

    assert trained_texts(tokenizer, encoded) == ["answer<|im_end|>"]


def test_a_prompt_is_the_same_for_an_answer_as_in_training(base_tokenizer: Any) -> None:
    tokenizer = with_template(base_tokenizer, GLUED)
    rendered = render(ALL, record(("user", "a"), ("assistant", "hello"), ("user", "c")), tokenizer=tokenizer)

    assert encode_prompt(tokenizer, rendered, 200) == encode(tokenizer, rendered, 200).prompt_ids


def test_a_preview_marks_every_trained_turn(base_tokenizer: Any) -> None:
    tokenizer = with_template(base_tokenizer, CHATML)
    talk = record(("user", "a"), ("assistant", "b"), ("user", "c"))

    shown = preview([talk], ALL, tokenizer, 200)[0]

    assert [span.text for span in shown.spans if span.trained] == ["b<|im_end|>", "answer<|im_end|>"]
    assert (
        shown.prompt_tokens + shown.trained_tokens
        == encode(tokenizer, render(ALL, talk, tokenizer=tokenizer), 200).length
    )


def test_a_template_that_rewrites_earlier_turns_cannot_train_them(base_tokenizer: Any) -> None:
    tokenizer = with_template(base_tokenizer, LAST_ONLY_ONCE)

    with pytest.raises(RecipeError, match="trained tokens can't be told"):
        render(ALL, record(("user", "a"), ("assistant", "b"), ("user", "c")), tokenizer=tokenizer)


def test_training_on_turns_needs_a_conversation() -> None:
    with pytest.raises(ValueError, match="train_on is for conversations; set kind: chat"):
        Template(train_on="all_assistant_turns")
