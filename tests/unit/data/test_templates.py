from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from configs.errors import RecipeError
from configs.schema import Columns, Template
from tasks.data import sandbox
from tasks.data.records import Record, Turn
from tasks.data.rendered import joined
from tasks.data.templates import check_template, render

COLUMNS = Columns(metadata=("code",))


def record(prompt: str = "Kinking of ureter", completion: str = "Genitourinary", code: str = "N13.5") -> Record:
    return Record("id-1", "train", "g", (Turn("user", prompt),), completion, {"code": code})


def rendered_prompt(template: str, **fields: str) -> str:
    return render(Template(prompt=template), record(**fields)).prompt


@given(st.text(), st.text())
def test_the_default_template_changes_no_letter(prompt: str, completion: str) -> None:
    rendered = render(Template(), record(prompt, completion))

    assert (rendered.prompt, rendered.completion) == (f"{prompt}\n", completion)


def test_instruction_and_shots_stand_before_the_prompt() -> None:
    template = Template(instruction="Say the chapter.", prompt="{{ prompt }} →", completion=" {{ completion }}")
    shots = [record("a", "A"), record("b", "B")]

    rendered = render(template, record("c", "C"), shots)

    assert rendered.prompt == "Say the chapter.\n\na → A\n\nb → B\n\nc →"
    assert rendered.completion == " C"


def test_metadata_columns_are_variables() -> None:
    assert rendered_prompt("{{ code }}: {{ prompt }}") == "N13.5: Kinking of ureter"


def test_the_instruction_is_no_template() -> None:
    rendered = render(Template(instruction="Write {{ braces }}", prompt="{{ prompt }}"), record())

    assert rendered.prompt == "Write {{ braces }}\n\nKinking of ureter"


def test_content_that_looks_like_a_template_is_not_rendered() -> None:
    assert rendered_prompt("{{ prompt }}", prompt="{{ 7 * 7 }}{% if %}") == "{{ 7 * 7 }}{% if %}"


def test_nothing_is_escaped() -> None:
    assert rendered_prompt("<b>{{ prompt }}</b>", prompt="a < b & 'c'") == "<b>a < b & 'c'</b>"


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("{{ prompt | upper }}", "KINKING OF URETER"),
        ("{{ prompt | replace('ureter', 'vein') }}", "Kinking of vein"),
        ("{{ prompt[:7] }}", "Kinking"),
        ("{{ prompt[-6:] }}", "ureter"),
        ('{"in": {{ prompt | tojson }}}', '{"in": "Kinking of ureter"}'),
        ("{% if code %}({{ code }}) {% endif %}{{ prompt | length }}", "(N13.5) 17"),
        ("{{ prompt if code in ['N13.5', 'x'] else '' }}", "Kinking of ureter"),
        ("{{ missing | default('none') }}", "none"),
        ("{% if missing is defined %}yes{% else %}no{% endif %}", "no"),
        ("{# comment #}{% raw %}{{ prompt }}{% endraw %}", "{{ prompt }}"),
        ("line\n", "line\n"),
    ],
)
def test_what_the_sandbox_allows(template: str, expected: str) -> None:
    check_template(Template(prompt=template), COLUMNS)

    assert rendered_prompt(template) == expected


HOSTILE = {
    "loop": ("{% for x in prompt %}{{ x }}{% endfor %}", "uses for"),
    "attribute": ("{{ prompt.__class__ }}", "uses getattr"),
    "item as attribute": ("{{ prompt['__class__'] }}", "uses getitem"),
    "attribute by filter": ("{{ prompt | attr('__class__') }}", "No filter named 'attr'"),
    "call": ("{{ prompt() }}", "uses call"),
    "method": ("{{ prompt.format(1) }}", "uses"),
    "format filter": ("{{ '%999999999d' | format(1) }}", "No filter named 'format'"),
    "product": ("{{ 'a' * 999999999 }}", "uses mul"),
    "power": ("{{ 9 ** 9 ** 9 }}", "uses pow"),
    "joined text": ("{{ prompt ~ prompt }}", "uses concat"),
    "macro": ("{% macro m() %}{% endmacro %}", "uses macro"),
    "assignment": ("{% set x = prompt %}", "uses assign"),
    "include": ("{% include '/etc/passwd' %}", "uses include"),
    "import": ("{% import 'os' as os %}", "uses import"),
    "inheritance": ("{% extends 'x' %}", "uses extends"),
    "global": ("{{ lipsum }}", "uses 'lipsum', which is not there"),
    "self": ("{{ self }}", "uses name in line 1"),
    "unknown variable": ("{{ topic }}", "uses 'topic', which is not there; allowed: code, prompt"),
    "the answer in the prompt": ("{{ completion }}", "uses 'completion', which is not there"),
    "open braces": ("a\n{{ prompt", "not a valid template in line 2"),
    "open block": ("{% if prompt %}x", "not a valid template"),
    "unknown filter": ("{{ prompt | shell }}", "No filter named 'shell'"),
    "unknown test": ("{{ prompt is callable }}", "No test named 'callable'"),
    "deep nesting": ("{{ " + "(" * 5000 + "prompt" + ")" * 5000 + " }}", "not a valid template"),
    "long template": ("x" * 200_000, "at most 100,000 characters, got 200,000"),
    "division by zero": ("{{ prompt[1 // 0:] }}", "uses floordiv"),
}


