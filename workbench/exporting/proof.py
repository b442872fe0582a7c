"""What the proof of an export found: figures and evidence as a file, and words for it when they are shown. Knows no engine.

A proof holds what both sides said; whether that is enough follows from it by rule, and is never stored as truth.
"""

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from workbench.exporters import Bounds
from workbench.fields import shortened
from workbench.text import Message, Text

PROOF = "proof.json"
"""The file in the run's folder, and in the export's."""
VERSION = 1
Kind = Literal["given", "held", "learned", "everyday"]
Ending = Literal["none", "same", "other", "ignored"]
"""Of an answer that ended on the training side. same: the export ends there too; other: another word is likelier to it;
ignored: it says the same end of turn and does not stop. none: on the training side the answer was cut, too."""
Reason = Literal["trouble", "nothing", "prompt", "training", "end", "answer", "tokens", "divergence"]
HARDLY = 0.1
"""Of the accepted divergence: a training that changed the next words' probabilities by less is lost in what the format rounds,
and whether it is in the export shows in no figure."""


class Say:
    proved = Text("Proved: {what} answers as the model did here. {prompts} prompts, {share} of {tokens} tokens alike, divergence {kl}.")
    failed = Text("NOT proved: {what} did not show that it answers as the model did here. {reason}")
    trouble = Text("It could not be tried: {reason}")
    nothing = Text("No prompt could be asked of both.")
    prompt = Text("{count} of {prompts} prompts become other tokens there. The first is: {prompt}")
    training = Text(
        "It answers more like the model before the training ({base} nats away) than like the trained one ({kl}): what was trained "
        "is not in it."
    )
    end = Text(
        "{count} of {prompts} answers do not stop where they stopped here: the end of turn is not known there, or never comes. "
        "The first is the answer to: {prompt}"
    )
    answer = Text("{count} of {prompts} answers differ. The first is the answer to: {prompt}")
    tokens = Text("{share} of the tokens are the likeliest there too. Accepted for this format: at least {least}.")
    divergence = Text("The next words' probabilities differ by {kl} nats on average. Accepted for this format: up to {most}.")
    here = Text("Here: {answer}")
    there = Text("There: {answer}")
    lower = Text("Its engine tells the {count} likeliest words alone, so the divergence is at least that much.")
    precision = Text("Both were computed in {precision}, since {full} has no room in memory: bounds are wider.")
    original = Text("Compared with the adapters over the base's own weights, which is what was exported; they learned over fewer bits.")
    given = Text("yours")
    held = Text("held out by the run")
    learned = Text("learned by the run")
    everyday = Text("everyday question")
    untold = Text(
        "The model before the training answers these prompts nearly the same (divergence {apart}), so it can't be told whether what "
        "was trained is in the export. Give prompts of the proof that the training changed."
    )
    finer = Text(
        "This format rounds the weights. Less is rounded in a folder of precision fp16 or fp32, or in a GGUF file of more bits: export "
        "it so if the difference matters."
    )
    no_end = Text("No answer ended within {tokens} tokens, so the end of turn was not tried.")


KINDS: Mapping[Kind, Text] = {"given": Say.given, "held": Say.held, "learned": Say.learned, "everyday": Say.everyday}
LONGEST = 300
FINE, WHOLE = 0.95, 0.99
"""Of tokens alike: a format that is held to the first share rounds, and is chosen by those who would rather not; one that is
held to the second hardly rounds."""


@dataclass(frozen=True)
class Said:
    """An answer, and how it ended: stop, or length where it was cut."""

    text: str
    finish: str


@dataclass(frozen=True)
class Compared:
    """One prompt on both sides."""

    kind: Kind
    prompt: str
    """The person's last words in it."""
    here: Said
    """The training side."""
    there: Said
    """The export."""
    same_prompt: bool
    """Whether it became the same tokens."""
    tokens: int
    """Places of the training side's answer, its end among them."""
    same: int
    """Those of them where the training side's token is the likeliest there too, ties among them."""
    ties: int
    """Those where two tokens are as good as equally likely on the training side, and the export says the other one."""
    divergence: float
    """Mean over the places of the Kullback-Leibler divergence of the next token's probabilities, nats."""
    ending: Ending
    apart: float | None = None
    """Divergence from the training side of the model before the training; None where nothing was trained."""
    from_base: float | None = None
    """Divergence of the export from that model."""

    @property
    def same_answer(self) -> bool:
        """The same text to its end; where a tie was turned, what follows it may differ."""
        return self.here == self.there or (self.ties > 0 and self.same == self.tokens)


