import pytest
import yaml

from configs.errors import RecipeError
from tasks.validation.suites import SUITES_FOLDER, load_suite, suite_digest

RULE = {
    "why": "Because an empty text teaches nothing.",
    "expectation": "expect_text_to_be_free_of",
    "columns": ["prompt"],
    "finding": "empty_text",
    "on_failure": "drop",
}


def _written(folder, rules, name="own"):
    (folder / f"{name}.yaml").write_text(yaml.safe_dump({"rules": rules}))
    return folder


def test_the_shipped_suite_has_a_rule_for_everything_promised():
    suite = load_suite("standard", {}, SUITES_FOLDER)

    assert set(suite.rules) == {
        "columns", "unique_ids", "known_splits", "no_nulls", "text_only", "empty_text", "placeholder_inputs",
        "missing_value_completions", "garbage_text", "encoding_damage", "special_tokens", "exact_duplicates",
        "conflicting_labels", "conflicting_completions", "groups_across_splits", "inputs_across_splits",
        "near_copies_across_splits", "tokens_over_limit", "unknown_labels", "label_imbalance", "respelled_labels",
        "rare_labels", "repeated_completions", "refusals", "email_addresses", "phone_numbers", "ip_addresses", "ibans",
        "card_numbers", "secrets", "invalid_json",
    }  # fmt: skip


def test_an_override_changes_what_a_rule_does():
    suite = load_suite("standard", {"secrets": "stop", "refusals": "off"}, SUITES_FOLDER)

    assert suite.rules["secrets"].on_failure == "stop"
    assert "refusals" not in suite.rules


def test_an_override_changes_the_digest():
    plain = load_suite("standard", {}, SUITES_FOLDER)
    stricter = load_suite("standard", {"secrets": "stop"}, SUITES_FOLDER)

    assert suite_digest(plain) == suite_digest(load_suite("standard", {}, SUITES_FOLDER))
    assert suite_digest(plain) != suite_digest(stricter)


def test_every_problem_is_reported_at_once():
    with pytest.raises(RecipeError) as error:
        load_suite("standard", {"secret": "stop", "emails": "off", "label_imbalance": "drop"}, SUITES_FOLDER)

    message = str(error.value)
    assert "3 problems" in message
    assert "validation.overrides.secret: the suite has no such rule; did you mean secrets?" in message
    assert "validation.overrides.emails" in message
    assert "rules.label_imbalance.on_failure" in message


def test_an_unknown_suite_names_the_known_ones(tmp_path):
    with pytest.raises(RecipeError, match=r"validation\.suite names 'own'.*allowed: other"):
        load_suite("own", {}, _written(tmp_path, {"empty": RULE}, name="other"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"expectation": "expect_text_to_be_nice"}, "expect_text_to_be_nice"),
        ({"severity": "low"}, "rules.empty.severity: unknown key"),
        ({"finding": "emptiness"}, "rules.empty.finding"),
        ({"columns": ["promt"]}, "rules.empty.columns.0"),
        ({"columns": []}, "rules.empty.columns"),
        ({"on_failure": "ignore"}, "rules.empty.on_failure"),
        ({"on_failure": False}, "rules.empty.on_failure"),
        ({"why": ""}, "rules.empty.why"),
    ],
)
def test_a_rule_with_anything_unknown_is_refused(tmp_path, change, message):
    with pytest.raises(RecipeError) as error:
        load_suite("own", {}, _written(tmp_path, {"empty": {**RULE, **change}}))

    assert message in str(error.value)


@pytest.mark.parametrize(
    "content", ["", "rules: {}", "rules: []", "- a", "rules: [", "\x00", "rules:\n  a: 1\n  a: 2\n", "[" * 9999]
)
def test_a_suite_without_rules_or_with_a_rule_twice_is_refused(tmp_path, content):
    (tmp_path / "own.yaml").write_text(content)

    with pytest.raises(RecipeError, match=r"own\.yaml"):
        load_suite("own", {}, tmp_path)


def test_turning_every_rule_off_is_refused(tmp_path):
    with pytest.raises(RecipeError, match="turns every rule off"):
        load_suite("own", {"empty": "off"}, _written(tmp_path, {"empty": RULE}))


def test_an_argument_is_required_where_the_expectation_has_one(tmp_path):
    rule = {key: value for key, value in RULE.items() if key != "finding"}

    with pytest.raises(RecipeError, match=r"rules\.empty\.finding: required"):
        load_suite("own", {}, _written(tmp_path, {"empty": rule}))
