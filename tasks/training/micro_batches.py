"""The micro-batch of a fine-tune: as asked, as begun, as remembered, or found by trial on this hardware."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from configs.schema import Training
from tasks.models.loading import LoadedBase
from tasks.storage.durable import digest_of, make_private_directory, write_json
from tasks.training.batches import Example
from tasks.training.device_memory import device_name
from tasks.training.memory import fitting_micro_batch, halved
from tasks.training.out_of_memory import says_out_of_memory

_MEMORY_FIELDS = frozenset(
    {"lora_rank", "method", "target_modules", "layers", "batch_size", "activation_checkpointing", "neftune_alpha"}
)
_CPU_RECORDS = 16
"""Records of one forward pass on a CPU; more keep its cores no busier."""
_PADDED_CPU_RECORDS = 8
"""The same where each has a row of its own: few of similar length leave little padding."""
_DOUBT = 2
"""A trial pass is made where more than one part in so many of the free memory will be needed."""


@dataclass(frozen=True)
class MicroBatch:
    """How many records one forward pass holds, and whether that is worth remembering."""

    size: int
    remember: bool


def choose_micro_batch(
    training: Training,
    *,
    begun: int | None,
    limit: int | None,
    known: int | None,
    most: int,
    free_bytes: int,
    needed: Callable[[int], int],
    attempt: Callable[[int], None],
) -> MicroBatch:
    """Choose the micro-batch; the batch, and so what is learnt, stays the same but for rounding and dropped inputs.

    Args:
        training: the resolved section; what it asks for is taken.
        begun: of the interrupted attempt that goes on: kept, so that it goes on bit by bit.
        limit: after an out-of-memory; stands above all others.
        known: what fitted here before.
        most: from `most_records`.
        free_bytes: what may be taken now.
        needed: predicts the bytes for a micro-batch.
        attempt: makes a pass on the longest records, and raises when memory runs out.
    """
    asked = begun or training.micro_batch_size
    if asked is not None or limit is not None:
        size = min(asked or training.batch_size, limit or training.batch_size)
        return MicroBatch(size, remember=asked is None or size < asked)
    fits = fitting_micro_batch(min(known or most, most), free_bytes=free_bytes, needed=needed)
    if known is not None or needed(fits) * _DOUBT <= free_bytes:
        return MicroBatch(fits, remember=False)
    return MicroBatch(_largest_that_runs(fits, attempt), remember=True)


def most_records(training: Training, *, device: str, padded: bool) -> int:
    """Return how many records a forward pass may hold where memory is no matter.

    Args:
        training: the resolved section.
        device: as torch names it.
        padded: whether each record has a row of its own.
    """
    if device != "cpu":
        return training.batch_size
    return min(training.batch_size, _PADDED_CPU_RECORDS if padded else _CPU_RECORDS)


def micro_batch_key(loaded: LoadedBase, training: Training, *, longest: int, fine_tunes_on_device: int) -> str:
    """Return the digest of all that decides which micro-batch fits."""
    return digest_of(
        {
            "base": loaded.digest,
            "precision": loaded.precision,
            "device": device_name(loaded.device),
            "fine_tunes_on_device": fine_tunes_on_device,
            "longest": longest,
            "training": training.model_dump(mode="json", include=set(_MEMORY_FIELDS)),
            "drops": training.lora_dropout > 0,
        }
    )


def remembered_micro_batch(directory: Path | None, key: str) -> int | None:
    """Return what fitted here before, or None; a damaged file counts as none."""
    if directory is None or not (directory / f"{key}.json").is_file():
        return None
    try:
        size = json.loads((directory / f"{key}.json").read_text(encoding="utf-8"))["micro_batch_size"]
    except (ValueError, KeyError, TypeError):
        return None
    return size if isinstance(size, int) and size > 0 else None


def remember_micro_batch(directory: Path | None, key: str, size: int) -> None:
    """Keep what fitted, for the next fine-tune of this kind on this hardware."""
    if directory is not None:
        make_private_directory(directory)
        write_json(directory / f"{key}.json", {"micro_batch_size": size})


def longest_examples(examples: Sequence[Example], count: int) -> list[Example]:
    """Return the `count` longest records: the most that one pass may hold."""
    return sorted(examples, key=lambda example: -example.length)[:count]


def _largest_that_runs(size: int, attempt: Callable[[int], None]) -> int:
    while True:
        try:
            attempt(size)
        except (RuntimeError, MemoryError) as error:  # torch.OutOfMemoryError is a RuntimeError
            if size == 1 or not says_out_of_memory(type(error).__name__, str(error)):
                raise
            size = halved(size)
        else:
            return size
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