@dataclass(frozen=True)
class Proof:
    """Both sides of every prompt, and what is demanded."""

    engine: str
    """The engine that loaded the export."""
    bounds: Bounds
    """Those that counted."""
    most_tokens: int
    """Of an answer."""
    compared: Sequence[Compared] = ()
    trouble: Message | None = None
    """Why one side could not be asked at all."""
    likeliest: int = 0
    """So many of the likeliest tokens made the divergence, where the engine tells no more; 0: nearly all."""
    precision: str = "fp32"
    original: bool = False
    """Whether the base stood in its own weights, though adapters had learned over fewer bits."""

    @property
    def tokens(self) -> int:
        """Places compared in all."""
        return sum(one.tokens for one in self.compared)

    @property
    def share(self) -> float:
        """Of the training side's tokens, those that are the likeliest there too."""
        return sum(one.same for one in self.compared) / max(1, self.tokens)

    @property
    def divergence(self) -> float:
        """Mean over all places, nats."""
        return sum(one.divergence * one.tokens for one in self.compared) / max(1, self.tokens)

    @property
    def apart(self) -> float | None:
        """How far the training led from the model before it, nats; None where nothing was trained."""
        return self._mean([one.apart for one in self.compared])

    @property
    def from_base(self) -> float | None:
        """How far the export is from the model before the training, nats."""
        return self._mean([one.from_base for one in self.compared])

    def _mean(self, given: Sequence[float | None]) -> float | None:
        told = [value * one.tokens for value, one in zip(given, self.compared, strict=True) if value is not None]
        return sum(told) / max(1, self.tokens) if told and len(told) == len(given) else None

    @property
    def hardly_trained(self) -> bool:
        """Whether the training changed so little here that nobody can tell if it is in the export."""
        return self.apart is not None and self.apart < HARDLY * self.bounds.most_divergence

    @property
    def lacks_training(self) -> bool:
        """Whether the export is nearer to the model before the training than to the trained one."""
        return self.from_base is not None and not self.hardly_trained and self.divergence >= self.from_base

    @property
    def reasons(self) -> list[Reason]:
        """Why it is no proof; none: it is one."""
        if self.trouble is not None:
            return ["trouble"]
        if not self.compared:
            return ["nothing"]
        wrong: Mapping[Reason, bool] = {
            "prompt": bool(self.failing("prompt")),
            "training": self.lacks_training,
            "end": bool(self.failing("end")),
            "answer": bool(self.failing("answer")),
            "tokens": self.share < self.bounds.least_same,
            "divergence": self.divergence > self.bounds.most_divergence,
        }
        return [reason for reason, is_so in wrong.items() if is_so]

    @property
    def proved(self) -> bool:
        return not self.reasons

    def failing(self, reason: Reason) -> list[Compared]:
        """The prompts that give this reason."""
        if reason == "prompt":
            return [one for one in self.compared if not one.same_prompt]
        if reason == "answer" and self.bounds.least_same >= 1:
            return [one for one in self.compared if not one.same_answer]
        if reason == "end":
            ended = [one for one in self.compared if one.ending != "none"]
            ignored = [one for one in ended if one.ending == "ignored"]
            return ignored or (ended if not any(one.ending == "same" for one in ended) else [])
        return []

    def to_json(self) -> dict[str, Any]:
        """All of it, with the verdict for those who read the file alone."""
        held = asdict(replace(self, trouble=None))
        held["trouble"] = self.trouble.to_json() if self.trouble else None
        return {"version": VERSION, "proved": self.proved, "reasons": self.reasons, **held}

    @classmethod
    def from_json(cls, held: Mapping[str, Any]) -> "Proof":
        """Read back to_json; KeyError, TypeError or ValueError when it is something else."""
        compared = tuple(
            Compared(**{**one, "here": Said(**one["here"]), "there": Said(**one["there"])}) for one in held["compared"]
        )
        values = {key: held[key] for key in ("engine", "most_tokens", "likeliest", "precision", "original")}
        trouble = Message.from_json(held["trouble"]) if held["trouble"] else None
        return cls(**values, bounds=Bounds(**held["bounds"]), compared=compared, trouble=trouble)


