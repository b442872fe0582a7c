"""The engine of llama.cpp with the tiny model: what it computes is what transformers computes; files, adapters, places."""

import json
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model

from tests.test_engines import CHAT, GREEDY, desk_for, never, open_engine, text_of, write_adapter
from tests.tiny import CONTEXT, write_model
from workbench import engines
from workbench.engines import BASE, Chat, Engine, Raw, Sampling, TooLong
from workbench.events import Note, Phase, tail
from workbench.models import load_model
from workbench.opening import prepare
from workbench.problems import UserError
from workbench.sockets import plugins
from workbench.workspace import Workspace

pytestmark = pytest.mark.slow

F32 = {"infer_backend": "llamacpp", "llamacpp_type": "f32"}
ADAPTERS = "saves/first, saves/second"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    home = Workspace(tmp_path_factory.mktemp("llamacpp"))
    model = write_model(home.models / "tiny")
    for seed, name in enumerate(("first", "second")):
        write_adapter(model, home.saves / name, seed)
    return home


@pytest.fixture(scope="module")
def engine(home: Workspace) -> Iterator[Engine]:
    engine = open_engine(home, adapter_name_or_path=ADAPTERS, **F32)
    yield engine
    engine.close()


@pytest.fixture(scope="module")
def twin(home: Workspace) -> Iterator[Engine]:
    """The same in transformers."""
    engine = open_engine(home, adapter_name_or_path=ADAPTERS, infer_dtype="float32")
    yield engine
    engine.close()


def continued(engine: Engine, model: str, prompt: Any, sampling: Sampling) -> list[int]:
    """The tokens of an answer, as its chances tell them."""
    pieces = engine.stream(model, prompt, sampling, never)
    return [chance.token for piece in pieces for chance in piece.chances]


@pytest.mark.parametrize("model", [BASE, "first", "second"])
def test_greedy_text_is_that_of_transformers(model: str, engine: Engine, twin: Engine) -> None:
    compared = 0
    for words in ("Who are you?", "one two three", "极光 🌈 né", "the in re on", "What is 7 x 8?", "list"):
        chat = Chat([{"role": "user", "content": words}])
        one, other = (text_of(which.stream(model, chat, GREEDY, never)) for which in (engine, twin))
        assert one[1].prompt_tokens == other[1].prompt_tokens
        if one[1].finish == "stop" and other[1].finish != "stop":
            continue  # llama.cpp ends at <|endoftext|> in every model, whatever its template says
        compared += 1
        # It leaves out a character that it takes for one that was not finished.
        assert other[0].startswith(one[0]) and len(other[0]) - len(one[0]) <= 3 and len(one[0]) > 8
        assert (one[1].finish, one[1].answer_tokens) == (other[1].finish, other[1].answer_tokens)
    assert compared >= 3


def reference(home: Workspace, ids: list[int], count: int, change: Any) -> list[int]:
    """Greedy tokens with the logits changed at each step, computed in the plainest way."""
    model = load_model(home.models / "tiny", "fp32", False).cpu()
    said: list[int] = []
    with torch.no_grad():
        for _ in range(count):
            logits = model(input_ids=torch.tensor([ids + said])).logits[0, -1].clone()
            change(logits, said)
            said.append(int(logits.argmax()))
    return said


def test_presence_and_frequency_count_the_answer_alone(home: Workspace, engine: Engine) -> None:
    ids = list(range(40, 70)) * 3

    def change(logits: Any, said: list[int]) -> None:
        for token in set(said):
            logits[token] -= 1.5 + 0.5 * said.count(token)

    wanted = reference(home, ids, 40, change)
    sampling = Sampling(40, 0, presence_penalty=1.5, frequency_penalty=0.5, ignore_eos=True)
    text, last = text_of(engine.stream(BASE, Raw(ids), sampling, never))
    assert last.answer_tokens == 40 and set(wanted) & set(ids)
    tokenizer: Any = engine.__dict__["_tokenizer"]
    assert text.rstrip("\ufffd") == tokenizer.decode(wanted, skip_special_tokens=True).rstrip("\ufffd")


def test_frequency_alone_and_repetition(home: Workspace, engine: Engine) -> None:
    ids = list(range(50, 90))
    tokenizer: Any = engine.__dict__["_tokenizer"]

    def counted(logits: Any, said: list[int]) -> None:
        for token in set(said):
            logits[token] -= 0.7 * said.count(token)

    def repeated(logits: Any, said: list[int]) -> None:
        for token in set(ids + said):
            logits[token] = logits[token] / 1.4 if logits[token] > 0 else logits[token] * 1.4

    for change, sampling in (
        (counted, Sampling(24, 0, frequency_penalty=0.7, logprobs=0)),
        (repeated, Sampling(24, 0, repetition_penalty=1.4, logprobs=0)),
    ):
        wanted = reference(home, ids, 24, change)
        text, _ = text_of(engine.stream(BASE, Raw(ids), sampling, never))
        assert text[:12] == tokenizer.decode(wanted, skip_special_tokens=True)[:12]