@pytest.mark.parametrize(("template", "expected"), HOSTILE.values(), ids=HOSTILE.keys())
def test_a_template_is_refused_with_key_found_and_allowed(template: str, expected: str) -> None:
    with pytest.raises(RecipeError) as caught:
        check_template(Template(prompt=template), COLUMNS)

    assert str(caught.value).startswith("template.prompt ")
    assert expected in str(caught.value)
    assert "allowed" in str(caught.value) or "at most" in str(caught.value)


@pytest.mark.parametrize("key", ["loop", "attribute", "item as attribute", "product", "call"])
def test_a_template_that_was_never_checked_is_refused_when_it_renders(key: str) -> None:
    with pytest.raises(RecipeError):
        rendered_prompt(HOSTILE[key][0])


def test_a_column_of_the_user_s_own_name_is_told_what_it_is_called() -> None:
    columns = Columns(prompt="message", completion="team")

    with pytest.raises(RecipeError, match="in a template the column message is called prompt"):
        check_template(Template(prompt="{{ message }}"), columns)
    with pytest.raises(RecipeError, match="the column team is called completion"):
        check_template(Template(completion="{{ team }}"), columns)
    with pytest.raises(RecipeError, match=r"add a column to data\.columns\.metadata"):
        check_template(Template(prompt="{{ team }}"), columns)


def test_the_completion_template_is_checked_under_its_own_key() -> None:
    template = Template(completion="{{ nothing }}")

    with pytest.raises(RecipeError, match=r"^baseline\.templates\.short\.completion uses 'nothing'"):
        check_template(template, COLUMNS, where="baseline.templates.short")


def test_a_missing_value_names_key_and_record() -> None:
    with pytest.raises(
        RecipeError, match=r"template\.prompt can't be rendered for record id-1: 'nothing' is undefined"
    ):
        rendered_prompt("{{ nothing }}")


@pytest.mark.parametrize(
    "template",
    [
        "{{ prompt | replace('a', 'aaaaaaaaaa') | replace('a', 'aaaaaaaaaa') }}",
        "{{ prompt | tojson | tojson }}",
        "{{ prompt }}" * 9,
    ],
)
def test_output_is_bounded(template: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox, "MAX_RENDERED_CHARACTERS", 1000)

    with pytest.raises(RecipeError, match="more than 1,000 characters"):
        rendered_prompt(template, prompt='a"' * 200)


def test_a_chain_of_replacements_never_builds_what_it_refuses() -> None:
    chain = " | replace('a', '{}')".format("a" * 1000) * 12

    with pytest.raises(RecipeError, match="replace would make more than"):
        rendered_prompt("{{ prompt" + chain + " }}", prompt="a" * 1000)


@given(st.text(alphabet="{}%#|'\"()[]:.~*-+ \nabprompt_if endfor1", max_size=60))
def test_any_template_renders_or_is_refused(source: str) -> None:
    try:
        check_template(Template(prompt=source), COLUMNS)
        rendered_prompt(source)
    except RecipeError as error:
        assert str(error).startswith("template.prompt")


def test_markup_is_the_templates_own_text_and_nothing_of_the_content() -> None:
    template = Template(
        instruction="<i>", prompt="<q>{{ prompt | lower }}{{ '</q>' }}", completion="<a>{{ completion }}"
    )

    rendered = render(template, record("<Q>", "<A>"), [record("<Q>", "<A>")])

    markup = [rendered.prompt[start:end] for start, end in rendered.prompt_markup]
    assert rendered.prompt == "<i>\n\n<q><q></q><a><A>\n\n<q><q></q>"
    assert markup == ["<i>\n\n<q>", "</q><a>", "\n\n<q>", "</q>"]
    assert rendered.completion_markup == ((0, 3),)


@given(st.lists(st.tuples(st.text(max_size=4), st.booleans()), max_size=8))
def test_joined_spans_cover_exactly_the_markup(pieces: list[tuple[str, bool]]) -> None:
    text, spans = joined(pieces)

    assert text == "".join(piece for piece, _ in pieces)
    assert "".join(text[start:end] for start, end in spans) == "".join(piece for piece, own in pieces if own)


def test_a_chat_template_needs_a_tokenizer() -> None:
    with pytest.raises(RecipeError, match="needs the tokenizer"):
        render(Template(kind="chat"), record())
