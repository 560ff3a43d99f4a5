"""Worker job that proves that a base loads and computes: for `burnish doctor` and the worker's own tests."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tasks.models.loading import LoadedBase


def probe(loaded: LoadedBase, arguments: dict[str, Any], report: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """Predict the token after `arguments["text"]`, `arguments["passes"]` times, with a report after each pass.

    Returns the number of passes made, whether all logits were finite, the number of parameters, the torch threads,
    and the top-level modules in memory.
    """
    import torch

    tokens = loaded.tokenizer(arguments["text"], return_tensors="pt").to(loaded.device)
    finite, passes = True, 0
    while passes < arguments["passes"]:
        with torch.inference_mode():
            logits = loaded.model(**tokens).logits
        finite = finite and bool(torch.isfinite(logits).all())
        passes += 1
        if not report({"pass": passes}):
            break
    return {
        "passes": passes,
        "finite": finite,
        "parameters": sum(parameter.numel() for parameter in loaded.model.parameters()),
        "threads": torch.get_num_threads(),
        "modules": sorted({name.partition(".")[0] for name in list(sys.modules)}),
    }
