"""What belongs to a person: addresses, numbers of phones, of identity and of cards. Shows none of them whole."""

import re
from collections.abc import Callable, Iterator, Mapping

from workbench.checks import Context, Finding, Look, Seen
from workbench.text import Text

MAIL = re.compile(r"[\w.+-]{1,64}@[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63})*\.[A-Za-z]{2,24}\b", re.ASCII)
EXAMPLES = re.compile(r"@(?:[\w-]+\.)*(?:example\.\w+|\w+\.(?:example|test|invalid))$|@(?:test|email|domain)\.com$")
MOBILE = re.compile(r"(?<![\d.+-])(?:\+?86[ -]?)?1[3-9]\d[ -]?\d{4}[ -]?\d{4}(?![\d.])")
IDENTITY = re.compile(r"(?<!\d)[1-9]\d{5}(?:19|20)\d{2}(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])\d{3}[\dXx](?!\d)")
PHONE = re.compile(r"(?<![\w+])\+[1-9]\d{0,2}(?:[ -]?\(?\d{1,4}\)?){2,5}(?!\d)")
CARD = re.compile(r"(?<![\d.-])(?:4\d{3}|5[1-5]\d\d|3[47]\d\d|6[25]\d\d|6011)(?:[ -]?\d{4}){2}[ -]?\d{1,7}(?![\d.-])")
LONG = re.compile(r"(?<![\w.])\+?\d[\d ()-]{6,40}[\dXx](?![\w]|\.\d)", re.ASCII)
"""A row of digits, spaces and dashes that may be one of the numbers."""
DIGITS = bytes(0x30 if 0x30 <= code <= 0x39 else code for code in range(256))
JOINING = b" -()"
SEVEN = b"0" * 7


class Say:
    title = Text("Personal data")
    mail = Text("It holds an e-mail address ({masked}). A model may repeat it; replace it if it is a real one.")
    phone = Text("It holds a phone number ({masked}). A model may repeat it; replace it if it is a real one.")
    identity = Text("It holds a Chinese ID number ({masked}). A model may repeat it; replace it if it is a real one.")
    card = Text("It holds a card number ({masked}). A model may repeat it; replace it if it is a real one.")


TITLE = Say.title


def begin(context: Context) -> Look:
    return Personal()


class Personal:
    """Remembers nothing."""

    def row(self, seen: Seen) -> Iterator[Finding]:
        text = seen.text
        found: list[tuple[Text, str]] = []
        if "@" in text:
            mails = [one for one in MAIL.findall(text) if not EXAMPLES.search(one)]
            found += [(Say.mail, one) for one in mails[:1]]
        # Nearly no row has seven digits in a row once spaces and dashes between them are gone.
        if SEVEN in text.encode("utf-8", "surrogatepass").translate(DIGITS, JOINING):
            found += _numbers("\n".join(LONG.findall(text)))
        for said, whole in found:
            yield Finding(seen.number, said(masked=masked(whole)), "hint", changes=masked(whole))

    def end(self) -> Iterator[Finding]:
        yield from ()


def _numbers(text: str) -> list[tuple[Text, str]]:
    """The first number of each kind; what is one kind is not taken for another."""
    found: list[tuple[Text, str]] = []
    if not text:
        return found
    for said, pattern in ((Say.identity, IDENTITY), (Say.card, CARD), (Say.phone, MOBILE), (Say.phone, PHONE)):
        valid = VALID.get(said.key, bool)
        one = next((hit.group() for hit in pattern.finditer(text) if valid(hit.group())), None)
        if one:
            found.append((said, one))
            text = text.replace(one, " ")
    return found


def right_identity(number: str) -> bool:
    """Whether the last character is the one that GB 11643 computes from the others."""
    total = sum(int(digit) * (2 ** (17 - place) % 11) for place, digit in enumerate(number[:17]))
    return "10X98765432"[total % 11] == number[17].upper()


def right_card(number: str) -> bool:
    """Whether the digits keep Luhn's rule."""
    digits = [int(one) for one in reversed(number) if one.isdigit()]
    doubled = [digit * 2 - 9 * (digit > 4) if place % 2 else digit for place, digit in enumerate(digits)]
    return 13 <= len(digits) <= 19 and sum(doubled) % 10 == 0 and len(set(digits)) > 1


def right_phone(number: str) -> bool:
    """Whether it has as many digits as a phone number."""
    return 8 <= sum(one.isdigit() for one in number) <= 15


VALID: Mapping[str, Callable[[str], bool]] = {
    Say.identity.key: right_identity,
    Say.card.key: right_card,
    Say.phone.key: right_phone,
}


def masked(whole: str) -> str:
    """The first and the last two characters, of an address also its domain."""
    name, at, domain = whole.partition("@")
    return f"{name[:1]}***@{domain}" if at else f"{whole[:3]}***{whole[-2:]}"
