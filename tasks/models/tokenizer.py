"""The tokenizer of an imported base model, without its weights."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, cast

from configs.errors import BaseModelError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def load_tokenizer(directory: Path) -> PreTrainedTokenizerBase:
    """Load the tokenizer of `home/bases/<digest>`.

    Raises:
        BaseModelError: its files can't be read.
    """
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(directory, local_files_only=True, trust_remote_code=False)
    except (OSError, ValueError, KeyError) as error:
        raise BaseModelError(f"the tokenizer in {directory} can't be loaded: {error}; import the base again") from error
    return cast("PreTrainedTokenizerBase", tokenizer)
