from random import Random

import pytest

from expectations.account_numbers import has_card_number, has_iban
from expectations.findings import has_finding
from expectations.personal_data import has_email, has_ip_address, has_phone_number
from tests import planted_values

NOT_PHONE_NUMBERS = [
    "S72.001A", "ICD-10 T36.0X5A", "46, XX with streak gonads", "SNOMED 73211009", "LOINC 4548-4", "NDC 0002-8215-01",
    "CAS 7732-18-5", "2023-04-01 12:30:45", "01.02.2023 12:30", "05/06/2021 07:00", "08:15 to 10:30", "1999-2003",
    "(2019) 1234-1240", "pp. 1021-1034", "ISBN 0306406152", "ISBN 978-0-306-40615-7", "order 0712345678",
    "lot 0170 123456", "12,345,678 people", "1 234 567 890", "3.14159265358979", "0.00596286797008283",
    "BP 120/80, HR 72", "250-500-1000 mg", "1e+10000000", "a+12345678", "20240101123000", "1234 5678 9012 3456",
    "2-methyl-1,3-butadiene", "192.168.1.10", "+1 000 000 000", "call 911",
]  # fmt: skip


@pytest.mark.parametrize("form", planted_values.PHONE_FORMS)
def test_phone_numbers_of_many_countries_are_found(form):
    number = planted_values.filled(form, Random(form))

    assert has_phone_number(f"Please note {number} for later.")


@pytest.mark.parametrize("text", ["call 555-0199", "Tel.: 12 34 56 78", "phone 612345678", "call me at 4155550132"])
def test_a_number_announced_as_a_phone_number_is_found(text):
    assert has_phone_number(text)


@pytest.mark.parametrize("text", NOT_PHONE_NUMBERS)
def test_codes_dates_and_measurements_are_not_phone_numbers(text):
    assert not has_phone_number(text)


@pytest.mark.parametrize(
    "text", ["a.b@example.com", "x [at] example [dot] com", "jörg@müller.de", "<a@b.io>", "john(at)example.com"]
)
def test_email_addresses_are_found(text):
    assert has_email(text)


@pytest.mark.parametrize("text", ["git@github.com:a/b", "icon@2x.png", "@app.route", "a @ b", "user@localhost"])
def test_other_uses_of_the_at_sign_are_not_email_addresses(text):
    assert not has_email(text)


@pytest.mark.parametrize(
    "text", ["203.0.113.7", "10.0.0.12:8080", "2001:db8::1", "fe80::1", "2001:0db8:85a3:0000:0000:8a2e:0370:7334"]
)
def test_ip_addresses_are_found(text):
    assert has_ip_address(f"from {text} today")


@pytest.mark.parametrize(
    "text",
    ["version 10.0.19.1", "section 1.2.3.4", "127.0.0.1", "255.255.255.0", "01.02.03.04", "1.2.3.4.5", "300.1.1.1",
     "12:30:45", "00:1A:2B:3C:4D:5E", "00:11:22:33:44:55:66:77", "std::dec", "::1"],
)  # fmt: skip
def test_versions_times_and_loopback_are_not_ip_addresses(text):
    assert not has_ip_address(text)


@pytest.mark.parametrize(
    "text", ["DE89 3704 0044 0532 0130 00", "GB82WEST12345698765432", "de89370400440532013000", "NO93 8601 1117 947"]
)
def test_published_example_ibans_are_found(text):
    assert has_iban(f"pay to {text} please")


@pytest.mark.parametrize("text", ["DE89 3704 0044 0532 0130 01", "XX89 3704 0044 0532 0130 00", "DE89 3704 0044"])
def test_a_wrong_checksum_country_or_length_is_no_iban(text):
    assert not has_iban(text)


@pytest.mark.parametrize(
    "text", ["4111 1111 1111 1111", "378282246310005", "5555-5555-5555-4444", "30569309025904", "6011111111111117"]
)
def test_published_test_card_numbers_are_found(text):
    assert has_card_number(f"card {text}.")


@pytest.mark.parametrize("text", ["4111 1111 1111 1112", "4006381333931", "1234567812345670", "0.4111111111111111"])
def test_a_wrong_checksum_or_issuer_is_no_card_number(text):
    assert not has_card_number(text)


@pytest.mark.parametrize(
    ("finding", "make"),
    [
        ("email_addresses", planted_values.email_address),
        ("phone_numbers", planted_values.phone_number),
        ("ip_addresses", planted_values.ip_address),
        ("ibans", planted_values.iban),
        ("card_numbers", planted_values.card_number),
        ("secrets", planted_values.secret),
        ("encoding_damage", planted_values.damaged),
        ("garbage", planted_values.garbage),
        ("refusals", planted_values.refusal),
    ],
)
def test_at_least_99_of_100_made_up_values_are_found(finding, make):
    random = Random(finding)
    texts = [make(random) for _ in range(300)]

    missed = [text for text in texts if not has_finding(text, finding)]

    assert len(missed) <= 3, missed
