"""One text everywhere: the Chat tab, the API, the terminal, in a crowd and alone; and the base is the base, to the logits.

The starter model in fp32 behind the transformers engine, with an adapter of random weights beside it.
"""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from tests.slow.test_api_crowd import served
from workbench.engines import BASE
from workbench.sampling import SamplingSection
from workbench.setup.starter import NAME
from workbench.talk import add_adapter
from workbench.ui.chatting import Exchange, Side
from workbench.workspace import Workspace, source_folder

pytestmark = [pytest.mark.slow, pytest.mark.proof]

TUNED, ADAPTER = "random", f"saves/{NAME}/lora/random"
FP32 = {"model_name_or_path": f"models/{NAME}", "infer_dtype": "float32"}
SEED, TOKENS, AT_ONCE, CHAT_S = 7, 24, 8, 300
TERMINAL = "import sys, pathlib; from workbench.cli import main; from workbench.workspace import Workspace; "
TERMINAL += "sys.exit(main(sys.argv[2:], Workspace(pathlib.Path(sys.argv[1]))))"
Question = tuple[str, str]
"""A model's name and what it is asked."""


@dataclass(frozen=True)
class Server:
    """A server with base and adapter, and what its base said before the adapter came."""

    url: str
    before: Sequence[dict[str, Any]]


@pytest.fixture(scope="module")
def home(starter_home: Workspace) -> Workspace:
    """The starter model and an adapter that nobody has trained."""
    import torch
    from peft import LoraConfig, get_peft_model

    from workbench.models import load_model

    torch.manual_seed(1)
    base = load_model(starter_home.models / NAME, "fp32", False)
    config = LoraConfig("CAUSAL_LM", r=4, lora_alpha=1, target_modules="all-linear", init_lora_weights=False)
    get_peft_model(base, config).save_pretrained(str(starter_home.root / ADAPTER), save_embedding_layers=False)
    return starter_home


@pytest.fixture(scope="module")
def questions(home: Workspace) -> list[Question]:
    """Twenty, English and Chinese in turn; the first ten for the adapter."""
    sets = [json.loads((home.data / f"alpaca_{language}_demo.json").read_text("utf-8")) for language in ("en", "zh")]
    asked = [
        [row["instruction"] for row in rows if not row["input"] and "\n" not in row["instruction"]] for rows in sets
    ]
    found = [words for pair in zip(*asked, strict=False) for words in pair][:20]
    assert len(set(found)) == 20
    return [(TUNED if at < 10 else BASE, words) for at, words in enumerate(found)]


@pytest.fixture(scope="module")
def server(home: Workspace, questions: list[Question]) -> Iterator[Server]:
    """Many at a time; the adapter joins while it runs."""
    with served(home, **FP32, max_num_seqs=AT_ONCE) as (_, url):
        before = [chances(url, words) for _, words in questions[:3]]
        add_adapter(url, TUNED, ADAPTER)
        yield Server(url, before)


@pytest.fixture(scope="module")
def expected(home: Workspace, questions: list[Question]) -> list[str]:
    """The answers of a server that answers one after another, each asked alone."""
    with served(home, **FP32, max_num_seqs=1, adapter_name_or_path=ADAPTER) as (_, url):
        return [whole(url, question) for question in questions]


def body(question: Question, **more: Any) -> dict[str, Any]:
    model, words = question
    chat = [{"role": "user", "content": words}]
    return {"model": model, "messages": chat, "temperature": 0, "max_tokens": TOKENS, **more}


def post(url: str, asked: dict[str, Any]) -> dict[str, Any]:
    answer = httpx.post(f"{url}/v1/chat/completions", json=asked, timeout=120, trust_env=False, verify=False)
    assert answer.status_code == 200, answer.text
    choice: dict[str, Any] = answer.json()["choices"][0]
    return choice


def whole(url: str, question: Question) -> str:
    """The answer in one."""
    return str(post(url, body(question))["message"]["content"])


def streamed(url: str, question: Question) -> str:
    """The answer put together from a stream."""
    text, asked = "", body(question, stream=True)
    with httpx.stream(
        "POST", f"{url}/v1/chat/completions", json=asked, timeout=120, trust_env=False, verify=False
    ) as lines:
        for line in lines.iter_lines():
            if line.startswith("data: {"):
                text += json.loads(line[6:])["choices"][0]["delta"].get("content") or ""
    return text


def in_panes(url: str, words: str, *models: str) -> list[str]:
    """What the Chat tab shows, a pane for each model."""
    sides = [Side(model, [{"role": "user", "content": words}], at) for at, model in enumerate(models)]
    exchange = Exchange(url, sides, SamplingSection(temperature=0, max_new_tokens=TOKENS), SEED)
    for _ in exchange.follow():
        pass
    assert [(side.problem, side.model) for side in sides] == [(None, model) for model in models]
    return [side.text for side in sides]


def chances(url: str, words: str) -> dict[str, Any]:
    """The base's answer with its likeliest tokens."""
    return post(url, body((BASE, words), logprobs=True, top_logprobs=5))


def crowded(url: str, requests: Sequence[Callable[[], Any]]) -> tuple[list[Any], int]:
    """What came of requests that begin together, and how many were answered at the same time."""
    gate, most = threading.Barrier(len(requests)), 0

    def begin(request: Callable[[], Any]) -> Any:
        gate.wait(20)
        return request()

    with ThreadPoolExecutor(len(requests)) as pool:
        begun = [pool.submit(begin, request) for request in requests]
        while not all(one.done() for one in begun):
            most = max(most, httpx.get(f"{url}/health", trust_env=False, verify=False).json()["active"])
            time.sleep(0.05)
        return [one.result() for one in begun], most


