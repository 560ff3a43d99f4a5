"""The worker job that notes what the trainer's own model says, for comparison with the registered version."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field

from configs.errors import DataError
from configs.schema import Section
from tasks.data.records import Record
from tasks.data.snapshots import read_snapshot
from tasks.inference.answering import longest_prompt, option_active, pad_token_id
from tasks.inference.decoding import generate
from tasks.inference.label_scoring import score_labels
from tasks.inference.label_search import choose_labels
from tasks.inference.options import Option
from tasks.inference.prompts import PromptWriter
from tasks.inference.row_context import NO_PREFIX
from tasks.models.loading import LoadedBase
from tasks.storage.durable import digest_of, new_directory

_FILE = "reference.npz"
NO_TOKEN = -1
"""Stands after the end of an answer."""


class ReferenceArguments(Section):
    """What the job `logits` is asked to do. The parent builds it and sends `model_dump(mode="json")`."""

    option: Option
    """The candidate; it is decoded by generating, and by label scoring too if that is its own decoding."""
    snapshots: Path
    """Directory of the snapshots."""
    snapshot: str
    """Which snapshot."""
    record_ids: tuple[str, ...] = Field(min_length=1)
    """Which of its records."""
    labels: tuple[str, ...] | None
    """The closed label set; None: open generation."""
    max_new_tokens: int = Field(gt=0)
    """Longest answer."""
    batch_token_budget: int = Field(gt=0)
    """Tokens in a batch of the second run; the first run answers one record at a time."""
    top_tokens: int = Field(gt=1)
    """How many of the first step's logits are kept, the largest ones."""
    references: Path
    """Directory of all references."""
    adapters: Path
    """Directory of all adapters."""


class _Notes:
    """Collects the logits of each step while records are decoded."""

    def __init__(self, records: int, *, max_new_tokens: int, top_tokens: int) -> None:
        self.best_two = np.full((records, max_new_tokens, 2), np.nan, dtype=np.float32)
        self.top_ids = np.zeros((records, top_tokens), dtype=np.int64)
        self.top_logits = np.zeros((records, top_tokens), dtype=np.float32)
        self._steps = [0] * records

    def note(self, rows: Sequence[int], logits: torch.Tensor) -> None:
        top = logits.topk(self.top_ids.shape[1], dim=-1)
        values, ids = top.values.cpu().numpy(), top.indices.cpu().numpy()
        for place, row in enumerate(rows):
            if self._steps[row] == 0:
                self.top_ids[row], self.top_logits[row] = ids[place], values[place]
            self.best_two[row, self._steps[row]] = values[place, :2]
            self._steps[row] += 1


