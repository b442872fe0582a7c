"""Chats as clients send them: NextChat's odd orders, roles in a row, an answer first; what is moved or joined is told."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.serving import BASE, TUNED, post, serving
from workbench.api.messages import Said, arranged, with_question
from workbench.engines import Chat, Piece, Prompt, Sampling
from workbench.engines.echo import Echo
from workbench.problems import UserError
from workbench.text import Text

S, U, A = "system", "user", "assistant"
JOINED = "system messages were joined into one at the beginning"
ROW = "messages of the same role in a row were joined"
LAST = "the last system message became a user message"
FIRST = "the chat was made to begin with a user message"


def chat(*turns: tuple[str, str]) -> list[dict[str, Any]]:
    return [{"role": role, "content": content} for role, content in turns]


ODD: list[tuple[str, list[dict[str, Any]], list[dict[str, Any]], list[str]]] = [
    ("ordinary", chat((S, "s"), (U, "q"), (A, "a"), (U, "r")), chat((S, "s"), (U, "q"), (A, "a"), (U, "r")), []),
    ("two systems", chat((S, "s"), (S, "t"), (U, "q")), chat((S, "s\n\nt"), (U, "q")), [JOINED]),
    ("system within", chat((U, "q"), (S, "s"), (U, "r")), chat((S, "s"), (U, "q\n\nr")), [JOINED, ROW]),
    ("system last", chat((U, "q"), (A, "a"), (S, "sum up")), chat((U, "q"), (A, "a"), (U, "sum up")), [LAST]),
    ("system behind a question", chat((U, "q"), (S, "s")), chat((S, "s"), (U, "q")), [JOINED]),
    ("developer", chat(("developer", "s"), (U, "q")), chat((S, "s"), (U, "q")), []),
    ("questions in a row", chat((U, "q"), (U, ""), (U, "r")), chat((U, "q\n\nr")), [ROW]),
    ("answers in a row", chat((U, "q"), (A, "a"), (A, "b"), (U, "r")), chat((U, "q"), (A, "a\n\nb"), (U, "r")), [ROW]),
    ("answer first", chat((A, "a"), (U, "q")), chat((A, "a"), (U, "q")), []),
]


@pytest.mark.parametrize(("given", "expected", "told"), [case[1:] for case in ODD], ids=[case[0] for case in ODD])
def test_odd_orders_are_arranged_and_told(given: Any, expected: Any, told: list[str]) -> None:
    assert arranged([Said.model_validate(one) for one in given]) == (expected, told)


def test_calls_results_and_thoughts_stay_whole() -> None:
    call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}
    broken = {"type": "function", "function": {"name": "f", "arguments": "{"}}
    given = [
        *chat((U, "q")),
        {"role": A, "content": None, "tool_calls": [call, broken], "reasoning_content": "hm"},
        {"role": "tool", "tool_call_id": "1", "content": [{"type": "text", "text": "r"}], "name": "f"},
        {"role": "tool", "content": "r"},
        *chat((A, "a")),
    ]
    found, told = arranged([Said.model_validate(one) for one in given])
    assert told == []
    assert [one["role"] for one in found] == [U, A, "tool", "tool", A]
    assert found[1]["content"] == ""
    assert found[1]["reasoning_content"] == "hm"
    assert [one["function"]["arguments"] for one in found[1]["tool_calls"]] == [{"a": 1}, "{"]
    assert found[2] == {"role": "tool", "content": "r", "tool_call_id": "1", "name": "f"}


def test_a_question_is_put_first_where_none_comes_first() -> None:
    assert with_question(chat((A, "a"), (U, "q"))) == chat((U, ""), (A, "a"), (U, "q"))
    assert with_question(chat((S, "s"), (A, "a"))) == chat((S, "s"), (U, ""), (A, "a"))
    assert with_question(chat((S, "s"))) == chat((U, "s"))
    assert with_question(chat((S, "s"), (U, "q"))) is None
    assert with_question(chat((U, "q"))) is None


class Say:
    strict = Text("A question must come first.")


@dataclass
class Strict(Echo):
    """Echo with a template that wants a question first."""

    heard: list[Any] = field(default_factory=list)

    def stream(self, model: str, prompt: Prompt, sampling: Sampling, gone: Callable[[], bool]) -> Iterator[Piece]:
        assert isinstance(prompt, Chat)
        rest = [one for one in prompt.messages if one["role"] != S]
        if not rest or rest[0]["role"] != U:
            raise UserError(Say.strict(), key="messages")
        self.heard.append(list(prompt.messages))
        return super().stream(model, prompt, sampling, gone)


@pytest.mark.parametrize("stream", [False, True])
def test_a_template_that_wants_a_question_first_gets_one(stream: bool) -> None:
    engine = Strict((BASE,), 0.0)
    with serving(engine, max_requests=1) as url:
        for given, expected in (
            (chat((A, "Hello!"), (U, "q")), chat((U, ""), (A, "Hello!"), (U, "q"))),
            (chat((S, "be brief")), chat((U, "be brief"))),
        ):
            response = post(url, messages=given, stream=stream)
            assert (response.status_code, response.headers["X-Messages"]) == (200, FIRST)
            assert engine.heard.pop() == expected
        assert post(url, messages=chat((U, "q")), stream=stream).status_code == 200


NEXTCHAT = {
    "stream": True, "model": "gpt-4o-mini", "temperature": 0.5, "presence_penalty": 0, "frequency_penalty": 0, "top_p": 1,
}  # fmt: skip


@pytest.mark.parametrize("given", [case[1] for case in ODD], ids=[case[0] for case in ODD])
def test_nextchats_requests_are_answered(url: str, given: Any) -> None:
    response = post(url, **{**NEXTCHAT, "messages": given})
    assert response.status_code == 200
    assert response.text.endswith("data: [DONE]\n\n")
    assert '"finish_reason": "stop"' in response.text
    assert f'"model": "{TUNED}"' in response.text
