"""A first recipe for a file of records: what each column seems to be, with the reason beside each guess. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

_PROMPTS = ("prompt", "question", "input", "instruction", "text", "term", "query", "source", "sentence", "document")
_COMPLETIONS = (
    "completion",
    "response",
    "answer",
    "output",
    "label",
    "target",
    "category",
    "class",
    "summary",
    "chapter",
    "intent",
    "topic",
    "sentiment",
    "reply",
)
_MESSAGES = ("messages", "conversation", "conversations", "chat", "dialog", "turns")
_GROUPS = (
    "group",
    "patient",
    "customer",
    "user",
    "author",
    "document",
    "case",
    "session",
    "code",
    "account",
    "subject",
)
_MOST_LABELS = 50
_FEWEST_REPEATS = 5
"""A closed set repeats each label about so often; fewer rows for each look like free text."""
_MOST_METADATA_VALUES = 20
_LONGEST_METADATA = 40
_CHARACTERS_PER_TOKEN = 3
_NAME_LENGTH = 63

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Guess:
    """What one part of the recipe might be."""

    value: str | None
    reason: str


@dataclass(frozen=True)
class StarterRecipe:
    """All guesses about one file."""

    rows: int
    kind: Literal["messages", "prompt"]
    messages: Guess
    prompt: Guess
    completion: Guess
    tools: Guess
    closed: Guess
    """Its value is `infer` for a closed label set."""
    group_candidates: tuple[str, ...]
    metadata: tuple[str, ...]
    left_out: tuple[str, ...]
    """Columns that the recipe does not read, and that say nothing of what belongs together."""
    metric: Guess
    max_tokens: int
    max_tokens_reason: str

    def column_guesses(self) -> dict[str, Guess]:
        """The guess about each column of the recipe, by its key; those that a recipe of this kind has."""
        if self.kind == "messages":
            return {"messages": self.messages, "tools": self.tools}
        return {"prompt": self.prompt, "completion": self.completion}


def guess_recipe(rows: Sequence[Row]) -> StarterRecipe:
    """Say what the columns of a file seem to be."""
    columns = [name for name in dict.fromkeys(name for row in rows for name in row) if _can_be_written(name)]
    talk = _messages_column(rows, columns)
    if talk is not None:
        return _of_conversations(rows, columns, talk)
    texts = [name for name in columns if any(isinstance(row.get(name), str) and row[name].strip() for row in rows)]
    prompt, completion = _prompt_and_completion(rows, texts)
    closed = _closed(rows, completion.value)
    used = {prompt.value, completion.value}
    groups = _group_candidates(rows, columns, used)
    metadata = _metadata(rows, columns, used | set(groups))
    longest = max((len(_text(row, prompt.value)) + len(_text(row, completion.value)) for row in rows), default=0)
    tokens, reason = _max_tokens(longest)
    return StarterRecipe(
        rows=len(rows),
        kind="prompt",
        messages=Guess(None, ""),
        prompt=prompt,
        completion=completion,
        tools=Guess(None, ""),
        closed=closed,
        group_candidates=groups,
        metadata=metadata,
        left_out=tuple(name for name in columns if name not in {*used, *metadata, *groups}),
        metric=_metric(closed, rows, completion.value),
        max_tokens=tokens,
        max_tokens_reason=reason,
    )


def recipe_name(file_stem: str) -> str:
    """Return a recipe's name made of a file's."""
    name = re.sub(r"[^a-z0-9_-]+", "_", file_stem.lower()).strip("_-")[:_NAME_LENGTH].strip("_-")
    return name or "my_recipe"


def _of_conversations(rows: Sequence[Row], columns: Sequence[str], talk: str) -> StarterRecipe:
    conversations = [_as_list(row.get(talk)) or [] for row in rows]
    turns = [turn for each in conversations for turn in each if isinstance(turn, dict)]
    calls = sum(bool(each[-1].get("tool_calls")) for each in conversations if each and isinstance(each[-1], dict))
    tools = next((name for name in columns if name != talk and _looks_like_tools(rows, name)), None)
    used = {talk, tools}
    groups = _group_candidates(rows, columns, used)
    metadata = _metadata(rows, columns, used | set(groups))
    longest = max((len(json.dumps(each, ensure_ascii=False, default=str)) for each in conversations), default=0)
    tokens, reason = _max_tokens(longest)
    metric = (
        Guess("tool_call_match", f"{calls} of {len(rows)} conversations end with a call of a tool")
        if calls
        else Guess("token_f1", "answers in a conversation are free text; words in common count")
    )
    roles = ", ".join(sorted({str(turn.get("role")) for turn in turns if turn.get("role")}))
    return StarterRecipe(
        rows=len(rows),
        kind="messages",
        messages=Guess(talk, f"holds lists of {{role, content}}; roles seen: {roles}"),
        prompt=Guess(None, ""),
        completion=Guess(None, ""),
        tools=Guess(tools, "holds lists of tool schemas" if tools else ""),
        closed=Guess(None, "answers in a conversation are free text"),
        group_candidates=groups,
        metadata=metadata,
        left_out=tuple(name for name in columns if name not in {*used, *metadata, *groups}),
        metric=metric,
        max_tokens=tokens,
        max_tokens_reason=reason,
    )


def _messages_column(rows: Sequence[Row], columns: Sequence[str]) -> str | None:
    fitting = [name for name in columns if _holds(rows, name, _is_conversation)]
    return next((name for name in fitting if name.lower() in _MESSAGES), fitting[0] if fitting else None)


def _is_conversation(values: list[Any]) -> bool:
    return bool(values) and all(isinstance(turn, dict) and "role" in turn for turn in values)


def _looks_like_tools(rows: Sequence[Row], name: str) -> bool:
    def are_tools(values: list[Any]) -> bool:
        return all(isinstance(tool, dict) and {"function", "name"} & set(tool) for tool in values)

    return _holds(rows, name, are_tools)


def _holds(rows: Sequence[Row], name: str, fits: Any) -> bool:
    given = [row[name] for row in rows if row.get(name) not in (None, "")]
    lists = [_as_list(value) for value in given]
    return bool(lists) and all(values is not None and fits(values) for values in lists) and any(map(bool, lists))


def _as_list(value: Any) -> list[Any] | None:
    if isinstance(value, str) and value.lstrip().startswith("["):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return None
    return value if isinstance(value, list) else None


def _prompt_and_completion(rows: Sequence[Row], texts: Sequence[str]) -> tuple[Guess, Guess]:
    completion = _named(texts, _COMPLETIONS)
    left = [name for name in texts if completion is None or name != completion.value]
    prompt = _named(left, _PROMPTS)
    if prompt is None:
        longest = max(left, key=lambda name: _mean_length(rows, name), default=None)
        prompt = Guess(longest, "the longest text of the columns left" if longest else "no text column was found")
    if completion is None:
        completion = _unnamed_completion(rows, [name for name in left if name != prompt.value])
    return prompt, completion


def _unnamed_completion(rows: Sequence[Row], left: Sequence[str]) -> Guess:
    """Labels are likelier than notes, many labels than few, and what every row has likelier than what some lack."""
    if not left:
        return Guess(None, "no second text column was found")
    whole = [name for name in left if all(_text(row, name).strip() for row in rows)] or list(left)
    labels = [name for name in whole if _closed(rows, name).value is not None and not _names_a_group(name)]
    labels.sort(key=lambda name: len({_text(row, name) for row in rows}))
    called = next((name for name in whole if re.split(r"[^a-z0-9]+", name.lower())[-1] in _COMPLETIONS), None)
    chosen, why = called or (labels or whole)[-1], "the last text column left"
    if called:
        why = "its name ends like that of an answer"
    elif labels:
        why = "it has values that repeat, as labels do"
    others = [name for name in left if name != chosen]
    return Guess(chosen, f"{why}; if the answer is in {' or '.join(others)}, name that" if others else why)


def _named(columns: Sequence[str], known: Sequence[str]) -> Guess | None:
    found = next((name for wanted in known for name in columns if name.strip().lower() == wanted), None)
    return Guess(found, "its name says so") if found else None


def _closed(rows: Sequence[Row], completion: str | None) -> Guess:
    values = [_text(row, completion).strip() for row in rows]
    kinds = len({value for value in values if value})
    if 2 <= kinds <= _MOST_LABELS and len(rows) >= kinds * _FEWEST_REPEATS:
        return Guess("infer", f"{kinds} different completions in {len(rows)} rows: a closed set of labels")
    return Guess(None, f"{kinds} different completions in {len(rows)} rows: free text")


def _metric(closed: Guess, rows: Sequence[Row], completion: str | None) -> Guess:
    if closed.value is not None:
        return Guess("exact_match", "a label is right or wrong")
    if _mean_length(rows, completion) <= _LONGEST_METADATA:
        return Guess("normalised_match", "short answers; case, white space and a final full stop don't count")
    return Guess("token_f1", "long answers; words in common count")


def _group_candidates(rows: Sequence[Row], columns: Sequence[str], used: set[str | None]) -> tuple[str, ...]:
    """Columns that name what records belong to: some of their values repeat, and there are many of them."""
    found = []
    for name in columns:
        values = [_scalar(row.get(name)) for row in rows]
        kinds = len({value for value in values if value})
        is_named = _names_a_group(name)
        if name not in used and "" not in values and len(rows) > kinds > (2 if is_named else _MOST_METADATA_VALUES):
            found.append((not is_named, name))
    return tuple(name for _, name in sorted(found, key=lambda each: each[0]))


def _names_a_group(column: str) -> bool:
    return any(word in column.lower() for word in _GROUPS)


def _metadata(rows: Sequence[Row], columns: Sequence[str], used: set[str | None]) -> tuple[str, ...]:
    found = []
    for name in columns:
        values = {_scalar(row.get(name)) for row in rows}
        short = all(len(value) <= _LONGEST_METADATA for value in values)
        if name not in used and short and 2 <= len(values) <= _MOST_METADATA_VALUES and len(values) < len(rows):
            found.append(name)
    return tuple(name for name in found if name != "tools")


def _max_tokens(longest: int) -> tuple[int, str]:
    needed = longest // _CHARACTERS_PER_TOKEN + 32
    tokens = next((size for size in (64, 128, 256, 512, 1024, 2048, 4096, 8192) if size >= needed), 8192)
    reason = f"the longest record has {longest:,} characters, at most about {needed:,} tokens"
    return tokens, f"{reason}; `burnish preview` counts them, and less is faster"


def _mean_length(rows: Sequence[Row], name: str | None) -> float:
    return sum(len(_text(row, name)) for row in rows) / max(1, len(rows))


def _text(row: Row, name: str | None) -> str:
    value = None if name is None else row.get(name)
    return value if isinstance(value, str) else ""


def _can_be_written(name: str) -> bool:
    """Half a surrogate pair, which JSON can spell, can't stand in a file."""
    return not any("\ud800" <= character <= "\udfff" for character in name)


def _scalar(value: Any) -> str:
    return "" if value is None or isinstance(value, dict | list) else str(value)