def test_the_adapter_says_something_else(expected: list[str], server: Server) -> None:
    changed = [base["message"]["content"] != text for base, text in zip(server.before, expected, strict=False)]
    assert sum(changed) >= 2
    assert len([1 for text in expected if len(text) > 20]) >= 12


@pytest.mark.parametrize("way", [whole, streamed])
def test_the_api_in_a_crowd(way: Any, expected: list[str], questions: list[Question], server: Server) -> None:
    with ThreadPoolExecutor(AT_ONCE) as pool:
        assert list(pool.map(lambda question: way(server.url, question), questions)) == expected


def test_the_chat_tab(expected: list[str], questions: list[Question], server: Server) -> None:
    with ThreadPoolExecutor(AT_ONCE) as pool:
        shown = list(pool.map(lambda question: in_panes(server.url, question[1], question[0]), questions))
    assert [text for (text,) in shown] == expected


def test_two_panes_of_compare(expected: list[str], questions: list[Question], server: Server) -> None:
    with ThreadPoolExecutor(2) as pool:
        shown = list(pool.map(lambda question: in_panes(server.url, question[1], TUNED, BASE), questions[:2]))
    bases = [base["message"]["content"] for base in server.before]
    assert shown == [[expected[at], bases[at]] for at in range(2)]


def test_the_terminal(home: Workspace, expected: list[str], questions: list[Question]) -> None:
    lines = [f"{words}\n/clear\n" for _, words in questions]
    values = [f"{key}={value}" for key, value in FP32.items()]
    command = [sys.executable, "-c", TERMINAL, str(home.root), "chat", *values, f"adapter_name_or_path={ADAPTER}"]
    done = subprocess.run(
        [*command, "temperature=0", f"max_new_tokens={TOKENS}"],
        input="".join([*lines[:10], "/base\n", *lines[10:]]),
        capture_output=True,
        encoding="utf-8",
        timeout=CHAT_S,
        cwd=source_folder(),
        env={**os.environ, "LC_ALL": "C.UTF-8", "PYTHONIOENCODING": "utf-8"},
    )
    assert (done.returncode, done.stderr) == (0, "")
    *answers, end = done.stdout.partition("/bye ends.\n")[2].split("The chat begins anew.\n")
    assert end == ""
    assert answers[10].startswith("Now base answers.\n")
    answers[10] = answers[10].removeprefix("Now base answers.\n")
    assert [answer.removesuffix("\n") for answer in answers] == expected


def test_the_base_is_the_base_to_the_logits(home: Workspace, questions: list[Question], server: Server) -> None:
    asked = [words for _, words in questions[:3]]
    others = [lambda words=words: whole(server.url, (TUNED, words)) for words in asked]
    ours = [lambda words=words: chances(server.url, words) for words in asked]
    found, most = crowded(server.url, [*ours, *others])
    assert most == 6
    alone = plain(home, asked)
    for told in (server.before, found[:3]):
        for one, (text, likeliest) in zip(told, alone, strict=True):
            assert one["message"]["content"] == text
            steps = one["logprobs"]["content"]
            assert (
                0 < len(likeliest) - len(steps) <= 1 if one["finish_reason"] == "stop" else len(steps) == len(likeliest)
            )
            for step, wanted in zip(steps, likeliest, strict=False):
                assert [other["logprob"] for other in step["top_logprobs"]] == pytest.approx(wanted, abs=1e-4)


def plain(home: Workspace, asked: Sequence[str]) -> list[tuple[str, list[list[float]]]]:
    """The base loaded alone, by transformers itself: its greedy answers, and the five best log-probabilities of each step."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(home.models / NAME)
    model: Any = AutoModelForCausalLM.from_pretrained(home.models / NAME, dtype="float32")
    drawn = {"do_sample": False, "max_new_tokens": TOKENS, "output_logits": True, "return_dict_in_generate": True}
    found = []
    for words in asked:
        chat = [{"role": "user", "content": words}]
        given = tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_tensors="pt", return_dict=True)
        answer = model.generate(**given, **drawn)
        said = tokenizer.decode(answer.sequences[0, given["input_ids"].shape[1] :], skip_special_tokens=True)
        found.append((said, [step[0].log_softmax(-1).topk(5).values.tolist() for step in answer.logits]))
    return found


@pytest.mark.parametrize("model", [BASE, TUNED])
def test_a_seed_gives_the_same_text_alone_and_among_seven_others(
    model: str, questions: list[Question], server: Server
) -> None:
    def drawn(at: int, who: str, seed: int) -> str:
        asked = body((who, questions[at][1]), temperature=1, top_p=1, seed=seed, ignore_eos=True)
        return str(post(server.url, asked)["message"]["content"])

    alone = drawn(0, model, SEED)
    others = [lambda at=at: drawn(at, (BASE, TUNED)[at % 2], 100 + at) for at in range(1, 7)]
    found, most = crowded(server.url, [lambda: drawn(0, model, SEED), lambda: drawn(0, model, SEED + 1), *others])
    assert most == AT_ONCE
    assert found[0] == alone
    assert len(set(found)) == AT_ONCE
