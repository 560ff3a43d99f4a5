import pytest

from expectations.refusals import is_refusal
from expectations.secret_patterns import has_secret

# Put together here, so that no secret scanner takes this file for a leak.
KEY = "AKIA" + "IOSFODNN7EXAMPLE"
TOKEN = "gh" + "p_" + "aB3" * 12


@pytest.mark.parametrize(
    "text",
    [
        f"key {KEY} here",
        TOKEN,
        "-----BEGIN " + "PRIVATE KEY-----",
        "postgres://admin:" + "s3cretPw9@db:5432/app",
        "password: " + "Tr0ub4dor&3",
        "API_KEY=" + "9f8a7b6c5d4e3f2a",
        "the password is " + "Sommer2024!",
    ],
)
def test_credentials_are_found(text):
    assert has_secret(text)


@pytest.mark.parametrize(
    "text",
    [
        "password: <your password>",
        "API_KEY=${API_KEY}",
        "password = os.environ['DB_PASSWORD1']",
        "token: {{ token }}",
        "I forgot my password and need a new one",
        "The secret is two-ingredient dough",
        "commit 3b18e512dba79e4c8300dd08aeb37f8e728b8dad",
        "password: ********",
        "https://example.com:8080/path@2",
        "The token limit is 128-dimensional",
        "sk-learn is a library",
    ],
)
def test_stand_ins_hashes_and_talk_about_secrets_are_left_alone(text):
    assert not has_secret(text)


@pytest.mark.parametrize(
    "text", ["I’m sorry, but I can’t help with that.", "As an AI language model, I …", "Lo siento, pero no puedo"]
)
def test_declined_answers_are_refusals(text):
    assert is_refusal(text)


@pytest.mark.parametrize(
    "text",
    [
        "I'm sorry to hear that; try restarting the router.",
        "You can't provide a second address in this form.",
        "The AI model is trained on invoices.",
        "I can help with that.",
        "She says: I cannot sleep",
        "Answer. " * 60 + "I cannot assist with this request.",
    ],
)
def test_helpful_answers_are_not_refusals(text):
    assert not is_refusal(text)
