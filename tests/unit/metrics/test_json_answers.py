import json
import urllib.request

import pytest
from hypothesis import given
from hypothesis import strategies as st

from configs.errors import RecipeError
from tasks.metrics.json_answers import compile_schema, field_f1, json_check

PERSON = {
    "$defs": {"age": {"type": "integer", "minimum": 0}},
    "type": "object",
    "properties": {"name": {"type": "string"}, "age": {"$ref": "#/$defs/age"}},
    "required": ["name"],
    "additionalProperties": False,
}
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@pytest.mark.parametrize(
    ("text", "is_json", "is_person"),
    [
        ('{"name": "Ann", "age": 3}', True, True),
        (' {"name": "Ann"}\n', True, True),
        ('{"name": "Ann", "age": -1}', True, False),
        ('{"name": "Ann", "age": 3.0}', True, True),
        ('{"name": "Ann", "pet": 1}', True, False),
        ("[]", True, False),
        ('"text"', True, False),
        ("", False, False),
        ("Ann", False, False),
        ('{"name": "Ann"', False, False),
        ('{"name": "Ann"} and more', False, False),
        ('```json\n{"name": "Ann"}\n```', False, False),
        ("{'name': 'Ann'}", False, False),
        ('{"name": "Ann", "name": "Bob"}', False, False),
        ('{"name": "Ann", "age": NaN}', False, False),
        ("-Infinity", False, False),
        ("1e999", True, False),
        ("9" * 5000, False, False),
        ('{"name": "\\ud800"}', True, True),
        ('{"name": "\ud800"}', True, True),
        ('{"name": "\u202eשלום"}', True, True),
        ("[" * 100_000, False, False),
        ("[" * 100_000 + "]" * 100_000, False, False),
        (json.dumps({"name": "x" * 1_000_000}), True, True),
    ],
)  # fmt: skip
def test_an_answer_is_json_by_its_schema_or_it_is_not(text, is_json, is_person):
    assert json_check(None)(text) is is_json
    assert json_check(PERSON)(text) is is_person


def test_an_answer_too_deep_for_the_schema_to_follow_is_not_valid():
    deep = {"type": "array", "items": {"$ref": "#"}}

    assert json_check(deep)("[" * 20 + "]" * 20)
    assert not json_check(deep)("[" * 900 + "]" * 900)


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        ({"type": "text"}, r"is no JSON Schema: 'text' is not valid .*\(at type\)"),
        ({"type": "string", "pattern": "("}, r"is no JSON Schema: .*\(at pattern\)"),
        ({"$schema": "https://example.org/mine"}, "dialect 'https://example.org/mine' is not known"),
        ({"$ref": "https://example.org/person.json"}, "refers to 'https://example.org/person.json', which is not in"),
        ({"properties": {"a": {"$ref": "person.json"}}}, "refers to 'person.json'"),
        ({"properties": {"a": {"$ref": "#/$defs/absent"}}}, "refers to '#/\\$defs/absent'"),
        ({"$defs": {"a": {"$id": "https://example.org/a"}}}, "refers to 'https://example.org/a'"),
    ],
)
def test_a_schema_that_is_none_or_points_outside_is_refused(schema, expected, monkeypatch):
    monkeypatch.setattr(urllib.request, "urlopen", lambda *args, **keywords: pytest.fail("fetched"))

    with pytest.raises(RecipeError, match=expected):
        compile_schema(schema)


def test_schemas_of_older_drafts_and_fields_named_like_keywords_are_taken():
    draft7 = {"$schema": "http://json-schema.org/draft-07/schema#", "definitions": {"a": {"const": 1}},
              "properties": {"$ref": {"$ref": "#/definitions/a"}}}  # fmt: skip

    assert json_check(draft7)('{"$ref": 1}')
    assert not json_check(draft7)('{"$ref": 2}')


@pytest.mark.parametrize(
    ("output", "reference", "score"),
    [
        ('{"a": 1, "b": "x"}', '{"b": "x", "a": 1.0}', 1),
        ('{"a": 1}', '{"a": 1, "b": "x"}', 2 / 3),
        ('{"a": 1, "b": "y"}', '{"a": 1, "b": "x"}', 0.5),
        ('{"a": {"b": [1, 2]}}', '{"a": {"b": [1, 3]}}', 0.5),
        ('{"a": [2, 1]}', '{"a": [1, 2]}', 0),
        ('{"a": true}', '{"a": 1}', 0),
        ('{"a": "1"}', '{"a": 1}', 0),
        ('{"a": null}', '{"a": null}', 1),
        ('{"a": []}', '{"a": {}}', 0),
        ("{}", "{}", 1),
        ("3", "3", 1),
        ('{"1": 0}', "[0, 0]", 0),
        ("not json", '{"a": 1}', 0),
        ("", '{"a": 1}', 0),
        ("plain", " plain ", 1),
        ('{"a": 1}', "plain", 0),
    ],
)
def test_fields_are_counted_by_path_type_and_value(output, reference, score):
    assert field_f1(output, reference) == pytest.approx(score)


@given(VALUES, VALUES)
def test_field_f1_is_a_score_and_is_1_for_what_is_equal(one, other):
    first, second = json.dumps(one), json.dumps(other)

    assert 0 <= field_f1(first, second) <= 1
    assert field_f1(first, second) == field_f1(second, first)
    assert field_f1(first, json.dumps(one, indent=2)) == 1
