"""The parts of which a chat template makes every conversation. Knows neither Jinja nor Go."""

from dataclasses import dataclass

from workbench.ollama import Messages

ROUND = "\ufdd2"
"""Stands in an opening where the number of the question stands. Unicode keeps it for uses inside a program."""


@dataclass(frozen=True)
class Opening:
    """What stands before the first turn, by whether there is a system text."""

    before: str
    after: str
    """Around the system text."""
    without: str
    """Where no system message comes; a default system text is in it."""
    blank: str
    """Where one comes whose text is empty."""

    def text(self, system: str | None) -> str:
        """What it is with that system text, None for no system message."""
        if system:
            return f"{self.before}{system}{self.after}"
        return self.without if system is None else self.blank


@dataclass(frozen=True)
class Thought:
    """Around the thought of the last answer; earlier ones are left out."""

    before: str
    after: str
    none: str
    """Where the last answer brings no thought."""
    forbidden: str
    """Where thinking is off: before the last answer."""
    prompt: str
    """Where thinking is off: at the end, where the model is to answer."""


@dataclass(frozen=True)
class Pieces:
    """A template taken apart. A text is its head, its turns, and the prompt if the model is to answer."""

    head: Opening
    """Before the first turn. Where ``inside`` is given: only before an answer that comes first."""
    first: str
    """Opens the first question, where it stands right behind the head."""
    inside: Opening | None
    """Opens the first question and holds the system text, in families that have it there."""
    question: str
    """Opens a later question."""
    asked: str
    """Closes a question."""
    answer: str
    """Opens an answer."""
    last: str
    """Stands in the last answer before its text, if it is no thought."""
    answered: str
    """Closes an answer."""
    prompt: str
    trimmed: frozenset[str]
    """Roles whose texts lose the white space around them."""
    thought: Thought | None

    def opens_with(self, mark: str) -> bool:
        """Whether every conversation that a question begins starts with these characters."""
        opening = self.inside or self.head
        return all(text.startswith(mark) for text in (opening.before, opening.without, opening.blank))

    def text(self, messages: Messages, ask: bool, thinking: bool | None = None) -> str:
        """The conversation, put together from the parts."""
        system = next((one["content"] for one in messages if one["role"] == "system"), None)
        turns = [one for one in messages if one["role"] != "system"]
        if system is not None and "system" in self.trimmed:
            system = system.strip()
        parts = [] if self.inside and turns and turns[0]["role"] == "user" else [self.head.text(system)]
        questions = 0
        for place, turn in enumerate(turns):
            content = turn["content"].strip() if turn["role"] in self.trimmed else turn["content"]
            if turn["role"] == "user":
                questions += 1
                parts += [self._opening(place, system).replace(ROUND, str(questions)), content, self.asked]
            else:
                lead = self._lead(turn.get("reasoning_content", ""), thinking) if place == len(turns) - 1 else ""
                parts += [self.answer, lead, content, self.answered]
        return "".join([*parts, self._prompt(thinking) if ask else ""])

    def _opening(self, place: int, system: str | None) -> str:
        if place:
            return self.question
        return self.inside.text(system) if self.inside else self.first

    def _lead(self, thought: str, thinking: bool | None) -> str:
        if not self.thought:
            return self.last
        if thinking is False:
            return self.thought.forbidden
        return f"{self.thought.before}{thought}{self.thought.after}" if thought else self.thought.none

    def _prompt(self, thinking: bool | None) -> str:
        return self.thought.prompt if self.thought and thinking is False else self.prompt
