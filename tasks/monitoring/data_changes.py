"""What changed between two snapshots: rows, and how the labels are spread. Pure."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from tasks.data.records import Record


@dataclass(frozen=True)
class LabelShare:
    """One label's share of the training records."""

    label: str
    before: float
    now: float


@dataclass(frozen=True)
class DataChanges:
    """Counts of records over all splits, and the shift of the training labels."""

    before: int
    now: int
    added: int
    """Records whose prompt was not there before."""
    removed: int
    """Records whose prompt is gone."""
    changed: int
    """Records with a prompt that was there, but another completion or other metadata."""
    trained_on_now_tested: int
    """Records that the earlier model was trained on (or chosen by) and that are test records now: its scores on them
    flatter it. 0 unless the split was changed."""
    label_shift: float | None
    """Total variation distance of the training labels, 0 (the same) to 1 (no label in common); None: no label set."""
    labels: tuple[LabelShare, ...]
    """By size of the change, largest first; empty without a label set."""

    @property
    def sentence(self) -> str:
        """The figures in one line."""
        shift = "" if self.label_shift is None else f"; label shift {self.label_shift:.3f}"
        leak = f"; {self.trained_on_now_tested} test records were trained on" if self.trained_on_now_tested else ""
        rows = f"{self.added} added, {self.removed} removed, {self.changed} changed"
        return f"{self.before} → {self.now} records: {rows}{shift}{leak}"


def compare_records(before: Sequence[Record], now: Sequence[Record], *, has_labels: bool) -> DataChanges:
    """Compare two sets of records.

    Method: records are equal when prompt, completion and metadata are; equal ones cancel out, one against one.
    What is left is paired by prompt, one against one: a pair is a changed record, the rest were added or removed.
    The label shift is the total variation distance between the shares p and q that the labels have of the training
    records before and now, ½ Σ |p - q|: the share of records that would have to be relabelled to make them alike.
    Two independent draws of n records from one source with k even labels differ by sqrt((k - 1) / (π n)) on average,
    so a shift of that size says nothing.

    Args:
        before: What the earlier model was trained on.
        now: The records at hand.
        has_labels: Whether completions are a closed label set.
    """
    lost, new = Counter(map(_content, before)), Counter(map(_content, now))
    lost, new = lost - new, new - lost
    lost_prompts, new_prompts = _prompts(lost), _prompts(new)
    changed = sum((lost_prompts & new_prompts).values())
    shares = _label_shares(before, now) if has_labels else ()
    return DataChanges(
        before=len(before),
        now=len(now),
        added=sum(new.values()) - changed,
        removed=sum(lost.values()) - changed,
        changed=changed,
        trained_on_now_tested=_now_tested(before, now),
        label_shift=sum(abs(share.now - share.before) for share in shares) / 2 if has_labels else None,
        labels=shares,
    )


_Prompt = tuple[tuple[str, str], ...]
_Content = tuple[_Prompt, str, tuple[tuple[str, str], ...]]


def _prompt(record: Record) -> _Prompt:
    return tuple((turn.role, turn.text) for turn in record.turns)


def _content(record: Record) -> _Content:
    tools = [("", record.tools)] if record.tools is not None else []
    return _prompt(record), record.completion, (*sorted(record.metadata.items()), *tools)


def _prompts(contents: Mapping[_Content, int]) -> Counter[_Prompt]:
    found: Counter[_Prompt] = Counter()
    for (prompt, _, _), count in contents.items():
        found[prompt] += count
    return found


def _now_tested(before: Iterable[Record], now: Iterable[Record]) -> int:
    tested = {_prompt(record) for record in before if record.split == "test"}
    seen = {_prompt(record) for record in before} - tested
    return sum(record.split == "test" and _prompt(record) in seen for record in now)


def _label_shares(before: Sequence[Record], now: Sequence[Record]) -> tuple[LabelShare, ...]:
    earlier, later = _training_shares(before), _training_shares(now)
    shares = [LabelShare(label, earlier[label], later[label]) for label in sorted({*earlier, *later})]
    return tuple(sorted(shares, key=lambda share: -abs(share.now - share.before)))


def _training_shares(records: Sequence[Record]) -> defaultdict[str, float]:
    counts = Counter(record.completion for record in records if record.split == "train")
    total = max(1, counts.total())
    return defaultdict(float, {label: count / total for label, count in counts.items()})
