"""How text is cut into words before its pairs are joined, by the name that llama.cpp has for it. Knows no vocabulary."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from workbench.problems import UserError
from workbench.text import Text

CONTRACTIONS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
UPPER, LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
REST = r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
REST_WITH_SLASH = r" ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
EDGE = r"[^\r\n\p{L}\p{N}]?"
WORDS: Mapping[tuple[str, bool], str] = {
    (rf"{CONTRACTIONS}|{EDGE}\p{{L}}+|\p{{N}}|{REST}", False): "qwen2",
    (rf"{CONTRACTIONS}|{EDGE}\p{{L}}+|\p{{N}}{{1,3}}|{REST}", True): "llama-bpe",
    (rf"{CONTRACTIONS}|{EDGE}\p{{L}}+|\p{{N}}{{1,3}}|{REST}", False): "dbrx",
    (rf"{EDGE}{UPPER}*{LOWER}+|{EDGE}{UPPER}+{LOWER}*|\p{{N}}|{REST_WITH_SLASH}", True): "tekken",
    (
        rf"{EDGE}{UPPER}*{LOWER}+{CONTRACTIONS}?|{EDGE}{UPPER}+{LOWER}*{CONTRACTIONS}?|\p{{N}}{{1,3}}|{REST_WITH_SLASH}",
        False,
    ): "gpt-4o",
}
"""By the one pattern that splits the text, and whether a whole word is looked up before its pairs are joined."""
DIGITS = {"type": "Digits", "individual_digits": True}


class Say:
    unknown = Text(
        "The tokenizer cuts text into words in a way that llama.cpp has no name for here ({given}). Accepted: those of "
        "{known}. Choose the engine transformers."
    )


def name_of(pre_tokenizer: Mapping[str, Any] | None, ignore_merges: bool) -> str:
    """llama.cpp's name for a pre-tokenizer of tokenizer.json; UserError when it has none that is known here."""
    steps = _steps(pre_tokenizer)
    match [step["type"] for step in steps]:
        case ["ByteLevel"] if steps[0].get("use_regex", True) and not ignore_merges:
            return "gpt-2"
        case ["Digits", "ByteLevel"] if _same(steps[0], DIGITS) and steps[1].get("use_regex", True) and not ignore_merges:
            return "smollm"
        case ["Split", "ByteLevel"] if not steps[1].get("use_regex", True):
            pattern = steps[0]["pattern"].get("Regex", "")
            if (pattern, ignore_merges) in WORDS and steps[0].get("behavior") == "Isolated":
                return WORDS[pattern, ignore_merges]
    given = json.dumps(pre_tokenizer, ensure_ascii=False)[:120]
    known = ", ".join(("gpt-2", "smollm", *sorted(WORDS.values())))
    raise UserError(Say.unknown(given=given, known=known), key="model_name_or_path")


def described(name: str) -> tuple[Mapping[str, Any], bool] | None:
    """The pre-tokenizer of that name as tokenizer.json says it, and ``ignore_merges``; None for a name unknown here."""
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True}
    if name == "gpt-2":
        return {**level, "use_regex": True}, False
    if name == "smollm":
        return _sequence(DIGITS, {**level, "use_regex": True}), False
    for (pattern, ignore_merges), known in WORDS.items():
        if known == name:
            split = {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}
            return _sequence(split, {**level, "use_regex": False}), ignore_merges
    return None


def _sequence(*steps: Mapping[str, Any]) -> Mapping[str, Any]:
    return {"type": "Sequence", "pretokenizers": list(steps)}


def _steps(pre_tokenizer: Mapping[str, Any] | None) -> Sequence[Mapping[str, Any]]:
    if pre_tokenizer is None:
        return []
    return pre_tokenizer["pretokenizers"] if pre_tokenizer["type"] == "Sequence" else [pre_tokenizer]


def _same(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    return dict(one) == dict(other)