def test_log_probabilities_are_those_before_all_bending(home: Workspace, engine: Engine) -> None:
    ids = list(range(40, 60))
    model = load_model(home.models / "tiny", "fp32", False).cpu()
    with torch.no_grad():
        wanted = model(input_ids=torch.tensor([ids])).logits[0, -1].log_softmax(-1)
    sampling = Sampling(1, 0, logprobs=3, logit_bias={70: 100.0})
    (chance,) = [one for piece in engine.stream(BASE, Raw(ids), sampling, never) for one in piece.chances]
    assert chance.token == 70 and chance.logprob == pytest.approx(float(wanted[70]), abs=1e-3)
    likeliest = wanted.topk(3)
    assert [one.token for one in chance.others] == likeliest.indices.tolist()
    assert [one.logprob for one in chance.others] == pytest.approx(likeliest.values.tolist(), abs=1e-3)
    assert not continued(engine, BASE, Raw(ids), GREEDY)


def test_guesses_change_no_answer(home: Workspace, engine: Engine) -> None:
    guessing = open_engine(home, adapter_name_or_path=ADAPTERS, llamacpp_drafts=True, **F32)
    ids = list(range(40, 60)) * 4
    greedy = Sampling(48, 0, ignore_eos=True)
    try:
        for model in (BASE, "second"):
            for sampling in (greedy, replace(greedy, frequency_penalty=0.7), replace(greedy, repetition_penalty=1.2)):
                one, other = (text_of(which.stream(model, Raw(ids), sampling, never)) for which in (engine, guessing))
                assert one == other
        told = replace(greedy, logprobs=2)
        assert continued(guessing, BASE, Raw(ids), told) == continued(engine, BASE, Raw(ids), told)
        drawn = Sampling(48, 1.0, seed=7, ignore_eos=True)
        texts = {text_of(guessing.stream(BASE, Raw(ids), drawn, never))[0] for _ in range(3)}
        assert len(texts) == 1
        schema = {"type": "object", "properties": {"a": {"enum": ["x", "y"]}}, "required": ["a"], "additionalProperties": False}
        text, _ = text_of(guessing.stream(BASE, CHAT, Sampling(60, 1.0, seed=1, json_schema=schema), never))
        assert json.loads(text)["a"] in ("x", "y")
    finally:
        guessing.close()


def test_json_of_a_schema(engine: Engine) -> None:
    schema = {"type": "object", "properties": {"a": {"enum": ["x", "y"]}}, "required": ["a"], "additionalProperties": False}
    for seed in range(3):
        text, last = text_of(engine.stream(BASE, CHAT, Sampling(100, 1, 1, seed, json_schema=schema), never))
        assert text.replace(" ", "").replace("\n", "").replace("\r", "").replace("\t", "") in ('{"a":"x"}', '{"a":"y"}')
        assert last.finish == "stop"


def test_what_can_not_be_computed_together_is_refused(engine: Engine) -> None:
    with pytest.raises(UserError, match="can't compute together"):
        engine.stream(BASE, CHAT, Sampling(presence_penalty=1, json_schema={}), never)
    with pytest.raises(TooLong, match=f"fewer than {CONTEXT}"):
        engine.stream(BASE, Raw([5] * CONTEXT), GREEDY, never)
    with pytest.raises(UserError, match="no embeddings with the adapter 'first'"):
        engine.embed("first", ["a"])


def test_embeddings_are_the_mean_of_the_last_states(home: Workspace, engine: Engine) -> None:
    model = load_model(home.models / "tiny", "fp32", False).cpu()
    text = "one two three"
    ids = list(engine.tokens(Raw(text)))
    with torch.no_grad():
        wanted = model.model(input_ids=torch.tensor([ids])).last_hidden_state[0].mean(0)
    (found,) = engine.embed(BASE, [text])
    assert found.tokens == len(ids) and found.values == pytest.approx(wanted.tolist(), abs=1e-3)


def test_many_at_once_are_answered_and_who_leaves_frees_the_place(engine: Engine) -> None:
    alone = text_of(engine.stream("first", CHAT, GREEDY, never))
    left = [engine.stream(BASE, CHAT, Sampling(400, 1, seed=at, ignore_eos=True), never) for at in range(8)]
    for pieces in left:
        next(pieces)
        pieces.close()  # type: ignore[attr-defined]
    found: list[Any] = []
    threads = [
        threading.Thread(target=lambda: found.append(text_of(engine.stream("first", CHAT, GREEDY, never)))) for _ in range(6)
    ]
    started = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert found == [alone] * 6
    assert time.monotonic() - started < 20


