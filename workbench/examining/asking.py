"""Asks a model every question that was not answered yet, many at a time, and keeps each answer at once. Knows no metric."""

import time
from collections.abc import Iterable, Sequence

from workbench.desk import Desk
from workbench.engines import Chat, Engine, Prompt, Raw, Sampling, TooLong
from workbench.evaluating.records import UNANSWERED, Answer, Kept, Question
from workbench.examining.flight import Gone, fly, hear
from workbench.problems import UserError
from workbench.text import Message, Text

TOLD = 5


class Say:
    unanswered = Text("'{set}', row {row} has no answer of {model} and is not scored: {reason}")
    more = Text("{count} more rows have no answer of {model}; worker.log lists every one.")


def ask_all(
    engine: Engine, name: str, label: str, questions: Sequence[Question], sampling: Sampling, kept: Kept, desk: Desk
) -> int:
    """Answers of the engine's model ``name``, kept under ``label``; how many were asked for it: what an earlier worker
    asked is not asked again. A row that can't be asked is told, and kept as unanswered."""
    left = [one for one in questions if (label, one.place) not in kept.answers]
    done = len(questions) - len(left)
    desk.phase("asking", done, len(questions))

    def ask(question: Question, gone: Gone) -> None:
        kept.add(answer(engine, name, label, question, sampling, gone))

    def tell(question: Question) -> None:
        nonlocal done
        done += 1
        desk.phase("asking", done, len(questions))

    fly(left, ask, tell)
    _tell_unanswered(((one, kept.answers[label, one.place]) for one in questions), desk)
    return len(left)


def answer(engine: Engine, name: str, label: str, question: Question, sampling: Sampling, gone: Gone) -> Answer:
    """One answer, whole; an unanswered one where the fault is the question's."""
    begun = time.monotonic()
    try:
        prompt: Prompt = Chat(question.messages, question.tools)
        if question.beginning:
            prompt = Raw([*engine.tokens(prompt), *engine.tokens(Raw(question.beginning))])
        heard = hear(engine, name, prompt, sampling, gone)
    except UserError as error:
        if not of_the_question(error):
            raise
        return Answer(label, question.place, "", UNANSWERED, reason=error.problems[0].message.to_json())
    return Answer(label, question.place, heard.text, heard.finish, heard.tokens, round(time.monotonic() - begun, 3))


def of_the_question(error: UserError) -> bool:
    """Whether other questions may go well: this one is too long, or the template has no place for it."""
    return isinstance(error, TooLong) or any(problem.key == "messages" for problem in error.problems)


def _tell_unanswered(asked: Iterable[tuple[Question, Answer]], desk: Desk) -> None:
    """Each row without an answer into worker.log, the first ones as notes."""
    lost = [(question, one) for question, one in asked if not one.answered]
    said = [
        Say.unanswered(set=question.set, row=question.row, model=one.model, reason=Message.from_json(one.reason))
        for question, one in lost
    ]
    for message in said:
        print(message)
    for message in said[:TOLD]:
        desk.note(message, "warning")
    if len(said) > TOLD:
        desk.note(Say.more(count=len(said) - TOLD, model=lost[0][1].model), "warning")
