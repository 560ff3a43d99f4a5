import pytest

from tasks.metrics.task_metrics import is_binary, macro_f1, normalise, score_rows


@pytest.mark.parametrize(
    ("metric", "output", "reference", "score"),
    [
        ("exact_match", " Yes\n", "Yes", 1),
        ("exact_match", "yes", "Yes", 0),
        ("normalised_match", "«ＹＥＳ,  sir!»", "yes, sir", 1),
        ("normalised_match", "yes sir", "yes, sir", 0),
        ("normalised_match", "Straße", "STRASSE", 1),
        ("normalised_match", "A)", "a", 1),
        ("normalised_match", "« oui »", "oui", 1),
        ("normalised_match", "„Ja.“", "ja", 1),
        ("normalised_match", "yes...", "yes", 1),
        ("normalised_match", "-5", "5", 0),
        ("normalised_match", "C#", "C", 0),
        ("normalised_match", "50%", "50", 0),
        ("normalised_match", ".5", "5", 0),
        ("normalised_match", "(5)", "5", 0),
        ("normalised_match", "f(x)", "f(x", 0),
        ("normalised_match", "*", "", 0),
        ("normalised_match", "?", "!", 0),
        ("normalised_match", "", "...", 0),
        ("normalised_match", " ? ", "?", 1),
        ("normalised_match", " ", "", 1),
        ("token_f1", "the left kidney", "left kidney", 0.8),
        ("token_f1", "kidney kidney", "kidney", 2 / 3),
        ("token_f1", "", "kidney", 0),
        ("token_f1", "--", "", 0),
        ("token_f1", "?", "!", 0),
        ("token_f1", "left – kidney", "left kidney", 1),
        ("token_f1", "“left” (kidney).", "left kidney", 1),
        ("token_f1", "Kidney.", "kidney", 1),
    ],
)
def test_score_of_one_answer(metric, output, reference, score):
    assert score_rows(metric, [output], [reference]) == pytest.approx([score])


def test_outputs_and_references_must_pair_up():
    with pytest.raises(ValueError, match="argument 2 is longer"):
        score_rows("exact_match", ["a"], ["a", "b"])


def test_only_token_f1_is_not_a_proportion():
    assert [is_binary(metric) for metric in ("exact_match", "normalised_match", "token_f1")] == [True, True, False]


def test_normalising_twice_changes_nothing():
    assert normalise(normalise("  “A\u00a0 b” … ")) == normalise("  “A\u00a0 b” … ") == "a b"
    assert normalise(normalise("a)). (")) == normalise("a)). (") == "a)). ("
    assert normalise(normalise("(a).). ")) == normalise("(a).). ") == "(a)"


def test_macro_f1_weighs_labels_equally():
    outputs, references = ["a", "a", "a", "b", "b", "x"], ["a", "a", "a", "a", "b", "c"]

    score = macro_f1(outputs, references)

    assert score == pytest.approx((6 / 7 + 2 / 3 + 0) / 3)


@pytest.mark.parametrize(
    ("metric", "output", "reference", "score"),
    [
        ("rouge_l", "the left kidney", "left kidney", 0.8),
        ("chrf", "kidney", "kidney", 1),
        ("bleu", "kidney", "liver", 0),
        ("json_valid", '{"a": "x"}', "", 0),
        ("json_valid", '{"a": 1}', "", 1),
        ("json_fields", '{"a": 1}', '{"a": 1, "b": 2}', 2 / 3),
    ],
)
def test_metrics_of_free_text_and_json(metric, output, reference, score):
    schema = {"properties": {"a": {"type": "integer"}}}

    assert score_rows(metric, [output], [reference], json_schema=schema) == pytest.approx([score])


def test_valid_json_is_a_proportion_and_graded_scores_are_not():
    assert is_binary("json_valid")
    assert not any(map(is_binary, ("rouge_l", "chrf", "bleu", "json_fields", "entry_point:mine")))
