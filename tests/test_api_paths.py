"""What the API has besides one answer to a chat: several answers, chances, texts, vectors, counts, figures."""

import base64
import json
import math
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import httpx
import pytest

from tests.serving import BASE, KEY, TUNED, USER, post, send, serving, wait_until_idle
from tests.test_api import events
from workbench.engines import Chat, Piece, Prompt, Raw, Sampling
from workbench.engines.echo import Echo

EVERYTHING = frozenset(
    ["seed", "top_k", "min_p", "repetition_penalty", "presence_penalty", "frequency_penalty", "logit_bias", "logprobs",
     "json_schema", "ignore_eos", "tools", "embeddings", "adapters", "tokens",
     "score"]
)  # fmt: skip


@dataclass
class Noting(Echo):
    """Echo that keeps what it was asked."""

    asked: list[tuple[str, Prompt, Sampling]] = field(default_factory=list)

    def stream(self, model: str, prompt: Prompt, sampling: Sampling, gone: Callable[[], bool]) -> Iterator[Piece]:
        self.asked.append((model, prompt, sampling))
        return super().stream(model, prompt, sampling, gone)


def get(url: str, path: str, **headers: str) -> httpx.Response:
    return httpx.get(f"{url}{path}", headers=headers, trust_env=False, verify=False)


def test_every_field_of_a_request_reaches_the_engine() -> None:
    engine = Noting((BASE,), 0.0, frozenset())
    fields = {"temperature": 0.5, "top_p": 0.4, "top_k": 3, "min_p": 0.1, "repetition_penalty": 1.2, "seed": 5}
    more = {"presence_penalty": 1.5, "frequency_penalty": -1, "ignore_eos": True, "stop": ["x"]}
    with serving(engine) as url:
        told = {**fields, **more, "logit_bias": {"7": -100}, "logprobs": True, "top_logprobs": 2, "max_tokens": 6}
        assert post(url, **told).status_code == 200
        assert post(url, top_k=-1, logprobs=True, max_completion_tokens=3, enable_thinking=False).status_code == 200
        assert post(url).status_code == 200
        text = {"prompt": [5, 6], "logprobs": 1, "seed": 2}
        assert send(url, "/v1/completions", text).status_code == 200
    (_, chat, full), (_, quiet, plain), (_, _, usual), (_, raw, drawn) = engine.asked
    assert {name: vars(full)[name] for name in {**fields, **more}} == {**fields, **more}
    assert (full.logit_bias, full.logprobs, full.max_tokens) == ({7: -100}, 2, 6)
    assert (plain.top_k, plain.logprobs, plain.max_tokens) == (0, 0, 3)
    assert usual == Sampling()
    assert isinstance(chat, Chat)
    assert isinstance(quiet, Chat)
    assert (chat.enable_thinking, quiet.enable_thinking) == (None, False)
    assert (raw, drawn) == (Raw([5, 6]), Sampling(max_tokens=16, seed=2, logprobs=1))


def test_whatever_the_engine_lacks_is_refused() -> None:
    with serving(Echo((BASE,), 0.0, EVERYTHING)) as url:
        tool = {"type": "function", "function": {"name": "f"}}
        asked = [
            ("seed", {"seed": 1}), ("top_k", {"top_k": 5}), ("min_p", {"min_p": 0.1}), ("logprobs", {"logprobs": True}),
            ("repetition_penalty", {"repetition_penalty": 1.1}), ("presence_penalty", {"presence_penalty": 1}),
            ("frequency_penalty", {"frequency_penalty": 1}), ("logit_bias", {"logit_bias": {"1": 1}}),
            ("response_format", {"response_format": {"type": "json_object"}}), ("ignore_eos", {"ignore_eos": True}),
            ("tools", {"tools": [tool]}),
        ]  # fmt: skip
        for param, body in asked:
            response = post(url, **body)
            assert response.status_code == 400, body
            assert (response.json()["error"]["param"], response.json()["error"]["code"]) == (param, "unsupported")
        for path, body in (
            ("/v1/embeddings", {"input": "a"}),
            ("/tokenize", {"prompt": "a"}),
            ("/v1/load_lora_adapter", {"lora_name": "a"}),
            ("/v1/completions", {"prompt": "a", "logprobs": 1}),
            ("/v1/completions", {"prompt": "a", "logprobs": 1, "echo": True}),
        ):
            assert send(url, path, body).json()["error"]["code"] == "unsupported"
        neutral = {"top_k": -1, "min_p": 0, "repetition_penalty": 1, "presence_penalty": 0, "frequency_penalty": 0}
        rest = {"logit_bias": {}, "logprobs": False, "tools": [], "tool_choice": "none", "response_format": {"type": "text"}}
        assert post(url, **neutral, **rest).status_code == 200
    with serving(Echo((BASE,), 0.0, {"json_schema"})) as url:
        error = post(url, tools=[tool], tool_choice="required").json()["error"]
        assert (error["param"], error["code"]) == ("tool_choice", "unsupported")
        assert post(url, tools=[tool], tool_choice="auto").status_code == 200