def read_proof(folder: Path) -> Proof | None:
    """The proof in an export's folder or in its run's; None where there is none that can be read."""
    with suppress(OSError, ValueError, KeyError, TypeError):
        return Proof.from_json(json.loads((folder / PROOF).read_text("utf-8")))
    return None


# Words


def verdict(proof: Proof, what: str) -> Message:
    """In one message whether it is proved, or the first reason why it is not."""
    if proof.proved:
        figures = {"share": percent(proof.share), "tokens": proof.tokens, "kl": nats(proof.divergence)}
        return Say.proved(what=what, prompts=len(proof.compared), **figures)
    return Say.failed(what=what, reason=reasons_told(proof)[0])


def reasons_told(proof: Proof) -> list[Message]:
    """Why it is no proof, the gravest first."""
    return [_told(proof, reason) for reason in proof.reasons]


def evidence(proof: Proof) -> list[Message]:
    """Both answers to the prompt that shows best why it is no proof; nothing where it is one, or no answer shows it."""
    one = worst(proof)
    if one is None:
        return []
    return [Say.here(answer=_ended(one.here)), Say.there(answer=_ended(one.there))]


def worst(proof: Proof) -> Compared | None:
    """The prompt that shows best why it is no proof."""
    shown = [found[0] for reason in proof.reasons if (found := proof.failing(reason))]
    if not shown and {"training", "tokens", "divergence"} & set(proof.reasons):
        shown = [max(proof.compared, key=lambda one: (one.tokens - one.same, one.divergence))]
    return shown[0] if shown else None


def remarks(proof: Proof) -> list[Message]:
    """What a reader should know of how it was made."""
    found = [Say.original()] if proof.original else []
    if _rounded(proof):
        found.append(Say.finer())
    if proof.precision != "fp32":
        found.append(Say.precision(precision=proof.precision, full="fp32"))
    if proof.hardly_trained:
        found.append(Say.untold(apart=nats(proof.apart or 0.0)))
    if proof.compared and all(one.ending == "none" for one in proof.compared):
        found.append(Say.no_end(tokens=proof.most_tokens))
    if proof.likeliest:
        found.append(Say.lower(count=proof.likeliest))
    return found


def _rounded(proof: Proof) -> bool:
    """Whether a reader should know of formats that round less: all that fails is how near the answers are, or nothing does but
    not all are alike where nearly all should be."""
    if proof.bounds.least_same >= 1 or not {"answer", "tokens", "divergence"} >= set(proof.reasons):
        return False
    return bool(proof.reasons) or (FINE <= proof.bounds.least_same < WHOLE and proof.share < 1)


def percent(share: float) -> str:
    """A share as a percentage; 100 % only where nothing is missing."""
    return "100 %" if share == 1 else f"{min(share, 0.9999) * 100:.2f} %"


def nats(value: float) -> str:
    """A divergence with as many digits as are read."""
    return f"{value:.4f}" if value >= 0.001 else "0" if value < 1e-9 else f"{value:.0e}"


def _ended(said: Said) -> str:
    return shortened(said.text, LONGEST) + (" ..." if said.finish == "length" else "")


def _told(proof: Proof, reason: Reason) -> Message:
    if reason == "trouble":
        return Say.trouble(reason=proof.trouble)
    if reason == "nothing":
        return Say.nothing()
    if reason == "training":
        return Say.training(base=nats(proof.from_base or 0.0), kl=nats(proof.divergence))
    if reason == "tokens":
        return Say.tokens(share=percent(proof.share), least=percent(proof.bounds.least_same))
    if reason == "divergence":
        return Say.divergence(kl=nats(proof.divergence), most=nats(proof.bounds.most_divergence))
    said = {"prompt": Say.prompt, "end": Say.end, "answer": Say.answer}[reason]
    found = proof.failing(reason)
    return said(count=len(found), prompts=len(proof.compared), prompt=shortened(found[0].prompt, LONGEST))
