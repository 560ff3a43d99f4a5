from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from transformers import AutoTokenizer

from configs.errors import BaseModelError
from configs.schema import TinyBase
from tasks.models.base_models import base_directory, import_base, verify_base
from tasks.models.loading import load_base
from tasks.models.tokenizer import load_tokenizer

SOURCE = TinyBase(hidden_size=32, layers=2, vocabulary=300)


def test_equal_sources_give_equal_digests_in_any_home(tiny_base: Path, tmp_path: Path) -> None:
    digest = import_base(SOURCE, bases=tmp_path, project_root=tmp_path)

    assert digest == tiny_base.name
    verify_base(tmp_path, digest)


def test_another_seed_gives_another_digest(tiny_base: Path, tmp_path: Path) -> None:
    digest = import_base(SOURCE.model_copy(update={"seed": 1}), bases=tmp_path, project_root=tmp_path)

    assert digest != tiny_base.name


def test_the_second_import_starts_no_process(tiny_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")

    assert import_base(SOURCE, bases=tiny_base.parent, project_root=tmp_path) == tiny_base.name


def test_a_failed_build_is_a_clear_error_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")

    with pytest.raises(BaseModelError, match="building the tiny base model failed"):
        import_base(SOURCE, bases=tmp_path, project_root=tmp_path)

    assert list(tmp_path.iterdir()) == []


def test_a_loaded_base_is_frozen_and_named_by_its_digest(tiny_base: Path) -> None:
    loaded = load_base(tiny_base, precision="bf16", device="cpu")

    assert loaded.digest == tiny_base.name
    assert not loaded.model.training
    assert not any(parameter.requires_grad for parameter in loaded.model.parameters())
    assert {parameter.dtype for parameter in loaded.model.parameters()} == {torch.bfloat16}


@pytest.mark.parametrize("text", ["Kinking of ureter", "ünïcödé → 漢字 🙂", "two\n\nlines  and\ttabs", ""])
def test_the_tokenizer_gives_every_text_back(tiny_base: Path, text: str) -> None:
    tokenizer = load_tokenizer(tiny_base)

    assert tokenizer.decode(tokenizer(text)["input_ids"]) == text


def test_its_tokenizer_is_the_one_that_transformers_would_choose_without_torch(tiny_base: Path) -> None:
    code = """
import sys
from pathlib import Path
from tasks.models.tokenizer import load_tokenizer
load_tokenizer(Path(sys.argv[1]))
print("torch" in sys.modules)
"""
    alone = subprocess.run([sys.executable, "-c", code, str(tiny_base)], capture_output=True, text=True, check=True)
    chosen = AutoTokenizer.from_pretrained(tiny_base, local_files_only=True)

    assert alone.stdout.strip() == "False"
    assert type(load_tokenizer(tiny_base)) is type(chosen)
    text = "Kinking of ureter </s>\n漢字"
    assert load_tokenizer(tiny_base)(text)["input_ids"] == chosen(text)["input_ids"]


def test_a_base_of_another_family_gets_the_tokenizer_that_transformers_chooses(tiny_base: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_base, tmp_path / "base")
    (tmp_path / "base" / "config.json").write_text(json.dumps({"model_type": "qwen2"}))

    loaded = load_tokenizer(tmp_path / "base")

    assert type(loaded) is type(AutoTokenizer.from_pretrained(tmp_path / "base", local_files_only=True))
    assert type(loaded) is not type(load_tokenizer(tiny_base))


@pytest.mark.parametrize("name", ["tokenizer_config.json", "config.json"])
def test_a_damaged_description_of_the_tokenizer_is_a_clear_error(tiny_base: Path, tmp_path: Path, name: str) -> None:
    shutil.copytree(tiny_base, tmp_path / "base")
    (tmp_path / "base" / name).write_text("[]")

    with pytest.raises(BaseModelError, match=f"can't be loaded: {name} holds no JSON object"):
        load_tokenizer(tmp_path / "base")


def test_every_token_has_an_embedding(tmp_path: Path) -> None:
    source = TinyBase(hidden_size=8, layers=1, vocabulary=8192)
    directory = base_directory(tmp_path, import_base(source, bases=tmp_path, project_root=tmp_path))

    loaded = load_base(directory, precision="fp32", device="cpu")

    assert len(loaded.tokenizer) == loaded.model.get_input_embeddings().weight.shape[0]


def test_the_chat_template_adds_the_answer_after_the_prompt(tiny_base: Path) -> None:
    tokenizer = load_tokenizer(tiny_base)
    question, answer = {"role": "user", "content": "Why?"}, {"role": "assistant", "content": "So."}

    prompt = tokenizer.apply_chat_template([question], tokenize=False, add_generation_prompt=True)
    whole = tokenizer.apply_chat_template([question, answer], tokenize=False)

    assert whole == f"{prompt}So.{tokenizer.eos_token}"
