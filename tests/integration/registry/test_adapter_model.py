from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from configs.schema import Template, Training
from tasks.data.records import Record, ToolCall, Turn
from tasks.inference.options import Option
from tasks.promotion.parity import _row
from tasks.registry.packaging import AdapterPackage, written_package
from tests.trained_home import LABELS, TrainedHome, make_adapter, make_records

RECORDS = [record for record in make_records() if record.split == "test"]
WAYS_TO_TUNE = [
    Training(lora_rank=4, method="dora"),
    Training(method="full"),
    Training(lora_rank=4, rank_scaling="rslora"),
    Training(lora_rank=4, method="dora", rank_scaling="rslora", layers=1),
]
CHAT = Template(kind="chat", instruction="Name the chapter.")
TOOLS_CHAT = Template(
    kind="chat",
    chat_template="""\
{% if tools %}
tools: {{ tools | tojson }}{{ eos_token }}
{% endif %}
{% for message in messages %}
{{ message.role }}: {{ message.content }}
{%- for call in message.tool_calls or [] %}<tool_call>{{ call.function | tojson }}</tool_call>{% endfor %}
{{ eos_token }}
{% endfor %}
{% if add_generation_prompt %}
assistant: {% endif %}
""",
)
CALL = Turn("assistant", "", (ToolCall("look_up", '{"term": "Ω \\"</s>\\"", "most": 2.0}'.replace("</s>", "")),))
CONVERSATIONS = [
    Record(
        record_id="tools",
        split="test",
        group="tools",
        turns=(
            Turn("system", "be brief"), Turn("user", "where is it? </s>"), CALL,
            Turn("tool", "left </s>", tool_call_id="1", name="look_up"), Turn("assistant", "left"), Turn("user", "and"),
        ),
        completion=CALL.text,
        metadata={"source": "clinic 1"},
        answer=CALL,
        tools='[{"type": "function", "function": {"name": "look_up", "parameters": {"b": 1, "a": "é"}}}]',
    ),
]  # fmt: skip
TALKS = [
    Record(
        record_id="talk",
        split="test",
        group="talk",
        turns=(Turn("user", "where is it?"), Turn("assistant", " on the left </s> "), Turn("user", "and")),
        completion="right",
        metadata={"source": "clinic 1"},
    )
]


@contextmanager
def loaded_model(package: AdapterPackage, scratch: Path, **model_config: str) -> Iterator[Any]:
    import mlflow

    with written_package(package, scratch=scratch) as files:
        yield mlflow.pyfunc.load_model(str(files), model_config=model_config or None)


def rows(records: Sequence[Record]) -> pd.DataFrame:
    turns = [[{"role": turn.role, "content": turn.content} for turn in record.turns] for record in records]
    return pd.DataFrame(
        {
            "prompt": [record.prompt for record in records],
            "messages": [json.dumps(messages) for messages in turns],
            "source": [record.metadata["source"] for record in records],
        }
    )


def trainer_outputs(trained: TrainedHome, package: AdapterPackage) -> list[str]:
    from tasks.inference.answering import Answerer, Request, option_active
    from tasks.models.loading import load_base

    loaded = load_base(package.base, precision=package.precision, device="cpu")
    option = Option("candidate", "candidate", package.template, decoding=package.decoding, adapter=package.adapter.name)
    with option_active(loaded, option, adapters=trained.home / "adapters"):
        answerer = Answerer(loaded, option, labels=package.labels, max_new_tokens=package.max_new_tokens)
        answers = answerer.answer([Request(record, ()) for record in RECORDS], token_budget=400)
    return [answer.output for answer in answers]


@pytest.mark.parametrize("decoding", ["generate", "label_scoring"])
@pytest.mark.parametrize("template", [Template(completion=" {{ completion }}."), CHAT], ids=["text", "chat"])
def test_it_answers_as_the_trainer_does(
    trained_home: TrainedHome, tmp_path: Path, decoding: str, template: Template
) -> None:
    package = trained_home.package(
        decoding=decoding,
        template=template,
        input_column="messages" if template.kind == "chat" else "prompt",
        labels=(*LABELS, *(f"label {number}" for number in range(40))),
    )

    with loaded_model(package, tmp_path) as model:
        answers = model.predict(rows(RECORDS))

    assert answers == trainer_outputs(trained_home, package)


