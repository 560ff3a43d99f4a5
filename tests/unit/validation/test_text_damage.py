import base64
from random import Random

import pytest

from expectations.text_damage import has_encoding_damage, is_empty, is_garbage, is_missing_value, is_placeholder


@pytest.mark.parametrize("text", ["", "  \n\t", "\u200b\u200b", "\ufeff", "\u00a0"])
def test_text_without_anything_visible_is_empty(text):
    assert is_empty(text)


@pytest.mark.parametrize("text", [".", "0", "a", "👍", "ü"])
def test_one_visible_sign_is_not_empty(text):
    assert not is_empty(text)


def test_an_input_that_stands_for_nothing_is_a_placeholder():
    assert all(map(is_placeholder, ["n/a", "NaN", " None ", "TODO", "#REF!", "null", "[object Object]", "n.a."]))


def test_an_input_about_missing_values_is_no_placeholder():
    assert not any(map(is_placeholder, ["null pointer exception", "nana", "none of the above", "test the brakes"]))


def test_a_completion_may_say_none_but_not_nan():
    assert is_missing_value("nan")
    assert not is_missing_value("None")


@pytest.mark.parametrize("encoding", ["latin-1", "cp1252"])
@pytest.mark.parametrize(
    "text",
    [
        "Größe",
        "déjà vu",
        "señor",
        "Łódź",
        "It’s",
        "“yes”",
        "Привет",
        "我们好",
        "안녕",
        "日本",
        "Việt",
        "שלום",
        "😀",
        "20 €",
        "Über",
    ],
)
def test_utf8_read_as_a_western_encoding_is_damage(text, encoding):
    damaged = text.encode().decode(encoding, errors="replace")

    assert has_encoding_damage(damaged)


@pytest.mark.parametrize(
    "text",
    [
        "Größe „Spaß“ – naïve café…",
        "DÉJÀ VU! ESPAÑA® SÃO PAULO MAÇÃ”",
        "Łódź żółć Příliš žluťoučký",
        "Привет, мир",
        "СССР и Россия",
        "我们 こんにちは 안녕하세요",
        "tiếng Việt đẹp",
        "10 Å² and 3 Å³, 5×½ µm, 37°C, Ø 12 mm",
        "Ελληνικά, שלום, مرحبا",
        "┌──┬──┐\n│a │b │\n└──┴──┘",
        "√2 ≈ 1.414, 2√π",
        "« est-ce là… »",
        "tab\tand\r\nline\x0cfeed",
    ],
)
def test_right_text_of_many_languages_is_not_damage(text):
    assert not has_encoding_damage(text)


@pytest.mark.parametrize("text", ["a\x00b", "caf\ufffd", "\x93quoted\x94", "\x1b[31mred"])
def test_control_characters_and_replacement_signs_are_damage(text):
    assert has_encoding_damage(text)


@pytest.mark.parametrize("text", ["????", "a" * 20, "asdfghjkl", "hahaha" * 5, "~!@#$%^&*", "-----"])
def test_noise_is_garbage(text):
    assert is_garbage(text)


def test_an_encoded_blob_is_garbage():
    assert is_garbage(base64.b64encode(Random(1).randbytes(200)).decode())


@pytest.mark.parametrize(
    "text",
    [
        "+",
        ":)",
        "👍👍",
        "42",
        "1000000000000",
        "No.",
        "if (a[i] > 0) { x += 1; }",
        "C++",
        "ATTGACCATTGACAGT" * 20,
        "property",
        "Fracture of the neck of the left femur, initial encounter",
        "我们",
        "x = (1 + 2) * 3",
        "Patient 12 was seen again and Again " * 3 + "by Dr B2",
    ],
)
def test_short_answers_code_and_sequences_are_not_garbage(text):
    assert not is_garbage(text)
