from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from configs.errors import BaseModelError
from tasks.data.rendered import Rendered
from tasks.data.tokens import encode, encode_completion, encode_prompt, end_token_id

BOS, EOS = 1, 2
FIRST_CHARACTER = 10


class CharacterTokenizer:
    """One token for each character, and special tokens that only `tokens` itself may make."""

    all_special_tokens = ("<s>", "</s>", "<end>")
    added_tokens_decoder: dict[int, Any] = {}  # noqa: RUF012 - a fake with one fixed vocabulary
    bos_token_id: int | None = BOS
    eos_token_id: int | None = EOS

    def convert_tokens_to_ids(self, token: str) -> int:
        return {"<s>": BOS, "</s>": EOS, "<end>": 3}[token]

    def __call__(self, text: str, *, add_special_tokens: bool, split_special_tokens: bool) -> dict[str, list[int]]:
        assert split_special_tokens and not add_special_tokens
        return {"input_ids": [ord(character) + FIRST_CHARACTER for character in text]}


def without(name: str) -> Any:
    tokenizer = CharacterTokenizer()
    setattr(tokenizer, name, None)
    return tokenizer


TOKENIZER: Any = CharacterTokenizer()


def text(ids: list[int]) -> str:
    return "".join({1: "^", 2: "$", 3: "!"}.get(token) or chr(token - FIRST_CHARACTER) for token in ids)


def test_a_record_starts_with_one_bos_and_ends_with_eos() -> None:
    encoded = encode(TOKENIZER, Rendered("ab", "c"), 10)

    assert (text(encoded.prompt_ids), text(encoded.completion_ids), encoded.truncated) == ("^ab", "c$", False)


def test_a_bos_that_the_template_spells_is_not_doubled() -> None:
    encoded = encode(TOKENIZER, Rendered("<s>ab", "c", prompt_markup=((0, 3),)), 10)

    assert text(encoded.prompt_ids) == "^ab"


def test_a_tokenizer_without_bos_gets_none() -> None:
    assert text(encode(without("bos_token_id"), Rendered("ab", "c"), 10).prompt_ids) == "ab"


def test_a_tokenizer_without_eos_is_refused() -> None:
    with pytest.raises(BaseModelError, match="no end-of-sequence token"):
        encode(without("eos_token_id"), Rendered("ab", "c"), 10)


def test_the_templates_own_end_token_takes_the_place_of_eos() -> None:
    rendered = Rendered("ab", "c", end="<end>")

    assert text(encode(TOKENIZER, rendered, 10).completion_ids) == "c!"
    assert end_token_id(TOKENIZER, rendered) == 3


@pytest.mark.parametrize(
    ("max_tokens", "prompt", "completion", "truncated"),
    [
        (9, "^abcd", "xyz$", False),
        (8, "^bcd", "xyz$", True),
        (6, "^d", "xyz$", True),
        (5, "^", "xyz$", True),
        (4, "^", "xyz", True),
        (2, "^", "x", True),
    ],
)
def test_the_prompt_is_cut_from_the_left_before_the_completion_is_touched(
    max_tokens: int, prompt: str, completion: str, truncated: bool
) -> None:
    encoded = encode(TOKENIZER, Rendered("abcd", "xyz"), max_tokens)

    assert (text(encoded.prompt_ids), text(encoded.completion_ids)) == (prompt, completion)
    assert encoded.truncated is truncated


@given(st.text(max_size=30), st.text(max_size=30), st.integers(8, 40))
def test_no_record_is_longer_than_the_limit(prompt: str, completion: str, max_tokens: int) -> None:
    encoded = encode(TOKENIZER, Rendered(prompt, completion), max_tokens)

    total = len(encoded.prompt_ids) + len(encoded.completion_ids)
    assert total <= max_tokens
    assert encoded.truncated == (total < len(prompt) + len(completion) + 2)


@given(st.text(max_size=30), st.text(max_size=30))
def test_prompt_and_completion_have_the_same_ids_together_and_alone(prompt: str, completion: str) -> None:
    rendered = Rendered(prompt, completion)

    encoded = encode(TOKENIZER, rendered, 100)

    assert encoded.prompt_ids == encode_prompt(TOKENIZER, rendered, 100)
    assert encoded.completion_ids == encode_completion(TOKENIZER, rendered)


def test_a_prompt_alone_is_cut_from_the_left_and_keeps_its_bos() -> None:
    assert text(encode_prompt(TOKENIZER, Rendered("abcd", ""), 3)) == "^cd"


def test_a_special_token_counts_inside_markup_only() -> None:
    rendered = Rendered("<end>a<end>", "</s>", prompt_markup=((0, 5),))

    encoded = encode(TOKENIZER, rendered, 100)

    assert text(encoded.prompt_ids) == "^!a<end>"
    assert text(encoded.completion_ids) == "</s>$"


@pytest.mark.parametrize("markup", [((0, 2),), ((0, 2), (2, 5)), ((1, 5),)])
def test_a_special_token_that_is_half_content_stays_text(markup: tuple[tuple[int, int], ...]) -> None:
    encoded = encode(TOKENIZER, Rendered("<end>", "", prompt_markup=markup), 100)

    assert text(encoded.prompt_ids) == "^<end>"
