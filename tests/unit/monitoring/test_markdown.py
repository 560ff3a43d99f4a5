from tasks.data.records import Record, Turn
from tasks.monitoring.data_changes import compare_records
from tasks.monitoring.markdown import data_changes_as_markdown, decision_as_markdown
from tasks.monitoring.retrain_policy import RetrainDecision


def test_the_decision_says_whether_and_why() -> None:
    text = decision_as_markdown("smoke", RetrainDecision(True, ("the data changed", "it is forced"), "k" * 64))

    assert "smoke: retrain" in text.replace("\\", "")
    assert text.count("\n- ") == 2


def test_texts_from_data_and_requests_are_no_markup() -> None:
    evil = "[click](http://evil) <img src=x> |"
    rows = [Record("1", "train", "g", (Turn("user", "secret prompt"),), evil)]

    shown = data_changes_as_markdown("version 1", compare_records([], rows, has_labels=True))
    asked = decision_as_markdown("smoke", RetrainDecision(True, (evil,), "k"))

    for text in (shown, asked):
        assert "[click](" not in text
        assert " <img" not in text
        assert "&#60;img" in text
    assert "secret prompt" not in shown
