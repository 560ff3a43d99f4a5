"""Made-up personal data, secrets and broken text, written from how such things look in the world.

Nothing here looks at the detectors: numbers are built with their check digits, keys with their issuer's form.
"""

from __future__ import annotations

import base64
import string
from random import Random

_DIGITS = string.digits
_ALNUM = string.ascii_letters + string.digits
_FIRST = (
    "anna", "boris", "chloe", "dmitri", "elif", "farid", "grace", "hiro", "ines", "jonas", "kofi", "lea", "mateo",
    "nadia", "omar", "petra",
)  # fmt: skip
_LAST = (
    "abbott", "bauer", "costa", "dubois", "eriksen", "ferrari", "garcia", "hansen", "ivanova", "jensen", "kowalski",
    "lopez", "meyer", "novak",
)  # fmt: skip
_HOSTS = (
    "example.com", "mail.example.org", "clinic-north.de", "post.ch", "uni.ac.uk", "firma.example.eu", "startup.io",
    "gov.example",
)  # fmt: skip

# '#' is any digit, 'N' is 2 to 9; as people write them in each country.
PHONE_FORMS = (
    "(N##) N##-####", "N##-N##-####", "N##.N##.####", "+1 N## N## ####", "+1-N##-N##-####", "1-N##-N##-####",
    "+1N##N######", "(N##) N##-#### ext. ###", "+1 (N##) N##-####", "N## N## ####",
    "+44 20 #### ####", "020 #### ####", "07### ######", "+44 7### ######", "+44 (0)20 #### ####", "(0121) ### ####",
    "01### ######", "0044 20 #### ####",
    "+49 30 ########", "030 ########", "0151 ########", "+49 (0)89 #######", "0221/#######", "0049 171 #######",
    "+49 171 ### ####", "040-#######", "+49-711-######",
    "01 ## ## ## ##", "+33 1 ## ## ## ##", "06 ## ## ## ##", "04.##.##.##.##", "+33 6########",
    "+34 6## ### ###", "+34 9# ### ## ##", "+39 02 #### ####", "02 ########", "+39 3## #######",
    "06-########", "020-#######", "+31 6 ########", "044 ### ## ##", "+41 44 ### ## ##", "+43 1 #######",
    "+61 2 #### ####", "04## ### ###", "(02) #### ####", "+64 21 ### ####",
    "+91 9#### #####", "+91-22-########", "+55 11 9####-####", "(11) 9####-####", "+81 3-####-####", "03-####-####",
    "+86 138 #### ####", "+7 495 ###-##-##", "+48 22 ### ## ##", "+90 532 ### ## ##", "+972 3-###-####",
    "+46 8 ### ### ##", "+47 22 ## ## ##", "+45 33 ## ## ##", "+353 1 ### ####", "+351 21 ### ####",
)  # fmt: skip

_IBAN_FORMS = {
    "DE": "##################", "GB": "AAAA##############", "FR": "##########CCCCCCCCCCC##", "NL": "AAAA##########",
    "ES": "####################", "IT": "A##########CCCCCCCCCCCC", "CH": "#####CCCCCCCCCCCC", "AT": "################",
    "BE": "############", "PL": "########################", "SE": "####################", "NO": "###########",
    "PT": "#####################", "IE": "AAAA##############", "DK": "##############", "TR": "#####0CCCCCCCCCCCCCCCC",
    "SA": "##CCCCCCCCCCCCCCCCCC", "AE": "###################", "LU": "###CCCCCCCCCCCCC", "CZ": "####################",
}  # fmt: skip

_CARD_ISSUERS = (("4", 16), ("51", 16), ("53", 16), ("55", 16), ("2223", 16), ("34", 15), ("37", 15), ("6011", 16),
                 ("65", 16), ("3530", 16), ("36", 14), ("4", 19), ("62", 16))  # fmt: skip


def phone_number(random: Random) -> str:
    return filled(random.choice(PHONE_FORMS), random)


