"""A fine-tune that ran out of memory goes on once, from its newest checkpoint, with half the micro-batch."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from tasks.models.worker import JobFailed, OnReport, WorkerDied
from tasks.training.memory import halved

Run = Callable[[dict[str, Any], OnReport], dict[str, Any]]

_KINDS = frozenset({"OutOfMemoryError", "MemoryError", "_ArrayMemoryError"})
"""torch's on a GPU, Python's, and numpy's."""
_PHRASES = ("can't allocate memory", "not enough memory", "Cannot allocate memory", "std::bad_alloc")
"""What torch says in a RuntimeError when the CPU's memory is limited."""

_log = logging.getLogger("burnish")


def ran_out_of_memory(error: JobFailed | WorkerDied) -> bool:
    """Whether memory ended the job: on a GPU torch says so, on a CPU the kernel kills the process.

    Who kills the *parent* kills the worker with it, and nobody is left to ask this.
    """
    if isinstance(error, WorkerDied):
        return error.probably_out_of_memory
    return says_out_of_memory(error.kind, error.reason)


def says_out_of_memory(kind: str, text: str) -> bool:
    """Whether an error of this class and text means that memory ran out."""
    return kind in _KINDS or (kind == "RuntimeError" and any(phrase in text for phrase in _PHRASES))


def train_within_memory(
    run: Run, arguments: dict[str, Any], on_report: OnReport, *, restart: Callable[[], None]
) -> dict[str, Any]:
    """Run the job `train`; if memory ends it, run it once more with half the micro-batch and the same batch.

    Args:
        run: runs the job with arguments and a listener.
        arguments: `TrainArguments` as JSON.
        on_report: hears every report of both attempts.
        restart: ends the worker's process, which may hold the memory of the failed attempt.

    Raises:
        JobFailed: the job failed for another reason, or memory ended it twice.
        WorkerDied: the process ended for another reason, or before it said its micro-batch.
    """
    sizes: list[int] = []

    def listen(values: dict[str, Any]) -> bool:
        if values["kind"] == "memory":
            sizes.append(values["micro_batch_size"])
        return on_report(values)

    try:
        return run(arguments, listen)
    except (JobFailed, WorkerDied) as error:
        if not ran_out_of_memory(error) or not sizes or sizes[-1] == 1:
            raise
    half = halved(sizes[-1])
    _log.warning("  out of memory with a micro-batch of %d: goes on with %d and the same batch", sizes[-1], half)
    restart()
    try:
        return run({**arguments, "micro_batch_limit": half}, listen)
    except (JobFailed, WorkerDied) as error:
        if not ran_out_of_memory(error):
            raise
        raise JobFailed(
            f"out of memory with a micro-batch of {sizes[0]}, and again with {half} ({error}); set a smaller "
            "training.micro_batch_size, training.activation_checkpointing: true or fewer search.slots",
            "OutOfMemoryError",
        ) from error
