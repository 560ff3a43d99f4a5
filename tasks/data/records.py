"""The record: one training example, and the snapshot's way to hold many."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

SplitName = Literal["train", "validation", "test"]
SPLITS: tuple[SplitName, ...] = ("train", "validation", "test")


@dataclass(frozen=True)
class Turn:
    """One chat message."""

    role: Literal["system", "user", "assistant", "tool"]
    content: str


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

    @property
    def prompt(self) -> str:
        """The text of all turns, one per line: what a classical classifier and TF-IDF see."""
        return "\n".join(turn.content for turn in self.turns)
