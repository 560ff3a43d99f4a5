"""What the machine has, and the decisions that follow from it: precision, device, threads."""

from __future__ import annotations

import importlib.util
import json
import math
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import psutil

from configs.errors import BaseModelError
from configs.schema import Precision
from tasks.storage.child_process import child_environment, python_command

_NVIDIA_DEVICES = ("/dev/nvidiactl", "/dev/dxg")
_PROBE_TIMEOUT_SECONDS = 120


@dataclass(frozen=True)
class Gpu:
    """One CUDA device that torch can use."""

    name: str
    memory_bytes: int
    bf16: bool
    """Whether it computes in bf16 natively (compute capability 8 or newer)."""


@dataclass(frozen=True)
class Hardware:
    """One machine, as far as this process may use it."""

    cores: int
    memory_bytes: int
    bf16: bool
    """Whether the CPU multiplies bf16 faster than fp32."""
    gpus: tuple[Gpu, ...] = ()


def choose_precision(requested: Literal["auto", Precision], hardware: Hardware) -> Precision:
    """Precision of the frozen base: as the recipe says, else bf16 where every device that may run it is faster so."""
    if requested != "auto":
        return requested
    capable = all(gpu.bf16 for gpu in hardware.gpus) if hardware.gpus else hardware.bf16
    return "bf16" if capable else "fp32"


def libraries_of(precision: str) -> tuple[str, ...]:
    """Return the libraries that a precision needs besides torch and transformers; their versions change results."""
    return ("bitsandbytes",) if precision == "nf4" else ()


def unused_libraries(precision: str) -> tuple[str, ...]:
    """Return the libraries that this precision has no use for and that peft imports all the same, which takes 2 s."""
    return () if precision == "nf4" else libraries_of("nf4")


def require_libraries_of(precision: Precision) -> None:
    """Check that a base can be held in this precision here.

    Raises:
        BaseModelError: bitsandbytes is missing.
    """
    if any(importlib.util.find_spec(library) is None for library in libraries_of(precision)):
        raise BaseModelError(
            "training.precision is nf4, which needs bitsandbytes, and that is not installed; install the extra `gpu` "
            "(pip install 'burnish[gpu]'), or choose auto, bf16 or fp32"
        )


def choose_device(hardware: Hardware, slot: int) -> str:
    """Device of a slot, as torch names it: GPUs are dealt in turn."""
    return f"cuda:{slot % len(hardware.gpus)}" if hardware.gpus else "cpu"


def slots_per_device(hardware: Hardware, slots: int) -> int:
    """How many slots share a device and its memory, at most."""
    return math.ceil(slots / max(1, len(hardware.gpus)))


def threads_per_slot(hardware: Hardware, slots: int) -> int:
    """CPU threads of each slot, so that all slots together don't ask for more than the cores."""
    return max(1, hardware.cores // slots)


def detect_hardware() -> Hardware:
    """Look at this machine: cores and memory that this process may use, bf16, GPUs."""
    return Hardware(
        cores=_usable_cores(),
        memory_bytes=usable_memory(),
        bf16=_cpu_prefers_bf16(Path("/proc/cpuinfo").read_text(encoding="utf-8")),
        gpus=_detect_gpus() if any(Path(device).exists() for device in _NVIDIA_DEVICES) else (),
    )


def _usable_cores() -> int:
    return max(1, min(len(os.sched_getaffinity(0)), _cgroup_cores() or os.cpu_count() or 1))


def _cgroup_cores() -> int | None:
    quota, _, period = _cgroup_value("cpu.max").partition(" ")
    return max(1, int(quota) // int(period)) if quota.isdigit() and period.isdigit() else None


def usable_memory() -> int:
    """Bytes of memory that this process may have, within the container's limit."""
    limit = _cgroup_value("memory.max")
    total = int(psutil.virtual_memory().total)
    return min(total, int(limit)) if limit.isdigit() else total


def _cgroup_value(name: str) -> str:
    """A limit of the container, in cgroup version 2; empty where there is none."""
    path = Path("/sys/fs/cgroup") / name
    return path.read_text(encoding="ascii").strip() if path.is_file() else ""


def _cpu_prefers_bf16(cpuinfo: str) -> bool:
    """Whether bf16 products are faster than fp32 ones: not on Intel's avx512_bf16 alone (measured 0.6 times)."""
    flags = {flag for line in cpuinfo.splitlines() for flag in _flags(line)}
    return bool(flags & {"amx_bf16", "bf16"}) or ("AuthenticAMD" in cpuinfo and "avx512_bf16" in flags)


def _flags(line: str) -> list[str]:
    key, _, values = line.partition(":")
    return values.split() if key.strip() in ("flags", "Features") else []


def _detect_gpus() -> tuple[Gpu, ...]:
    """Ask torch in a child process, so that this one never holds torch or a CUDA context."""
    result = subprocess.run(
        python_command("tasks.models.gpu_probe"),
        env=child_environment(1),
        capture_output=True,
        timeout=_PROBE_TIMEOUT_SECONDS,
        check=True,
    )
    return tuple(Gpu(**gpu) for gpu in json.loads(result.stdout))
