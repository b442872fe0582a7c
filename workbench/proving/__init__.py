"""The proof of an export: the same prompts to what training left and to what was exported, one after the other in memory.

Knows no exporter by name and no page.
"""

import gc
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from workbench.desk import Desk
from workbench.engines import Chat, Engine
from workbench.evaluating.records import Question
from workbench.exporters import Bounds, Made, Source
from workbench.exporting.proof import KINDS, Compared, Ending, Proof
from workbench.problems import UserError, first_line
from workbench.proving.asking import ANSWERS, LIKELIEST, Answers, Told, answer, ending_of, tell, with_bare
from workbench.proving.comparing import compare
from workbench.proving.prompts import learned_over_few_bits, questions
from workbench.proving.reading import reads_alike
from workbench.proving.room import precision_for
from workbench.proving.sides import Side, bare_side, exported_side, training_side
from workbench.specs import ExportSpec
from workbench.text import Text

WIDER = Bounds(0.9, 0.05)
"""What may differ at least where both sides had to be computed in 16 bits: each of them rounds by itself."""
LONGER, MOST_LONGER = 256, 3
"""Tokens that an answer gets where none has ended, and how many answers do."""


class Say:
    unopened = Text("It does not open: {reason}")
    broken = Text("It broke off: {reason}")


def prove(spec: ExportSpec, source: Source, made: Made, folder: Path, desk: Desk) -> Proof:
    """Ask both sides and compare. What stands in the way is the proof's trouble: the export itself lies whole already."""
    desk.phase("proving")
    quiet = replace(source, opening=replace(source.opening, note=lambda message: None))
    original = made.original and learned_over_few_bits(source)
    proof = Proof(made.engine, made.bounds, spec.exporting.proof_tokens, original=original)
    try:
        asked = questions(spec, quiet, desk)
        precision = precision_for(quiet, folder)
        if precision != "fp32":
            proof = replace(proof, precision=precision, bounds=_wider(made.bounds))
        sides = training_side(quiet, original, precision), bare_side(quiet, original, precision)
        told = _training(*sides, asked, proof.most_tokens, desk)
        return _exported(proof, exported_side(quiet, made, folder, precision), asked, told, desk)
    except UserError as error:
        return replace(proof, trouble=error.problems[0].message)


def _wider(bounds: Bounds) -> Bounds:
    return Bounds(min(bounds.least_same, WIDER.least_same), max(bounds.most_divergence, WIDER.most_divergence))


def _training(side: Side, bare: Side | None, asked: Sequence[Question], most: int, desk: Desk) -> list[Told]:
    """What the training side says to each, and the model before it where there was one; asked where no earlier worker has."""
    answers, total = Answers(desk.run.folder / ANSWERS), 2 * len(asked)
    left = [one for one in asked if one.place not in answers.found]
    desk.phase("proving", len(asked) - len(left), total)
    if left or _untried(asked, answers, most):
        with _opened(side) as engine:
            for done, question in enumerate(left, len(asked) - len(left) + 1):
                answers.add(tell(engine, side.name, question, most, side.bare))
                desk.phase("proving", done, total)
            _go_on(engine, side, _untried(asked, answers, most), answers, desk)
    found = [answers.found[one.place] for one in asked]
    if bare and (lacking := [one for one in found if one.tokens and not one.bare]):
        with _opened(bare) as engine:
            for told in lacking:
                answers.add(with_bare(engine, bare.name, told))
                desk.phase("proving", len(asked), total)
    return [answers.found[one.place] for one in asked]


def _untried(asked: Sequence[Question], answers: Answers, most: int) -> list[Question]:
    """Where no answer ended: the prompts that are worth more tokens, the shortest ones."""
    found = [one for one in asked if one.place in answers.found]
    if any(answers.found[one.place].finish == "stop" for one in found):
        return []
    found.sort(key=lambda one: len(answers.found[one.place].prompt))
    return [one for one in found[:MOST_LONGER] if max(most, answers.found[one.place].tried) < LONGER]


def _go_on(engine: Engine, side: Side, untried: Sequence[Question], answers: Answers, desk: Desk) -> None:
    """Give these prompts more tokens until one answer ends, so that its end is tried."""
    for question in untried:
        told = tell(engine, side.name, question, LONGER, side.bare)
        ended = told.finish == "stop"
        answers.add(replace(told if ended else answers.found[question.place], tried=LONGER))
        desk.phase("proving")
        if ended:
            return


def _exported(proof: Proof, side: Side, asked: Sequence[Question], told: Sequence[Told], desk: Desk) -> Proof:
    """The proof with what the export says to each."""
    compared = list[Compared]()
    with _opened(side) as engine:
        few = "score" in engine.lacks
        for question, here in zip(asked, told, strict=True):
            compared.append(_compared(engine, side, question, here, proof.most_tokens))
            desk.phase("proving", len(asked) + len(compared), 2 * len(asked))
    return replace(proof, compared=tuple(compared), likeliest=LIKELIEST if few else 0)


def _compared(engine: Engine, side: Side, question: Question, here: Told, most: int) -> Compared:
    name = side.name
    prompt = list(engine.tokens(Chat(question.messages, question.tools)))
    there, likely = answer(engine, name, prompt, here.tokens, most if len(here.tokens) <= most else LONGER)
    places = compare(here.tokens, here.chances, likely)
    bare = here.bare_chances
    ending: Ending = "none"
    if here.finish == "stop":
        ending = ending_of(engine, name, [*prompt, *here.tokens[:-1]], here.tokens[-1], likely[-1])
    return Compared(
        next(kind for kind in KINDS if kind == question.set),
        str(question.messages[-1].get("content") or ""),
        here.said,
        there,
        reads_alike(engine, side, question, here.prompt),
        places.tokens,
        places.same,
        places.ties,
        places.divergence,
        ending,
        compare(here.tokens, here.chances, bare).divergence if bare else None,
        compare(here.tokens, bare, likely).divergence if bare else None,
    )


@contextmanager
def _opened(side: Side) -> Iterator[Engine]:
    """Its engine for the block; what makes a library give up is told as a UserError."""
    from safetensors import SafetensorError

    libraries = (OSError, ValueError, RuntimeError, KeyError, SafetensorError)
    gc.collect()  # a model that an earlier side held is in circles of references, and would stay beside this one
    try:
        engine = side.open()
    except libraries as error:
        raise UserError(Say.unopened(reason=first_line(error))) from error
    try:
        yield engine
    except (ValueError, RuntimeError, KeyError, IndexError) as error:
        raise UserError(Say.broken(reason=first_line(error))) from error
    finally:
        engine.close()
