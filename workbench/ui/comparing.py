"""Answers side by side: who answers where, which words differ, and a vote without names. Knows no component."""

import difflib
import html
import json
import os
import re
import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from workbench.conversations import folder
from workbench.problems import UserError
from workbench.talk import add_adapter, model_names
from workbench.text import Locale, Text
from workbench.ui.loading import LATER, URLS, Standing, speaking_name
from workbench.workspace import Workspace

LETTERS = "ABCD"
"""What panes are called while nobody is to know who answers."""
TIE, NONE = "tie", "none"
OTHER_KEY = "OPENAI_API_KEY"
"""The environment variable whose key is sent to servers elsewhere."""
WORD = re.compile(r"[぀-ヿ㐀-鿿가-힯]|\w+|\s+|.", re.DOTALL)
"""Words of languages that part them; in those that don't, every sign is one."""
LISTED = 6


class Say:
    no_model = Text("The server at {url} names no model. Accepted: http://host:port/v1#model. Write the model after the #.")
    better = Text("Which answer is better?")
    tie = Text("Alike")
    none = Text("Neither")
    tally = Text("Votes: {told}")
    won = Text("{model} {won} of {rounds}")
    voted = Text("You chose {letter}: {model}.")
    voted_none = Text("Your vote is kept. Nobody won.")


@dataclass(frozen=True)
class Speaker:
    """Who answers in a pane: a model's name, and of a server elsewhere its address and key."""

    model: str
    url: str = ""
    key: str | None = None

    @property
    def shown(self) -> str:
        """The name with the server's host, where it is another one."""
        return f"{self.model} @ {urlsplit(self.url).netloc}" if self.url else self.model


def speaker(now: Standing, chosen: str, key: str | None) -> Speaker:
    """Who is meant: a model of the loaded server, a run that joins it now, or ``http://host/v1#model``; UserError if none."""
    if chosen.startswith(URLS):
        url, _, model = chosen.partition("#")
        other = os.environ.get(OTHER_KEY) or None
        names = [model] if model else model_names(url, other)
        if not names:
            raise UserError(Say.no_model(url=url))
        return Speaker(names[0], url, other)
    if not chosen.startswith(LATER):
        return Speaker(chosen or now.models[-1])
    name = speaking_name(chosen)
    if name not in model_names(now.url, key):
        add_adapter(now.url, name, f"saves/{chosen.removeprefix(LATER)}", key)
    return Speaker(name)


def shuffled(count: int) -> list[int]:
    """The order in which the chosen ones stand in a round, by chance."""
    order = list(range(count))
    secrets.SystemRandom().shuffle(order)
    return order


Pieces = list[tuple[str, bool]]


def differences(texts: Sequence[str]) -> list[Pieces]:
    """Each text in pieces that say whether they differ from the first text; the first one's from all others'."""
    words = [WORD.findall(text) for text in texts]
    theirs = [_marks(words[0], other) for other in words[1:]]
    own = [all(not marks[0][at] for marks in theirs) for at in range(len(words[0]))] if theirs else [True] * len(words[0])
    kept = [own, *(marks[1] for marks in theirs)]
    return [list(_joined(said, same)) for said, same in zip(words, kept, strict=True)]


def _marks(left: Sequence[str], right: Sequence[str]) -> tuple[list[bool], list[bool]]:
    """Of each word of both: left, whether it differs; right, whether it is the same."""
    differs, same = [True] * len(left), [False] * len(right)
    for block in difflib.SequenceMatcher(None, left, right, autojunk=False).get_matching_blocks():
        differs[block.a : block.a + block.size] = [False] * block.size
        same[block.b : block.b + block.size] = [True] * block.size
    return differs, same


def _joined(words: Sequence[str], same: Sequence[bool]) -> Iterator[tuple[str, bool]]:
    """Neighbours of one kind as one piece: (text, whether it differs)."""
    text, kind = "", True
    for word, is_same in zip(words, same, strict=True):
        if is_same != kind and text:
            yield text, not kind
            text = ""
        text, kind = text + word, is_same
    if text:
        yield text, not kind


def vote_line(locale: Locale, letters: str) -> str:
    """The question after a blind round, with a button for each answer."""
    said = [(letter, str(at)) for at, letter in enumerate(letters)]
    said += [(locale(Say.tie), TIE), (locale(Say.none), NONE)]
    buttons = "".join(
        f'<button type="button" data-action="vote" data-at="{html.escape(value)}">{html.escape(name)}</button>'
        for name, value in said
    )
    return f'<div class="voting" role="group"><span>{html.escape(locale(Say.better))}</span>{buttons}</div>'


def told_vote(locale: Locale, models: Sequence[str], choice: str) -> str:
    """What a vote was for, once it is given."""
    at = int(choice) if choice.isdecimal() else -1
    said = Say.voted(letter=LETTERS[at], model=models[at]) if 0 <= at < len(models) else Say.voted_none()
    return f'<div class="voting" role="status"><span>{html.escape(locale(said))}</span></div>'


def votes_file(workspace: Workspace) -> Path:
    """One line of JSON for each vote."""
    return folder(workspace) / "votes.jsonl"


def keep_vote(workspace: Workspace, models: Sequence[str], choice: str, question: str, seed: int) -> None:
    """Write a vote down: who stood in which pane, and who won."""
    won = models[int(choice)] if choice.isdecimal() and int(choice) < len(models) else None
    row = {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "models": list(models),
        "won": won,
        "choice": choice if won is None else "won",
        "question": question,
        "seed": seed,
    }
    file = votes_file(workspace)
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("a", encoding="utf-8") as log:
        log.write(json.dumps(row, ensure_ascii=False) + "\n")


@dataclass
class Score:
    """Of one model: in how many rounds it stood, and how many it won."""

    rounds: int = 0
    won: int = field(default=0)


def tally(workspace: Workspace) -> dict[str, Score]:
    """The votes so far, the most won first; lines that are none are passed over."""
    scores: dict[str, Score] = {}
    file = votes_file(workspace)
    lines = file.read_text("utf-8", errors="replace").splitlines() if file.is_file() else []
    for row in _rows(lines):
        models = row.get("models")
        for model in dict.fromkeys(str(one) for one in models) if isinstance(models, list) else ():
            score = scores.setdefault(model, Score())
            score.rounds += 1
            score.won += row.get("won") == model
    return dict(sorted(scores.items(), key=lambda item: (-item[1].won, item[0])))


def _rows(lines: Sequence[str]) -> Iterator[Mapping[str, Any]]:
    for line in lines:
        try:
            row = json.loads(line)
        except ValueError:
            continue
        if isinstance(row, dict):
            yield row


def tally_line(workspace: Workspace, locale: Locale) -> str:
    """The tally as a line; empty before the first vote."""
    scores = list(tally(workspace).items())[:LISTED]
    told = [locale(Say.won(model=model, won=score.won, rounds=score.rounds)) for model, score in scores]
    words = locale(Say.tally(told="  ·  ".join(told)))
    return f'<p class="quiet">{html.escape(words)}</p>' if told else ""