def email_address(random: Random) -> str:
    first, last = random.choice(_FIRST), random.choice(_LAST)
    local = random.choice((
        f"{first}.{last}", f"{first[0]}{last}", f"{last}_{first}", f"{first}+news", f"{first}{random.randint(1, 99)}",
        f"{first}.{last}".upper(), f"{first}-{last}", f"o'{last}",
    ))  # fmt: skip
    host = random.choice(_HOSTS)
    if random.random() < 0.1:
        return f"{local} [at] {host.replace('.', ' [dot] ')}"
    return f"{local}@{host}"


def iban(random: Random) -> str:
    country = random.choice(sorted(_IBAN_FORMS))
    account = filled(_IBAN_FORMS[country], random)
    remainder = 0
    for character in f"{account}{country}00":
        for digit in str(string.digits.find(character) if character in _DIGITS else ord(character) - 55):
            remainder = (remainder * 10 + int(digit)) % 97
    number = f"{country}{98 - remainder:02d}{account}"
    return random.choice((number, _grouped(number, 4, " "), number.lower()))


def card_number(random: Random) -> str:
    prefix, length = random.choice(_CARD_ISSUERS)
    body = prefix + "".join(random.choice(_DIGITS) for _ in range(length - len(prefix) - 1))
    number = next(body + check for check in _DIGITS if _luhn_sum(body + check) % 10 == 0)
    if length == 16:
        return random.choice((number, _grouped(number, 4, " "), _grouped(number, 4, "-")))
    if length == 15:
        return random.choice((number, f"{number[:4]} {number[4:10]} {number[10:]}"))
    return number


def ip_address(random: Random) -> str:
    if random.random() < 0.7:
        first = random.choice([number for number in range(1, 224) if number != 127])
        return ".".join(map(str, (first, random.randint(0, 255), random.randint(10, 255), random.randint(1, 254))))
    groups = [f"{random.randint(0, 0xFFFF):x}" for _ in range(7)]
    if random.random() < 0.5:
        return ":".join(("2001", *groups))
    return f"{random.choice(('2001:db8', 'fe80', '2a02:26f0'))}::{groups[0]}:{groups[1]}"


def secret(random: Random) -> str:
    def some(alphabet: str, count: int) -> str:
        return "".join(random.choice(alphabet) for _ in range(count))

    password = some(string.ascii_lowercase, 5) + some(string.ascii_uppercase, 3) + some(_DIGITS, 3) + some("!#$%&*", 1)
    url_safe = _ALNUM + "-_"
    return random.choice((
        "AKIA" + some(string.ascii_uppercase + "234567", 16),
        f"aws_secret_access_key = {some(_ALNUM + '+/', 40)}",
        "ghp_" + some(_ALNUM, 36),
        "github_pat_" + some(_ALNUM, 22) + "_" + some(_ALNUM, 59),
        "glpat-" + some(url_safe, 20),
        f"xoxb-{some(_DIGITS, 12)}-{some(_DIGITS, 12)}-{some(_ALNUM, 24)}",
        "AIza" + some(url_safe, 35),
        "sk_live_" + some(_ALNUM, 24),
        "sk-proj-" + some(url_safe, 48),
        "sk-ant-api03-" + some(url_safe, 80),
        "hf_" + some(string.ascii_letters, 34),
        "npm_" + some(_ALNUM, 36),
        f"SG.{some(url_safe, 22)}.{some(url_safe, 43)}",
        f"eyJ{some(_ALNUM, 30)}.eyJ{some(_ALNUM, 60)}.{some(url_safe, 43)}",
        f"-----BEGIN RSA PRIVATE KEY-----\n{some(_ALNUM, 64)}\n-----END RSA PRIVATE KEY-----",
        f"-----BEGIN OPENSSH PRIVATE KEY-----\n{some(_ALNUM, 70)}",
        f"postgres://admin:{some(_ALNUM, 14)}@db.internal:5432/app",
        f"password: {password}",
        f"DB_PASSWORD={password}",
        f'"api_key": "{some(_ALNUM, 32)}"',
        f"client_secret={some(url_safe, 32)}",
        f"Authorization: Bearer {some(_ALNUM, 40)}",
        f"the password is {password}",
        f"AccountKey={some(_ALNUM + '+/', 86)}==",
        f"{some(_DIGITS, 9)}:AA{some(url_safe, 33)}",
    ))  # fmt: skip