def logits(loaded: LoadedBase, arguments: dict[str, Any], report: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """Decode records greedily in batches and one at a time, and store tokens and logits.

    What a batch said is the draft of each single record's answer: one pass finds out whether the record alone says the
    same, token by token, and where it doesn't it is decoded on from there.

    The file holds `record_ids`, and for both runs, `_1` and `_n`: `tokens` [records, steps] (`NO_TOKEN` after the
    end, the end token itself left out), `best_two` [records, steps, 2], the two largest logits of each step that was
    run, and `top_ids`, `top_logits` [records, top_tokens], the largest logits of the first step. Where the option
    scores labels, `labels` [records] are the places of the chosen ones.

    Args:
        loaded: the base; it is left as it was.
        arguments: `ReferenceArguments` as JSON.
        report: is sent {done, total} records.

    Returns:
        `reference` (the file, as seen from `references`) and `records`.

    Raises:
        DataError: the snapshot has no record of one of the ids.
    """
    task = ReferenceArguments.model_validate(arguments)
    records = _records(task)
    arrays: dict[str, NDArray[Any]] = {"record_ids": np.array(task.record_ids)}
    with option_active(loaded, task.option, adapters=task.adapters):
        context = longest_prompt(loaded, max_new_tokens=task.max_new_tokens)
        writer = PromptWriter(task.option, loaded.tokenizer, context_tokens=context)
        prompts = [writer.prompt_ids(record, ()) for record in records]
        stop_ids = writer.stop_ids(records[0])
        in_batches, drafts = _decoded(
            loaded, prompts, task, run="n", stop_ids=stop_ids, token_budget=task.batch_token_budget
        )
        # a budget of one token puts each row into a batch of its own; the first is decoded as a single request is
        drafts = [[], *drafts[1:]]
        arrays |= _decoded(loaded, prompts, task, run="1", stop_ids=stop_ids, token_budget=1, drafts=drafts)[0]
        arrays |= in_batches
        report({"done": len(records), "total": len(records)})
        if task.option.decoding == "label_scoring" and task.labels:
            arrays["labels"] = choose_labels(
                loaded.model, prompts,
                label_ids=[writer.label_ids(records[0], label) for label in task.labels],
                pad_id=pad_token_id(loaded), token_budget=task.batch_token_budget,
            )  # fmt: skip
    return {"reference": _store(arrays, task.references), "records": len(records)}


def label_margins(
    loaded: LoadedBase, arguments: dict[str, Any], report: Callable[[dict[str, Any]], bool]
) -> dict[str, Any]:
    """Say how far below its best label the trainer's own model scores another one, for a few records.

    Args:
        loaded: the base; it is left as it was.
        arguments: `ReferenceArguments` as JSON, of these records, and `said`, a label for each.
        report: not used.

    Returns:
        `margins`: differences of log-probabilities, 0 where the label is the best.
    """
    said = list(arguments["said"])
    task = ReferenceArguments.model_validate({key: value for key, value in arguments.items() if key != "said"})
    labels = list(task.labels or ())
    records = _records(task)
    with option_active(loaded, task.option, adapters=task.adapters):
        context = longest_prompt(loaded, max_new_tokens=task.max_new_tokens)
        writer = PromptWriter(task.option, loaded.tokenizer, context_tokens=context)
        scores = score_labels(
            loaded.model, [writer.prompt_ids(record, ()) for record in records],
            label_ids=[writer.label_ids(records[0], label) for label in labels],
            pad_id=pad_token_id(loaded), token_budget=task.batch_token_budget,
        )  # fmt: skip
    chosen = scores[range(len(said)), [labels.index(label) for label in said]]
    return {"margins": [float(margin) for margin in scores.max(axis=1) - chosen]}


def _records(task: ReferenceArguments) -> list[Record]:
    by_id = {record.record_id: record for record in read_snapshot(task.snapshots, task.snapshot).records}
    missing = [record_id for record_id in task.record_ids if record_id not in by_id]
    if missing:
        raise DataError(
            f"snapshot {task.snapshot} has no record {missing[0]} ({len(missing)} of {len(task.record_ids)} ids are "
            "unknown); take record ids of this snapshot"
        )
    return [by_id[record_id] for record_id in task.record_ids]


def _decoded(
    loaded: LoadedBase,
    prompts: Sequence[Sequence[int]],
    task: ReferenceArguments,
    *,
    run: str,
    stop_ids: set[int],
    token_budget: int,
    drafts: Sequence[Sequence[int]] | None = None,
) -> tuple[dict[str, NDArray[Any]], list[list[int]]]:
    """Return the arrays of one run, and its answers."""
    vocabulary = loaded.model.get_output_embeddings().weight.shape[0]
    notes = _Notes(
        len(prompts), max_new_tokens=task.max_new_tokens, top_tokens=min(task.top_tokens, vocabulary)
    )  # fmt: skip
    answers = generate(
        loaded.model,
        prompts,
        max_new_tokens=task.max_new_tokens,
        stop_ids=stop_ids,
        pad_id=pad_token_id(loaded),
        token_budget=token_budget,
        shared_prefix=NO_PREFIX if run == "1" else None,
        drafts=drafts,
        on_logits=notes.note,
    )
    tokens = np.full((len(prompts), task.max_new_tokens), NO_TOKEN, dtype=np.int64)
    for row, answer in enumerate(answers):
        tokens[row, : len(answer)] = answer
    arrays: dict[str, NDArray[Any]] = {
        f"tokens_{run}": tokens,
        f"best_two_{run}": notes.best_two,
        f"top_ids_{run}": notes.top_ids,
        f"top_logits_{run}": notes.top_logits,
    }
    return arrays, answers


def _store(arrays: Mapping[str, NDArray[Any]], references: Path) -> str:
    digest = digest_of({name: hashlib.sha256(array.tobytes()).hexdigest() for name, array in arrays.items()})
    with new_directory(references / digest) as directory:
        np.savez_compressed(directory / _FILE, allow_pickle=False, **arrays)
    return f"{digest}/{_FILE}"
