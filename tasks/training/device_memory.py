"""Memory of the device that a worker trains on: what it holds, what is free, and the peak since it was reset."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import psutil
import torch

from tasks.models.hardware import usable_memory
from tasks.storage.processes import peak_rss_mb

_MIB = 2**20
_CGROUP = Path("/sys/fs/cgroup")


def device_name(device: str) -> str:
    """Name the hardware for which a micro-batch is remembered."""
    if device.startswith("cuda"):
        return torch.cuda.get_device_name(device)
    return f"cpu with {psutil.virtual_memory().total} bytes"


def held_bytes(device: str) -> int:
    """What this process holds now: resident memory, or what torch has given out on the GPU."""
    if device.startswith("cuda"):
        return torch.cuda.memory_allocated(device)
    return int(psutil.Process().memory_info().rss)


def free_bytes(device: str) -> int:
    """What this process may still take, within the container's limit."""
    if device.startswith("cuda"):
        cached = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return torch.cuda.mem_get_info(device)[0] + cached
    limit, used = (_cgroup_number(name) for name in ("memory.max", "memory.current"))
    available = int(psutil.virtual_memory().available)
    return available if limit is None or used is None else max(0, min(available, limit - used))


def total_bytes(device: str) -> int:
    """What the device has, within the container's limit."""
    if device.startswith("cuda"):
        return torch.cuda.mem_get_info(device)[1]
    return usable_memory()


def reset_peak(device: str) -> None:
    """Let the peak begin now, so that one fine-tune's is not an earlier one's; where the kernel refuses, it stays."""
    if device.startswith("cuda"):
        torch.cuda.reset_peak_memory_stats(device)
        return
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def peak_mb(device: str) -> float:
    """The peak since the reset, in MiB: resident memory, or what torch gave out on the GPU."""
    if device.startswith("cuda"):
        return torch.cuda.max_memory_allocated(device) / _MIB
    return peak_rss_mb()


def _cgroup_number(name: str) -> int | None:
    path = _CGROUP / name
    text = path.read_text(encoding="ascii").strip() if path.is_file() else ""
    return int(text) if text.isdigit() else None
