"""The record: one training example, and the snapshot's way to hold many."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from tasks.metrics.tool_calls import answer_text

SplitName = Literal["train", "validation", "test"]
SPLITS: tuple[SplitName, ...] = ("train", "validation", "test")


@dataclass(frozen=True)
class ToolCall:
    """One call of a tool by the assistant."""

    name: str
    arguments: str
    """A JSON object, its keys in the order of the data."""
    id: str | None = None


@dataclass(frozen=True)
class Turn:
    """One chat message."""

    role: Literal["system", "user", "assistant", "tool"]
    content: str
    tool_calls: tuple[ToolCall, ...] = ()
    """Of an assistant."""
    tool_call_id: str | None = None
    """Of a tool: the call that it answers."""
    name: str | None = None
    """Of a tool: its name."""

    @property
    def text(self) -> str:
        """All that the turn says: its content, and a line of canonical JSON for each call."""
        return answer_text(self.content, [(call.name, call.arguments) for call in self.tool_calls])


@dataclass(frozen=True)
class Record:
    """One training example; a prompt/completion record is one user turn and its completion."""

    record_id: str
    """Hash of the content, 16 hex digits; equal content has the equal id plus a running number (`-2`)."""
    split: SplitName
    group: str
    """Records of one group are never on two sides of the split."""
    turns: tuple[Turn, ...]
    """Everything before the completion, oldest first."""
    completion: str
    metadata: Mapping[str, str] = field(default_factory=dict)
    answer: Turn | None = None
    """The completion as a turn where it calls tools; `completion` is then the turn's text."""
    tools: str | None = None
    """The tools that the conversation may call, a JSON list of schemas; None: none."""

    @property
    def prompt(self) -> str:
        """The text of all turns, one per line: what a classical classifier and TF-IDF see."""
        return "\n".join(turn.text for turn in self.turns)

    @property
    def spoken(self) -> tuple[Turn, ...]:
        """All turns, the completion last."""
        return (*self.turns, self.answer or Turn("assistant", self.completion))


def records_of_texts(texts: Sequence[str], columns: Mapping[str, str]) -> list[Record]:
    """Return each text as a record of one user turn with these metadata columns, whose completion nobody knows."""
    names = [f"text-{number}" for number in range(len(texts))]
    return [
        Record(name, "test", name, (Turn("user", text),), "", dict(columns))
        for name, text in zip(names, texts, strict=True)
    ]
