"""What a user gets wrong: one clear message, exit status 2, no traceback, nothing half-written."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.e2e.installation import Installation

GOOD_ROWS = [{"prompt": f"question {number}", "completion": f"label {number % 3}"} for number in range(90)]


def as_jsonl(rows: list[dict[str, str]]) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory, prefect_url: str) -> Installation:
    """One home for all mistakes: none of them may harm it."""
    return Installation(tmp_path_factory.mktemp("shared") / "home", {"PREFECT_API_URL": prefect_url})


@pytest.mark.slow
@pytest.mark.parametrize(
    ("overrides", "content", "expected"),
    [
        ([], None, "data.jsonl"),
        ([], b"", "empty"),
        ([], as_jsonl(GOOD_ROWS)[:-9], "line 90"),
        ([], as_jsonl(GOOD_ROWS).replace(b"question 7", b"question \xff"), "UTF-8"),
        (["data.columns.prompt=question"], as_jsonl(GOOD_ROWS), "question"),
        (["data.labels=infer"], as_jsonl([{**row, "completion": "one"} for row in GOOD_ROWS]), "at least 2"),
        (["data.labels=[a, b]"], as_jsonl(GOOD_ROWS), "known_labels"),
        ([], as_jsonl([{**row, "prompt": "  "} for row in GOOD_ROWS]), "left"),
        (["base={kind: folder, path: nowhere}"], as_jsonl(GOOD_ROWS), "nowhere"),
        (["template.prompt='{{ nothing }}'"], as_jsonl(GOOD_ROWS), "template.prompt"),
        (["template.prompt='{% for x in range(10**9) %}{% endfor %}'"], as_jsonl(GOOD_ROWS), "template.prompt"),
        (["validation.suite=strict"], as_jsonl(GOOD_ROWS), "validation.suite"),
    ],
)
def test_a_mistake_gets_one_clear_error(
    tmp_path: Path, shared: Installation, overrides: list[str], content: bytes | None, expected: str
) -> None:
    recipe = tmp_path / "mine.yaml"
    recipe.write_text("name: mine\nbase: {kind: tiny}\ndata: {source: {kind: file, path: data.jsonl}}\n")
    if content is not None:
        (tmp_path / "data.jsonl").write_bytes(content)

    done = shared.burnish("validate", "--recipe", str(recipe), *overrides)

    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr + done.stdout
    assert expected in done.stderr
    assert not list(shared.home.rglob(".tmp-*"))


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"PREFECT_API_URL": "http://127.0.0.1:9/api"}, "no Prefect server answers"),
        ({"MLFLOW_TRACKING_URI": "http://127.0.0.1:9"}, "127.0.0.1:9"),
        ({"BURNISH_HOME": "/proc/nowhere"}, "BURNISH_HOME"),
    ],
)
def test_a_place_that_is_not_there_is_named(
    installation: Installation, environment: dict[str, str], expected: str
) -> None:
    done = installation.burnish("prepare", "--recipe", "smoke", **environment)

    assert done.returncode == 2, done.stderr
    assert expected in done.stderr
    assert "Traceback" not in done.stderr
