"""What a client does wrong, and what breaks: each told in OpenAI's shape, beside its field, with the right status."""

import json
from typing import Any

import httpx
import pytest

from tests.serving import BASE, KEY, TUNED, USER, post, serving, wait_until_idle
from workbench.engines.echo import CONTEXT, Echo
from workbench.problems import UserError
from workbench.talk import ask, model_names

TOOL = {"type": "function", "function": {"name": "f"}}
BAD: list[tuple[dict[str, Any], str, str]] = [
    ({"messages": []}, "messages", "at least 1 item"),
    ({"messages": None}, "messages", "valid list"),
    ({"messages": "hi"}, "messages", "'messages' is 'hi'"),
    ({"messages": [{"role": "user"}]}, "messages[0].content", "is null"),
    ({"messages": [{"role": "wizard", "content": "hi"}]}, "messages[0].role", "'wizard'"),
    ({"messages": [{"role": "function", "content": "hi"}]}, "messages[0].role", "'function'"),
    ({"messages": [{"role": "user", "content": None}]}, "messages[0].content", "is null"),
    ({"messages": [{"role": "user", "content": 5}]}, "messages[0].content", "is 5"),
    (
        {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]},
        "messages[0].content[0].type",
        "the models of this server read text only",
    ),
    ({"messages": [{"role": "user", "content": "\ud800"}]}, "messages[0].content", "Half of a surrogate pair"),
    ({"stop": ["a", "\udfff"]}, "stop[1]", "Half of a surrogate pair"),
    ({"model": 5}, "model", "is 5"),
    ({"temperature": -0.1}, "temperature", "greater than or equal to 0"),
    ({"temperature": 2.1}, "temperature", "less than or equal to 2"),
    ({"temperature": "0.7"}, "temperature", "'0.7'"),
    ({"temperature": True}, "temperature", "is true"),
    ({"top_p": 1.5}, "top_p", "less than or equal to 1"),
    ({"max_tokens": 0}, "max_tokens", "greater than or equal to 1"),
    ({"max_tokens": -5}, "max_tokens", "is -5"),
    ({"max_tokens": 1.5}, "max_tokens", "valid integer"),
    ({"max_completion_tokens": "all"}, "max_completion_tokens", "'all'"),
    ({"seed": 2**80}, "seed", "less than"),
    ({"seed": "x"}, "seed", "'x'"),
    ({"stop": 5}, "stop", "is 5"),
    ({"stop": ["a"] * 17}, "stop", "at most 16"),
    ({"stop": ["a", 5]}, "stop[1]", "is 5"),
    ({"stream": "yes"}, "stream", "'yes'"),
    ({"stream_options": []}, "stream_options", "is []"),
    ({"n": 0}, "n", "'n' is 0"),
    ({"n": 129}, "n", "less than or equal to 128"),
    ({"n": 128, "max_tokens": 1}, "n", "asks for 128 answers. Accepted: up to 40"),
    ({"presence_penalty": 2.5}, "presence_penalty", "less than or equal to 2"),
    ({"frequency_penalty": "much"}, "frequency_penalty", "'much'"),
    ({"repetition_penalty": 0}, "repetition_penalty", "greater than 0"),
    ({"top_k": -2}, "top_k", "greater than or equal to -1"),
    ({"min_p": 2}, "min_p", "less than or equal to 1"),
    ({"logit_bias": {"five": 1}}, "logit_bias", "A name is no token id"),
    ({"logit_bias": {"5": 101}}, "logit_bias.5", "less than or equal to 100"),
    ({"logit_bias": {"5": 100}}, "logit_bias", "this engine does not compute"),
    ({"logprobs": 1}, "logprobs", "valid boolean"),
    ({"top_logprobs": 2}, "top_logprobs", "Set 'logprobs' to true"),
    ({"logprobs": True, "top_logprobs": 21}, "top_logprobs", "less than or equal to 20"),
    ({"tools": [{"type": "function"}]}, "tools[0].function", "is missing"),
    ({"tools": [{"type": "web"}]}, "tools[0].type", "'web'"),
    ({"functions": [{"name": "f"}]}, "functions", "does not compute"),
    ({"tool_choice": "required"}, "tool_choice", "'tools' offers none"),
    ({"tool_choice": "sometimes"}, "tool_choice", "'sometimes'"),
    (
        {"tools": [TOOL], "tool_choice": {"type": "function", "function": {"name": "g"}}},
        "tool_choice",
        "'tool_choice' is 'g'. Accepted: f.",
    ),
    ({"response_format": {"type": "xml"}}, "response_format.type", "'xml'"),
    ({"response_format": {"type": "json_schema"}}, "response_format.json_schema", "is missing"),
    ({"response_format": {"type": "json_schema", "json_schema": {}}}, "response_format.json_schema.schema", "is missing"),
    ({"chat_template_kwargs": {"enable_thinking": "no"}}, "chat_template_kwargs.enable_thinking", "'no'"),
    ({"messages": [{"role": "assistant", "tool_calls": [{"id": "1"}]}]}, "messages[0].tool_calls[0].function", "missing"),
    ({"messages": [{"role": "user", "content": "too long"}]}, "messages", "Too long."),
]