@pytest.mark.parametrize("stream", [False, True])
def test_several_answers_have_seeds_of_their_own(stream: bool) -> None:
    engine = Noting((BASE,), 0.0)
    with serving(engine) as url:
        response = post(url, n=3, seed=2**63 - 2, stream=stream, stream_options={"include_usage": True})
        if stream:
            got = events(response)
            texts = ["", "", ""]
            for choice in (choice for event in got for choice in event["choices"]):
                texts[choice["index"]] += choice["delta"].get("content") or ""
            ends = [choice["index"] for event in got for choice in event["choices"] if choice["finish_reason"]]
            assert sorted(ends) == [0, 1, 2]
            used = got[-1]["usage"]
        else:
            texts = [choice["message"]["content"] for choice in response.json()["choices"]]
            used = response.json()["usage"]
        assert texts == ["base: hi there"] * 3
        assert used == {"prompt_tokens": 2, "completion_tokens": 9, "total_tokens": 11}
    assert [sampling.seed for _, _, sampling in engine.asked] == [2**63 - 2, 2**63 - 1, -(2**63)]


@pytest.mark.parametrize("stream", [False, True])
def test_chances_come_with_the_tokens_of_a_chat(url: str, stream: bool) -> None:
    response = post(url, logprobs=True, top_logprobs=2, stream=stream, messages=[{"role": "user", "content": "né 🌈"}])
    if stream:
        told = [event["choices"][0]["logprobs"] for event in events(response)]
        content = [token for logprobs in told if logprobs for token in logprobs["content"]]
    else:
        content = response.json()["choices"][0]["logprobs"]["content"]
    assert b"".join(bytes(token["bytes"]) for token in content).decode() == "base: né 🌈"
    assert [token["token"] for token in content] == ["base:", " né", " 🌈"]
    for token in content:
        assert len(token["top_logprobs"]) == 2
        assert token["top_logprobs"][0]["logprob"] == token["logprob"] > token["top_logprobs"][1]["logprob"]
    plain = post(url, logprobs=True).json()["choices"][0]["logprobs"]["content"]
    assert [token["top_logprobs"] for token in plain] == [[], [], []]
    assert post(url).json()["choices"][0]["logprobs"] is None


