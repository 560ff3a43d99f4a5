import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from configs.errors import BaseModelError
from tasks.models.safety import check_is_folder, check_model_folder

WriteSafetensors = Callable[[Path, dict[str, tuple[int, ...]]], None]


def edit_json(path: Path, **values: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def replace_header(path: Path, header: bytes, data: bytes = b"") -> None:
    path.write_bytes(struct.pack("<Q", len(header)) + header + data)


def test_a_complete_folder_passes(model_folder: Path) -> None:
    check_model_folder(model_folder)


def test_a_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BaseModelError, match="does not exist"):
        check_model_folder(tmp_path / "nothing")


def test_a_base_that_is_not_filled_in_yet_is_told_with_a_way_to_begin() -> None:
    with pytest.raises(BaseModelError, match=r"not filled in yet.*\{kind: tiny\}"):
        check_is_folder(Path("FILL-IN/path/of/a/base-model"))


def test_a_file_in_place_of_a_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "model").write_text("x")

    with pytest.raises(BaseModelError, match="is a file"):
        check_model_folder(tmp_path / "model")


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "model.safetensors"])
def test_a_missing_file_is_named(model_folder: Path, name: str) -> None:
    (model_folder / name).unlink()

    with pytest.raises(BaseModelError, match=f"has no {name}"):
        check_model_folder(model_folder)


@pytest.mark.parametrize("content", ["", "{", "\ufffd", "[" * 100_000])
@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "tokenizer_config.json"])
def test_broken_json_is_named(model_folder: Path, name: str, content: str) -> None:
    (model_folder / name).write_text(content)

    with pytest.raises(BaseModelError, match=f"{name} is not readable JSON"):
        check_model_folder(model_folder)


def test_json_that_is_no_object_is_refused(model_folder: Path) -> None:
    (model_folder / "config.json").write_text("[1, 2]")

    with pytest.raises(BaseModelError, match="must hold a JSON object, got list"):
        check_model_folder(model_folder)


@pytest.mark.parametrize("name", ["config.json", "tokenizer_config.json"])
def test_code_from_the_model_folder_is_refused(model_folder: Path, name: str) -> None:
    edit_json(model_folder / name, inner={"auto_map": {"AutoModelForCausalLM": "modeling.Evil"}})

    with pytest.raises(BaseModelError, match=f"{name} has `auto_map`"):
        check_model_folder(model_folder)


@pytest.mark.parametrize("name", ["pytorch_model.bin", "training_args.bin", "weights.PT", "a.pth", "b.ckpt", "c.pkl"])
def test_pickles_are_refused_even_beside_safetensors(model_folder: Path, name: str) -> None:
    (model_folder / name).write_bytes(b"\x80\x04.")

    with pytest.raises(BaseModelError, match="is a pickle"):
        check_model_folder(model_folder)


def test_quantised_weights_are_refused(model_folder: Path) -> None:
    edit_json(model_folder / "config.json", quantization_config={"quant_method": "gptq"})

    with pytest.raises(BaseModelError, match="quantised"):
        check_model_folder(model_folder)


@pytest.mark.parametrize("architectures", [["BertForMaskedLM"], ["T5ForConditionalGeneration"], [], None])
def test_only_causal_language_models_are_accepted(model_folder: Path, architectures: list[str] | None) -> None:
    edit_json(model_folder / "config.json", architectures=architectures)

    with pytest.raises(BaseModelError, match="causal language model"):
        check_model_folder(model_folder)


def test_a_link_out_of_the_folder_is_refused(model_folder: Path, tmp_path: Path) -> None:
    outside = tmp_path / "secret.json"
    outside.write_text("{}")
    (model_folder / "generation_config.json").symlink_to(outside)

    with pytest.raises(BaseModelError, match="outside the model folder"):
        check_model_folder(model_folder)


def test_a_link_inside_the_folder_is_fine(model_folder: Path) -> None:
    (model_folder / "weights.safetensors").symlink_to(model_folder / "model.safetensors")

    check_model_folder(model_folder)


@pytest.mark.parametrize("kept", [0, 4, 8, 40, -1])
def test_truncated_weights_are_refused(model_folder: Path, kept: int) -> None:
    weights = model_folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:kept])

    with pytest.raises(BaseModelError, match="not a whole safetensors file"):
        check_model_folder(model_folder)


