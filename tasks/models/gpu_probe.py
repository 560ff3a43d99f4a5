"""Child process that lists the CUDA devices as JSON on its standard output: `python -m tasks.models.gpu_probe`."""

from __future__ import annotations

import json
import sys

import torch


def list_gpus() -> list[dict[str, object]]:
    """Name, memory in bytes and bf16 of each device; empty for a CPU build of torch."""
    properties = [torch.cuda.get_device_properties(index) for index in range(torch.cuda.device_count())]
    return [{"name": gpu.name, "memory_bytes": gpu.total_memory, "bf16": gpu.major >= 8} for gpu in properties]


if __name__ == "__main__":
    sys.stdout.write(json.dumps(list_gpus()))
