"""The HTTP API over the echo engine, through real sockets: chat, streams, names, and clients that leave."""

import json
import time
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from tests.serving import BASE, TUNED, USER, post, wait_until_idle
from workbench.talk import ask, model_names


def events(response: httpx.Response) -> list[Any]:
    """The server-sent events of a whole stream; [DONE] must be the last."""
    assert response.headers["content-type"].startswith("text/event-stream")
    blocks = response.content.decode().split("\n\n")
    assert blocks[-2:] == ["data: [DONE]", ""]
    return [json.loads(block.removeprefix("data: ")) for block in blocks[:-2]]


def test_health_and_models(url: str) -> None:
    assert httpx.get(f"{url}/health", trust_env=False).json() == {"status": "ok", "active": 0}
    listed = httpx.get(f"{url}/v1/models", trust_env=False).json()
    assert listed["object"] == "list"
    assert "/v1/chat/completions" in httpx.get(f"{url}/openapi.json", trust_env=False).json()["paths"]
    assert [(model["id"], model["object"]) for model in listed["data"]] == [(BASE, "model"), (TUNED, "model")]


def test_an_answer_in_one(url: str) -> None:
    response = post(url)
    assert response.status_code == 200
    answer = response.json()
    assert (answer["object"], answer["model"]) == ("chat.completion", BASE)
    assert answer["id"].startswith("chatcmpl-")
    [choice] = answer["choices"]
    assert choice["message"] == {"role": "assistant", "content": "base: hi there"}
    assert choice["finish_reason"] == "stop"
    assert answer["usage"] == {"prompt_tokens": 2, "completion_tokens": 3, "total_tokens": 5}


def test_an_answer_as_a_stream(url: str) -> None:
    got = events(post(url, stream=True))
    assert got[0]["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert "".join(event["choices"][0]["delta"].get("content", "") for event in got) == "base: hi there"
    assert [event["choices"][0]["finish_reason"] for event in got] == [None] * (len(got) - 1) + ["stop"]
    assert len({(event["id"], event["created"], event["object"]) for event in got}) == 1
    assert not any("usage" in event for event in got)


def test_usage_comes_last_in_a_stream_when_asked_for(url: str) -> None:
    got = events(post(url, stream=True, stream_options={"include_usage": True}))
    assert [event["usage"] for event in got[:-1]] == [None] * (len(got) - 1)
    assert got[-1]["choices"] == []
    assert got[-1]["usage"] == {"prompt_tokens": 2, "completion_tokens": 3, "total_tokens": 5}


def test_line_ends_of_unicode_do_not_end_an_event(url: str) -> None:
    text = "a\u2028b\u2029c\x85d\x0be\r\nf"
    response = post(url, stream=True, messages=[{"role": "user", "content": text}])
    assert len(response.text.splitlines()) == 2 * len(events(response)) + 2
    assert "".join(ask(url, BASE, [{"role": "user", "content": text}])) == f"base: {text}"


def test_limits_and_stop_strings(url: str) -> None:
    assert post(url, max_tokens=2).json()["choices"][0]["finish_reason"] == "length"
    assert post(url, max_tokens=2, max_completion_tokens=1).json()["choices"][0]["message"]["content"] == "base:"
    for stop in ("there", ["x", "there"]):
        [choice] = post(url, stop=stop).json()["choices"]
        assert (choice["message"]["content"], choice["finish_reason"]) == ("base: hi ", "stop")


def test_content_in_parts_and_instructions_anywhere(url: str) -> None:
    parts = [{"type": "text", "text": "one"}, {"type": "text", "text": "two"}]
    chat = [
        {"role": "system", "content": "be brief"},
        {"role": "user", "content": parts},
        {"role": "developer", "content": "now"},
    ]
    response = post(url, messages=chat)
    assert response.json()["choices"][0]["message"]["content"] == "base: one\ntwo"
    assert response.json()["usage"]["prompt_tokens"] == 5
    assert "joined" in response.headers["X-Messages"]
    assert "X-Messages" not in post(url, messages=chat[:2]).headers


def test_a_name_of_somebody_elses_means_the_default_model_here_and_says_so(url: str) -> None:
    for given in ("gpt-4o-mini", "", None):
        response = post(url, model=given)
        assert response.json()["model"] == TUNED
        assert response.headers["X-Model"] == quote(TUNED)
    assert post(url, model=BASE).headers["X-Model"] == BASE


def test_what_changes_nothing_is_named(url: str) -> None:
    response = post(
        url,
        user="me",
        store=False,
        é=1,
        messages=[{**USER[0], "name": "me"}],
        presence_penalty=0,
        frequency_penalty=0.0,
        logit_bias={},
        tools=[],
        logprobs=False,
        n=1,
        response_format={"type": "text"},
        temperature=None,
        stop=None,
        stream_options=None,
    )
    assert response.status_code == 200
    assert response.headers["X-Ignored-Fields"] == f"user, store, {quote('é')}, messages.name"
    assert "X-Ignored-Fields" not in post(url).headers
    assert post(url, **{"": 1}).headers["X-Ignored-Fields"] == '""'
    long = post(url, **{f"{'x' * at} ": 1 for at in range(480, 500)})
    assert long.headers["X-Ignored-Fields"] == "x" * 480 + "%20, " + "x" * 15
    assert post(url, **{"x" * 498: 1, "y": 2}).headers["X-Ignored-Fields"] == "x" * 498


def test_any_page_may_call_it_on_this_machine(url: str) -> None:
    headers = {
        "Origin": "https://app.example",
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization,content-type,x-requested-with",
        "Access-Control-Request-Private-Network": "true",
    }
    preflight = httpx.options(f"{url}/v1/chat/completions", headers=headers, trust_env=False)
    assert preflight.status_code == 200
    assert preflight.headers["access-control-allow-origin"] == "*"
    assert "authorization" in preflight.headers["access-control-allow-headers"]
    assert preflight.headers["access-control-allow-private-network"] == "true"
    response = httpx.get(f"{url}/v1/models", headers={"Origin": "https://app.example"}, trust_env=False)
    assert "X-Model" in response.headers["access-control-expose-headers"]


def test_a_client_that_leaves_a_stream_frees_its_place(slow_url: str) -> None:
    body = {"model": BASE, "stream": True, "messages": [{"role": "user", "content": "word " * 500}]}
    with httpx.stream("POST", f"{slow_url}/v1/chat/completions", json=body, trust_env=False) as response:
        heard = response.iter_raw()
        while b"word" not in next(heard):
            pass
        assert httpx.get(f"{slow_url}/health", trust_env=False).json()["active"] == 1
    assert wait_until_idle(slow_url, 1.0)


def test_a_client_that_leaves_before_its_answer_is_whole_frees_its_place(slow_url: str) -> None:
    body = {"model": BASE, "messages": [{"role": "user", "content": "word " * 500}]}
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(f"{slow_url}/v1/chat/completions", json=body, timeout=httpx.Timeout(5, read=0.3), trust_env=False)
    assert wait_until_idle(slow_url, 1.0)


def test_others_are_heard_while_one_is_answered(slow_url: str) -> None:
    answer = ask(slow_url, BASE, [{"role": "user", "content": "word " * 500}])
    assert next(answer).startswith("base")
    began = time.monotonic()
    assert model_names(slow_url) == [BASE, TUNED]
    assert "".join(ask(slow_url, TUNED, USER)) == f"{TUNED}: hi there"
    assert time.monotonic() - began < 2
    answer.close()
    assert wait_until_idle(slow_url, 1.0)
