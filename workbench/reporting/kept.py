"""Kept: everyday questions and plain prose, before and after: what training cost. Knows no run."""

from workbench.evaluating.intervals import compare
from workbench.reporting import Figures, Light, Pair, Part
from workbench.reporting.learned import rate
from workbench.text import Message, Text, verbatim

LOST_MUCH = 0.15
"""Which share of its right answers it lost; less counts where chance does not explain it. Seen with the starter model: 0.04
after the usual recipe, 0.23 at a rate that is far too high."""
SHOWN = 8
ROSE, ROSE_MUCH = 0.10, 0.30
"""By which share the loss on plain prose rises."""


class Say:
    unmeasured = Text("Neither everyday questions nor plain prose were tried.")
    kept = Text("It kept what it knew: no measurable loss ({tried}).")
    some = Text("It lost a little of what it knew: {tried}.")
    much = Text("It lost much of what it knew: {tried}.")
    both = Text("{first}; {second}")
    of_suite = Text("right answers to everyday questions {change}")
    of_prose = Text("loss on plain prose {rise}")
    suite = Text("Everyday questions: base {base}, tuned {tuned} of {count} right.")
    category = Text("{category}: base {base}, tuned {tuned} of {count}.")
    prose = Text("Loss on {count} paragraphs of plain prose: base {base}, tuned {tuned}.")
    knowledge = Text("knowledge")
    arithmetic = Text("arithmetic")
    reading = Text("reading")
    following = Text("following instructions")
    in_language = Text("{category} ({language})")
    slower = Text("Lower the learning rate, now {rate}, to {lower}.")
    shorter = Text("Train for fewer epochs, now {epochs}.")
    mix = Text("Mix general rows into the set: one to every three of your own (dataset: yours, alpaca_en_demo or alpaca_zh_demo).")
    lora = Text("Train an adapter (method lora) instead of all weights: it changes less.")


def judge(figures: Figures) -> Part:
    """Red when a person would notice what is gone."""
    pooled = Pair(
        [one for pair in figures.suite.values() for one in pair.base],
        [one for pair in figures.suite.values() for one in pair.tuned],
    )
    if not pooled and not figures.general_loss:
        return Part("kept", "grey", Say.unmeasured())
    change = compare(pooled.base, pooled.tuned) if pooled else None
    moved = ((change.mean if change else None) or 0.0) / (pooled.means[0] or 1.0)
    lost = -moved if change and change.verdict == "worse" else 0.0
    light = _light(lost, rise(figures))
    said = [Say.of_suite(change=f"{100 * moved:+.0f} %")] if pooled else []
    said += [Say.of_prose(rise=f"{100 * rise(figures):+.0f} %")] if figures.general_loss else []
    tried = Say.both(first=said[0], second=said[1]) if len(said) == 2 else said[0]
    verdict = {"green": Say.kept, "amber": Say.some, "red": Say.much}[light](tried=tried)
    lost_ones = [one for one in figures.shown if one.kind == "everyday"] if light != "green" else []
    advice = _advice(figures) if light != "green" else []
    return Part("kept", light, verdict, _facts(figures, pooled), advice, lost_ones[:SHOWN])


def _light(lost: float, rose: float) -> Light:
    if lost >= LOST_MUCH or rose >= ROSE_MUCH:
        return "red"
    return "amber" if lost > 0 or rose >= ROSE else "green"


def rise(figures: Figures) -> float:
    """By which share the loss on plain prose rose."""
    before, after = figures.general_loss.means
    return after / before - 1 if before else 0.0


def _facts(figures: Figures, pooled: Pair) -> list[Message]:
    facts = []
    if pooled:
        base, tuned = round(sum(pooled.base)), round(sum(pooled.tuned))
        facts.append(Say.suite(base=base, tuned=tuned, count=len(pooled)))
    for name, pair in figures.suite.items():
        base, tuned = round(sum(pair.base)), round(sum(pair.tuned))
        facts.append(Say.category(category=category(name), base=base, tuned=tuned, count=len(pair)))
    if figures.general_loss:
        before, after = (f"{value:.3f}" for value in figures.general_loss.means)
        facts.append(Say.prose(count=len(figures.general_loss), base=before, tuned=after))
    return facts


CATEGORIES = {
    "knowledge": Say.knowledge,
    "arithmetic": Say.arithmetic,
    "reading": Say.reading,
    "following": Say.following,
}


def category(name: str) -> Message:
    """A part of the everyday questions in words: of 'reading (zh)' the part and its language."""
    part, _, language = name.partition(" (")
    said = CATEGORIES[part]() if part in CATEGORIES else verbatim(part)
    return Say.in_language(category=said, language=language.rstrip(")")) if language else said


def _advice(figures: Figures) -> list[Message]:
    recipe = figures.recipe
    advice = [Say.slower(rate=rate(recipe.learning_rate), lower=rate(recipe.learning_rate / 3))]
    if recipe.epochs > 3:
        advice.append(Say.shorter(epochs=f"{recipe.epochs:g}"))
    advice.append(Say.mix())
    if recipe.finetuning_type == "full":
        advice.append(Say.lora())
    return advice
