"""Answers and losses of a report as the figures that its parts judge. Knows no engine and no light."""

from collections.abc import Callable, Mapping, Sequence

from workbench import metrics, stages
from workbench.evaluating.languages import language_of
from workbench.evaluating.records import BASE, TUNED, Kept, Question
from workbench.events import Step
from workbench.jobs.report.rows import CONTINUED, GENERAL, HELD, IDENTITY, REPHRASED, TRAIN, Plan
from workbench.reporting import Figures, Pair, Recipe, Shown
from workbench.sockets import plugins
from workbench.specs import TrainSpec
from workbench.view import View

LIKENESS, FIELDS = "rouge_l", "json_fields"
CUT = 80
"""Characters of an answer that was cut off which must be those of the set, to say that it goes on word for word."""
LIKELY = ("dialogue", "text")
"""What stages learn from that make the set's answers likelier; preferences and rewards do not always."""


def figures_of(spec: TrainSpec, plan: Plan, kept: Kept, seen: View, suite: Mapping[str, Pair], lost: Sequence[Shown]) -> Figures:
    """Everything that was measured, as numbers of base and tuned side by side."""
    like = plugins(metrics)[LIKENESS].score
    answered = [one for one in plan.questions if all(kept.answers[label, one.place].answered for label in (BASE, TUNED))]
    asked = {kind: [one for one in answered if one.set == kind] for kind in (HELD, TRAIN, REPHRASED, IDENTITY, CONTINUED)}

    def pair(kind: str, score: Callable[[str, str], float | None]) -> Pair:
        both = [[score(kept.answers[label, one.place].answer, one.reference) or 0.0 for one in asked[kind]] for label in (BASE, TUNED)]
        return Pair(*both)

    fields = plugins(metrics)[FIELDS]
    wanted = fields.wants([one.reference for kind in (HELD, TRAIN) for one in asked[kind]])
    return Figures(
        recipe=recipe_of(spec, plan, seen.step),
        held_loss=_losses(kept, HELD),
        train_loss=_losses(kept, TRAIN),
        general_loss=_losses(kept, GENERAL),
        held_score=pair(HELD, like),
        held_fields=pair(HELD, fields.score) if wanted else Pair(),
        train_score=pair(TRAIN, like),
        rephrased_score=pair(REPHRASED, like),
        name=plan.name,
        named=pair(IDENTITY, lambda answer, _: float(plan.name in answer)),
        suite=suite,
        continued=pair(CONTINUED, goes_on),
        twins=plan.twins,
        own={name: curve.values[-1] for name, curve in seen.eval_metrics.items() if curve.values},
        shown=[*(_shown(one, kept) for kind in asked for one in asked[kind]), *lost],
    )


def goes_on(answer: str, rest: str) -> float:
    """1 when the answer begins with the rest, white space apart, or was cut off within it."""
    said, wanted = "".join(answer.split()), "".join(rest.split())
    return float(said.startswith(wanted) or (len(said) >= CUT and wanted.startswith(said)))


def recipe_of(spec: TrainSpec, plan: Plan, last: Step) -> Recipe:
    """What the run was told, and how far it came."""
    rank = spec.tuning.model_dump().get("lora_rank")
    return Recipe(
        learning_rate=spec.optim.learning_rate,
        epochs=round(last.epoch, 1) or last.epoch or spec.optim.num_train_epochs,
        rows=plan.rows,
        steps=last.step,
        finetuning_type=spec.tuning.finetuning_type,
        lora_rank=int(rank) if rank else None,
        template=spec.model.template,
        likely=not spec.stage.reference_passes and plugins(stages)[spec.stage.stage].SHAPES[0] in LIKELY,
    )


def _losses(kept: Kept, kind: str) -> Pair:
    """The loss a token of each row of a kind, on base and tuned."""
    places = [place for label, place in kept.losses if label == TUNED and place.startswith(f"{kind}:")]
    told = [place for place in places if all(kept.losses[label, place].tokens for label in (BASE, TUNED))]
    return Pair(*([kept.losses[label, one].nll / kept.losses[label, one].tokens for one in told] for label in (BASE, TUNED)))


def _shown(question: Question, kept: Kept) -> Shown:
    base, tuned = (kept.answers[label, question.place] for label in (BASE, TUNED))
    last = str(question.messages[-1].get("content") or "")
    prompt = f"{last}\n\n{question.beginning} ..." if question.beginning else last
    return Shown(question.set, prompt, question.reference, base.answer, tuned.answer, tuned.finish, language_of(last))