class TestCompletions:
    def test_a_text_goes_on(self, url: str) -> None:
        answer = send(url, "/v1/completions", {"prompt": "once upon", "model": TUNED}).json()
        assert (answer["object"], answer["model"], answer["id"][:5]) == ("text_completion", TUNED, "cmpl-")
        [choice] = answer["choices"]
        assert choice == {"index": 0, "text": f"{TUNED}: once upon", "logprobs": None, "finish_reason": "stop"}
        assert answer["usage"] == {"prompt_tokens": 2, "completion_tokens": 3, "total_tokens": 5}

    def test_several_texts_and_several_answers_each(self, url: str) -> None:
        body = {"model": BASE, "prompt": ["a", "b c"], "n": 2, "echo": True, "max_tokens": 2}
        answer = send(url, "/v1/completions", body).json()
        texts = [(choice["index"], choice["text"]) for choice in answer["choices"]]
        assert texts == [(0, "abase: a"), (1, "abase: a"), (2, "b cbase: b"), (3, "b cbase: b")]
        assert [choice["finish_reason"] for choice in answer["choices"]] == ["stop", "stop", "length", "length"]
        assert answer["usage"]["prompt_tokens"] == 3
        tokens = send(url, "/v1/completions", {"prompt": [[1, 2], [3]]}).json()
        assert [choice["text"] for choice in tokens["choices"]] == [f"{TUNED}: 1 2", f"{TUNED}: 3"]

    def test_a_stream(self, url: str) -> None:
        body = {"prompt": "once upon", "stream": True, "echo": True, "stream_options": {"include_usage": True}}
        got = events(send(url, "/v1/completions", {**body, "model": BASE}))
        assert {event["object"] for event in got} == {"text_completion"}
        assert "".join(event["choices"][0]["text"] for event in got[:-1]) == "once uponbase: once upon"
        assert got[-2]["choices"][0]["finish_reason"] == "stop"
        assert got[-1]["usage"]["total_tokens"] == 5

    @pytest.mark.parametrize("stream", [False, True])
    def test_chances_in_the_older_shape(self, url: str, stream: bool) -> None:
        body = {"prompt": "né 🌈 x", "logprobs": 1, "model": BASE, "stream": stream}
        response = send(url, "/v1/completions", body)
        parts = events(response) if stream else [response.json()]
        rows: dict[str, list[object]] = {}
        for part in parts:
            for name, values in part["choices"][0]["logprobs"].items():
                rows.setdefault(name, []).extend(values)
        assert rows["tokens"] == ["base:", " né", " 🌈", " x"]
        assert rows["text_offset"] == [0, 5, 8, 10]
        assert [set(row) for row in rows["top_logprobs"]] == [{token} for token in rows["tokens"]]  # type: ignore[call-overload]
        assert len(set(rows["token_logprobs"])) == 1

    @pytest.mark.parametrize("stream", [False, True])
    def test_the_chances_of_the_prompt_itself(self, url: str, stream: bool) -> None:
        body = {"prompt": [[4, 5], [7, 8, 9]], "logprobs": 1, "echo": True, "max_tokens": 1, "temperature": 0, "model": BASE}
        response = send(url, "/v1/completions", {**body, "stream": stream})
        choices = [choice for part in events(response) for choice in part["choices"]] if stream else response.json()["choices"]
        found = [one for one in choices if one["index"] == 1]
        rows: dict[str, list[object]] = {}
        for name, values in ((name, values) for one in found for name, values in one["logprobs"].items()):
            rows.setdefault(name, []).extend(values)
        half = math.log(0.5)
        assert "".join(one["text"] for one in found) == " 7 8 9 0"
        assert rows["tokens"] == [" 7", " 8", " 9", " 0"]
        assert rows["token_logprobs"] == [None, half, 2 * half, half]
        assert rows["top_logprobs"] == [None, {" 8": half}, {" 9?": half, " 9": 2 * half}, {" 0": half}]
        assert rows["text_offset"] == [0, 2, 4, 6]

    def test_the_prompt_alone(self, url: str) -> None:
        body = {"prompt": "one two", "echo": True, "max_tokens": 0, "model": BASE}
        answer = send(url, "/v1/completions", {**body, "logprobs": 0}).json()
        [choice] = answer["choices"]
        assert (choice["text"], choice["finish_reason"]) == ("one two", "length")
        assert len(choice["logprobs"]["tokens"]) == 2
        assert choice["logprobs"]["top_logprobs"] is None
        assert answer["usage"] == {"prompt_tokens": 2, "completion_tokens": 0, "total_tokens": 2}
        assert send(url, "/v1/completions", body).json()["choices"][0]["text"] == "one two"
        empty = send(url, "/v1/completions", {**body, "prompt": "", "logprobs": 1}).json()["choices"][0]
        assert (empty["text"], empty["logprobs"]["tokens"]) == ("", [])

    def test_the_one_token_behind_a_scored_prompt_is_always_there(self) -> None:
        engine = Noting((BASE,), 0.0, frozenset())
        body = {"prompt": "a", "echo": True, "logprobs": 1, "max_tokens": 1}
        with serving(engine) as url:
            for more in ({}, {"max_tokens": 2}, {"temperature": 0}, {"temperature": 0, "logit_bias": {"1": 2}}):
                rows = send(url, "/v1/completions", {**body, **more}).json()["choices"][0]["logprobs"]
                assert len(rows["tokens"]) == 1 + {**body, **more}["max_tokens"]
        assert [sampling.ignore_eos for _, _, sampling in engine.asked] == [True, False, True]

    @pytest.mark.parametrize(
        ("body", "param"),
        [
            ({}, "prompt"), ({"prompt": []}, "prompt"), ({"prompt": [[]]}, "prompt[0]"), ({"prompt": [-1]}, "prompt[0]"),
            ({"prompt": "a", "suffix": "b"}, "suffix"), ({"prompt": "a", "best_of": 2}, "best_of"),
            ({"prompt": [1], "echo": True}, "echo"), ({"prompt": "a", "echo": True, "logprobs": 21}, "logprobs"),
            ({"prompt": "a", "logprobs": 21}, "logprobs"), ({"prompt": "a", "max_tokens": 0}, "max_tokens"),
            ({"prompt": ["a"] * 41}, "n"),
        ],
    )  # fmt: skip
    def test_what_is_refused(self, url: str, body: dict[str, object], param: str) -> None:
        response = send(url, "/v1/completions", body)
        assert (response.status_code, response.json()["error"]["param"]) == (400, param)


