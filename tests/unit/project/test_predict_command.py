import io
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from flows.__main__ import main


@pytest.fixture(autouse=True)
def shouting_model(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A registered model that answers in capitals."""

    def predict(settings: Any, reference: str, texts: Sequence[str], *, columns: Any) -> list[str]:
        return [text.upper() for text in texts]

    monkeypatch.setattr("tasks.registry.predicting.predict", predict)
    monkeypatch.setattr("flows.commands.installation.existing", lambda: (tmp_path, None))


def ask(monkeypatch: pytest.MonkeyPatch, stdin: bytes, *arguments: str) -> int:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
    return main(["predict", "--model", "tickets@champion", *arguments])


def test_each_line_of_stdin_is_a_text_and_gets_a_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ask(monkeypatch, "\ufefffirst\r\nsecond,\u2028ä\n".encode(), "-") == 0

    assert capsys.readouterr().out == "FIRST\nSECOND,\u2028Ä\n"


def test_json_says_what_was_asked(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert ask(monkeypatch, b"", "--json", 'a "quoted" text', "ä") == 0

    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert lines == [
        {"prompt": 'a "quoted" text', "answer": 'A "QUOTED" TEXT'},
        {"prompt": "ä", "answer": "Ä"},
    ]


def test_an_empty_line_of_stdin_gets_an_empty_line_so_that_answers_stand_beside_their_texts(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ask(monkeypatch, b"first\n \nthird\n", "-") == 0
    assert capsys.readouterr().out == "FIRST\n\nTHIRD\n"

    assert ask(monkeypatch, b"first\n\n", "--json", "-") == 0
    assert [json.loads(line)["answer"] for line in capsys.readouterr().out.splitlines()] == ["FIRST", None]


def test_an_empty_text_is_refused(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert ask(monkeypatch, b"", "first", " ") == 2

    assert "text 2 of 2 is empty" in capsys.readouterr().err


def test_a_files_name_is_a_text_and_said_to_be_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "q.txt").write_text("first")
    monkeypatch.chdir(tmp_path)

    assert ask(monkeypatch, b"", "q.txt") == 0

    said = capsys.readouterr()
    assert (said.out, said.err) == ("Q.TXT\n", "q.txt is taken as a text; for the lines of the file: - < q.txt\n")


def test_a_text_may_be_longer_than_any_files_name(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ask(monkeypatch, b"", "ä" * 5000) == 0

    assert capsys.readouterr().out == "Ä" * 5000 + "\n"


def test_stdin_takes_no_texts_beside_it(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert ask(monkeypatch, b"first\n", "-", "second") == 2

    assert "give it alone" in capsys.readouterr().err


def test_closed_stdin_is_told(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "stdin", None)

    assert main(["predict", "--model", "tickets@champion", "-"]) == 2
    assert "standard input is closed" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("stdin", "said"),
    [
        (b"", "standard input is empty"),
        (b" \n\n", "standard input is empty"),
        (b"first\n\xff", "not UTF-8 at byte 6"),
    ],
)
def test_stdin_that_can_not_be_answered_line_by_line_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], stdin: bytes, said: str
) -> None:
    assert ask(monkeypatch, stdin, "-") == 2

    assert said in capsys.readouterr().err
