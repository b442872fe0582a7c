"""Every engine that this machine can run keeps the same promises; what the transformers engine is made of."""

import itertools
import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy
import pytest
import torch
from peft import LoraConfig, get_peft_model
from safetensors.numpy import load_file, save_file
from transformers import DynamicCache

from tests.tiny import CONTEXT, END, SPECIAL, START, write_model
from workbench import engines, runs
from workbench.chats import stop_tokens
from workbench.desk import Desk
from workbench.engines import BASE, Chat, Engine, Piece, Raw, Sampling, TooLong
from workbench.engines.transformers.computing import Apart, Computing
from workbench.engines.transformers.writing import BROKEN
from workbench.events import EventLog, Note, Phase, tail
from workbench.models import load_model, load_tokenizer
from workbench.opening import model_names, prepare
from workbench.problems import UserError
from workbench.sockets import plugins
from workbench.specs import ServeSpec, read_flat
from workbench.workspace import Workspace

CHAT = Chat([{"role": "user", "content": "Who are you? 你是谁？"}])
GREEDY = Sampling(max_tokens=24, temperature=0)
RANDOM = Sampling(max_tokens=24, temperature=1, top_p=1, seed=7)


def never() -> bool:
    return False


def text_of(pieces: Iterator[Piece]) -> tuple[str, Piece]:
    """The whole answer and its last piece."""
    got = list(pieces)
    assert [piece.finish for piece in got[:-1]] == [None] * (len(got) - 1)
    assert got[-1].finish is not None
    return "".join(piece.text for piece in got), got[-1]


def logits_of(computing: Computing, ids: list[int]) -> Any:
    """What it computes after this prompt."""
    place = computing.begin("nobody's", ids)
    assert place is not None
    logits = computing.read(place, ids)
    computing.end(place)
    return logits


def write_adapter(model: Path, folder: Path, seed: int, rank: int = 4) -> Path:
    """An adapter that says something else than its base."""
    torch.manual_seed(seed)
    base = load_model(model, "fp32", False)
    config = LoraConfig(task_type="CAUSAL_LM", r=rank, target_modules="all-linear", init_lora_weights=False)
    tuned = get_peft_model(base, config)
    tuned.peft_config["default"].base_model_name_or_path = "models/tiny"
    tuned.save_pretrained(str(folder), save_embedding_layers=False)
    return folder


def desk_for(workspace: Workspace, **values: Any) -> tuple[ServeSpec, Desk]:
    spec = read_flat(ServeSpec, {"model_name_or_path": "models/tiny", **values}).unwrap()
    run = runs.create(workspace, spec)
    return spec, Desk(run, EventLog(run.events), False)


