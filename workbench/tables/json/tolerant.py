"""What broken JSON probably means: a parser that forgives the usual slips and says which. Knows no file."""

import json
import re
from typing import Any, NoReturn

from workbench.text import Message, Text

SPACE = re.compile(r"(?:\s|//[^\n]*|/\*.*?\*/)+", re.DOTALL)
NUMBER = re.compile(r"-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?(?![\w.])")
WORD = re.compile(r"-?[^\W\d][\w-]*")
WORDS = {"true": True, "false": False, "null": None}
PYTHON = {"True": True, "False": False, "None": None}
UNKNOWN = frozenset({"NaN", "Infinity", "-Infinity", "nan", "inf", "-inf", "undefined"})
QUOTES = "\"'“”‘’"
CLOSING = {'"': '"', "'": "'", "“": "“”", "”": "“”", "‘": "‘’", "’": "‘’"}
INSIDE = {closers: re.compile(rf"\\.|[{closers}]", re.DOTALL) for closers in CLOSING.values()}
KEY_END = re.compile(r"\s*[:：]")
ROW_END = re.compile(r"\s*(?:[,，]\s*(?:[\"'“”‘’]|[^\W\d]\w*\s*:|[}\]]|\Z)|[}\]]|\Z|\n\s*[\"'“‘]|\s*[\"“][^\"'“”]{1,60}[\"”]\s*[:：])")
LIST_END = re.compile(r"\s*(?:[,，]|[}\]]|\Z)")
"""What follows a quote that closes a key, a value of an object, a value of a list."""
SWALLOWED = re.compile(r"""[,{]\s*["'“][^"'”]{1,60}["'”]\s*:""")
"""A name inside a text: its closing quote is the one that is missing."""
ESCAPE = re.compile(r"\\(u[0-9a-fA-F]{4}|.)|[\x00-\x1f]", re.DOTALL)
ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f", "/": "/", "\\": "\\", '"': '"', "'": "'"}
LONGEST = 2_000_000
MOST_SLIPS = 100


class Say:
    extra_comma = Text("There is a comma too many.")
    missing_comma = Text("A comma is missing.")
    missing_closer = Text("A closing bracket is missing.")
    extra_closer = Text("There is a closing bracket too many.")
    quotes = Text('Text stands in other quotes than ".')
    bare_key = Text("The name {name} has no quotes.")
    python_word = Text("{word} is a word of Python.")
    not_finite = Text("{word} is no number of JSON.")
    control = Text("A text holds a raw line break or another control character.")
    bad_escape = Text("A backslash stands before a character that needs none.")
    inner_quote = Text("A text holds a quote without a backslash.")
    unclosed = Text("The closing quote of a text is missing.")
    full_width = Text("A comma or colon is a full-width one.")
    comment = Text("There is a comment.")


def parse(text: str) -> tuple[Any, list[Message]]:
    """The value that was probably meant, and the slips in the order met; ValueError when that can't be told."""
    if len(text) > LONGEST:
        raise ValueError("too long")
    parser = _Parser(text)
    try:
        value = parser.value(LIST_END)
    except RecursionError:
        raise ValueError("too deep") from None
    parser.end()
    return value, list(parser.slips.values())


