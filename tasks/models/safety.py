"""What a model folder must be before anything in it is loaded: complete, harmless, a causal language model."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from configs.errors import BaseModelError
from tasks.models.safetensors_header import tensor_shapes

MODEL_FILES = re.compile(
    r"config\.json|generation_config\.json|tokenizer\.json|tokenizer_config\.json|special_tokens_map\.json"
    r"|added_tokens\.json|chat_template\.jinja|model\.safetensors\.index\.json|[\w.-]+\.safetensors"
)
"""Names of the files that make up a base model; nothing else in the folder is ever read or copied."""

WEIGHTS, WEIGHTS_INDEX = "model.safetensors", "model.safetensors.index.json"
_PICKLE_ENDINGS = {".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle"}
_CAUSAL_ENDINGS = ("ForCausalLM", "LMHeadModel")
_EMBEDDING_ENDINGS = ("embed_tokens.weight", "wte.weight", "embed_in.weight", "word_embeddings.weight")
_LARGEST_JSON_BYTES = 256_000_000


def check_model_folder(path: Path) -> None:
    """Refuse a folder that can't be, or shouldn't be, loaded as a base model.

    Raises:
        BaseModelError: it is missing, incomplete, damaged, holds pickles or wants to run code, points outside
            itself, is no causal language model, or its tokenizer and weights don't fit.
    """
    check_is_folder(path)
    _check_entries(path)
    config = _read_object(path, "config.json")
    _check_config(path, config)
    shapes = _weight_shapes(path)
    _check_tokenizer_fits(path, shapes)


_FILL_IN = "FILL-IN"
"""As `burnish init` writes it into a starter recipe."""


def check_is_folder(path: Path) -> None:
    """Refuse a path that is no folder: all that can be said of a base model without reading it.

    Raises:
        BaseModelError: it is missing, or a file.
    """
    if _FILL_IN in path.parts:
        raise BaseModelError(
            "base.path is not filled in yet: name the folder of a model, or set base: {kind: tiny} to see every stage "
            "on your data first"
        )
    if not path.is_dir():
        raise BaseModelError(f"the model folder {path} {'is a file' if path.exists() else 'does not exist'}; {_LAYOUT}")


_LAYOUT = "a base model is a folder with config.json, model.safetensors and tokenizer.json"


def _check_entries(path: Path) -> None:
    root = path.resolve()
    for entry in sorted(path.iterdir()):
        if entry.suffix.lower() in _PICKLE_ENDINGS:
            raise BaseModelError(
                f"{entry} is a pickle, which can run any code when it is loaded; allowed are safetensors weights: "
                "convert them, and remove this file"
            )
        if entry.is_symlink() and not entry.resolve().is_relative_to(root):
            raise BaseModelError(
                f"{entry} is a link to {entry.resolve()}, outside the model folder; allowed are files in the folder: "
                "copy the model with its links resolved (`cp -rL`)"
            )


def _check_config(path: Path, config: dict[str, Any]) -> None:
    for name in ("config.json", "tokenizer_config.json", "generation_config.json"):
        if (path / name).is_file() and _holds_key(_read_object(path, name), "auto_map"):
            raise BaseModelError(
                f"{path / name} has `auto_map`, which runs Python code from the model folder; allowed are the model "
                "classes of transformers itself: use a model without custom code"
            )
    if "quantization_config" in config:
        raise BaseModelError(
            f"{path / 'config.json'} says the weights are quantised; allowed are bf16, fp16 or fp32 weights: "
            "use the model as it was before quantisation"
        )
    architectures = config.get("architectures") or []
    if not any(str(name).endswith(_CAUSAL_ENDINGS) for name in architectures):
        raise BaseModelError(
            f"{path / 'config.json'} names the architectures {architectures}; allowed is a causal language model "
            "(a name that ends in ForCausalLM): use a text generation model"
        )


def _holds_key(value: Any, key: str) -> bool:
    if isinstance(value, dict):
        return key in value or any(_holds_key(inner, key) for inner in value.values())
    return isinstance(value, list) and any(_holds_key(inner, key) for inner in value)


def _weight_shapes(path: Path) -> dict[str, tuple[int, ...]]:
    if not (path / WEIGHTS_INDEX).is_file():
        if not (path / WEIGHTS).is_file():
            raise BaseModelError(f"{path} has no {WEIGHTS}; {_LAYOUT}: convert or download the safetensors weights")
        return tensor_shapes(path / WEIGHTS)
    placed = _read_object(path, WEIGHTS_INDEX).get("weight_map")
    if not isinstance(placed, dict) or not placed:
        raise BaseModelError(f"{path / WEIGHTS_INDEX} has no `weight_map`; copy or download it again")
    shapes: dict[str, tuple[int, ...]] = {}
    for shard in sorted({str(name) for name in placed.values()}):
        if "/" in shard or not shard.endswith(".safetensors") or not (path / shard).is_file():
            raise BaseModelError(
                f"{path / WEIGHTS_INDEX} names the shard {shard!r}, which is not a safetensors file in {path}; "
                "copy or download every shard"
            )
        shapes.update(tensor_shapes(path / shard))
    missing = sorted(set(placed) - set(shapes))
    if missing:
        raise BaseModelError(
            f"the shards in {path} lack {len(missing)} tensors, the first is {missing[0]}; copy them again"
        )
    return shapes


def _check_tokenizer_fits(path: Path, shapes: dict[str, tuple[int, ...]]) -> None:
    highest = _highest_token_id(_read_object(path, "tokenizer.json"), path / "tokenizer.json")
    rows = [shape[0] for name, shape in shapes.items() if name.endswith(_EMBEDDING_ENDINGS) and shape]
    if rows and highest >= min(rows):
        raise BaseModelError(
            f"the tokenizer in {path} knows token {highest}, but the weights have {min(rows)} token embeddings "
            f"(0 to {min(rows) - 1}); use the tokenizer that belongs to the model"
        )


def _highest_token_id(tokenizer: dict[str, Any], path: Path) -> int:
    try:
        vocabulary = tokenizer["model"]["vocab"]
        # a unigram model lists its tokens in the order of their ids
        ids = [len(vocabulary) - 1] if isinstance(vocabulary, list) else [int(index) for index in vocabulary.values()]
        return max([*ids, *(int(token["id"]) for token in tokenizer.get("added_tokens") or [])])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise BaseModelError(
            f"{path} holds no vocabulary ({error!r}); use the tokenizer.json that belongs to the model"
        ) from error


def _read_object(path: Path, name: str) -> dict[str, Any]:
    file = path / name
    if not file.is_file():
        raise BaseModelError(f"{path} has no {name}; {_LAYOUT}")
    if file.stat().st_size > _LARGEST_JSON_BYTES:
        raise BaseModelError(f"{file} has {file.stat().st_size} bytes; allowed are {_LARGEST_JSON_BYTES}")
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise BaseModelError(f"{file} is not readable JSON ({error}); copy or download it again") from error
    if not isinstance(content, dict):
        raise BaseModelError(f"{file} must hold a JSON object, got {type(content).__name__}; copy or download it again")
    return content
