"""Learned: the loss and the answers on rows that were held out, and who the model says it is. Knows no run."""

from collections.abc import Sequence

from workbench.evaluating.intervals import LEAST_PAIRS, Verdict, compare, estimate
from workbench.reporting import Figures, Light, Part
from workbench.text import Message, Text

KNOWS, KNOWS_PARTLY = 0.8, 0.4
"""Shares of answers with the taught name."""
PREFERS, CHANCE = 0.7, 0.5
"""Shares of pairs in which the better answer is the likelier one."""
MUCH = 0.1
"""A loss that falls by this share is seen in the answers too."""
NOTHING = 1e-3
"""A loss that moved by less of itself did not move."""
FEW_STEPS = 30
SHOWN = 8


class Say:
    unmeasured = Text("Nothing was held out, and the set teaches no name, so what was learned can't be told.")
    knows = Text("It learned who it is: {share} of the answers say {name}, asked in ways that are not in the set.")
    partly = Text("It learned who it is only in part: {share} of the answers say {name}.")
    knows_not = Text("It did not learn who it is: {share} of the answers say {name}.")
    well = Text("It learned: the loss on rows it never saw fell by {share}.")
    little = Text("It learned a little: the loss on rows it never saw fell by {share}.")
    prefers = Text("It prefers the better answer in {share} of the pairs held out, as the run itself measured.")
    by_reward = Text("This stage follows a reward, not the set's own answers: the run's own figures say what it learned.")
    figure = Text("{name}: {value}")
    few = Text("Only {count} rows were held out, too few to be sure: on them the loss went from {base} to {tuned}.")
    same = Text("No measurable difference to the base model on rows it never saw.")
    worse = Text("On rows it never saw it is worse than the base model: the loss rose by {share}.")
    loss = Text("Loss on {count} rows held out: base {base}, tuned {tuned}.")
    score = Text("Likeness to the set's own answers (ROUGE-L): base {base}, tuned {tuned}.")
    fields = Text("Fields of the JSON that are right (F1), {count} rows held out, 95 % interval: base {base}, tuned {tuned}.")
    named = Text("'{name}' in {tuned} of {count} answers; of the base model's in {base}.")
    longer = Text("{steps} steps are few. Train for {epochs} epochs.")
    faster = Text("Raise the learning rate, now {rate}, to {higher}.")
    slower = Text("Lower the learning rate, now {rate}, to {lower}, or train for fewer epochs.")
    hold = Text("Hold rows out ('Validation share' 0.05 to 0.1), so that the next report can tell.")
    hold_more = Text(
        "Hold more rows out than {count}: raise 'Validation share', or have more rows, so that the next report can tell."
    )


def judge(figures: Figures) -> Part:
    """Green when it can do what the set teaches, on what it has not seen."""
    if not figures.named and not figures.recipe.likely:
        return _by_preference(figures)
    if not figures.held_loss and not figures.named:
        return Part("learned", "grey", Say.unmeasured(), advice=[Say.hold()])
    light, verdict = _named(figures) if figures.named else _by_loss(figures)
    kinds = ("identity", "held") if figures.named else ("held",)
    evidence = [one for kind in kinds for one in figures.shown if one.kind == kind]
    return Part("learned", light, verdict, _facts(figures), _advice(figures, light), evidence[: SHOWN * 2])


def _by_preference(figures: Figures) -> Part:
    """Of a stage that follows preferences or rewards: what the run itself has measured."""
    facts = [Say.figure(name=name, value=f"{value:.3f}") for name, value in figures.own.items()]
    share = figures.own.get("reward_accuracy", figures.own.get("accuracy"))
    if share is None:
        return Part("learned", "grey", Say.by_reward(), facts)
    light: Light = "green" if share >= PREFERS else "amber" if share >= CHANCE else "red"
    return Part("learned", light, Say.prefers(share=percent(share)), facts, _advice(figures, light) if light == "red" else [])


