"""The header of a safetensors file, read and checked without loading a tensor."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from configs.errors import BaseModelError

_LARGEST_HEADER_BYTES = 100_000_000
_BITS = {
    "BOOL": 8, "U8": 8, "I8": 8, "F8_E4M3": 8, "F8_E5M2": 8, "F8_E8M0": 8, "F8_E4M3FNUZ": 8, "F8_E5M2FNUZ": 8,
    "U16": 16, "I16": 16, "F16": 16, "BF16": 16,
    "U32": 32, "I32": 32, "F32": 32,
    "U64": 64, "I64": 64, "F64": 64, "C64": 64,
    "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6,
}  # fmt: skip


def tensor_shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """Name and shape of every tensor in a safetensors file.

    Raises:
        BaseModelError: the header is damaged, or the file is shorter or longer than its header says.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        header_size = int.from_bytes(file.read(8), "little")
        if size < 8 or not 2 <= header_size <= min(size - 8, _LARGEST_HEADER_BYTES):
            raise _damaged(path, f"its header of {header_size} bytes doesn't fit a file of {size} bytes")
        text = file.read(header_size)
    try:
        header = json.loads(text)
        header.pop("__metadata__", None)
        tensors = {str(name): _shape_and_span(entry) for name, entry in header.items()}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise _damaged(path, f"its header can't be read ({error})") from error
    _check_spans([span for _, span in tensors.values()], size - 8 - header_size, path)
    return {name: shape for name, (shape, _) in tensors.items()}


def _shape_and_span(entry: dict[str, Any]) -> tuple[tuple[int, ...], tuple[int, int]]:
    shape = tuple(int(length) for length in entry["shape"])
    start, end = (int(offset) for offset in entry["data_offsets"])
    bits = math.prod(shape) * _BITS[entry["dtype"]]
    if min((*shape, start), default=0) < 0 or (end - start) * 8 != bits:
        raise ValueError(f"a tensor of shape {list(shape)} can't fill bytes {start} to {end}")
    return shape, (start, end)


def _check_spans(spans: list[tuple[int, int]], data_size: int, path: Path) -> None:
    position = 0
    for start, end in sorted(spans):
        if start != position:
            raise _damaged(path, f"a tensor starts at byte {start} of the data, expected {position}")
        position = end
    if position != data_size:
        raise _damaged(path, f"its tensors need {position} bytes, the file holds {data_size}")


def _damaged(path: Path, found: str) -> BaseModelError:
    return BaseModelError(f"{path} is not a whole safetensors file: {found}; copy or download it again")
