"""What the arithmetic of a fine-tune alone would take (docs/guides/speed.md), at the rate that this machine reaches."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from tasks.data.snapshots import read_snapshot
from tasks.data.templates import render
from tasks.data.tokens import encode
from tasks.models.safetensors_header import tensor_shapes
from tasks.models.tokenizer import load_tokenizer

if TYPE_CHECKING:
    from benchmarks.training_speed import Bench


def floor_seconds_per_record(bench: Bench) -> float:
    """Print what the arithmetic alone would take (docs/guides/speed.md) at the rate of this machine, and return it."""
    tokens, labels = _mean_counts(bench)
    shapes = tensor_shapes(bench.base_directory / "model.safetensors")
    blocks = [shape for name, shape in shapes.items() if ".layers." in name and len(shape) == 2]
    vocabulary = next(shape for name, shape in shapes.items() if name.endswith("embed_tokens.weight"))
    widest = max(blocks, key=math.prod)
    batch = bench.shape.batch_size
    block_rate = _rate(bench, rows=round(batch * tokens), weight=widest)
    output_rate = _rate(bench, rows=round(batch * labels), weight=vocabulary)
    print(
        f"\nA record: {tokens:.1f} tokens run, {labels:.1f} labels. Matrix products in {bench.precision}: "
        f"{block_rate / 1e9:.0f} GFLOP/s in the blocks, {output_rate / 1e9:.0f} in the output layer."
    )
    return 4 * sum(map(math.prod, blocks)) * tokens / block_rate + 4 * math.prod(vocabulary) * labels / output_rate


def _mean_counts(bench: Bench) -> tuple[float, float]:
    """Tokens that are run (an example's last one is only a label) and labels of a record, on average."""
    tokenizer, template = load_tokenizer(bench.base_directory), bench.recipe.template
    records = read_snapshot(bench.scratch / "snapshots", bench.snapshot).split("train")
    found = [
        encode(tokenizer, render(template, record, tokenizer=tokenizer), template.max_tokens) for record in records
    ]
    return (
        statistics.fmean(encoded.length - 1 for encoded in found),
        statistics.fmean(len(encoded.completion_ids) for encoded in found),
    )


def _rate(bench: Bench, *, rows: int, weight: tuple[int, ...]) -> float:
    """Floating-point operations a second of a layer's product and of its gradient for the inputs; the best of ten."""
    import torch

    torch.set_num_threads(bench.threads)
    dtype = torch.bfloat16 if bench.precision == "bf16" else torch.float32
    inputs = torch.randn(rows, weight[1], dtype=dtype)
    matrix = torch.randn(weight, dtype=dtype)
    gradient = torch.randn(rows, weight[0], dtype=dtype)
    products: tuple[Callable[[], torch.Tensor], ...] = (lambda: inputs @ matrix.T, lambda: gradient @ matrix)
    return 4 * rows * math.prod(weight) / sum(min(_seconds(product) for _ in range(10)) for product in products)


def _seconds(work: Callable[[], Any]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started
