"""Which language a text mostly is, as far as its letters tell. Knows no word of any."""

from typing import Literal

from workbench.lettering import count_letters, script_of_text

Language = Literal["zh", "en", "other"]
LETTERS_A_CHARACTER = 3
"""A Chinese character says about as much as three Latin letters."""


def language_of(text: str) -> Language:
    """zh where Chinese characters say more than Latin letters do, en for Latin letters, other for the rest and for none."""
    script = script_of_text(text)
    if script == "latin":
        letters = count_letters(text)
        return "zh" if letters["zh"] * LETTERS_A_CHARACTER > letters["latin"] else "en"
    return "zh" if script == "zh" else "other"
