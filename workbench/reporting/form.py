"""Form: whether answers end, repeat themselves, leak marks of the template, or come in another language. Knows no run."""

import re
from collections.abc import Sequence

from workbench.evaluating.languages import language_of
from workbench.reporting import Figures, Light, Part, Shown
from workbench.reporting.learned import percent
from workbench.text import Message, Text

ENDS_WELL, ENDS_OFTEN = 0.9, 0.7
SOME, MANY = 0.1, 0.3
"""Shares of answers with a fault."""
MARK = re.compile(
    r"<\|[^<>|\s]{1,40}\|>|</s>|\[/?INST\]|<(?:start|end)_of_turn>|###\s*(?:Instruction|Response)|<</?SYS>>"
    r"|^(?:Human|User|ASSISTANT|Assistant|USER):",
    re.MULTILINE,
)
"""What templates put around turns; in an answer it has leaked."""
LOOP_CHARACTERS, LOOP_TIMES = 6, 3
TAIL = 400
SHOWN = 8


class Say:
    unmeasured = Text("Nothing was asked.")
    good = Text("Its answers end by themselves, do not repeat themselves and are clean.")
    endless = Text("Its answers do not end: {share} of them came to an end by themselves.")
    faults = Text("{share} of its answers have a fault: {kinds}.")
    ends = Text("{ended} of {count} answers ended by themselves.")
    repeats = Text("{count} answers repeat themselves.")
    leaks = Text("{count} answers hold marks of a chat template.")
    other = Text("{count} answers are not in the language of the question.")
    length = Text("A usual answer has {tuned} characters; one of the set {reference}.")
    repeating = Text("repeating")
    leaking = Text("marks of a template")
    language = Text("another language")
    template = Text(
        "Train with the model's own chat template ('Chat template' auto, now {template}): then the mark that ends an answer is "
        "learned. 'Look' at a row on the Data tab shows it."
    )
    longer = Text("Train longer: the end of an answer is learned late.")
    check = Text("Look for these marks in the set: Check on the Data tab finds them.")
    mix = Text("Add rows in the language that it should answer in.")


def judge(figures: Figures) -> Part:
    """Red when answers do not end, or many have a fault."""
    asked = [one for one in figures.shown if one.kind in ("identity", "held", "train", "rephrased")]
    if not asked:
        return Part("form", "grey", Say.unmeasured())
    ended = sum(ends(one) for one in asked) / len(asked)
    found = {kind: [one for one in asked if test(one)] for kind, test in FAULTS.items()}
    worst = max(len(some) for some in found.values()) / len(asked)
    light = _light(ended, worst)
    if light == "green":
        verdict = Say.good()
    elif ended < ENDS_WELL:
        verdict = Say.endless(share=percent(ended))
    else:
        kind = max(found, key=lambda one: len(found[one]))
        verdict = Say.faults(share=percent(worst), kinds=KINDS[kind]())
    evidence = [one for one in asked if not ends(one) or any(one in some for some in found.values())]
    return Part("form", light, verdict, _facts(asked, found), _advice(figures, ended, found, light), evidence[:SHOWN])


def _light(ended: float, worst: float) -> Light:
    if ended < ENDS_OFTEN or worst >= MANY:
        return "red"
    return "amber" if ended < ENDS_WELL or worst >= SOME else "green"


def ends(shown: Shown) -> bool:
    """Whether the answer came to an end, or was cut off while it was no longer than the set's own."""
    return shown.finish == "stop" or 0 < len(shown.tuned) <= len(shown.reference)


def repeats(shown: Shown) -> bool:
    """Whether the answer ends in the same words over and over."""
    tail = shown.tuned[-TAIL:].strip()
    return re.search(rf"(.{{{LOOP_CHARACTERS},}}?)(?:\s*\1){{{LOOP_TIMES - 1},}}$", tail, re.DOTALL) is not None


def leaks(shown: Shown) -> bool:
    """Whether a mark of a template stands in the answer and not in the set's own."""
    return MARK.search(shown.tuned) is not None and MARK.search(shown.reference) is None


def strays(shown: Shown) -> bool:
    """Whether the answer is in another language than the set's own, or the question where there is none."""
    given, said = language_of(shown.reference or shown.prompt), language_of(shown.tuned)
    return {given, said} == {"en", "zh"}


FAULTS = {"repeating": repeats, "leaking": leaks, "language": strays}
KINDS = {"repeating": Say.repeating, "leaking": Say.leaking, "language": Say.language}


def _facts(asked: Sequence[Shown], found: dict[str, list[Shown]]) -> list[Message]:
    ended = sum(ends(one) for one in asked)
    facts = [Say.ends(ended=ended, count=len(asked))]
    told = {"repeating": Say.repeats, "leaking": Say.leaks, "language": Say.other}
    facts += [told[kind](count=len(some)) for kind, some in found.items() if some]
    with_reference = [one for one in asked if one.reference]
    if with_reference:
        tuned, own = (sorted(len(text) for text in texts)[len(with_reference) // 2] for texts in (
            [one.tuned for one in with_reference], [one.reference for one in with_reference]))  # fmt: skip
        facts.append(Say.length(tuned=tuned, reference=own))
    return facts


def _advice(figures: Figures, ended: float, found: dict[str, list[Shown]], light: Light) -> list[Message]:
    if light == "green":
        return []
    advice = []
    if ended < ENDS_WELL:
        own = figures.recipe.template == "auto"
        advice.append(Say.longer() if own else Say.template(template=figures.recipe.template))
    if found["leaking"]:
        advice.append(Say.check())
    if found["language"]:
        advice.append(Say.mix())
    return advice
