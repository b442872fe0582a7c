"""Asks a model every question that was not answered yet, many at a time, and keeps each answer at once. Knows no metric."""

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed

from workbench.desk import Desk
from workbench.engines import Chat, Engine, Prompt, Raw, Sampling
from workbench.evaluating.records import Answer, Kept, Question

IN_FLIGHT = 32
"""Questions that wait in the engine at once; it computes as many of them together as it can."""


def ask_all(
    engine: Engine, name: str, label: str, questions: Sequence[Question], sampling: Sampling, kept: Kept, desk: Desk
) -> None:
    """Answers of the engine's model ``name``, kept under ``label``; what an earlier worker asked is not asked again."""
    left = [one for one in questions if (label, one.place) not in kept.answers]
    done = len(questions) - len(left)
    desk.phase("asking", done, len(questions))
    gone: list[bool] = []

    def ask(question: Question) -> None:
        if not gone:
            kept.add(answer(engine, name, label, question, sampling, gone))

    with ThreadPoolExecutor(min(IN_FLIGHT, max(1, len(left)))) as pool:
        try:
            for asked in as_completed([pool.submit(ask, one) for one in left]):
                asked.result()
                done += 1
                desk.phase("asking", done, len(questions))
        except BaseException:
            gone.append(True)
            raise


def answer(engine: Engine, name: str, label: str, question: Question, sampling: Sampling, gone: Sequence[bool]) -> Answer:
    """One answer, whole."""
    begun, text, finish, tokens = time.monotonic(), "", "stop", 0
    prompt: Prompt = Chat(question.messages, question.tools)
    if question.beginning:
        prompt = Raw([*engine.tokens(prompt), *engine.tokens(Raw(question.beginning))])
    for piece in engine.stream(name, prompt, sampling, lambda: bool(gone)):
        text += piece.text
        finish, tokens = piece.finish or finish, piece.answer_tokens or tokens
    return Answer(label, question.place, text, finish, tokens, round(time.monotonic() - begun, 3))