@pytest.mark.parametrize("training", WAYS_TO_TUNE, ids=lambda training: f"{training.method}-{training.rank_scaling}")
@pytest.mark.parametrize("precision", ["fp32", "bf16", "nf4"])
def test_it_answers_as_the_trainer_does_whatever_the_way_to_tune(
    trained_home: TrainedHome, tmp_path: Path, training: Training, precision: str
) -> None:
    if training.method == "full" and precision == "nf4":
        pytest.skip("the recipe refuses it")
    trained = replace(trained_home, home=tmp_path / "home")
    shutil.copytree(trained_home.home, trained.home)
    adapter = make_adapter(trained.home, trained.base, seed=1, training=training)
    package = trained.package(adapter=trained.home / "adapters" / adapter, precision=precision)

    with loaded_model(package, tmp_path) as model:
        answers = model.predict(rows(RECORDS))

    assert answers == trainer_outputs(trained, package)
    assert answers != trainer_outputs(trained, trained.package(precision=precision))


def test_it_quantises_a_base_as_the_trainer_does() -> None:
    from tasks.models.loading import four_bits
    from tasks.registry.adapter_model import _four_bits

    ours, theirs = four_bits("cpu"), _four_bits("cpu")
    assert ours["quantization_config"].to_dict() == theirs["quantization_config"].to_dict()
    assert ours["device_map"] == theirs["device_map"]


@pytest.mark.parametrize("decoding", ["generate", "label_scoring"])
def test_answers_do_not_depend_on_the_batch(trained_home: TrainedHome, tmp_path: Path, decoding: str) -> None:
    labels = (*LABELS, *(f"label {number}" for number in range(40)))
    with loaded_model(trained_home.package(decoding=decoding, labels=labels), tmp_path) as model:
        answers = [model.predict(rows(RECORDS), params={"batch_size": size}) for size in (1, 3, 16)]

    assert answers[0] == answers[1] == answers[2]


@pytest.mark.parametrize("size", [1, 3])
@pytest.mark.parametrize("wrong", ["none", "a token", "too short", "too long"])
def test_a_draft_changes_neither_tokens_nor_logits(
    trained_home: TrainedHome, tmp_path: Path, wrong: str, size: int
) -> None:
    import numpy as np

    with loaded_model(trained_home.package(), tmp_path) as model:
        plain = model.predict(rows(RECORDS), params={"mode": "logits", "batch_size": size})
        drafts = [list(answer["tokens"]) for answer in plain]
        if wrong == "a token":
            drafts[1][-1] += 1
        elif wrong == "too short":
            drafts = [draft[:-1] for draft in drafts]
        elif wrong == "too long":
            drafts = [[*draft, 5] for draft in drafts]
        params = {"mode": "logits", "batch_size": size, "drafts": json.dumps(drafts)}
        drafted = model.predict(rows(RECORDS), params=params)

    assert [answer["tokens"] for answer in drafted] == [answer["tokens"] for answer in plain]
    for ours, expected in zip(drafted, plain, strict=True):
        np.testing.assert_allclose(ours["logits"], expected["logits"], atol=1e-4)


def test_a_right_draft_is_not_decoded_again(trained_home: TrainedHome, tmp_path: Path) -> None:
    with loaded_model(trained_home.package(), tmp_path) as model:
        plain = model.predict(rows(RECORDS), params={"mode": "logits", "batch_size": 1})
        inner = model.unwrap_python_model()._model
        passes: list[object] = []
        inner.register_forward_pre_hook(lambda *_: passes.append(None))
        drafts = json.dumps([answer["tokens"] for answer in plain])
        model.predict(rows(RECORDS), params={"mode": "logits", "batch_size": 1, "drafts": drafts})

    assert len(passes) == len(RECORDS)


