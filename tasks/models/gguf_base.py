"""A base model out of a GGUF file: its quantised weights are expanded to bf16 safetensors once."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import gguf
import numpy as np
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig


def convert_gguf(path: Path, target: Path) -> None:
    """Write the model and the tokenizer of a GGUF file into `target` in Hugging Face layout."""
    with _file_read_once():
        model = AutoModelForCausalLM.from_pretrained(
            path.parent,
            gguf_file=path.name,
            quantization_config=GgufConfig(dequantize=True),  # quantised tensors can't be saved
            dtype=torch.bfloat16,
            local_files_only=True,
        )
        model.save_pretrained(target)
        tokenizer = AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name, local_files_only=True)
        tokenizer.save_pretrained(target)


class _PlainArrayReader(gguf.GGUFReader):  # type: ignore[misc]  # gguf has no types
    """Reads through plain arrays: numpy takes several times longer to slice a memory map as such."""

    @property
    def data(self) -> np.ndarray:
        return self._data

    @data.setter
    def data(self, mapped: np.ndarray) -> None:
        self._data = np.asarray(mapped)


@contextmanager
def _file_read_once() -> Iterator[None]:
    """Let transformers share one reader: it opens the file three times, at 10 to 20 s each for 262k tokens."""
    original = gguf.GGUFReader
    gguf.GGUFReader = functools.cache(_PlainArrayReader)
    try:
        yield
    finally:
        gguf.GGUFReader = original
