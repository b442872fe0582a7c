"""Engines that pass questions on: vLLM and SGLang by way of a server that counts, a remote URL by way of our own, and auto."""

import json
import math
import os
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests import fake_server
from tests.serving import BASE, Echo, serving
from tests.tiny import write_model
from workbench import engines, runs
from workbench.desk import Desk
from workbench.engines import Chat, Engine, Piece, Raw, Sampling, TooLong, auto
from workbench.events import EventLog, Note, tail
from workbench.neighbours.process import Neighbour, watched
from workbench.neighbours.wire import Wire
from workbench.neighbours.words import Words
from workbench.opening import prepare
from workbench.problems import UserError
from workbench.sockets import plugins
from workbench.specs import ServeSpec, read_flat
from workbench.workspace import Workspace

CHAT = Chat([{"role": "user", "content": "Who are you?"}])
GREEDY = Sampling(max_tokens=6, temperature=0)
SOURCE = Path(__file__).parent.parent


def never() -> bool:
    return False


def answer(engine: Engine, prompt: Any = CHAT, sampling: Sampling = GREEDY, model: str = BASE) -> tuple[str, Piece]:
    pieces = list(engine.stream(model, prompt, sampling, never))
    assert [piece.finish for piece in pieces[:-1]] == [None] * (len(pieces) - 1)
    return "".join(piece.text for piece in pieces), pieces[-1]


def opened(home: Workspace, **values: Any) -> tuple[Engine, Desk]:
    spec = read_flat(ServeSpec, values).unwrap()
    run = runs.create(home, spec)
    desk = Desk(run, EventLog(run.events), False)
    engine: Engine = plugins(engines)[spec.engine.infer_backend].open(spec.engine, prepare(spec.model, desk))
    return engine, desk


@pytest.fixture
def home(tmp_path: Path) -> Workspace:
    """A workspace with the tiny model and what says that it is a LoRA adapter."""
    home = Workspace(tmp_path)
    write_model(home.models / "tiny")
    for name in ("first", "second"):
        folder = home.saves / name
        folder.mkdir(parents=True)
        config = {"peft_type": "LORA", "base_model_name_or_path": "models/tiny"}
        (folder / "adapter_config.json").write_text(json.dumps(config))
    return home


