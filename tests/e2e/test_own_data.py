"""A user's own file: a short recipe, no code."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
import yaml

from tests.e2e.installation import Installation

FAST = {
    "training": {"lora_rank": 4, "learning_rate": 1.0e-2, "batch_size": 32, "evaluations": 1},
    "search": {"trials": 1, "confirmation_seeds": 0},
    "promotion": {"parity_records": 4},
}
MANY_LABELS = {
    "name": "tickets",
    "base": {"kind": "tiny"},
    "data": {
        "source": {"kind": "file", "path": "tickets.jsonl"},
        "columns": {"prompt": "question", "completion": "team", "metadata": ["region"]},
        "labels": "infer",
    },
    "template": {"max_tokens": 64},
    "baseline": {"shots": [2], "strategies": ["nearest"], "decoding": ["label_scoring"], "max_validation_records": 8},
    "evaluation": {"slice_by": ["region"], "latency_records": 5},
    **FAST,
}
FREE_TEXT = {
    "name": "summaries",
    "base": {"kind": "tiny"},
    "data": {
        "source": {"kind": "file", "path": "s.jsonl"},
        "columns": {"prompt": "report", "completion": "conclusion"},
    },
    "template": {"max_tokens": 96},
    "baseline": {"shots": [0, 1], "strategies": ["random"], "max_validation_records": 8},
    "evaluation": {"metric": "token_f1", "max_new_tokens": 8, "latency_records": 5},
    **FAST,
}


def ticket_rows() -> list[dict[str, str]]:
    draw = random.Random(1)
    words = ["alpha", "bravo", "delta", "kilo", "lima", "oscar", "tango", "victor"]
    return [
        {
            "question": f"Where does {draw.choice(words)} {draw.choice(words)} number {number} go?",
            "team": f"team {number % 52}",
            "region": draw.choice(["north", "south"]),
        }
        for number in range(624)
    ]


def summary_rows() -> list[dict[str, str]]:
    draw = random.Random(2)
    organs, states = ["lung", "liver", "heart", "spleen", "kidney"], ["normal", "enlarged", "calcified", "absent"]
    rows = []
    for number in range(160):
        organ, state = draw.choice(organs), draw.choice(states)
        rows.append(
            {"report": f"Case {number}: the {organ} is {state}.", "conclusion": f"{state} {organ}, case {number}"}
        )
    return rows


@pytest.mark.slow
@pytest.mark.parametrize(
    ("recipe", "rows"), [(MANY_LABELS, ticket_rows()), (FREE_TEXT, summary_rows())], ids=["52 labels", "free text"]
)
def test_own_data_needs_a_short_recipe_and_no_code(
    tmp_path: Path, prefect_url: str, first_things: Path, recipe: dict[str, object], rows: list[dict[str, str]]
) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump(recipe, default_flow_style=None, sort_keys=False, width=120))
    source = recipe["data"]["source"]["path"]  # type: ignore[index]
    (tmp_path / source).write_text("".join(json.dumps(row) + "\n" for row in rows))
    installation = Installation(tmp_path / ".burnish", {"PREFECT_API_URL": prefect_url}).with_all_of(first_things)

    done = installation.burnish("finetune", "--recipe", str(path))

    assert done.returncode == 0, done.stderr
    assert len(path.read_text().splitlines()) <= 25
    summary = json.loads(installation.burnish("show", str(recipe["name"]), "--json").stdout)
    kinds = {option["kind"] for option in summary["options"]}
    assert kinds == {"classical", "prompt", "candidate"}
    assert summary["verdict"]["sentence"]
