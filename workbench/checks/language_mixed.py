"""Questions in one script answered in another, where no translation was asked for. Knows scripts, no languages."""

import re
from collections.abc import Iterator

from workbench.checks import Context, Finding, Look, Seen
from workbench.text import Text

CHINESE = re.compile("[\u3400-\u9fff]")
LATIN = re.compile("[A-Za-z]")
WANTED = re.compile(
    r"translat|in english|in chinese|chinese|english|```|翻译|译成|译为|英文|英语|中文|代码|函数|程序|编写|code|function|script",
    re.IGNORECASE,
)
LOOKED_AT = 300
LEAST_LETTERS = 12


class Say:
    title = Text("Answer in another script")
    chinese = Text(
        "The question is written in Chinese characters and the answer in Latin letters. Look if it is meant."
    )
    latin = Text("The question is written in Latin letters and the answer in Chinese characters. Look if it is meant.")


TITLE = Say.title


def begin(context: Context) -> Look:
    return LanguageMixed()


class LanguageMixed:
    """Remembers nothing."""

    def row(self, seen: Seen) -> Iterator[Finding]:
        asked, answer = seen.asked, seen.answer
        if asked.isascii() == answer.isascii() or not answer:
            return
        question, said = _script(asked), _script(answer)
        if question and said and question != said and not WANTED.search(seen.before) and "```" not in answer:
            text = Say.chinese if question == "chinese" else Say.latin
            yield Finding(seen.number, text(), "hint", changes=" ".join(answer[:200].split()))

    def end(self) -> Iterator[Finding]:
        yield from ()


def _script(text: str) -> str:
    """The script of the beginning; empty when it is too short to tell or mixed."""
    chinese, latin = len(CHINESE.findall(text[:LOOKED_AT])), len(LATIN.findall(text[:LOOKED_AT]))
    if chinese >= LEAST_LETTERS // 3 and latin <= chinese:
        return "chinese"
    return "latin" if latin >= LEAST_LETTERS and not chinese else ""
