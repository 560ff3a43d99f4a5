from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from configs.schema import Template
from tasks.data.records import records_of_texts
from tasks.data.snapshots import read_snapshot
from tasks.inference.answering import Answerer, Request, option_active
from tasks.inference.answers import option_as_json, read_answers, select_records
from tasks.inference.jobs import answer, answer_texts
from tasks.inference.options import Answers, Option
from tasks.models.loading import LoadedBase, load_base
from tests.trained_home import LABELS, TrainedHome

TEMPLATE = Template(prompt="Term: {{ prompt }}\nChapter:", completion=" {{ completion }}")
PROMPT = Option("zero-shot", "prompt", TEMPLATE)
SCORED = Option("balanced-1 (label scoring)", "prompt", TEMPLATE, "label_scoring", 1, "balanced")


@pytest.fixture(params=["fp32", "bf16", "nf4"])
def loaded(trained_home: TrainedHome, request: pytest.FixtureRequest) -> LoadedBase:
    return load_base(trained_home.base_directory, precision=request.param, device="cpu")


def run(trained_home: TrainedHome, loaded: LoadedBase, answers: Path, option: Option, **changed: Any) -> dict[str, Any]:
    arguments = {
        "option": option_as_json(option),
        "snapshots": str(trained_home.home / "snapshots"),
        "snapshot": trained_home.snapshot,
        "split": "test",
        "limit": None,
        "labels": list(LABELS),
        "max_new_tokens": 5,
        "latency_records": 0,
        "answers": str(answers),
        "adapters": str(trained_home.home / "adapters"),
        "seed": 3,
        "token_budget": 150,
        **changed,
    }
    reports: list[dict[str, Any]] = []
    result = answer(loaded, arguments, lambda values: reports.append(values) or True)
    return {**result, "reports": reports}


def outputs(answers: Answers) -> list[str]:
    return [each.output for each in answers.answers]


def test_every_record_of_the_split_is_answered(trained_home: TrainedHome, loaded: LoadedBase, tmp_path: Path) -> None:
    result = run(trained_home, loaded, tmp_path, PROMPT)

    records = read_snapshot(trained_home.home / "snapshots", trained_home.snapshot).split("test")
    stored = read_answers(tmp_path, result["answers"])
    assert [each.record_id for each in stored.answers] == sorted(record.record_id for record in records)
    assert all(each.prompt_tokens > 0 and each.output_tokens <= 5 for each in stored.answers)
    assert stored.records_per_second == result["records_per_second"] > 0


@pytest.mark.parametrize("option", [PROMPT, SCORED], ids=lambda option: option.name)
def test_a_text_is_answered_as_the_record_that_says_it(
    trained_home: TrainedHome, loaded: LoadedBase, tmp_path: Path, option: Option
) -> None:
    answered = read_answers(tmp_path, run(trained_home, loaded, tmp_path, option)["answers"]).answers
    snapshots = trained_home.home / "snapshots"
    records = {record.record_id: record for record in read_snapshot(snapshots, trained_home.snapshot).split("test")}
    arguments = {
        "option": option_as_json(option),
        "snapshots": str(snapshots),
        "snapshot": trained_home.snapshot,
        "labels": list(LABELS),
        "max_new_tokens": 5,
        "adapters": str(trained_home.home / "adapters"),
        "seed": 3,
        "token_budget": 150,
        "texts": [records[each.record_id].prompt for each in answered],
    }

    assert answer_texts(loaded, arguments, lambda values: True)["outputs"] == [each.output for each in answered]


def test_label_scoring_answers_with_labels_only(trained_home: TrainedHome, loaded: LoadedBase, tmp_path: Path) -> None:
    result = run(trained_home, loaded, tmp_path, SCORED)

    assert set(outputs(read_answers(tmp_path, result["answers"]))) <= set(LABELS)


def test_progress_ends_with_all_records(trained_home: TrainedHome, loaded: LoadedBase, tmp_path: Path) -> None:
    result = run(trained_home, loaded, tmp_path, PROMPT)

    assert len(result["reports"]) > 1
    assert result["reports"][-1] == {"done": result["records"], "total": result["records"]}


def test_the_limit_takes_records_by_hash(trained_home: TrainedHome, loaded: LoadedBase, tmp_path: Path) -> None:
    result = run(trained_home, loaded, tmp_path, PROMPT, limit=3)

    records = read_snapshot(trained_home.home / "snapshots", trained_home.snapshot).split("test")
    stored = read_answers(tmp_path, result["answers"])
    assert [each.record_id for each in stored.answers] == [each.record_id for each in select_records(records, 3)]


