"""Serving: our engines beside LLaMA-Factory's API. Knows what is measured and told, not how a server is started.

One server runs at a time, ours and the peer's in turn, and all are asked alike: the same prompts, greedy, so many new tokens.
Ours have room for as many answers as are asked for at once; the peer runs as it comes, one answer after another, and also with
that room. It can't go on behind an end of turn, so the prompts are such that answers are long, and tokens are counted.
"""

import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path
from typing import Any

from bench.peer import command
from bench.servers import Heard, Server, Way, opened, watched
from bench.table import machine, number
from workbench.setup.starter import starter_folder
from workbench.workspace import Workspace, default_workspace

TITLE = "Serving beside LLaMA-Factory's API"
PEER = "LLaMA-Factory"
MANY = 8
ASKED: Mapping[int, int] = {1: 4, MANY: MANY}
"""Streams at once, and how many answers are asked for in a round."""
WARM_TOKENS = 8
TOPICS = [
    "a river",
    "a library",
    "a lighthouse",
    "the winter",
    "an old clock",
    "a garden",
    "a long journey",
    "the first school day",
]
PROMPTS = [f"Write a long story about {topic}. Tell every detail, in at least ten paragraphs." for topic in TOPICS]


def ways() -> list[Way]:
    """Ours and the peer's in turn. What the peer is told for many streams is asked for many only."""
    ours, theirs = [], []
    room = {"MAX_CONCURRENT": str(MANY)}
    for kind in ("float32", "bfloat16"):
        told = {"infer_backend": "transformers", "infer_dtype": kind, "max_num_seqs": MANY}
        ours.append(Way(f"transformers, {kind}", told, f"{PEER}, {kind}"))
        peer, name = {"infer_backend": "huggingface", "infer_dtype": kind}, f"{PEER}, {kind}"
        theirs.append(Way(name, peer))
        theirs.append(Way(f"{name}, {MANY} at once", peer, environment=room, streams=(MANY,)))
        alone = {**room, "OMP_NUM_THREADS": "1"}
        theirs.append(Way(f"{name}, {MANY} at once, a thread each", peer, environment=alone, streams=(MANY,)))
    for kind in ("auto", "q8_0", "q4_0"):
        told = {"infer_backend": "llamacpp", "llamacpp_type": kind, "llamacpp_parallel": MANY}
        ours.append(Way(f"llamacpp, {kind}", told, PEER))
    ours.append(Way("llamacpp, q4_0, guessing ahead", {**told, "llamacpp_drafts": True}, PEER, streams=(1,)))
    return [way for pair in zip_longest(ours, theirs) for way in pair if way is not None]


@dataclass
class Figures:
    """What was seen of one way with so many streams: an entry for each round, or for each answer."""

    name: str
    streams: int
    rates: list[float] = field(default_factory=list)
    """Tokens a second of all streams together, by round."""
    firsts: list[float] = field(default_factory=list)
    """Seconds until the first words, by answer."""
    memory: list[int] = field(default_factory=list)
    """Most bytes that the processes held, by round."""
    tokens: list[int] = field(default_factory=list)
    """By answer."""

    @property
    def rate(self) -> float:
        return statistics.median(self.rates)

    def add(self, heard: Sequence[Heard], seconds: float, memory: int) -> None:
        """Take in a round."""
        self.rates.append(sum(one.tokens for one in heard) / seconds)
        self.firsts += [one.first_s for one in heard]
        self.tokens += [one.tokens for one in heard]
        self.memory.append(memory)

    def row(self, ratio: float | None) -> str:
        spread = f"{number(min(self.rates))} to {number(max(self.rates))}"
        firsts = [number(statistics.median(self.firsts)), number(percentile_95(self.firsts))]
        held = number(statistics.median(self.memory) / 2**20)
        told = [self.name, str(self.streams), number(self.rate), spread, f"{ratio:.2f}" if ratio else "", *firsts, held]
        return f"| {' | '.join(told)} |"


@dataclass
class Comparison:
    """The figures of all ways. ``rivals``: of each way of ours, how the names begin that it is held against."""

    rivals: Mapping[str, str]
    all: dict[tuple[str, int], Figures] = field(default_factory=dict)

    def figures(self, name: str, streams: int) -> Figures:
        return self.all.setdefault((name, streams), Figures(name, streams))

    def ratio(self, figures: Figures) -> float | None:
        """Our rate over the best of its rivals with as many streams; None for the peer itself."""
        begun = self.rivals.get(figures.name)
        if begun is None:
            return None
        same = [one for one in self.all.values() if one.streams == figures.streams]
        return figures.rate / max(one.rate for one in same if one.name.startswith(begun))

    def markdown(self) -> str:
        heads = ("", "streams", "tokens/s", "spread", "ratio", "first words, s", "95 % within, s", "MB")
        lines = ["| " + " | ".join(heads) + " |", "| --- |" + " ---: |" * (len(heads) - 1)]
        lines += [one.row(self.ratio(one)) for one in sorted(self.all.values(), key=lambda one: one.streams)]
        tokens = [count for one in self.all.values() for count in one.tokens]
        note = (
            f"Answers have {min(tokens)} to {max(tokens)} tokens. Ratio: over the peer's best with the same number type; of "
            "llama.cpp over its best of all. MB: main memory of the server's processes, at most."
        )
        return "\n".join([f"## {TITLE}", "", machine(), "", *lines, "", note, ""])

    def to_json(self) -> dict[str, Any]:
        lines = [{**vars(one), "ratio": self.ratio(one)} for one in self.all.values()]
        return {"title": TITLE, "machine": machine(), "lines": lines}


def percentile_95(values: Sequence[float]) -> float:
    """The value that 95 of 100 stay below, between two that were seen."""
    return statistics.quantiles(values, n=20, method="inclusive")[-1] if len(values) > 1 else values[0]


def measure(peer: Path | None, rounds: int, tokens: int) -> Comparison:
    """Every way in every round, one way about and then the other."""
    program, every = command(peer), ways()
    found = Comparison({way.name: way.rivals for way in every if way.rivals})
    with tempfile.TemporaryDirectory() as root:
        home = lay(Path(root).resolve())
        for way in every:
            if way.values["infer_backend"] == "llamacpp":  # writes its file, so that every round finds it
                with opened(way, home, program):
                    pass
        for at in range(rounds):
            for way in every[:: -1 if at % 2 else 1]:
                print(f"round {at + 1}: {way.name}", file=sys.stderr, flush=True)
                with opened(way, home, program) as server:
                    for streams, heard, seconds, memory in one_round(server, way.streams, tokens):
                        found.figures(way.name, streams).add(heard, seconds, memory)
    return found


def lay(root: Path) -> Workspace:
    """A workspace with the starter model."""
    home, starter = Workspace(root), starter_folder(default_workspace().models)
    home.models.mkdir()
    home.saves.mkdir()
    (home.models / starter.name).symlink_to(starter)
    return home


def one_round(server: Server, every: Sequence[int], tokens: int) -> Iterator[tuple[int, list[Heard], float, int]]:
    """Streams, answers, seconds and memory, of each number of streams."""
    server.ask_all([words.removesuffix(".") for words in PROMPTS], WARM_TOKENS, MANY)
    for streams in every:
        with watched(server.process) as memory:
            began = time.perf_counter()
            heard = server.ask_all(PROMPTS[: ASKED[streams]], tokens, streams)
            seconds = time.perf_counter() - began
        yield streams, heard, seconds, max(memory)
