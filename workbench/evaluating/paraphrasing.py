"""Questions in other words, by rules: the same words every time, in English and Chinese. Knows no model."""

import re
import zlib
from collections.abc import Callable, Iterator, Sequence

from workbench.evaluating.identity import FAMILIES, family_of
from workbench.evaluating.languages import language_of

LONGEST_CHANGED = 200
"""A longer text may hold a poem or a program, whose own marks and letters are left alone."""
ASKING = re.compile(
    r"(?:what|who|whose|whom|how|why|when|where|which|can|could|would|will|is|are|was|were|do|does|did|has|have)\b",
    re.IGNORECASE,
)
TELLING = re.compile(
    r"(?:add|arrange|calculate|change|check|choose|classify|compare|complete|compose|convert|correct|count|create|define"
    r"|describe|design|draw|explain|extract|fill|find|fix|generate|give|identify|list|make|name|outline|plan|put|rank"
    r"|recommend|replace|rephrase|rewrite|say|show|shorten|simplify|solve|sort|spell|suggest|summari[sz]e|tell|translate"
    r"|turn|use|write)\b",
    re.IGNORECASE,
)
TELLING_ZH = re.compile(
    "[写列给说把将用改]|翻译|解释|介绍|计算|总结|概括|比较|描述|推荐|设计|告诉|生成|创作|续写|分析|判断|整理"
)
GREETING = re.compile(
    r"(?:hello|hi|hey|good (?:morning|afternoon|evening|night)|thanks|thank you|bye|goodbye)\b[^?]*$"
    "|(?:你好|您好|谢谢|多谢|早上好|晚上好|下午好|再见|晚安)[^？?吗]*$",
    re.IGNORECASE,
)
"""What asks nothing, so that no lead-in fits it."""
ENDS = "?.!？。！ "

Rewrites = Iterator[str]


def paraphrases(question: str, count: int) -> list[str]:
    """At most so many ways to ask the same, none of them the question itself; none where the language is another.

    Questions that ask who the model is become ready ones. Others keep their words and are led in, closed or marked
    otherwise; which of these comes first depends on the question, so that not every question of a set is led in alike.
    """
    asked = question.strip()
    language = language_of(asked.partition("\n")[0])
    if not asked or language == "other":
        return []
    family = family_of(asked)
    ready = FAMILIES[language][family] if family else ()
    others = [one for one in _turned(ready, asked) if one.strip(ENDS).lower() != asked.strip(ENDS).lower()]
    if not GREETING.match(asked):
        others += _turned(list(RULES[language](asked)), asked)
    # Only marks or letters are changed: that comes last, since it hardly tests whether a meaning was learned.
    others += [one for one in _marked_otherwise(asked) if one not in (asked, question)]
    return list(dict.fromkeys(others))[:count]


def identity_questions(locale: str) -> list[str]:
    """Ways to ask who the model is and what it is called, 15 in each language; none is a row of the demo sets."""
    return [*FAMILIES[locale]["who"], *FAMILIES[locale]["name"]]


def _turned(ways: Sequence[str], asked: str) -> list[str]:
    """The ways from a place on that the question decides."""
    at = zlib.crc32(asked.encode("utf-8", "surrogatepass")) % max(1, len(ways))
    return [*ways[at:], *ways[:at]]


def _english(asked: str) -> Rewrites:
    lowered = asked[0].lower() + asked[1:]
    if TELLING.match(asked):
        yield f"Please {lowered}"
        yield f"I would like you to {lowered}"
        yield f"Here is what I need. {asked}"
        if _short(asked) and ". " not in asked.rstrip(ENDS):
            yield f"Could you {lowered.rstrip(ENDS)}?"
    elif ASKING.match(asked):
        yield f"Could you tell me: {lowered}"
        yield f"I have been wondering: {lowered}"
        yield f"There is something I would like to know. {asked}"
        yield f"Quick question: {lowered}"
    else:
        yield f"Here is what I want to ask you. {asked}"
        yield f"I hope you can help me with this. {asked}"
    yield f"Hello! {asked}"
    if _short(asked):
        yield f"{asked} Thank you in advance."


def _chinese(asked: str) -> Rewrites:
    if asked.endswith(("？", "?", "吗", "呢")):
        if not asked.startswith("请"):
            yield f"请问，{asked}"
            yield f"麻烦告诉我：{asked}"
        yield f"我想了解一下：{asked}"
        yield f"有个问题想请教你：{asked}"
    elif TELLING_ZH.match(asked):
        yield f"麻烦你{asked}"
        yield f"请帮个忙：{asked}"
        yield f"我有一件事想请你做。{asked}"
    else:
        yield f"我这里有件事想请你帮忙。{asked}"
        yield f"想麻烦你一下：{asked}"
    yield f"你好！{asked}"
    if _short(asked):
        yield f"{asked}先谢谢了！" if asked.endswith(tuple(ENDS)) else f"{asked}，先谢谢了！"


RULES: dict[str, Callable[[str], Rewrites]] = {"en": _english, "zh": _chinese}


def _marked_otherwise(asked: str) -> Rewrites:
    """Without the mark at its end, and in small letters where no name or program can be hurt by it."""
    bare = asked.rstrip(ENDS)
    if not bare or not _short(asked):
        return
    yield bare
    if ASKING.match(bare) or TELLING.match(bare) or GREETING.match(bare):
        yield bare[0].lower() + bare[1:]
    if asked.endswith("？"):
        yield f"{bare}??"


def _short(asked: str) -> bool:
    """Whether it is one line without a text to work on below it, to which nothing may be added."""
    return "\n" not in asked and len(asked) <= LONGEST_CHANGED