class _Parser:
    """One pass over a text, from ``at`` on."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.slips: dict[str, Message] = {}
        self._count = 0

    def _slip(self, said: Message) -> None:
        self.slips.setdefault(said.key, said)
        self._count += 1
        if self._count > MOST_SLIPS:
            self._give_up()

    def _give_up(self) -> NoReturn:
        raise ValueError(f"no sense at {self.at}")

    def _next(self) -> str:
        """The next character that is no white space; nothing at the end."""
        found = SPACE.match(self.text, self.at)
        if found:
            if "/" in found[0]:
                self._slip(Say.comment())
            self.at = found.end()
        return self.text[self.at : self.at + 1]

    def end(self) -> None:
        """Nothing but closing brackets, commas and semicolons may be left."""
        while char := self._next():
            if char not in "}],;":
                self._give_up()
            self._slip(Say.extra_comma() if char in ",;" else Say.extra_closer())
            self.at += 1

    def value(self, ends: re.Pattern[str]) -> Any:
        """Any value; ``ends`` matches what may follow a text."""
        char = self._next()
        if char == "{":
            return self._object()
        if char == "[":
            return self._list()
        if char and char in QUOTES:
            return self._string(ends)
        number = NUMBER.match(self.text, self.at)
        if number:
            self.at = number.end()
            return json.loads(number[0])
        return self._word()

    def _word(self) -> bool | None:
        found = WORD.match(self.text, self.at)
        if not found:
            self._give_up()
        word = found[0]
        self.at = found.end()
        if word in WORDS:
            return WORDS[word]
        if word in PYTHON:
            self._slip(Say.python_word(word=word))
            return PYTHON[word]
        if word not in UNKNOWN:
            self._give_up()
        self._slip(Say.not_finite(word=word))
        return None

    def _object(self) -> dict[str, Any]:
        self.at += 1
        found: dict[str, Any] = {}
        while self._more("}", first=not found):
            name = self._name()
            if self._next() not in (":", "："):
                self._give_up()
            if self.text[self.at] == "：":
                self._slip(Say.full_width())
            self.at += 1
            found[name] = self.value(ROW_END)
        return found

    def _list(self) -> list[Any]:
        self.at += 1
        found: list[Any] = []
        while self._more("]", first=not found):
            found.append(self.value(LIST_END))
        return found

    def _more(self, closer: str, first: bool) -> bool:
        """Step over the comma to the next item; False at the end of the object or list."""
        num_commas = 0
        while (char := self._next()) and char in ",，":
            if char == "，":
                self._slip(Say.full_width())
            num_commas += 1
            self.at += 1
        if char in ("", "}", "]"):
            if num_commas:
                self._slip(Say.extra_comma())
            if char != closer:
                self._slip(Say.missing_closer())
                return False
            self.at += 1
            return False
        if num_commas > (0 if first else 1):
            self._slip(Say.extra_comma())
        if not first and not num_commas:
            self._slip(Say.missing_comma())
        return True

    def _name(self) -> str:
        if self._next() in QUOTES:
            return self._string(KEY_END)
        found = WORD.match(self.text, self.at)
        if not found:
            self._give_up()
        self._slip(Say.bare_key(name=found[0]))
        self.at = found.end()
        return found[0]

    def _string(self, ends: re.Pattern[str]) -> str:
        opening, start = self.text[self.at], self.at + 1
        if opening != '"':
            self._slip(Say.quotes())
        closers, num_inner = CLOSING[opening], 0
        for found in INSIDE[closers].finditer(self.text, start):
            if found[0][0] == "\\":
                continue
            if ends.match(self.text, found.end()):
                break
            num_inner += 1
        else:
            if num_inner:
                self._give_up()
            self._slip(Say.unclosed())
            self.at = len(self.text)
            return self._unescaped(self.text[start:].rstrip("}] \t\r\n"))
        if num_inner:
            if ends is KEY_END or SWALLOWED.search(self.text, start, found.start()):
                self._give_up()
            self._slip(Say.inner_quote())
        self.at = found.end()
        return self._unescaped(self.text[start : found.start()])

    def _unescaped(self, raw: str) -> str:
        whole = ESCAPE.sub(self._character, raw)
        return whole.encode("utf-16", "surrogatepass").decode("utf-16", "replace")

    def _character(self, found: re.Match[str]) -> str:
        escaped = found[1]
        if escaped is None:
            self._slip(Say.control())
            return found[0] if found[0] in "\n\r\t" else ""
        if len(escaped) == 5:
            return chr(int(escaped[1:], 16))
        if escaped not in ESCAPES:
            self._slip(Say.bad_escape())
        return ESCAPES.get(escaped, found[0])
