import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Tensors = dict[str, tuple[int, ...]]


def safetensors_bytes(tensors: Tensors) -> bytes:
    """A safetensors file of fp32 zeros, written by hand from the format's description."""
    header: dict[str, Any] = {}
    position = 0
    for name, shape in tensors.items():
        size = 4
        for length in shape:
            size *= length
        header[name] = {"dtype": "F32", "shape": list(shape), "data_offsets": [position, position + size]}
        position += size
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + bytes(position)


@pytest.fixture
def write_safetensors() -> Callable[[Path, Tensors], None]:
    def write(path: Path, tensors: Tensors) -> None:
        path.write_bytes(safetensors_bytes(tensors))

    return write


@pytest.fixture
def model_folder(tmp_path: Path) -> Path:
    """A complete model folder with a vocabulary of four tokens, by hand: no library is needed to check it."""
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"architectures": ["LlamaForCausalLM"], "vocab_size": 4}))
    (folder / "tokenizer.json").write_text(
        json.dumps({"model": {"vocab": {"a": 0, "b": 1, "c": 2}}, "added_tokens": [{"id": 3, "content": "</s>"}]})
    )
    (folder / "tokenizer_config.json").write_text("{}")
    tensors = {"model.embed_tokens.weight": (4, 8), "model.norm.weight": (8,)}
    (folder / "model.safetensors").write_bytes(safetensors_bytes(tensors))
    return folder