def test_vectors_as_numbers_and_packed(url: str) -> None:
    answer = send(url, "/v1/embeddings", {"input": ["a b c", "d"], "model": BASE}).json()
    assert [one["embedding"] for one in answer["data"]] == [[5.0, 2.0], [1.0, 0.0]]
    assert [one["index"] for one in answer["data"]] == [0, 1]
    assert answer["usage"] == {"prompt_tokens": 4, "total_tokens": 4}
    packed = send(url, "/v1/embeddings", {"input": "a b c", "encoding_format": "base64"}).json()
    assert struct.unpack("<2f", base64.b64decode(packed["data"][0]["embedding"])) == (5.0, 2.0)
    for body, param in (({"input": []}, "input"), ({"input": "a", "dimensions": 5}, "dimensions"), ({"input": 5}, "input")):
        response = send(url, "/v1/embeddings", body)
        assert (response.status_code, response.json()["error"]["param"]) == (400, param)


def test_tokens_are_counted_in_texts_and_chats(url: str) -> None:
    told = send(url, "/tokenize", {"prompt": "a b a"}).json()
    assert told["count"] == len(told["tokens"]) == 3
    assert told["tokens"][0] == told["tokens"][2]
    assert send(url, "/tokenize", {"messages": [*USER, {"role": "assistant", "content": "x"}]}).json()["count"] == 3
    for body in ({}, {"prompt": "a", "messages": USER}):
        assert send(url, "/tokenize", body).status_code == 400


def test_each_model_has_a_card(url: str) -> None:
    with serving(Echo((BASE, TUNED), 0.0), base_name="Tiny-1B") as named:
        cards = get(named, "/v1/models").json()["data"]
        assert [(card["id"], card["root"], card["parent"]) for card in cards] == [
            (BASE, "Tiny-1B", None),
            (TUNED, TUNED, BASE),
        ]
        assert post(named, model="Tiny-1B").headers["X-Model"] == BASE
    assert get(url, f"/v1/models/{TUNED}").json()["id"] == TUNED
    missing = get(url, "/v1/models/gpt-4")
    assert (missing.status_code, missing.json()["error"]["code"]) == (404, "model_not_found")


def test_addresses_as_people_write_them_into_clients(url: str) -> None:
    body = {"model": BASE, "messages": USER}
    for path in ("/v1/chat/completions", "/chat/completions", "/v1/v1/chat/completions"):
        assert send(url, path, body).json()["choices"][0]["message"]["content"] == "base: hi there"
    for path in ("/models", "/v1/v1/models", "/v1/models"):
        assert get(url, path).json()["object"] == "list"
    for path in ("/v1/v1/v1/models", "/v1/health", "/completions/x", "/v2/models"):
        assert get(url, path).status_code == 404


def test_figures_for_prometheus() -> None:
    with serving(Echo((BASE,), 0.0), max_requests=9) as url:
        post(url)
        post(url, stream=True)
        post(url, n=0)
        get(url, '/no"where')
        told = get(url, "/metrics")
    assert told.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    lines = told.text.splitlines()
    for line in (
        'workbench_requests_total{path="/v1/chat/completions",status="200"} 2',
        'workbench_requests_total{path="/v1/chat/completions",status="400"} 1',
        'workbench_requests_total{path="other",status="404"} 1',
        "workbench_prompt_tokens_total 4",
        "workbench_answer_tokens_total 6",
        "workbench_active_answers 0",
        "workbench_most_answers 9",
        'workbench_answer_seconds_bucket{le="+Inf"} 2',
        "workbench_first_token_seconds_count 2",
    ):
        assert line in lines, told.text
    assert sum(line.startswith("# TYPE") for line in lines) == 8
    assert all(line.startswith("#") or len(line.rsplit(" ", 1)) == 2 for line in lines)


