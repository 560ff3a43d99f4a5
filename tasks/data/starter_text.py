"""A starter recipe as YAML with comments; what comes from the file is quoted, so that it stays what it is. Pure."""

from __future__ import annotations

import json
import re

from configs.schema import Economics
from tasks.data.starter_recipe import Guess, StarterRecipe

_ESCAPED = re.compile("[\x7f-\x9f\ud800-\udfff\ufeff\u2028\u2029\ufffe\uffff\U00010000-\U0010ffff]")
_SHOWN_CHARACTERS = 80


def starter_text(guessed: StarterRecipe, *, name: str, data_path: str, base_path: str | None) -> str:
    """Write the recipe.

    Args:
        guessed: what the columns seem to be.
        name: the recipe's name.
        data_path: the data file, as the recipe shall name it.
        base_path: the base model's folder; None leaves a place to fill in.
    """
    chats = guessed.kind == "messages"
    columns = _columns(guessed)
    lines = [
        f"# A starter recipe, made by `burnish init` from {guessed.rows:,} rows. Each guess says why: check them, then",
        "# `burnish preview --recipe FILE` shows what the model would see, `burnish validate --recipe FILE` judges it.",
        f"name: {quoted(name)}",
        "",
        *_base(base_path),
        "",
        "data:",
        f"  source: {{kind: file, path: {quoted(data_path)}}}",
        "  columns:" if any(not line.strip().startswith("#") for line in columns) else "  columns: {}",
        *columns,
        *_groups(guessed),
        *_labels(guessed),
        "",
        "template:",
        *(["  kind: chat  # the base model's chat template, or one of yours in chat_template"] if chats else []),
        f"  max_tokens: {guessed.max_tokens}  # {_comment(guessed.max_tokens_reason)}",
        "",
        "evaluation:",
        f"  metric: {guessed.metric.value}  # {_comment(guessed.metric.reason)}",
        "",
        "search:",
        "  trials: 8  # fine-tunes with other values of these; without a space there is one",
        "  space: {learning_rate: {low: 1.0e-4, high: 3.0e-3, log: true}, lora_rank: {choices: [8, 16, 32]}}",
        "",
        "# whether fine-tuning pays hangs on these: set your own, the figures here are Burnish's defaults",
        "economics:",
        *(f"  {line}" for line in _economics()),
    ]
    return "\n".join(lines) + "\n"


def quoted(text: str) -> str:
    """Return a text as a double-quoted YAML scalar on one line."""
    return _ESCAPED.sub(_escape, json.dumps(text, ensure_ascii=False))


def _escape(match: re.Match[str]) -> str:
    code = ord(match.group())
    return f"\\U{code:08x}" if code > 0xFFFF else f"\\u{code:04x}"


def _base(base_path: str | None) -> list[str]:
    if base_path is not None:
        return [f"base: {{kind: folder, path: {quoted(base_path)}}}"]
    return [
        "# fill in: a folder in Hugging Face layout (config.json, *.safetensors, tokenizer.json); or",
        "# {kind: hub, id: organisation/model} with BURNISH_HUB=1; or {kind: tiny} to see every stage on your data",
        'base: {kind: folder, path: "FILL-IN/path/of/a/base-model"}',
    ]


def _economics() -> list[str]:
    meanings = {
        "requests_per_month": "expected load",
        "value_per_correct_answer": "worth of one more correct answer, in the currency",
        "training_price_per_hour": "of the machine while it trains",
        "hosting_price_per_hour": "of the machine that answers, busy or not",
        "horizon_months": "within which it must have paid for itself",
        "currency": "shown only",
    }
    defaults = Economics()
    return [f"{key}: {getattr(defaults, key)}  # {meaning}" for key, meaning in meanings.items()]


def _columns(guessed: StarterRecipe) -> list[str]:
    given = guessed.column_guesses()
    lines = [
        _guess(key, guess) for key, guess in given.items() if guess.value is not None or key in ("prompt", "completion")
    ]
    if guessed.metadata:
        names = ", ".join(map(quoted, guessed.metadata))
        lines.append(f"    metadata: [{names}]  # few different values: for slices (evaluation.slice_by) and templates")
    if guessed.left_out:
        names = _comment(", ".join(guessed.left_out))
        lines.append(f"    # not read: {names}; to show the model one, add it to metadata and to template.prompt")
    return lines


def _guess(key: str, guess: Guess) -> str:
    if guess.value is None:
        return f"    # {key}: fill in ({_comment(guess.reason)})"
    return f"    {key}: {quoted(guess.value)}  # {_comment(guess.reason)}"


def _groups(guessed: StarterRecipe) -> list[str]:
    lines = [
        "  # records that belong together (one patient, customer, document) must not stand on two sides of the split;"
    ]
    if not guessed.group_candidates:
        return [*lines, "  # no column looks like one; without group_by, equal prompts stay together"]
    lines.append(
        "  # these columns repeat values and may say what belongs together; take away the # of the one that does:"
    )
    return lines + [f"  # group_by: {quoted(name)}" for name in guessed.group_candidates]


def _labels(guessed: StarterRecipe) -> list[str]:
    if guessed.closed.value is None:
        return [f"  # labels: infer                  # left out: {_comment(guessed.closed.reason)}"]
    return [f"  labels: {guessed.closed.value}  # {_comment(guessed.closed.reason)}"]


def _comment(text: str) -> str:
    """Return a text that can't end its comment."""
    shown = "".join(character if character.isprintable() else " " for character in text)
    return shown if len(shown) <= 2 * _SHOWN_CHARACTERS else shown[: 2 * _SHOWN_CHARACTERS] + "…"