def test_the_base_is_found_where_the_environment_says(
    trained_home: TrainedHome, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = moved_base(trained_home, tmp_path)
    monkeypatch.setenv("BURNISH_BASE_DIRS", f"/nowhere:{tmp_path / 'elsewhere'}")

    with loaded_model(package, tmp_path) as model:
        shutil.rmtree(tmp_path / "first")
        assert len(model.predict(rows(RECORDS))) == len(RECORDS)


def test_the_base_is_found_where_the_caller_says(trained_home: TrainedHome, tmp_path: Path) -> None:
    package = moved_base(trained_home, tmp_path)

    with written_package(package, scratch=tmp_path) as files:
        import mlflow

        shutil.rmtree(tmp_path / "first")
        model = mlflow.pyfunc.load_model(str(files), model_config={"base_directory": str(tmp_path / "elsewhere")})

    assert len(model.predict(rows(RECORDS))) == len(RECORDS)


def test_a_damaged_base_is_passed_over_for_a_whole_one(
    trained_home: TrainedHome, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = moved_base(trained_home, tmp_path)
    (tmp_path / "first" / trained_home.base / "config.json").write_text("{}")
    monkeypatch.setenv("BURNISH_BASE_DIRS", str(tmp_path / "elsewhere"))

    with loaded_model(package, tmp_path) as model:
        assert model.predict(rows(RECORDS))


def test_a_row_without_the_input_column_is_refused(trained_home: TrainedHome, tmp_path: Path) -> None:
    with loaded_model(trained_home.package(), tmp_path) as model, pytest.raises(Exception, match="prompt"):
        model.predict(pd.DataFrame({"text": ["Kinking of ureter"]}))


def test_a_column_that_the_template_needs_is_named(trained_home: TrainedHome, tmp_path: Path) -> None:
    package = trained_home.package(template=Template(prompt="{{ source }}: {{ prompt }}"))

    with loaded_model(package, tmp_path) as model, pytest.raises(Exception, match="'source' is undefined"):
        model.predict(pd.DataFrame({"prompt": ["Kinking of ureter"]}))


@pytest.mark.parametrize(
    "template",
    [
        Template(),
        Template(instruction="Say {{ nothing }} </s>", separator="\n</s>\n"),
        Template(prompt="<s>{{ source | title }}</s> {{ prompt }}{% if source == 'clinic 1' %} <s>{% endif %}"),
        Template(prompt="<s>{{ source | title }}</s> {{ prompt }}\n", max_tokens=12),
        Template(prompt="{{ prompt[:4] }}<{{ 's' }}>{{ source | tojson }}\n"),
        CHAT,
        Template(kind="chat", max_tokens=9),
        Template(kind="chat", train_on="all_assistant_turns"),
        TOOLS_CHAT,
        TOOLS_CHAT.model_copy(update={"train_on": "all_assistant_turns", "max_tokens": 40}),
    ],
)
def test_prompts_and_labels_are_tokenised_as_in_training(trained_home: TrainedHome, template: Template) -> None:
    from tasks.inference.prompts import PromptWriter
    from tasks.models.tokenizer import load_tokenizer
    from tasks.registry import adapter_model

    tokenizer = load_tokenizer(trained_home.base_directory)
    option = Option("candidate", "candidate", template, adapter="a")
    trainer = PromptWriter(option, tokenizer, context_tokens=100)
    registered = adapter_model._PromptWriter(template.model_dump(mode="json"), tokenizer, context_tokens=100)

    records = [*RECORDS, *(CONVERSATIONS if template.chat_template else TALKS if template.kind == "chat" else [])]
    for record in records:
        row: dict[str, Any] = _row(record)
        row = row if template.kind == "chat" else {**row, "messages": None}
        values = adapter_model._row(row, takes_tools=True)
        assert registered.prompt_ids(values) == trainer.prompt_ids(record, ())
        assert [registered.label_ids(values, label) for label in LABELS] == [
            trainer.label_ids(record, label) for label in LABELS
        ]
        assert {registered.end_token_id(values)} == trainer.stop_ids(record)


def test_the_model_file_imports_nothing_of_burnish() -> None:
    import ast

    from tasks.registry import packaging

    tree = ast.parse(packaging._CODE.read_text())
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    imported |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}

    assert not {name for name in imported if name.split(".")[0] in ("tasks", "configs", "flows", "expectations", "")}


def moved_base(trained: TrainedHome, folder: Path) -> AdapterPackage:
    """A package whose base lay in `first` at registration, with a copy in `elsewhere`."""
    for place in ("first", "elsewhere"):
        shutil.copytree(trained.base_directory, folder / place / trained.base)
    return trained.package(base=folder / "first" / trained.base)