def refusal(random: Random) -> str:
    return random.choice((
        "I'm sorry, but I can't help with that.", "As an AI language model, I do not have opinions on this.",
        "I cannot assist with this request.", "I’m unable to provide medical advice.",
        "Sorry, I can't provide that information.", "I'm not able to fulfill this request.",
        "I apologize, but I cannot answer that question.", "Unfortunately, I cannot provide a diagnosis.",
        "I am an AI and don't have access to your files.", "Es tut mir leid, aber ich kann dabei nicht helfen.",
        "Je suis désolé, mais je ne peux pas vous aider.", "Lo siento, pero no puedo ayudarte con eso.",
        "I won't be able to help with that.", "That goes against my guidelines.",
        "I don't have the ability to browse the internet.", "As a large language model I can't do this.",
        "I must decline to answer this question.", "I'm just an AI, so I can't say.",
    ))  # fmt: skip


def damaged(random: Random) -> str:
    """Decode real sentences with the wrong encoding, as programs do."""
    text = random.choice((
        "Der Patient klagt über Rückenschmerzen und Müdigkeit", "L’élève a été très déçu par la réponse",
        "El niño tenía fiebre y dolor de cabeza según la señora", "Żółta gorączka została wykluczona w badaniu",
        "Zpráva o pacientovi byla přijata včera večer", "Пациент жалуется на боль в спине",
        "患者は頭痛を訴えている", "환자는 두통을 호소한다", "病人主诉头痛三天", "He said “it hurts” – again",
        "Bệnh nhân bị đau đầu dữ dội", "Hastanın ağrısı geçmiş değil",
        "Ο ασθενής παραπονιέται για πόνο", "It costs 20 € – or 15 £", "Ça va? Très bien, merci à vous 😀",
    ))  # fmt: skip
    way = random.choice(("latin-1", "cp1252", "replaced", "nul", "twice"))
    raw = text.encode()
    if way == "replaced":
        return text.encode("utf-8")[random.choice((1, 3)) :].decode("ascii", errors="replace")
    if way == "nul":
        return text.encode("utf-16-le").decode("latin-1")
    if way == "twice":
        return raw.decode("latin-1").encode().decode("latin-1")
    return raw.decode(way, errors="replace")


def garbage(random: Random) -> str:
    return random.choice((
        "?" * random.randint(3, 30), "a" * random.randint(12, 40), "=-" * random.randint(8, 20),
        "asdfghjkl", "qwertyuiop", "lol " * random.randint(12, 20), "#$%^&*()_+!@#$", ". . . . . . . .", "!!!???!!!???",
        base64.b64encode(random.randbytes(150)).decode(), "-----------------", "hjklhjklhjkl", "xyz" * 9,
        "*** *** ***", "__________________", "0.0.0.0.0.0.0.0.0.0.0.0.0.",
    ))  # fmt: skip


def empty(random: Random) -> str:
    return random.choice(("", " ", "\n\t ", "\u200b", "\u00a0\u00a0", "\ufeff", "\u3000"))


def filled(form: str, random: Random) -> str:
    kinds = {"#": _DIGITS, "N": "23456789", "A": string.ascii_uppercase, "C": string.digits + string.ascii_uppercase}
    return "".join(random.choice(kinds[character]) if character in kinds else character for character in form)


def _grouped(text: str, size: int, gap: str) -> str:
    return gap.join(text[start : start + size] for start in range(0, len(text), size))


def _luhn_sum(number: str) -> int:
    table = {0: 0, 1: 2, 2: 4, 3: 6, 4: 8, 5: 1, 6: 3, 7: 5, 8: 7, 9: 9}
    digits = [int(digit) for digit in number][::-1]
    return sum(digits[0::2]) + sum(table[digit] for digit in digits[1::2])