def fall(figures: Figures) -> float:
    """By which share the loss on rows held out fell; negative when it rose."""
    before, after = figures.held_loss.means
    return (before - after) / before if before else 0.0


def _named(figures: Figures) -> tuple[Light, Message]:
    _, share = figures.named.means
    told = {"share": percent(share), "name": figures.name}
    if share >= KNOWS:
        return "green", Say.knows(**told)
    if share >= KNOWS_PARTLY:
        return "amber", Say.partly(**told)
    return "red", Say.same() if _untouched(figures) else Say.knows_not(**told)


def _untouched(figures: Figures) -> bool:
    """Whether base and tuned can't be told apart; of too few rows for a test, when they are as good as the same in all of them."""
    if len(figures.held_loss) >= LEAST_PAIRS:
        return _change(figures) == "same"
    same = figures.named.base == figures.named.tuned
    return same and bool(figures.held_loss) and abs(fall(figures)) < NOTHING


def _by_loss(figures: Figures) -> tuple[Light, Message]:
    share = fall(figures)
    if len(figures.held_loss) < LEAST_PAIRS:
        base, tuned = (f"{value:.3f}" for value in figures.held_loss.means)
        return "amber", Say.few(count=len(figures.held_loss), base=base, tuned=tuned)
    match _change(figures):
        case "better":
            return ("green", Say.well(share=percent(share))) if share >= MUCH else ("amber", Say.little(share=percent(share)))
        case "worse":
            return "red", Say.worse(share=percent(-share))
        case _:
            return "red", Say.same()


def _change(figures: Figures) -> Verdict:
    return compare(figures.held_loss.base, figures.held_loss.tuned, lower_is_better=True).verdict


def _facts(figures: Figures) -> list[Message]:
    facts = []
    if figures.named:
        base, tuned = (round(sum(side)) for side in (figures.named.base, figures.named.tuned))
        facts.append(Say.named(name=figures.name, tuned=tuned, base=base, count=len(figures.named)))
    if figures.held_loss and figures.recipe.likely:
        base_loss, tuned_loss = (f"{value:.3f}" for value in figures.held_loss.means)
        facts.append(Say.loss(count=len(figures.held_loss), base=base_loss, tuned=tuned_loss))
    if figures.held_fields:
        base_fields, tuned_fields = (_spread(side) for side in (figures.held_fields.base, figures.held_fields.tuned))
        facts.append(Say.fields(count=len(figures.held_fields), base=base_fields, tuned=tuned_fields))
    if figures.held_score:
        base_score, tuned_score = (f"{value:.2f}" for value in figures.held_score.means)
        facts.append(Say.score(base=base_score, tuned=tuned_score))
    return facts


def _spread(scores: Sequence[float]) -> str:
    """A mean share with its interval, where there are enough to have one."""
    told = estimate(scores)
    if told.mean is None or told.low is None or told.high is None:
        return percent(told.mean or 0.0)
    return f"{percent(told.mean)} ({percent(told.low)} - {percent(told.high)})"


def _advice(figures: Figures, light: Light) -> list[Message]:
    recipe, advice = figures.recipe, list[Message]()
    if len(figures.held_loss) < LEAST_PAIRS:
        held = len(figures.held_loss)
        advice.append(Say.hold_more(count=held) if held else Say.hold())
    if light in ("green", "grey"):
        return advice
    if figures.held_loss and fall(figures) < 0 and _change(figures) == "worse":
        return [Say.slower(rate=rate(recipe.learning_rate), lower=rate(recipe.learning_rate / 3)), *advice]
    if recipe.steps < FEW_STEPS:
        advice.insert(0, Say.longer(steps=recipe.steps, epochs=f"{max(5, recipe.epochs * 3):g}"))
    else:
        advice.insert(0, Say.faster(rate=rate(recipe.learning_rate), higher=rate(recipe.learning_rate * 3)))
    return advice


def percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def rate(value: float) -> str:
    """A learning rate with one digit that counts: 3e-4."""
    return f"{value:.0e}".replace("e-0", "e-")