def test_the_document_of_all_paths(url: str) -> None:
    document = get(url, "/openapi.json").json()
    paths = {"/v1/models", "/v1/models/{name}", "/v1/chat/completions", "/v1/completions", "/v1/embeddings", "/tokenize",
             "/health", "/metrics", "/v1/load_lora_adapter", "/v1/unload_lora_adapter"}  # fmt: skip
    assert set(document["paths"]) == paths
    assert "mean of the last layer" in document["paths"]["/v1/embeddings"]["post"]["description"]
    answered = document["paths"]["/v1/chat/completions"]["post"]["responses"]
    assert set(answered) == {"200", "4XX", "5XX"}
    schemas = document["components"]["schemas"]
    chat = schemas["ChatRequest"]["properties"]
    assert all("description" in chat[name] for name in ("temperature", "top_k", "seed", "tools", "enable_thinking"))
    assert json.dumps(schemas["AnswerSchema"]).count('"schema"') >= 1


def test_beyond_its_places_it_says_when_to_ask_again() -> None:
    with serving(Echo((BASE,), 0.05), max_requests=3) as url:
        long = {"model": BASE, "messages": [{"role": "user", "content": "word " * 60}], "stream": True, "n": 2}
        with httpx.stream("POST", f"{url}/v1/chat/completions", json=long, trust_env=False, verify=False) as response:
            next(response.iter_raw())
            busy = httpx.post(
                f"{url}/v1/chat/completions",
                json={**long, "stream": False},
                headers={"Origin": "http://elsewhere"},
                trust_env=False,
                verify=False,
            )
            assert busy.status_code == 429
            assert 1 <= int(busy.headers["Retry-After"]) <= 60
            assert busy.headers["access-control-allow-origin"] == "*"
            assert busy.json()["error"]["code"] == "rate_limit_exceeded"
            assert "2 answers are computed or wait already" in busy.json()["error"]["message"]
            assert post(url, max_tokens=1).status_code == 200
        assert wait_until_idle(url, 1)
        assert post(url, n=3, max_tokens=1).status_code == 200
        assert get(url, "/metrics").text.count('status="429"} 1') == 1


def test_a_stream_that_is_silent_ends_with_its_client() -> None:
    """Held back as the beginning of a call, nothing is sent for a long time: who leaves is noticed all the same."""
    with serving(Echo((BASE,), 0.03)) as url:
        tool = {"type": "function", "function": {"name": "f"}}
        held = {"model": BASE, "stream": True, "tools": [tool], "stop": ["never"]}
        chat = [{"role": "user", "content": f'call f {{"a": "{"word " * 300}"}}'}]
        with httpx.stream(
            "POST", f"{url}/v1/chat/completions", json={**held, "messages": chat}, trust_env=False, verify=False
        ) as response:
            next(response.iter_raw())
        assert wait_until_idle(url, 0.6)


def test_several_keys_and_pages_that_may_call() -> None:
    with serving(Echo((BASE,), 0.0), local=False, keys=["one", KEY], origins=["https://chat.example"]) as url:
        for key in (b"one", KEY.encode()):
            headers = {"Authorization": b"Bearer " + key}
            assert httpx.get(f"{url}/v1/models", headers=headers, trust_env=False, verify=False).status_code == 200
        for path in ("/v1/models", "/metrics", "/openapi.json"):
            wrong = get(url, path, Authorization="Bearer on", Origin="https://chat.example")
            assert wrong.status_code == 401
            assert wrong.headers["access-control-allow-origin"] == "https://chat.example"
        assert "access-control-allow-origin" not in get(url, "/health", Origin="https://other.example").headers
        asked = {"Origin": "https://chat.example", "Access-Control-Request-Method": "POST"}
        assert httpx.options(f"{url}/v1/models", headers=asked, trust_env=False, verify=False).status_code == 200
        asked["Origin"] = "https://other.example"
        assert httpx.options(f"{url}/v1/models", headers=asked, trust_env=False, verify=False).status_code == 400
