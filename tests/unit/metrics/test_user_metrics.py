from importlib import metadata

import pytest

from configs.errors import DataError, MetricFailed, RecipeError
from tasks.metrics import user_metrics
from tasks.metrics.metric_identity import metric_identity
from tasks.metrics.task_metrics import is_binary, score_rows

MODULE = """
def first_letter(output, reference):
    return float(output[:1] == reference[:1])

def whatever(output, reference):
    return eval(output)
"""
NAMES = ("first_letter", "whatever", "absent")


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """Entry points as an installed package would bring them."""
    module = tmp_path / "elsewhere_metric.py"
    module.write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    points = [
        metadata.EntryPoint(name=name, value=f"elsewhere_metric:{name}", group=user_metrics.ENTRY_POINT_GROUP)
        for name in NAMES
    ]
    monkeypatch.setattr(metadata, "entry_points", metadata.EntryPoints(points).select)
    yield module
    monkeypatch.undo()
    __import__("sys").modules.pop("elsewhere_metric", None)


@pytest.mark.usefixtures("installed")
def test_an_installed_metric_scores_rows_and_is_no_proportion():
    scores = score_rows("entry_point:first_letter", ["apple", "pear"], ["ant", "bee"], record_ids=["r1", "r2"])

    assert scores.tolist() == [1.0, 0.0]
    assert not is_binary("entry_point:first_letter")


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("float('nan')", "must return a number between 0 and 1, got nan at record r2"),
        ("1.5", "got 1.5 at record r2"),
        ("-0.1", "got -0.1 at record r2"),
        ("None", "got None at record r2"),
        ("'high'", "got 'high' at record r2"),
        ("1 / 0", "failed at record r2 with ZeroDivisionError: division by zero"),
    ],
)
def test_a_metric_that_gives_no_score_is_told_with_its_record(answer, expected):
    with pytest.raises(MetricFailed, match=expected):
        score_rows("entry_point:whatever", ["0.5", answer], ["", ""], record_ids=["r1", "r2"])


@pytest.mark.usefixtures("installed")
def test_rounding_beyond_the_bounds_is_put_right():
    assert score_rows("entry_point:whatever", ["1.0000000000000002", "-1e-17"], ["", ""]).tolist() == [1.0, 0.0]


@pytest.mark.usefixtures("installed")
def test_an_unknown_metric_is_told_with_those_installed():
    with pytest.raises(RecipeError, match=r"'typo' is not an installed .*burnish\.metrics; installed: absent, "):
        score_rows("entry_point:typo", ["a"], ["b"])


@pytest.mark.usefixtures("installed")
def test_a_metric_that_cant_be_imported_is_told():
    with pytest.raises(DataError, match=r"absent .* can't be imported"):
        metric_identity("entry_point:absent", None)


def test_the_identity_of_a_metric_follows_its_source(installed):
    before = metric_identity("entry_point:first_letter", None)

    installed.write_text(MODULE.replace("[:1]", "[:2]"))

    assert metric_identity("entry_point:first_letter", None) != before
    assert before["metric"] == "entry_point:first_letter"


def test_the_identity_of_a_metric_follows_the_package_that_brings_it(monkeypatch):
    distribution = metadata.distribution("burnish")
    point = metadata.EntryPoint("mine", "tasks.metrics.text_overlap:rouge_l", user_metrics.ENTRY_POINT_GROUP)
    monkeypatch.setattr(metadata, "entry_points", metadata.EntryPoints([point._for(distribution)]).select)
    before = metric_identity("entry_point:mine", None)

    monkeypatch.setattr(type(distribution), "version", "99")

    assert metric_identity("entry_point:mine", None) != before


def test_the_identity_of_a_schema_s_metric_follows_the_schema():
    one, other = ({"type": kind} for kind in ("object", "array"))

    assert metric_identity("json_valid", one) != metric_identity("json_valid", other)
    assert metric_identity("exact_match", one) == metric_identity("exact_match", other) == "exact_match"
    assert metric_identity("chrf", None)["sacrebleu"]