@pytest.mark.parametrize(("body", "field", "words"), BAD, ids=[f"{json.dumps(body)[:50]}" for body, _, _ in BAD])
@pytest.mark.parametrize("stream", [False, True])
def test_bad_input_is_told_beside_its_field(
    url: str, body: dict[str, Any], field: str, words: str, stream: bool
) -> None:
    response = post(url, **{"stream": stream, **body})
    error = response.json()["error"]
    assert (response.status_code, error["type"], error["param"]) == (400, "invalid_request_error", field)
    assert words in error["message"]
    codes = {"Too long.": "context_length_exceeded"}
    assert error["code"] == codes.get(words, "unsupported" if "does not compute" in words else None)


def test_limits_beyond_all_answers_are_none(url: str) -> None:
    for limit in (2**31, 2**63, 10**300):
        answer = post(url, max_tokens=limit, top_k=limit)
        assert answer.json()["choices"][0]["finish_reason"] == "stop"
    assert post(url, max_tokens=2**63, ignore_eos=True).json()["usage"]["completion_tokens"] == CONTEXT


RAW: list[tuple[str, str, bytes, str, int, str]] = [
    ("POST", "/v1/chat/completions", b"{", "application/json", 400, "is no JSON"),
    ("POST", "/v1/chat/completions", b'{"\xff"', "application/json", 400, "can't be read"),
    ("POST", "/v1/chat/completions", b"[" * 100_000, "application/json", 400, "can't be read"),
    ("POST", "/v1/chat/completions", b"[]", "application/json", 400, "no JSON object"),
    ("POST", "/v1/chat/completions", b"", "application/json", 400, "no JSON object"),
    ("POST", "/v1/chat/completions", b'{"messages": []}', "text/plain", 400, "Content-Type: application/json"),
    ("POST", "/v1/chat/completions", b" " * (17 * 2**20), "application/json", 413, "larger than"),
    ("GET", "/v1/chat/completions", b"", "", 405, "Method Not Allowed"),
    ("GET", "/nowhere", b"", "", 404, "Not Found"),
]


@pytest.mark.parametrize(
    ("method", "path", "content", "kind", "status", "words"), RAW, ids=[f"{r[0]} {r[1]} {r[2][:9]!r}" for r in RAW]
)
def test_bad_bodies_and_paths_are_told_in_the_same_shape(
    url: str, method: str, path: str, content: bytes, kind: str, status: int, words: str
) -> None:
    headers = {"Origin": "http://elsewhere", **({"Content-Type": kind} if kind else {})}
    response = httpx.request(method, url + path, content=content, headers=headers, trust_env=False)
    assert response.status_code == status
    assert words in response.json()["error"]["message"]
    assert response.json()["error"]["type"] == "invalid_request_error"
    assert response.headers["access-control-allow-origin"] == "*"


def test_a_body_that_does_not_tell_its_size_has_the_same_limit(url: str) -> None:
    parts = (b" " * 2**20 for _ in range(18))
    headers = {"Content-Type": "application/json"}
    response = httpx.post(f"{url}/v1/chat/completions", content=parts, headers=headers, trust_env=False)
    assert response.status_code == 413
    assert "larger than" in response.json()["error"]["message"]


def test_what_breaks_in_the_engine_is_told_and_the_server_goes_on(url: str, capfd: pytest.CaptureFixture[str]) -> None:
    for word, told in (("break", "Broken words."), ("crash", "RuntimeError: out of memory")):
        chat = [{"role": "user", "content": f"this will {word} it"}]
        response = post(url, messages=chat)
        assert (response.status_code, response.json()["error"]["type"]) == (500, "server_error")
        assert told in response.json()["error"]["message"]
        streamed = post(url, messages=chat, stream=True)
        assert streamed.status_code == 200
        assert told in json.loads(streamed.text.split("data: ")[-1])["error"]["message"]
        with pytest.raises(UserError, match=told):
            list(ask(url, BASE, chat))
    assert "out of memory" in capfd.readouterr().err
    assert wait_until_idle(url, 1)


def test_with_a_key_only_those_who_bring_it_come_in() -> None:
    with serving(Echo((BASE,), 0.0), KEY) as url:
        for given in ("", "Bearer", "Bearer wrong", f"Basic {KEY}", f"Bearer {KEY}x", KEY):
            headers = {"Authorization": given.encode(), "Origin": "http://elsewhere"}
            response = httpx.get(f"{url}/v1/models", headers=headers, trust_env=False)
            assert response.status_code == 401, given
            assert response.json()["error"]["code"] == "invalid_api_key"
            assert response.headers["access-control-allow-origin"] == "*"
        right = {"Authorization": f"Bearer {KEY}".encode()}
        assert httpx.get(f"{url}/v1/models", headers=right, trust_env=False).status_code == 200
        assert httpx.get(f"{url}/health", trust_env=False).status_code == 200
        with pytest.raises(UserError, match="refused the key"):
            model_names(url, "wrong")


def test_an_unknown_name_is_refused_where_others_can_call() -> None:
    with serving(Echo((BASE, TUNED), 0.0), KEY, local=False) as url:
        headers = {"Authorization": f"Bearer {KEY}".encode()}
        body = {"model": "gpt-4", "messages": USER}
        response = httpx.post(f"{url}/v1/chat/completions", json=body, headers=headers, trust_env=False)
        error = response.json()["error"]
        assert (response.status_code, error["code"], error["param"]) == (404, "model_not_found", "model")
        assert error["message"] == f"There is no model 'gpt-4' here. Accepted: base, {TUNED}. Choose one of these."
        assert "access-control-allow-origin" not in response.headers
