"""One conversation before one Jinja template: its text, with our marks around the answers. Knows no tokenizer.

A template may mark the answers itself. Where it does not, they are found by what it writes up to each of them.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from workbench.chats.lookalikes import CLOSE, OPEN

Messages = Sequence[Mapping[str, Any]]


class Untold(Exception):
    """Where the answers are in the text can't be told."""


@lru_cache(maxsize=256)
def compiled(template: str) -> Any:
    """The template in the sandbox of transformers, except that generation blocks write our marks around them."""
    from jinja2 import nodes
    from jinja2.ext import Extension
    from transformers.utils.chat_template_utils import _compile_jinja_template

    class Marks(Extension):
        tags = {"generation"}
        priority = 200  # after the extension of transformers, whose tag it takes over

        def parse(self, parser: Any) -> Any:
            line = next(parser.stream).lineno
            body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
            opening, closing = (nodes.Output([nodes.TemplateData(mark)], lineno=line) for mark in (OPEN, CLOSE))
            return [opening, *body, closing]

    return _compile_jinja_template("").environment.overlay(extensions=[Marks]).from_string(template)


def without_marks(text: str) -> str:
    """The text as it is for everybody else."""
    return text.replace(OPEN, "").replace(CLOSE, "")


@dataclass(frozen=True)
class Writing:
    """One conversation before one template."""

    template: Any
    messages: Messages
    tools: Any
    values: Mapping[str, Any]

    def text(self, count: int, ask: bool) -> str:
        """The first messages as text, with marks where the template sets them."""
        told = [_with_old_names(message) for message in self.messages[:count]]
        text: str = self.template.render(messages=told, tools=self.tools, add_generation_prompt=ask, **self.values)
        return text

    def marked(self, text: str) -> str:
        """The whole text with our marks around the answers, for a template that does not set them."""
        calm = self._without_old_thoughts()
        if calm is not self and calm._unmarked(len(self.messages), False) == text:
            return calm._between(text)
        return self._between(text)

    def _between(self, text: str) -> str:
        spans = list(self._spans(text))
        edges = [0, *(edge for span in spans for edge in span), len(text)]
        if edges != sorted(edges):
            raise Untold
        parts = [text[left:right] for left, right in zip(edges, edges[1:], strict=False)]
        marks = [*((OPEN, CLOSE) * len(spans)), ""]
        return "".join(part + mark for part, mark in zip(parts, marks, strict=True))

    def _spans(self, text: str) -> Iterator[tuple[int, int]]:
        """The answers in the text, found by what the template writes up to each question and each answer."""
        last = len(self.messages) - 1
        for place, message in enumerate(self.messages):
            if message["role"] == "assistant":
                start = self._start(text, place)
                yield start, len(text.rstrip()) if place == last else start + self._length(text, place, start)

    def _start(self, text: str, place: int) -> int:
        """Where the model is asked for this answer; before the thought that some templates then begin for it."""
        asked = self._unmarked(place, True)
        if text.startswith(asked):
            return len(asked)
        start = asked.rfind("<think>")
        if start < 0 or not text.startswith(asked[:start]):
            raise Untold
        return start

    def _length(self, text: str, place: int, start: int) -> int:
        """How long the answer that begins at ``start`` is, its end of turn included.

        As the last turn it may have had more before it, such as an empty thought, but its end is the same.
        """
        whole = self._unmarked(place + 1, False)
        if not whole.startswith(text[:start]):
            raise Untold
        alone = whole[start:]
        least = max(1, len(closing(self.template, tuple(self.values.items()))))
        for skipped in range(len(alone) - least + 1):
            if alone[skipped] == text[start] and text.startswith(alone[skipped:], start):
                return len(alone[skipped:].rstrip())
        raise Untold

    def _unmarked(self, count: int, ask: bool) -> str:
        from jinja2 import TemplateError

        try:
            return without_marks(self.text(count, ask))
        except (TemplateError, TypeError) as error:
            raise Untold from error

    def _without_old_thoughts(self) -> "Writing":
        """The same without the thoughts before the last question, which many templates leave out."""
        asked = max((at for at, message in enumerate(self.messages) if message["role"] == "user"), default=0)
        calm = [
            _without_thought(message) if at < asked and message["role"] == "assistant" else message
            for at, message in enumerate(self.messages)
        ]
        return self if calm == list(self.messages) else Writing(self.template, calm, self.tools, self.values)


def _with_old_names(message: Mapping[str, Any]) -> Mapping[str, Any]:
    """Some templates read a thought under an older name."""
    return {**message, "thinking": message["reasoning_content"]} if "reasoning_content" in message else message


def _without_thought(message: Mapping[str, Any]) -> Mapping[str, Any]:
    rest = {key: value for key, value in message.items() if key != "reasoning_content"}
    content = message["content"]
    if isinstance(content, str) and "</think>" in content:
        rest["content"] = content.rpartition("</think>")[2].lstrip("\n")
    return rest


@lru_cache(maxsize=256)
def closing(template: Any, values: tuple[tuple[str, Any], ...]) -> str:
    """What the template writes after an answer: its end of turn, empty when it writes none."""
    turns = [{"role": "user", "content": "?"}, {"role": "assistant", "content": "answer"}]
    return Writing(template, turns, None, dict(values))._unmarked(2, False).rpartition("answer")[2].strip()