@pytest.fixture
def seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Programs named vllm and sglang that are the server that counts; the file where it writes what it saw."""
    programs = tmp_path / "programs"
    (programs / "sglang").mkdir(parents=True)
    (programs / "sglang" / "__init__.py").touch()
    start = f"#!{sys.executable}\nimport sys\nsys.path.insert(0, {str(SOURCE)!r})\nfrom tests.fake_server import main\n"
    (programs / "sglang" / "launch_server.py").write_text(f"{start}main(sys.argv[1:])\n")
    (programs / "vllm").write_text(f"{start}main(sys.argv[1:])\n")
    (programs / "vllm").chmod(0o755)
    monkeypatch.setenv("PATH", str(programs), prepend=os.pathsep)
    monkeypatch.setenv("PYTHONPATH", str(programs))
    monkeypatch.syspath_prepend(str(programs))
    monkeypatch.setenv(fake_server.SEEN, str(tmp_path / "seen.jsonl"))
    return tmp_path / "seen.jsonl"


def lines(seen: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in seen.read_text("utf-8").splitlines()]


@pytest.fixture(params=["vllm", "sglang"])
def engine(request: pytest.FixtureRequest, home: Workspace, seen: Path) -> Iterator[Engine]:
    engine, _ = opened(
        home, infer_backend=request.param, model_name_or_path="models/tiny", adapter_name_or_path="saves/first, saves/second"
    )
    yield engine
    engine.close()


def test_a_server_gets_our_tokens_and_its_words_come_back(engine: Engine, seen: Path) -> None:
    assert list(engine.models) == [BASE, "first", "second"]
    ids = engine.tokens(CHAT)
    text, last = answer(engine)
    assert (text, last.finish, last.prompt_tokens, last.answer_tokens) == ("1 2 3 4 5 6 ", "length", len(ids), 6)
    asked = lines(seen)[-1]
    assert asked["prompt"] == list(ids) and asked["temperature"] == 0
    assert asked["stop_token_ids"] == [2] and asked["key"].startswith("Bearer ")
    assert not {"top_k", "seed", "logit_bias", "presence_penalty"} & set(asked)
    assert answer(engine, sampling=Sampling(max_tokens=9, stop=["4 5"]))[0] == "1 2 3 "
    answer(engine, Raw([5, 6]), Sampling(2, top_k=7, presence_penalty=1.0, json_schema={"type": "object"}), "second")
    asked = lines(seen)[-1]
    assert (asked["prompt"], asked["top_k"], asked["presence_penalty"]) == ([5, 6], 7, 1.0)
    assert asked["response_format"]["json_schema"]["schema"] == {"type": "object"}
    assert "second" in (asked["model"], asked.get("lora_path"))


def test_who_has_gone_is_told_to_the_server(engine: Engine, seen: Path) -> None:
    pieces = engine.stream(BASE, CHAT, Sampling(max_tokens=400), iter([False] * 10 + [True] * 99).__next__)
    *_, last = pieces
    assert last.finish == "cancelled" and last.answer_tokens <= 10
    deadline = time.monotonic() + 3
    while "left" not in lines(seen)[-1] and time.monotonic() < deadline:
        time.sleep(0.02)
    assert lines(seen)[-1]["left"] < 400


def test_a_long_chat_is_refused_before_it_is_sent(engine: Engine, seen: Path) -> None:
    before = len(lines(seen))
    with pytest.raises(TooLong, match="Accepted: fewer than 4096"):
        engine.stream(BASE, Raw([5] * 5000), GREEDY, never)
    assert len(lines(seen)) == before


def test_adapters_come_and_go_while_it_runs(engine: Engine, home: Workspace, seen: Path) -> None:
    engine.add("third", home.saves / "first")
    told = lines(seen)[-1]
    assert (told["lora_name"], told["lora_path"]) == ("third", str(home.saves / "first"))
    engine.remove("first")
    assert lines(seen)[-1]["path"].endswith("unload_lora_adapter")
    assert list(engine.models) == [BASE, "second", "third"]
    with pytest.raises(UserError, match="answered with status 400: no such adapter"):
        engine.add("bad", home.saves / "first")
    with pytest.raises(UserError, match="'whole' is no LoRA adapter"):
        engine.add("whole", home.models / "tiny")


def test_vllm_is_started_with_the_fields_and_ends_with_us(home: Workspace, seen: Path) -> None:
    values = {"vllm_maxlen": 77, "vllm_gpu_util": 0.5, "vllm_enforce_eager": True, "vllm_max_lora_rank": 16}
    more = {"vllm_config": {"dtype": "half", "max_model_len": "99", "enable_prefix_caching": "true"}}
    engine, _ = opened(
        home, infer_backend="vllm", model_name_or_path="models/tiny", adapter_name_or_path="saves/first", **values, **more
    )
    words = lines(seen)[0]["started"]
    assert words[:2] == ["serve", str(home.models / "tiny")]
    told = dict(zip(words, words[1:], strict=False))
    assert (told["--max-model-len"], told["--dtype"], told["--gpu-memory-utilization"]) == ("99", "half", "0.5")
    assert (told["--max-lora-rank"], told["--lora-modules"]) == ("16", f"first={home.saves / 'first'}")
    assert {"--enforce-eager", "--enable-lora", "--enable-prefix-caching"} <= set(words)
    assert "--trust-remote-code" not in words
    chances = list(engine.stream(BASE, CHAT, Sampling(2, logprobs=1), never))[0].chances[0]
    assert (chances.token, chances.logprob, chances.others[0].token) == (len(engine.tokens(CHAT)), -0.5, 9)
    engine.close()
    with pytest.raises(UserError):
        answer(engine)


def test_a_server_tells_how_likely_given_tokens_are(home: Workspace, seen: Path) -> None:
    engine, _ = opened(home, infer_backend="vllm", model_name_or_path="models/tiny", vllm_maxlen=32)
    rows = [([40, 41, 50], 1), ([40, 62], 0), *(([5] * at, at - 1) for at in range(2, 30))]
    first, second, *rest = engine.score(BASE, rows, likeliest=1)
    assert (first.logprobs, first.greedy) == ([-2.0, -1.0], [False, True])
    assert [[one.token for one in chance.others] for chance in first.chances] == [[1001], [50]]
    assert (math.isnan(second.logprobs[0]), second.logprobs[1], second.greedy) == (True, -3.0, [False, False])
    assert [len(one.logprobs) for one in rest] == [1] * 28
    asked = [line for line in lines(seen) if "prompt_logprobs" in line]
    assert {line["max_tokens"] for line in asked} == {1}
    assert sorted(len(line["prompt"]) for line in asked) == sorted(len(ids) for ids, _ in rows)
    assert engine.frame(BASE).context == 30
    with pytest.raises(TooLong, match="fewer than 32"):
        engine.score(BASE, [([5] * 32, 1)])
    engine.close()


def test_the_last_words_of_a_server_that_fails_are_said(home: Workspace, seen: Path) -> None:
    config = {"vllm_config": {"fail": "true"}}
    with pytest.raises(UserError, match=r"(?s)vLLM ended before it could answer \(exit code 3\).*CUDA out of memory"):
        opened(home, infer_backend="vllm", model_name_or_path="models/tiny", **config)


@pytest.mark.parametrize(("name", "said"), [("vllm", "pip install vllm"), ("sglang", "pip install sglang")])
def test_what_is_not_installed_is_told(name: str, said: str, home: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(UserError, match=said) as caught:
        opened(home, infer_backend=name, model_name_or_path="models/tiny")
    assert caught.value.problems[0].key == "infer_backend"


def test_nothing_of_a_neighbour_is_left(tmp_path: Path) -> None:
    """Neither when it is ended, nor when whoever started it is killed."""
    program = textwrap.dedent("""
        import subprocess, sys, time
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
        print("READY", child.pid, flush=True)
        time.sleep(60)
    """)
    command = watched([sys.executable, "-c", program])
    neighbour = Neighbour("It", command)
    neighbour.wait(lambda: bool(neighbour.told()), 10)
    first = int(neighbour.told())
    neighbour.end()
    assert is_gone(first)
    killed = f"""
        import sys, time
        sys.path.insert(0, {str(SOURCE)!r})
        from workbench.neighbours.process import Neighbour
        neighbour = Neighbour("It", {command!r})
        neighbour.wait(lambda: bool(neighbour.told()), 10)
        print(neighbour.told(), flush=True)
        time.sleep(60)
    """
    starter = subprocess.Popen([sys.executable, "-c", textwrap.dedent(killed)], stdout=subprocess.PIPE)
    assert starter.stdout is not None
    second = int(starter.stdout.readline())
    starter.kill()
    starter.communicate()
    assert is_gone(second)


def is_gone(pid: int) -> bool:
    import psutil

    deadline = time.monotonic() + 5
    while psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def test_a_remote_server_answers_and_its_key_is_nowhere(home: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_KEY", "secret-key")
    with serving(Echo((BASE,), 0.0), "secret-key") as url:
        told = {"infer_backend": "remote", "remote_url": f"{url}/v1", "remote_key_variable": "SOME_KEY"}
        engine, desk = opened(home, **told)
        assert answer(engine)[0] == "base: Who are you?"
        assert answer(engine, sampling=Sampling(max_tokens=2))[1].finish == "length"
        last = answer(engine, sampling=Sampling(stop=["are"]))
        assert (last[0], last[1].finish) == ("base: Who ", "stop")
        assert not any("secret-key" in file.read_text("utf-8") for file in desk.run.folder.rglob("*") if file.is_file())
        engine.close()
        monkeypatch.delenv("SOME_KEY")
        with pytest.raises(UserError, match="answered with status 401"):
            opened(home, **told)


def test_a_remote_server_that_is_none_is_told(home: Workspace) -> None:
    with pytest.raises(UserError, match="no address of a server") as caught:
        opened(home, infer_backend="remote", remote_url="nonsense")
    assert caught.value.problems[0].key == "remote_url"
    with pytest.raises(UserError, match="does not answer at http://127"):
        opened(home, infer_backend="remote", remote_url="http://127.0.0.1:9/v1")
    with pytest.raises(UserError, match="holds its own models"):
        opened(
            home,
            infer_backend="remote",
            remote_url="http://127.0.0.1:9/v1",
            adapter_name_or_path="saves/first",
            model_name_or_path="models/tiny",
        )


def test_auto_chooses_and_says_why(home: Workspace, seen: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = home.models / "x.gguf"
    file.write_bytes(b"GGUF")
    tiny, other = home.models / "tiny", write_model(home.models / "other")
    config = json.loads((other / "config.json").read_text())
    (other / "config.json").write_text(json.dumps({**config, "model_type": "gpt2", "architectures": ["GPT2LMHeadModel"]}))
    monkeypatch.setattr(auto, "find_spec", lambda name: object())
    monkeypatch.setattr(auto, "_has_cuda", lambda: False)
    assert [auto.choose(path)[0] for path in (file, tiny, other)] == ["llamacpp", "llamacpp", "transformers"]
    assert "the kind 'gpt2' can't become GGUF" in str(auto.choose(other)[1])
    monkeypatch.setattr(auto, "_has_cuda", lambda: True)
    assert [auto.choose(path)[0] for path in (file, tiny)] == ["llamacpp", "vllm"]
    monkeypatch.setenv("PATH", "")
    assert auto.choose(tiny)[0] == "transformers"
    monkeypatch.setattr(auto, "_has_cuda", lambda: False)
    monkeypatch.setattr(auto, "find_spec", lambda name: None)
    assert auto.choose(tiny)[0] == "transformers"
    engine, desk = opened(home, infer_backend="auto", model_name_or_path="models/tiny")
    assert answer(engine)[1].finish is not None
    notes = [str(entry.event.message) for entry in tail(desk.run.events, 0)[0] if isinstance(entry.event, Note)]
    assert any("transformers, since xllamacpp is not installed" in note for note in notes)


def test_tokens_are_the_bytes_that_they_stand_for(tiny_model: Path) -> None:
    from workbench.models import load_tokenizer

    tokenizer = load_tokenizer(tiny_model, False)
    words = Words(tokenizer)
    text = "极光 🌈 né\n\tx the in"
    ids = tokenizer(text)["input_ids"]
    assert b"".join(map(words.bytes_of, ids)) == text.encode()
    writing = words.writing(0)
    assert "".join(map(writing, ids)) == text
    assert words.bytes_of(0) == b""


class Separating(BaseHTTPRequestHandler):
    """Says what some models write: line ends of Unicode that end no line of a stream."""

    said = ["one\u2028two", "three\x85four", "\u2029"]

    def log_message(self, *_: Any) -> None:
        pass

    def do_POST(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream; charset=utf-8")
        self.end_headers()
        for words in self.said:
            self.wfile.write(f"data: {json.dumps({'content': words}, ensure_ascii=False)}\r\n\r\n".encode())
        self.wfile.write(b"data: [DONE]\n\n")


def test_line_ends_of_unicode_end_no_event_of_a_neighbour() -> None:
    with HTTPServer(("127.0.0.1", 0), Separating) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        wire = Wire("it", f"http://127.0.0.1:{server.server_port}")
        assert [event["content"] for event in wire.events("/any", {}, never)] == Separating.said
        wire.close()
        server.shutdown()