def test_adapters_come_and_go_while_it_answers(home: Workspace) -> None:
    engine = open_engine(home, adapter_name_or_path="saves/first", **F32)
    try:
        before = text_of(engine.stream("first", CHAT, GREEDY, never))[0]
        running = engine.stream("first", CHAT, Sampling(60, 0, ignore_eos=True), never)
        next(running)
        engine.add("second", home.saves / "second")
        assert list(engine.models) == [BASE, "first", "second"]
        second = text_of(engine.stream("second", CHAT, GREEDY, never))[0]
        assert second != before and text_of(running)[1].finish == "length"
        engine.remove("first")
        assert list(engine.models) == [BASE, "second"]
        assert text_of(engine.stream("second", CHAT, GREEDY, never))[0] == second
    finally:
        engine.close()


def test_whole_models_and_other_adapters_are_models_of_their_own(home: Workspace) -> None:
    base = load_model(home.models / "tiny", "fp32", False)
    torch.manual_seed(5)
    config = LoraConfig(task_type="CAUSAL_LM", r=4, target_modules=["q_proj", "up_proj"], use_dora=True, init_lora_weights=False)
    get_peft_model(base, config).save_pretrained(str(home.saves / "dora"))
    whole = write_model(home.saves / "whole", seed=9)
    (whole / "spec.yaml").write_text("stage: sft\n")
    given = "saves/first, saves/dora, saves/whole"
    one, other = (open_engine(home, adapter_name_or_path=given, **values) for values in (F32, {"infer_dtype": "float32"}))
    try:
        texts = set()
        for name in (BASE, "first", "dora", "whole"):
            text, _ = text_of(one.stream(name, CHAT, GREEDY, never))
            assert text[:12] == text_of(other.stream(name, CHAT, GREEDY, never))[0][:12]
            texts.add(text)
        assert len(texts) == 4
        one.remove("whole")
        assert list(one.models) == [BASE, "first", "dora"]
    finally:
        one.close()
        other.close()


def test_a_learned_prompt_is_refused_by_name(home: Workspace) -> None:
    folder = home.saves / "prefix"
    folder.mkdir()
    (folder / "adapter_config.json").write_text('{"peft_type": "PREFIX_TUNING", "base_model_name_or_path": "models/tiny"}')
    with pytest.raises(UserError, match=r"'prefix' is a learned prompt \(PREFIX_TUNING\)") as caught:
        open_engine(home, adapter_name_or_path="saves/prefix", **F32)
    assert caught.value.problems[0].key == "adapter_name_or_path"


def test_a_model_is_written_once_and_anew_when_it_changed(tmp_path: Path) -> None:
    home = Workspace(tmp_path)
    folder = write_model(home.models / "tiny")

    def opened() -> tuple[list[str], list[str]]:
        spec, desk = desk_for(home, infer_backend="llamacpp")
        plugins(engines)["llamacpp"].open(spec.engine, prepare(spec.model, desk)).close()
        events = [entry.event for entry in tail(desk.run.events, 0)[0]]
        notes = [str(event.message) for event in events if isinstance(event, Note)]
        assert any("weights of the type f16" in note for note in notes)
        return [note for note in notes if "written once" in note], [one.name for one in events if isinstance(one, Phase)]

    notes, phases = opened()
    assert notes and "model" in phases
    assert opened() == ([], [])
    write_model(folder, seed=3)
    assert opened()[0]
    assert len(list((home.cache / "gguf").iterdir())) == 1


def test_a_gguf_file_is_a_model(home: Workspace, engine: Engine) -> None:
    (made,) = (home.cache / "gguf").glob("tiny-*.f32.gguf")
    (home.models / "mine.gguf").write_bytes(made.read_bytes())
    given = {"model_name_or_path": "mine.gguf", "adapter_name_or_path": "saves/first"}
    other = open_engine(home, infer_backend="auto", **given)
    try:
        assert list(other.tokens(CHAT)) == list(engine.tokens(CHAT))
        for name in (BASE, "first"):
            one, two = (text_of(which.stream(name, CHAT, GREEDY, never)) for which in (other, engine))
            assert one[0][:10] == two[0][:10]
    finally:
        other.close()
    with pytest.raises(UserError, match=r"'mine\.gguf' is a GGUF file. Accepted: the engine llamacpp"):
        open_engine(home, infer_backend="transformers", model_name_or_path="mine.gguf")


def test_a_server_that_dies_is_told(home: Workspace) -> None:
    engine: Any = open_engine(home, **F32)
    pieces = engine.stream(BASE, CHAT, Sampling(400, 0, ignore_eos=True), never)
    next(pieces)
    engine.__dict__["_shared"].process.__dict__["_process"].kill()
    with pytest.raises(UserError, match=r"llama\.cpp ended in the middle|does not answer"):
        list(pieces)
        list(engine.stream(BASE, CHAT, GREEDY, never))
    engine.close()
    (home.models / "torn.gguf").write_bytes(b"GGUF" + bytes(64))
    with pytest.raises(UserError, match=r"torn\.gguf"):
        open_engine(home, infer_backend="llamacpp", model_name_or_path="torn.gguf")