def test_latency_is_measured_for_as_many_records_as_asked(
    trained_home: TrainedHome, loaded: LoadedBase, tmp_path: Path
) -> None:
    result = run(trained_home, loaded, tmp_path, SCORED, latency_records=4)

    assert len(read_answers(tmp_path, result["answers"]).latency_seconds) == 4
    assert 0 < result["latency_p50_seconds"] <= result["latency_p95_seconds"]


def test_without_latency_records_there_are_no_percentiles(
    trained_home: TrainedHome, loaded: LoadedBase, tmp_path: Path
) -> None:
    result = run(trained_home, loaded, tmp_path, PROMPT)

    assert result["latency_p50_seconds"] is result["latency_p95_seconds"] is None


@pytest.mark.parametrize("decoding", ["generate", "label_scoring"])
def test_a_chain_answers_what_its_first_step_said(
    trained_home: TrainedHome, loaded: LoadedBase, tmp_path: Path, decoding: Any
) -> None:
    asked_first = Template(prompt="{{ prompt }}")
    first = Option("first", "prompt", asked_first)
    then = Template(prompt="So {{ first_answer }} of {{ prompt }}:", completion=" {{ completion }}")
    chain = Option("chain x", "prompt", then, decoding, first=asked_first, first_max_new_tokens=3)

    found = read_answers(tmp_path, run(trained_home, loaded, tmp_path, chain, latency_records=2)["answers"]).answers

    said = read_answers(tmp_path, run(trained_home, loaded, tmp_path, first, max_new_tokens=3)["answers"]).answers
    records = {
        each.record_id: each for each in read_snapshot(trained_home.home / "snapshots", trained_home.snapshot).records
    }
    written = Template(prompt="{{ prompt }}", completion=" {{ completion }}")
    with option_active(loaded, replace(chain, first=None), adapters=tmp_path):
        second = Answerer(loaded, replace(chain, template=written, first=None), labels=LABELS, max_new_tokens=5)
        for before, answer in zip(said, found, strict=True):
            asked = f"So {before.output.strip()} of {records[answer.record_id].prompt}:"
            [expected] = second.answer([Request(records_of_texts([asked], {})[0], ())], token_budget=150)
            assert answer.output == expected.output
            assert answer.prompt_tokens == before.prompt_tokens + expected.prompt_tokens
            assert answer.output_tokens == before.output_tokens + expected.output_tokens
    assert all(each.output.strip() for each in said)


def test_the_first_records_are_answered_again_by_chance_where_that_is_asked_for(
    trained_home: TrainedHome, loaded: LoadedBase, tmp_path: Path
) -> None:
    wanted = {"samples": 3, "records": 4, "temperature": 1.5}
    result = run(trained_home, loaded, tmp_path, PROMPT, consistency=wanted)
    plain = run(trained_home, loaded, tmp_path, PROMPT)

    found, before = (read_answers(tmp_path, each["answers"]) for each in (result, plain))
    assert [len(each.samples) for each in found.answers] == [3] * 4 + [0] * (len(found.answers) - 4)
    assert any(len(set(each.samples)) > 1 for each in found.answers)
    assert outputs(found) == outputs(before)
    assert not any(each.samples for each in before.answers)


@pytest.mark.parametrize("decoding", ["generate", "label_scoring"])
def test_an_adapter_answers_differently_and_leaves_the_base_as_it_was(
    trained_home: TrainedHome, loaded: LoadedBase, tmp_path: Path, decoding: Any
) -> None:
    before = {name: weight.clone() for name, weight in loaded.model.state_dict().items()}
    base = Option("base", "prompt", TEMPLATE, decoding)
    candidate = Option("candidate", "candidate", TEMPLATE, decoding, adapter=trained_home.adapter)

    # labels of one letter: random models call the shortest label the most probable one
    results = [
        run(trained_home, loaded, tmp_path, each, labels=list("abcdefghijkl")) for each in (base, candidate, base)
    ]

    plain, adapted, again = (outputs(read_answers(tmp_path, result["answers"])) for result in results)
    assert plain == again != adapted
    after = loaded.model.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_label_scoring_without_labels_is_refused(trained_home: TrainedHome, loaded: LoadedBase, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="scores labels, and there are none"):
        run(trained_home, loaded, tmp_path, SCORED, labels=None)