@pytest.mark.parametrize(
    "header",
    [
        b"not json",
        b"[]",
        b"{" + b'"a":' * 2000,
        b'{"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 4]}}',
        b'{"a": {"dtype": "X99", "shape": [1], "data_offsets": [0, 4]}}',
        b'{"a": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}}',
        b'{"a": {"dtype": "F32", "shape": "1", "data_offsets": 4}}',
        b'{"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}, '
        b'"b": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}',
        b'{"a": {"dtype": "F32", "shape": [1], "data_offsets": [4, 8]}}',
    ],
)
def test_a_damaged_weights_header_is_refused(model_folder: Path, header: bytes) -> None:
    replace_header(model_folder / "model.safetensors", header, bytes(4))

    with pytest.raises(BaseModelError, match="not a whole safetensors file"):
        check_model_folder(model_folder)


def test_bytes_after_the_last_tensor_are_refused(model_folder: Path) -> None:
    weights = model_folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes() + b"more")

    with pytest.raises(BaseModelError, match="not a whole safetensors file"):
        check_model_folder(model_folder)


def shard(folder: Path, write_safetensors: WriteSafetensors, **placed: str) -> None:
    (folder / "model.safetensors").unlink()
    write_safetensors(folder / "one.safetensors", {"model.embed_tokens.weight": (4, 8)})
    write_safetensors(folder / "two.safetensors", {"model.norm.weight": (8,)})
    weight_map = {"model.embed_tokens.weight": "one.safetensors", "model.norm.weight": "two.safetensors", **placed}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))


def test_complete_shards_pass(model_folder: Path, write_safetensors: WriteSafetensors) -> None:
    shard(model_folder, write_safetensors)

    check_model_folder(model_folder)


def test_a_missing_shard_is_named(model_folder: Path, write_safetensors: WriteSafetensors) -> None:
    shard(model_folder, write_safetensors)
    (model_folder / "two.safetensors").unlink()

    with pytest.raises(BaseModelError, match=r"'two\.safetensors'"):
        check_model_folder(model_folder)


def test_a_shard_outside_the_folder_is_refused(model_folder: Path, write_safetensors: WriteSafetensors) -> None:
    write_safetensors(model_folder.parent / "out.safetensors", {"model.other": (1,)})
    shard(model_folder, write_safetensors, **{"model.other": "../out.safetensors"})

    with pytest.raises(BaseModelError, match="not a safetensors file in"):
        check_model_folder(model_folder)


def test_a_tensor_that_no_shard_holds_is_named(model_folder: Path, write_safetensors: WriteSafetensors) -> None:
    shard(model_folder, write_safetensors, **{"model.gone.weight": "one.safetensors"})

    with pytest.raises(BaseModelError, match=r"model\.gone\.weight"):
        check_model_folder(model_folder)


@pytest.mark.parametrize(
    "tokenizer",
    [
        {"model": {"vocab": {"a": 0, "b": 4}}},
        {"model": {"vocab": {"a": 0}}, "added_tokens": [{"id": 4}]},
        {"model": {"vocab": [["a", 0.0]] * 5}},
    ],
)
def test_a_tokenizer_with_more_tokens_than_embeddings_is_refused(model_folder: Path, tokenizer: dict[str, Any]) -> None:
    (model_folder / "tokenizer.json").write_text(json.dumps(tokenizer))

    with pytest.raises(BaseModelError, match="knows token 4, but the weights have 4 token embeddings"):
        check_model_folder(model_folder)


def test_more_embeddings_than_tokens_are_fine(model_folder: Path) -> None:
    (model_folder / "tokenizer.json").write_text(json.dumps({"model": {"vocab": {"a": 0}}}))

    check_model_folder(model_folder)


@pytest.mark.parametrize("tokenizer", [{}, {"model": {}}, {"model": {"vocab": {"a": "x"}}}, {"model": {"vocab": {}}}])
def test_a_tokenizer_without_vocabulary_is_refused(model_folder: Path, tokenizer: dict[str, Any]) -> None:
    (model_folder / "tokenizer.json").write_text(json.dumps(tokenizer))

    with pytest.raises(BaseModelError, match="holds no vocabulary"):
        check_model_folder(model_folder)
