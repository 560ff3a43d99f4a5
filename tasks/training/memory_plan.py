"""Before a fine-tune's first step: predict its peak memory, choose the micro-batch, and say both."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from configs.schema import Training
from tasks.data.records import Record
from tasks.data.templates import render
from tasks.data.tokens import encode
from tasks.inference.answering import pad_token_id
from tasks.models.loading import LoadedBase
from tasks.training.activation_bytes import memory_shape
from tasks.training.adapters import trainable_parameters
from tasks.training.arguments import TrainArguments
from tasks.training.batches import Example
from tasks.training.checkpoints import newest_progress
from tasks.training.device_memory import free_bytes, held_bytes, peak_mb, total_bytes
from tasks.training.engine import training_mode
from tasks.training.memory import MemoryShape, memory_advice, needed_bytes
from tasks.training.micro_batches import (
    choose_micro_batch,
    longest_examples,
    micro_batch_key,
    most_records,
    remember_micro_batch,
    remembered_micro_batch,
)
from tasks.training.optimizer import accumulate_gradients

if TYPE_CHECKING:
    from peft import PeftModel

_MIB = 2**20


def settle_memory(
    loaded: LoadedBase,
    adapted: PeftModel,
    wanted: TrainArguments,
    *,
    examples: Sequence[Example],
    look: Sequence[Record],
    row_tokens: int,
    report: Callable[[dict[str, Any]], bool],
) -> int:
    """Choose the micro-batch, report it with the predicted peak, and return it.

    Args:
        loaded: the base.
        adapted: the adapter on it.
        wanted: the job.
        examples: the training records.
        look: the records of a validation look.
        row_tokens: as for `pack_batch`.
        report: sends values to the parent.
    """
    training = wanted.training
    shape = memory_shape(
        loaded,
        adapted,
        training=training,
        examples=examples,
        look_lengths=[_look_length(loaded, record, wanted) for record in look],
        token_budget=wanted.token_budget,
    )
    sharing, held = wanted.fine_tunes_on_device, held_bytes(loaded.device)
    free = max(0, min(free_bytes(loaded.device), total_bytes(loaded.device) // sharing - held))
    key = micro_batch_key(loaded, training, longest=shape.longest, fine_tunes_on_device=sharing)
    begun = newest_progress(wanted.checkpoint_directory)
    chosen = choose_micro_batch(
        training,
        begun=begun.micro_batch_size if begun else None,
        limit=wanted.micro_batch_limit,
        known=remembered_micro_batch(wanted.micro_batches, key),
        most=most_records(training, device=loaded.device, padded=row_tokens == 0),
        free_bytes=free,
        needed=partial(needed_bytes, shape),
        attempt=partial(_try_longest, loaded, adapted, wanted, examples, row_tokens),
    )
    if chosen.remember:
        remember_micro_batch(wanted.micro_batches, key, chosen.size)
    report({"step": begun.step if begun else 0, **_outlook(loaded, training, shape, chosen.size, free=free, held=held)})
    return chosen.size


def _outlook(
    loaded: LoadedBase, training: Training, shape: MemoryShape, micro_batch_size: int, *, free: int, held: int
) -> dict[str, Any]:
    """What the parent is told of the memory to come."""
    needed = needed_bytes(shape, micro_batch_size)
    return {
        "kind": "memory",
        "micro_batch_size": micro_batch_size,
        "memory_predicted_mb": max((held + needed) / _MIB, peak_mb(loaded.device)),
        "memory_free_mb": free / _MIB,
        "advice": memory_advice(
            needed_bytes=needed,
            free_bytes=free,
            micro_batch_size=micro_batch_size,
            recomputed=training.activation_checkpointing,
        ),
    }


def _look_length(loaded: LoadedBase, record: Record, wanted: TrainArguments) -> int:
    rendered = render(wanted.template, record, tokenizer=loaded.tokenizer)
    encoded = encode(loaded.tokenizer, rendered, wanted.template.max_tokens)
    answer = len(encoded.completion_ids) if wanted.decoding == "label_scoring" else wanted.max_new_tokens
    return len(encoded.prompt_ids) + answer


def _try_longest(
    loaded: LoadedBase,
    adapted: PeftModel,
    wanted: TrainArguments,
    examples: Sequence[Example],
    row_tokens: int,
    size: int,
) -> None:
    """Make one pass forth and back over the `size` longest records; nothing of it stays."""
    batch = longest_examples(examples, size)
    try:
        with training_mode(loaded, adapted, wanted.training, batch=batch, seed=0):
            accumulate_gradients(
                loaded, batch, micro_batch_size=None, pad_id=pad_token_id(loaded), row_tokens=row_tokens
            )
    finally:
        for parameter in trainable_parameters(adapted):
            parameter.grad = None
