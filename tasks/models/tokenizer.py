"""The tokenizer of an imported base model, without its weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from configs.errors import BaseModelError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def load_tokenizer(directory: Path) -> PreTrainedTokenizerBase:
    """Load the tokenizer of `home/bases/<digest>`.

    Raises:
        BaseModelError: its files can't be read.
    """
    try:
        tokenizer = _loader_of(directory).from_pretrained(directory, local_files_only=True, trust_remote_code=False)
    except (OSError, ValueError, KeyError) as error:
        raise BaseModelError(f"the tokenizer in {directory} can't be loaded: {error}; import the base again") from error
    return cast("PreTrainedTokenizerBase", tokenizer)


def _loader_of(directory: Path) -> Any:
    """`AutoTokenizer`, or the class that it would choose where that is known without its imports.

    They take 3 seconds, torch among them. Which class other families get follows from tables of transformers' own.
    """
    about, model = (_values(directory / name) for name in ("tokenizer_config.json", "config.json"))
    if about.get("tokenizer_class") == "TokenizersBackend" and model.get("model_type") == "llama":
        from transformers import TokenizersBackend

        return TokenizersBackend
    from transformers import AutoTokenizer

    return AutoTokenizer


def _values(file: Path) -> dict[str, Any]:
    values = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    if not isinstance(values, dict):
        raise ValueError(f"{file.name} holds no JSON object")
    return values