def open_engine(workspace: Workspace, **values: Any) -> Engine:
    spec, desk = desk_for(workspace, **values)
    engine: Engine = plugins(engines)[spec.engine.infer_backend].open(spec.engine, prepare(spec.model, desk))
    return engine


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A workspace with the tiny model and two adapters, as runs would leave them."""
    home = Workspace(tmp_path_factory.mktemp("engines"))
    model = write_model(home.models / "tiny")
    for seed, name in enumerate(("first", "second.one")):
        write_adapter(model, home.saves / "tiny" / "lora" / name, seed)
    return home


class Opened(dict[str, Engine]):
    """Every engine by name, with both adapters, opened when it is first asked for."""

    def __init__(self, home: Workspace) -> None:
        self._home = home

    def __missing__(self, name: str) -> Engine:
        adapters = "saves/tiny/lora/first, saves/tiny/lora/second.one"
        more = {"llamacpp_type": "f32"} if name == "llamacpp" else {}
        self[name] = open_engine(self._home, infer_backend=name, adapter_name_or_path=adapters, **more)
        return self[name]


@pytest.fixture(scope="module")
def opened(home: Workspace) -> Iterator[dict[str, Engine]]:
    engines = Opened(home)
    yield engines
    for engine in engines.values():
        engine.close()


ENGINES = ("echo", "transformers")
SLOW = ("llamacpp",)
OTHERS = ("auto", "remote", "vllm", "sglang")
"""What passes questions on, to servers that tests/test_neighbours.py puts there."""


@pytest.fixture(params=[*ENGINES, *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW)])
def engine(request: pytest.FixtureRequest, opened: dict[str, Engine]) -> Engine:
    return opened[request.param]


def test_every_engine_is_tested_here() -> None:
    assert set(plugins(engines)) == {*ENGINES, *SLOW, *OTHERS}


def test_base_is_the_first_name_and_every_adapter_has_its_runs(engine: Engine) -> None:
    assert list(engine.models) == [BASE, "first", "second.one"]


@pytest.mark.parametrize("sampling", [GREEDY, RANDOM], ids=["greedy", "seeded"])
def test_the_same_request_gives_the_same_text(engine: Engine, sampling: Sampling) -> None:
    texts = {text_of(engine.stream("first", CHAT, sampling, never))[0] for _ in range(3)}
    assert len(texts) == 1
    assert texts.pop()


def test_each_model_answers_for_itself(engine: Engine) -> None:
    texts = [text_of(engine.stream(name, CHAT, GREEDY, never))[0] for name in (*engine.models, BASE)]
    assert len(set(texts)) == 3
    assert texts[0] == texts[-1]


@pytest.mark.parametrize("limit", [1, 3])
def test_max_tokens_ends_the_answer(engine: Engine, limit: int) -> None:
    _, last = text_of(engine.stream(BASE, CHAT, Sampling(max_tokens=limit, temperature=0), never))
    assert (last.finish, last.answer_tokens) == ("length", limit)
    assert last.prompt_tokens > 0


def test_a_stop_string_ends_the_answer_and_is_not_shown(engine: Engine) -> None:
    whole, _ = text_of(engine.stream(BASE, CHAT, GREEDY, never))
    word = whole[4:7]
    sampling = Sampling(max_tokens=24, temperature=0, stop=["not in there", word])
    text, last = text_of(engine.stream(BASE, CHAT, sampling, never))
    assert (text, last.finish) == (whole[: whole.find(word)], "stop")
    unheard = Sampling(max_tokens=24, temperature=0, stop=[whole[-2:] + "more"])
    assert text_of(engine.stream(BASE, CHAT, unheard, never))[0] == whole


def test_who_has_gone_is_not_answered_further(engine: Engine) -> None:
    asked = [0]

    def gone() -> bool:
        asked[0] += 1
        return asked[0] > 4

    long = Chat([{"role": "user", "content": "word " * 20}])
    _, last = text_of(engine.stream(BASE, long, Sampling(max_tokens=400, temperature=0), gone))
    assert last.finish == "cancelled"
    tokens_a_step = 4 if type(engine).__name__ == "LlamaCpp" else 1  # there a step is a whole character, of up to four bytes
    assert last.answer_tokens <= 4 * tokens_a_step
    assert text_of(engine.stream(BASE, CHAT, GREEDY, never))[1].finish is not None


def test_no_half_characters(engine: Engine) -> None:
    chat = Chat([{"role": "user", "content": "极光 🌈 né 👩‍👩‍👧"}])
    pieces = list(engine.stream(BASE, chat, Sampling(max_tokens=60, temperature=0), never))
    "".join(piece.text for piece in pieces).encode()
    assert not any(piece.text.endswith(BROKEN) for piece in pieces[:-1])


def test_answers_at_once_are_those_of_answers_alone(opened: dict[str, Engine]) -> None:
    engine = opened["transformers"]
    requests = [(name, Sampling(20, 1, 0.9, seed)) for seed in range(3) for name in engine.models]
    alone = [text_of(engine.stream(name, CHAT, sampling, never))[0] for name, sampling in requests]
    together: list[str] = [""] * len(requests)

    def answer(at: int) -> None:
        together[at] = text_of(engine.stream(requests[at][0], CHAT, requests[at][1], never))[0]

    threads = [threading.Thread(target=answer, args=(at,)) for at in range(len(requests))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert together == alone
    assert len(set(alone)) == len(alone)


def test_the_base_is_the_base_alone_while_adapters_are_loaded(home: Workspace, opened: dict[str, Engine]) -> None:
    engine: Any = opened["transformers"]
    text_of(engine.stream("first", CHAT, GREEDY, never))
    model, tokenizer = load_model(home.models / "tiny", "fp32", False), load_tokenizer(home.models / "tiny", False)
    ids = engine._prompt(tokenizer, CHAT)
    with torch.no_grad():
        expected = model(input_ids=torch.tensor([ids]), logits_to_keep=1).logits[0, -1]
        output = model.generate(
            torch.tensor([ids]), attention_mask=torch.ones(1, len(ids)), max_new_tokens=24, do_sample=False
        )
    plain = Apart(lambda: model, lambda: DynamicCache(config=model.config), 1)
    assert (logits_of(plain, ids) == expected.numpy()).all()

    def together() -> Any:
        with engine._voices.speaking(BASE):
            return logits_of(engine._computing(BASE), ids)

    assert numpy.abs(engine._loop.do(together) - expected.numpy()).max() < 1e-5
    answer = tokenizer.decode(output[0, len(ids) :], skip_special_tokens=True)
    assert text_of(engine.stream(BASE, CHAT, GREEDY, never))[0] == answer.rstrip(BROKEN)


def test_a_chat_that_fills_the_context_is_refused_and_a_shorter_one_cut(opened: dict[str, Engine]) -> None:
    engine = opened["transformers"]
    with pytest.raises(TooLong, match=f"Accepted: fewer than {CONTEXT}") as caught:
        engine.stream(BASE, Chat([{"role": "user", "content": "x" * CONTEXT}]), GREEDY, never)
    assert caught.value.problems[0].key == "messages"
    around = len(START + "user\n" + END + "\n" + START + "assistant\n") - len(END + START * 2) + 3
    chat = Chat([{"role": "user", "content": "x" * (CONTEXT - around - 5)}])
    _, last = text_of(engine.stream(BASE, chat, Sampling(max_tokens=100, temperature=0), never))
    assert (last.finish, last.prompt_tokens + last.answer_tokens) == ("length", CONTEXT)


def test_an_answer_ends_with_its_turn(opened: dict[str, Engine], monkeypatch: pytest.MonkeyPatch) -> None:
    engine: Any = opened["transformers"]
    assert engine._stop_ids == {SPECIAL.index(END)}
    ids = engine._tokenizer("a b c", add_special_tokens=False)["input_ids"]
    written = engine.stream(BASE, Raw(ids), replace(GREEDY, max_tokens=12, logprobs=0), never)
    tokens = [chance.token for piece in written for chance in piece.chances]
    end = next(at for at, token in enumerate(tokens) if at > 2 and token not in tokens[:at])
    monkeypatch.setattr(engine, "_stop_ids", frozenset({tokens[end]}))
    monkeypatch.setattr(engine, "_prompt", lambda tokenizer, messages: ids)
    text, last = text_of(engine.stream(BASE, CHAT, GREEDY, never))
    assert (last.finish, last.answer_tokens) == ("stop", end)
    assert text == engine._decode(tokens[:end])


def test_the_end_of_turn_of_the_models_own_template_ends_an_answer(tiny_model: Path) -> None:
    tokenizer = load_tokenizer(tiny_model, False)
    tokenizer.eos_token = SPECIAL[0]
    assert set(stop_tokens(tokenizer, "auto")) >= {SPECIAL.index(END)}
    assert set(stop_tokens(tokenizer, "chatml")) >= {SPECIAL.index(END), SPECIAL.index(START)}


def test_a_long_prompt_is_computed_in_parts_and_can_be_given_up_between_them(
    opened: dict[str, Engine], monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = opened["transformers"]
    chat = Chat([{"role": "user", "content": "one two three " * 20}])
    whole = text_of(engine.stream(BASE, chat, GREEDY, never))
    monkeypatch.setattr("workbench.engines.transformers.computing.CHUNK", 7)
    assert text_of(engine.stream(BASE, chat, GREEDY, never)) == whole
    asked = itertools.chain([False, False, False], itertools.repeat(True))
    assert list(engine.stream("second.one", chat, GREEDY, lambda: next(asked))) == [
        Piece("", "cancelled", whole[1].prompt_tokens, 0)
    ]


def test_numbers_that_are_none_are_told(tmp_path: Path) -> None:
    home = Workspace(tmp_path)
    file = write_model(home.models / "tiny") / "model.safetensors"
    broken = {name: weight * numpy.float32("nan") for name, weight in load_file(file).items()}
    save_file(broken, file, metadata={"format": "pt"})
    pieces = open_engine(home, infer_dtype="bfloat16").stream(BASE, CHAT, GREEDY, never)
    with pytest.raises(UserError, match="In bf16 this model computes no numbers"):
        list(pieces)


def test_nothing_is_drawn_from_the_numbers_of_others(opened: dict[str, Engine]) -> None:
    before = torch.get_rng_state()
    for seed in (3, None):
        text_of(opened["transformers"].stream(BASE, CHAT, Sampling(8, 1, 0.9, seed), never))
    assert torch.equal(before, torch.get_rng_state())


def test_a_template_that_refuses_says_why(home: Workspace) -> None:
    engine = open_engine(home, template="chatml")
    chat = Chat([{"role": "user", "content": "a"}, {"role": "system", "content": "b"}])
    with pytest.raises(UserError, match="refuses these messages: Role 'system'"):
        engine.stream(BASE, chat, GREEDY, never)


def test_an_adapter_of_another_shape_is_told(home: Workspace, tmp_path: Path) -> None:
    other = Workspace(tmp_path)
    write_model(other.models / "tiny")
    folder = write_adapter(other.models / "tiny", other.saves / "tiny" / "lora" / "a", 1)
    config = folder / "adapter_config.json"
    config.write_text(config.read_text().replace('"r": 4', '"r": 8'))
    with pytest.raises(UserError, match="Adapter 'a' does not fit this model") as caught:
        open_engine(other, adapter_name_or_path="saves/tiny/lora/a")
    assert caught.value.problems[0].key == "adapter_name_or_path"
    (folder / "adapter_model.safetensors").write_bytes(b"torn")
    with pytest.raises(UserError, match="Adapter 'a' does not fit"):
        open_engine(other, adapter_name_or_path="saves/tiny/lora/a")
    with pytest.raises(UserError, match="no adapter_config.json"):
        open_engine(other, adapter_name_or_path="saves/tiny/lora/none")


def test_opening_says_its_phases_and_its_precision(home: Workspace) -> None:
    spec, desk = desk_for(home)
    plugins(engines)["transformers"].open(spec.engine, prepare(spec.model, desk))
    events = [entry.event for entry in tail(desk.run.events, 0)[0]]
    assert [event.name for event in events if isinstance(event, Phase)] == ["model"]
    assert any("fp32 on cpu" in str(event.message) for event in events if isinstance(event, Note))


def test_an_adapter_that_learned_another_template_is_told(home: Workspace) -> None:
    spec, desk = desk_for(home, adapter_name_or_path="saves/tiny/lora/first", infer_backend="echo")
    told = home.saves / "tiny" / "lora" / "first" / "spec.yaml"
    told.write_text("template: qwen\n")
    try:
        prepare(spec.model, desk)
    finally:
        told.unlink()
    notes = [str(e.event.message) for e in tail(desk.run.events, 0)[0] if isinstance(e.event, Note)]
    assert any("trained with the chat template 'qwen', and answers here with 'auto'" in note for note in notes)


def test_adapters_have_the_names_of_their_runs() -> None:
    given = ["saves/a/lora/x", "saves/b/lora/x/", "m/lora/y/checkpoint-40", "base", "C:\\saves\\z"]
    assert list(model_names(given)) == ["x", "x-2", "y/checkpoint-40", "base-2", "z"]
    assert list(model_names(given).values()) == given


def test_a_conversation_that_goes_on_is_not_read_again(home: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workbench.engines.transformers.computing.CHUNK", 8)
    engine: Any = open_engine(home)
    read: list[int] = []
    together = engine._loop.do(lambda: engine._computing(BASE))
    plainly = together.read
    monkeypatch.setattr(together, "read", lambda place, ids: read.append(len(ids)) or plainly(place, ids))
    first = Chat([{"role": "user", "content": "one two three " * 6}])
    told = text_of(engine.stream(BASE, first, GREEDY, never))
    whole, length = sum(read), told[1].prompt_tokens
    assert whole == length
    assert text_of(engine.stream(BASE, first, GREEDY, never)) == told
    assert sum(read) - whole == length - (length - 1) // 8 * 8
    longer = Chat([*first.messages, {"role": "assistant", "content": "four"}, {"role": "user", "content": "five"}])
    read.clear()
    alone = text_of(open_engine(home).stream(BASE, longer, GREEDY, never))
    assert text_of(engine.stream(BASE, longer, GREEDY, never)) == alone
    assert sum(read) < alone[1].prompt_tokens / 2


def test_more_requests_than_places_wait_and_each_gets_its_own_answer(home: Workspace) -> None:
    engine = open_engine(home, max_num_seqs=2)
    plain = open_engine(home, max_num_seqs=1)
    chats = [Chat([{"role": "user", "content": f"{at} " * (at * 7 + 1)}]) for at in range(7)]
    together: list[str] = [""] * len(chats)

    def answer(at: int) -> None:
        together[at] = text_of(engine.stream(BASE, chats[at], replace(RANDOM, seed=at), never))[0]

    threads = [threading.Thread(target=answer, args=(at,)) for at in range(len(chats))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    alone = [text_of(plain.stream(BASE, chat, replace(RANDOM, seed=at), never))[0] for at, chat in enumerate(chats)]
    assert together == alone


def test_an_answer_follows_a_json_schema(home: Workspace) -> None:
    engine = open_engine(home)
    schema = {"type": "object", "properties": {"n": {"enum": [1, 2]}}, "required": ["n"], "additionalProperties": False}
    for seed in range(4):
        sampling = Sampling(60, 1.0, 1.0, seed, json_schema=schema)
        text, last = text_of(engine.stream(BASE, CHAT, sampling, never))
        assert json.loads(text)["n"] in (1, 2)
        assert last.finish == "stop"
    with pytest.raises(UserError, match="can't be used") as caught:
        engine.stream(BASE, CHAT, Sampling(json_schema={"type": "nonsense"}), never)
    assert caught.value.problems[0].key == "response_format"


def test_chances_are_those_of_the_model(home: Workspace) -> None:
    engine = open_engine(home)
    pieces = list(engine.stream(BASE, CHAT, Sampling(5, 0, logprobs=3, logit_bias={5: 100}), never))
    chances = [chance for piece in pieces for chance in piece.chances]
    assert [chance.token for chance in chances] == [5] * 5
    model = load_model(home.models / "tiny", "fp32", False)
    with torch.no_grad():
        expected = model(input_ids=torch.tensor([engine.tokens(CHAT)])).logits[0, -1].log_softmax(-1)
    top = expected.topk(3)
    assert [one.token for one in chances[0].others] == top.indices.tolist()
    assert [one.logprob for one in chances[0].others] == pytest.approx(top.values.tolist(), abs=1e-4)
    assert chances[0].logprob == pytest.approx(float(expected[5]), abs=1e-4)


def test_a_voice_joins_and_leaves_while_others_speak(home: Workspace) -> None:
    engine = open_engine(home)
    base = text_of(engine.stream(BASE, CHAT, GREEDY, never))
    speaking = engine.stream(BASE, CHAT, replace(GREEDY, max_tokens=200, ignore_eos=True), never)
    next(speaking)
    engine.add("late", home.saves / "tiny" / "lora" / "first")
    assert list(engine.models) == [BASE, "late"]
    late = text_of(engine.stream("late", CHAT, GREEDY, never))
    assert late != base
    assert text_of(speaking)[1].answer_tokens == 200
    engine.remove("late")
    assert list(engine.models) == [BASE]
    assert text_of(engine.stream(BASE, CHAT, GREEDY, never)) == base
    engine.add("again", home.saves / "tiny" / "lora" / "first")
    assert text_of(engine.stream("again", CHAT, GREEDY, never)) == late
    engine.close()


def test_a_text_as_a_vector_is_the_mean_of_its_states(home: Workspace) -> None:
    engine = open_engine(home)
    (found,) = engine.embed(BASE, ["one two"])
    model, tokenizer = load_model(home.models / "tiny", "fp32", False), load_tokenizer(home.models / "tiny", False)
    ids = tokenizer("one two", return_tensors="pt")["input_ids"]
    with torch.no_grad():
        expected = model(input_ids=ids, output_hidden_states=True).hidden_states[-1][0].mean(0)
    assert found.values == pytest.approx(expected.tolist(), abs=1e-5)
    assert found.tokens == ids.shape[1]
