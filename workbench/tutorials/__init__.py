"""What tutorial files say in other words: keys of LLaMA-Factory and of transformers that mean one of ours, that have no
effect here, or that are for another tool.

Knows names of keys only. A key that is honoured in other words is translated; one that has no effect gives a warning that
says what happens instead; one that is for another tool is a problem.
"""

from collections.abc import Mapping
from typing import Any

from workbench.fields import Knob
from workbench.problems import Problem
from workbench.text import Message, Text
from workbench.tutorials.reasons import Say as Why
from workbench.tutorials.reasons import known_keys
from workbench.tutorials.renames import RULES, Draft

__all__ = ["known_keys", "translate"]


class Say:
    other_tool = Text("Keys for {tool}, which has no part in what is done here: {keys}. Take them out, or use {tool}.")


def translate(
    given: Mapping[str, Any], knobs: Mapping[str, Knob]
) -> tuple[dict[str, Any], list[Problem], list[Message]]:
    """The mapping under our keys, with what is wrong and what has no effect. Keys that are ours stay as they are."""
    draft = Draft(dict(given), knobs)
    for rule in RULES:
        rule(draft)
    foreign: dict[str, list[str]] = {}
    for key in [key for key in draft.values if key not in knobs and key in known_keys()]:
        known, value = known_keys()[key], draft.values.pop(key)
        if known.asks_for_nothing(value):
            continue
        if known.fate == "other_tools":
            foreign.setdefault(known.why, []).append(key)
        elif known.fate == "no_effect":
            draft.has_no_effect(key, "***" if known.why == "secret" else value, known.reason())
        else:
            draft.has_no_effect(key, value, Why.elsewhere())
    for tool, keys in foreign.items():
        draft.problems.append(Problem(Say.other_tool(tool=tool, keys=", ".join(keys)), keys[0]))
    return draft.values, draft.problems, draft.warnings
