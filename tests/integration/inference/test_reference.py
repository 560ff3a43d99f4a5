from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from configs.errors import DataError
from configs.schema import Template
from tasks.data.snapshots import read_snapshot
from tasks.data.templates import render
from tasks.data.tokens import encode_prompt
from tasks.inference.answers import option_as_json
from tasks.inference.options import Option
from tasks.inference.reference import NO_TOKEN, logits
from tasks.models.loading import LoadedBase, adapter_active, load_base
from tests.trained_home import TrainedHome

TEMPLATE = Template(prompt="Term: {{ prompt }}\nChapter:", completion=" {{ completion }}")
STEPS = 5


@pytest.fixture(scope="module")
def loaded(trained_home: TrainedHome) -> LoadedBase:
    return load_base(trained_home.base_directory, precision="fp32", device="cpu")


def arguments(trained_home: TrainedHome, references: Path, **changed: Any) -> dict[str, Any]:
    snapshot = read_snapshot(trained_home.home / "snapshots", trained_home.snapshot)
    return {
        "option": option_as_json(Option("candidate", "candidate", TEMPLATE, adapter=trained_home.adapter)),
        "snapshots": str(trained_home.home / "snapshots"),
        "snapshot": trained_home.snapshot,
        "record_ids": [record.record_id for record in snapshot.split("test")],
        "labels": None,
        "max_new_tokens": STEPS,
        "batch_token_budget": 300,
        "top_tokens": 20,
        "references": str(references),
        "adapters": str(trained_home.home / "adapters"),
        **changed,
    }


def stored(references: Path, result: dict[str, Any]) -> dict[str, np.ndarray]:
    with np.load(references / result["reference"], allow_pickle=False) as file:
        return dict(file)


def test_the_reference_holds_the_adapted_models_own_logits(
    trained_home: TrainedHome, loaded: LoadedBase, tmp_path: Path
) -> None:
    asked = arguments(trained_home, tmp_path)

    arrays = stored(tmp_path, logits(loaded, asked, lambda values: True))

    by_id = {each.record_id: each for each in read_snapshot(Path(asked["snapshots"]), asked["snapshot"]).records}
    with adapter_active(loaded, trained_home.adapter_directory) as model, torch.no_grad():
        for row, record_id in enumerate(asked["record_ids"]):
            prompt = encode_prompt(loaded.tokenizer, render(TEMPLATE, by_id[record_id]), TEMPLATE.max_tokens)
            expected = model(torch.tensor([prompt])).logits[0, -1]
            for run in ("1", "n"):
                found = arrays[f"top_logits_{run}"][row]
                np.testing.assert_allclose(found, expected[arrays[f"top_ids_{run}"][row]], atol=1e-4)
                np.testing.assert_allclose(found, expected.topk(20).values, atol=1e-4)
                np.testing.assert_allclose(arrays[f"best_two_{run}"][row, 0], found[:2])


def test_both_runs_agree_and_answers_end_with_no_token(
    trained_home: TrainedHome, loaded: LoadedBase, tmp_path: Path
) -> None:
    arrays = stored(tmp_path, logits(loaded, arguments(trained_home, tmp_path), lambda values: True))

    tokens = arrays["tokens_1"]
    np.testing.assert_array_equal(tokens, arrays["tokens_n"])
    lengths = (tokens != NO_TOKEN).sum(axis=1)
    assert all((row[length:] == NO_TOKEN).all() for row, length in zip(tokens, lengths, strict=True))
    # one more step than tokens has been looked at where the end token was chosen
    steps = (~np.isnan(arrays["best_two_1"][:, :, 0])).sum(axis=1)
    np.testing.assert_array_equal(steps, np.minimum(lengths + 1, STEPS))


def test_the_same_model_has_the_same_reference(trained_home: TrainedHome, loaded: LoadedBase, tmp_path: Path) -> None:
    asked = arguments(trained_home, tmp_path)

    first, second = (logits(loaded, asked, lambda values: True) for _ in range(2))

    assert first == second


def test_unknown_records_are_named(trained_home: TrainedHome, loaded: LoadedBase, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no record nobody \(1 of 1"):
        logits(loaded, arguments(trained_home, tmp_path, record_ids=["nobody"]), lambda values: True)
