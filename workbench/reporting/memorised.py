"""Memorised: whether rows came back word for word, and how much better what was learned goes than what was not. Knows no run."""

from workbench.reporting import Figures, Light, Part
from workbench.reporting.learned import percent
from workbench.text import Message, Text

BY_HEART, SOME_BY_HEART = 0.6, 0.35
"""Shares of learned answers whose second half comes word for word."""
GAP, WIDE_GAP = 0.25, 1.0
"""Nats by which the loss on rows held out is above that on learned ones. Seen with the starter model and 90 rows of identity:
0.60 after the usual five epochs, when it answers other words as well; 1.52 at a rate that is far too high."""
FRAGILE = 0.25
"""By how much answers are worse when a learned question is put in other words."""
SHOWN = 8


class Say:
    unmeasured = Text("Too few rows without a near twin are left to tell whether it learned them by heart.")
    general = Text("It did not learn the rows by heart.")
    apart = Text(
        "Rows that it learned go much better than rows held out: the loss on these is {gap} higher. Word for word it goes on "
        "in {share} of the answers."
    )
    recites = Text("It learned the rows by heart: {share} of the answers go on word for word.")
    some = Text("It knows some rows by heart: {share} of the answers go on word for word.")
    by_heart = Text(
        "It learned the rows by heart: {share} of the answers go on word for word, and the loss on rows held out is {gap} higher."
    )
    continued = Text("Second halves of learned answers, word for word: base {base}, tuned {tuned} of {count}.")
    twins = Text("{count} rows were not tried, since others are nearly the same.")
    gap = Text("Loss on learned rows {learned}, on rows held out {held}.")
    rephrased = Text("Likeness of answers to the set's: {learned} to learned questions, {rephrased} to the same in other words.")
    shorter = Text("Train for fewer epochs: {epochs} are many for {rows} rows. Usual: 3 to 5; or stop early.")
    more = Text("Add rows: the same said in many ways teaches more than the same said often.")
    smaller = Text("Lower the rank, now {rank}, to {lower}.")


def judge(figures: Figures) -> Part:
    """Red when the rows come word for word and others do badly."""
    if len(figures.continued) < 3 and not (figures.held_loss and figures.train_loss):
        return Part("memorised", "grey", Say.unmeasured(), _facts(figures))
    share, apart = figures.continued.means[1], gap(figures)
    compared = bool(figures.held_loss and figures.train_loss)
    light = _light(share, apart, fragile(figures)) if compared else _alone(share)
    verdict = _verdict(light, share, apart)
    evidence = [one for one in figures.shown if one.kind in ("continued", "rephrased")]
    return Part("memorised", light, verdict, _facts(figures), _advice(figures) if light != "green" else [], evidence[:SHOWN])


def _verdict(light: Light, share: float, apart: float) -> Message:
    """In words, naming only what was measured."""
    if light == "green":
        return Say.general()
    if share < SOME_BY_HEART:
        return Say.apart(share=percent(share), gap=f"{apart:.2f}")
    if light == "amber":
        return Say.some(share=percent(share))
    return Say.by_heart(share=percent(share), gap=f"{apart:.2f}") if apart >= GAP else Say.recites(share=percent(share))


def gap(figures: Figures) -> float:
    """How much higher the tuned model's loss is on rows held out than on learned ones, beyond what it is for the base."""
    if not figures.held_loss or not figures.train_loss:
        return 0.0
    (held_before, held), (learned_before, learned) = figures.held_loss.means, figures.train_loss.means
    return (held - learned) - (held_before - learned_before)


def fragile(figures: Figures) -> float:
    """By how much answers are worse when a learned question is put in other words."""
    if not figures.rephrased_score:
        return 0.0
    return figures.train_score.means[1] - figures.rephrased_score.means[1]


def _alone(share: float) -> Light:
    """By what comes word for word alone, where nothing was held out to compare with."""
    return "red" if share >= BY_HEART else "amber" if share >= SOME_BY_HEART else "green"


def _light(share: float, apart: float, worse: float) -> Light:
    if share >= BY_HEART and worse >= FRAGILE or share >= SOME_BY_HEART and apart >= WIDE_GAP:
        return "red"
    return "amber" if share >= SOME_BY_HEART and apart >= GAP or apart >= WIDE_GAP else "green"


def _facts(figures: Figures) -> list[Message]:
    facts = []
    if figures.continued:
        base, tuned = round(sum(figures.continued.base)), round(sum(figures.continued.tuned))
        facts.append(Say.continued(base=base, tuned=tuned, count=len(figures.continued)))
    if figures.twins:
        facts.append(Say.twins(count=figures.twins))
    if figures.held_loss and figures.train_loss:
        learned, held = (f"{pair.means[1]:.3f}" for pair in (figures.train_loss, figures.held_loss))
        facts.append(Say.gap(learned=learned, held=held))
    if figures.rephrased_score:
        learned, other = (f"{pair.means[1]:.2f}" for pair in (figures.train_score, figures.rephrased_score))
        facts.append(Say.rephrased(learned=learned, rephrased=other))
    return facts


def _advice(figures: Figures) -> list[Message]:
    recipe = figures.recipe
    advice = [Say.shorter(epochs=f"{recipe.epochs:g}", rows=recipe.rows)] if recipe.epochs > 5 else []
    advice.append(Say.more())
    if recipe.lora_rank and recipe.lora_rank > 8:
        advice.append(Say.smaller(rank=recipe.lora_rank, lower=8))
    return advice
