"""A judge that compares base and tuned: any OpenAI-compatible server, asked twice with the order swapped. Knows no set."""

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from workbench.desk import Desk
from workbench.engines import Sampling
from workbench.evaluating.ledger import Ledger
from workbench.evaluating.records import BASE, TUNED, Kept, Question
from workbench.examining.flight import Gone, fly
from workbench.talk import ask

JUDGED = "judged.jsonl"
KEY_VARIABLE = "JUDGE_API_KEY"
INSTRUCTION = (
    "Two answers to the same question follow. Say which one is better: more correct, more helpful, nearer to what was asked. "
    "Length alone is no merit. Write A, B or tie, and nothing else."
)
SAMPLING = Sampling(max_tokens=64, temperature=0.0, top_p=1.0)
WORD = re.compile(r"\b(A|B|tie)\b", re.IGNORECASE)
Choice = Literal["base", "tuned", "tie", "unclear"]


@dataclass(frozen=True)
class Judgement:
    """What the judge chose with the base's answer first, and with the tuned one's."""

    base_first: Choice
    tuned_first: Choice

    @property
    def agrees(self) -> bool:
        """Whether the order of the answers did not matter."""
        return self.base_first == self.tuned_first

    def score(self) -> float | None:
        """1 where the tuned answer is better whatever the order, 0 where the base's is, else a half; None where it can't be told."""
        if "unclear" in (self.base_first, self.tuned_first):
            return None
        if not self.agrees or self.base_first == "tie":
            return 0.5
        return float(self.base_first == TUNED)


def judge_all(url: str, model: str, questions: Sequence[Question], kept: Kept, folder: Path, desk: Desk) -> dict[str, Judgement]:
    """A judgement for each question that both have answered, by its place; what was judged before is not asked again."""
    ledger = Ledger(folder / JUDGED)
    found: dict[tuple[str, str], Choice] = {(one["place"], one["first"]): one["choice"] for one in ledger.read()}
    both = [one for one in questions if all(kept.answers[label, one.place].answered for label in (BASE, TUNED))]
    left = [(one, first) for one in both for first in (BASE, TUNED) if (one.place, first) not in found]
    total, key = 2 * len(both), os.environ.get(KEY_VARIABLE) or None
    desk.phase("judging", total - len(left), total)

    def put(item: tuple[Question, str], gone: Gone) -> None:
        question, first = item
        texts = {label: kept.answers[label, question.place].answer for label in (BASE, TUNED)}
        said = "".join(ask(url, model, [{"role": "user", "content": written(question, texts, first)}], SAMPLING, key))
        chosen = choice(said, first)
        ledger.add([{"place": question.place, "first": first, "choice": chosen, "said": said[:400]}])
        found[question.place, first] = chosen

    fly(left, put, lambda item: desk.phase("judging", len(found), total))
    return {one.place: Judgement(found[one.place, BASE], found[one.place, TUNED]) for one in both}


def written(question: Question, texts: Mapping[str, str], first: str) -> str:
    """What the judge reads."""
    second = TUNED if first == BASE else BASE
    asked = "\n".join(f"{one['role']}: {one.get('content') or ''}" for one in question.messages)
    right = f"\n\nAn answer that is right:\n{question.reference}" if question.reference else ""
    return f"{INSTRUCTION}\n\nQuestion:\n{asked}{right}\n\nAnswer A:\n{texts[first]}\n\nAnswer B:\n{texts[second]}"


def choice(said: str, first: str) -> Choice:
    """Whom the judge's last word means: thoughts may come before it."""
    words = WORD.findall(said)
    if not words:
        return "unclear"
    if words[-1].lower() == "tie":
        return "tie"
    return "base" if (words[-1].upper() == "A") == (first == BASE) else "tuned"
