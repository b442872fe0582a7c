"""Every engine that this machine can run keeps the same promises; what the transformers engine is made of."""

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy
import pytest
import torch
from peft import LoraConfig, get_peft_model
from tokenizers import Tokenizer
from transformers import DynamicCache

from tests.tiny import CONTEXT, END, SPECIAL, START, write_model
from workbench import engines, runs
from workbench.chats import stop_tokens
from workbench.engines import BASE, Answer, Engine, Piece, Sampling, TooLong
from workbench.engines.transformers.drawing import dice, draw
from workbench.engines.transformers.line import Line
from workbench.engines.transformers.writing import BROKEN, Writing
from workbench.events import EventLog, Note, Phase, tail
from workbench.jobs import Desk
from workbench.jobs.serve import model_names, prepare
from workbench.models import load_model, load_tokenizer
from workbench.problems import UserError
from workbench.sockets import plugins
from workbench.specs import ServeSpec, read_flat
from workbench.workspace import Workspace

CHAT = [{"role": "user", "content": "Who are you? 你是谁？"}]
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
    engine: Engine = plugins(engines)[spec.engine.infer_backend].open(spec.engine, prepare(spec, desk))
    return engine


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A workspace with the tiny model and two adapters, as runs would leave them."""
    home = Workspace(tmp_path_factory.mktemp("engines"))
    model = write_model(home.models / "tiny")
    for seed, name in enumerate(("first", "second.one")):
        write_adapter(model, home.saves / "tiny" / "lora" / name, seed)
    return home


@pytest.fixture(scope="module")
def opened(home: Workspace) -> dict[str, Engine]:
    """Every engine, with both adapters."""
    adapters = "saves/tiny/lora/first, saves/tiny/lora/second.one"
    return {name: open_engine(home, infer_backend=name, adapter_name_or_path=adapters) for name in ENGINES}


ENGINES = ("echo", "transformers")


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest, opened: dict[str, Engine]) -> Engine:
    return opened[request.param]


def test_every_engine_is_tested_here() -> None:
    assert set(plugins(engines)) == set(ENGINES)


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

    long = [{"role": "user", "content": "word " * 20}]
    _, last = text_of(engine.stream(BASE, long, Sampling(max_tokens=400, temperature=0), gone))
    assert last.finish == "cancelled"
    assert last.answer_tokens <= 4
    assert text_of(engine.stream(BASE, CHAT, GREEDY, never))[1].finish is not None


def test_no_half_characters(engine: Engine) -> None:
    chat = [{"role": "user", "content": "极光 🌈 né 👩‍👩‍👧"}]
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
    ids = engine._encode(engine._render(tokenizer, CHAT))
    with torch.no_grad():
        expected = model(input_ids=torch.tensor([ids]), logits_to_keep=1).logits[0, -1]
        output = model.generate(
            torch.tensor([ids]), attention_mask=torch.ones(1, len(ids)), max_new_tokens=24, do_sample=False
        )
    with engine._speaking_as(BASE):
        assert (engine._compute(ids, DynamicCache(config=model.config)) == expected.numpy()).all()
    answer = tokenizer.decode(output[0, len(ids) :], skip_special_tokens=True)
    assert text_of(engine.stream(BASE, CHAT, GREEDY, never))[0] == answer.rstrip(BROKEN)


def test_a_chat_that_fills_the_context_is_refused_and_a_shorter_one_cut(opened: dict[str, Engine]) -> None:
    engine = opened["transformers"]
    with pytest.raises(TooLong, match=f"Accepted: fewer than {CONTEXT}") as caught:
        engine.stream(BASE, [{"role": "user", "content": "x" * CONTEXT}], GREEDY, never)
    assert caught.value.problems[0].key == "messages"
    around = len(START + "user\n" + END + "\n" + START + "assistant\n") - len(END + START * 2) + 3
    chat = [{"role": "user", "content": "x" * (CONTEXT - around - 5)}]
    _, last = text_of(engine.stream(BASE, chat, Sampling(max_tokens=100, temperature=0), never))
    assert (last.finish, last.prompt_tokens + last.answer_tokens) == ("length", CONTEXT)


def test_an_answer_ends_with_its_turn(opened: dict[str, Engine]) -> None:
    ends = [text_of(opened["transformers"].stream(BASE, CHAT, Sampling(300, 2, 1, seed), never)) for seed in range(2)]
    stopped = [(text, last) for text, last in ends if last.finish == "stop"]
    assert stopped
    assert not any(word in text for text, _ in stopped for word in SPECIAL)


def test_the_end_of_turn_of_the_models_own_template_ends_an_answer(tiny_model: Path) -> None:
    tokenizer = load_tokenizer(tiny_model, False)
    tokenizer.eos_token = SPECIAL[0]
    assert set(stop_tokens(tokenizer, "auto")) >= {SPECIAL.index(END)}
    assert set(stop_tokens(tokenizer, "chatml")) >= {SPECIAL.index(END), SPECIAL.index(START)}


def test_nothing_is_drawn_from_the_numbers_of_others(opened: dict[str, Engine]) -> None:
    before = torch.get_rng_state()
    for seed in (3, None):
        text_of(opened["transformers"].stream(BASE, CHAT, Sampling(8, 1, 0.9, seed), never))
    assert torch.equal(before, torch.get_rng_state())


def test_a_template_that_refuses_says_why(home: Workspace) -> None:
    engine = open_engine(home, template="chatml")
    chat = [{"role": "user", "content": "a"}, {"role": "system", "content": "b"}]
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
    plugins(engines)["transformers"].open(spec.engine, prepare(spec, desk))
    events = [entry.event for entry in tail(desk.run.events, 0)[0]]
    assert [event.name for event in events if isinstance(event, Phase)] == ["fetching", "model"]
    assert any("fp32 on cpu" in str(event.message) for event in events if isinstance(event, Note))


def test_an_adapter_that_learned_another_template_is_told(home: Workspace) -> None:
    spec, desk = desk_for(home, adapter_name_or_path="saves/tiny/lora/first", infer_backend="echo")
    told = home.saves / "tiny" / "lora" / "first" / "spec.yaml"
    told.write_text("template: qwen\n")
    try:
        prepare(spec, desk)
    finally:
        told.unlink()
    notes = [str(e.event.message) for e in tail(desk.run.events, 0)[0] if isinstance(e.event, Note)]
    assert any("trained with the chat template 'qwen', and answers here with 'auto'" in note for note in notes)


def test_adapters_have_the_names_of_their_runs() -> None:
    given = ["saves/a/lora/x", "saves/b/lora/x/", "m/lora/y/checkpoint-40", "base", "C:\\saves\\z"]
    assert list(model_names(given)) == ["x", "x-2", "y/checkpoint-40", "base-2", "z"]
    assert list(model_names(given).values()) == given


class TestDrawing:
    LOGITS = numpy.log(numpy.array([0.1, 0.5, 0.05, 0.35], numpy.float32))

    def shares(self, temperature: float, top_p: float, draws: int = 4000) -> list[float]:
        generator = dice(1)
        drawn = [draw(self.LOGITS, Sampling(1, temperature, top_p), generator) for _ in range(draws)]
        return [drawn.count(token) / draws for token in range(4)]

    def test_temperature_1_draws_as_the_model_says(self) -> None:
        assert self.shares(1, 1) == pytest.approx([0.1, 0.5, 0.05, 0.35], abs=0.03)

    def test_top_p_keeps_the_smallest_set_that_reaches_it(self) -> None:
        assert self.shares(1, 0.8) == pytest.approx([0, 0.5 / 0.85, 0, 0.35 / 0.85], abs=0.03)
        assert self.shares(1, 0.45, 200) == [0, 1, 0, 0]
        assert self.shares(1, 0, 200) == [0, 1, 0, 0]

    def test_cold_is_greedy(self) -> None:
        assert self.shares(0, 1, 50) == self.shares(1e-300, 1, 50) == [0, 1, 0, 0]

    def test_among_many_tokens_none_is_drawn_from_outside_the_set(self) -> None:
        logits = (numpy.random.default_rng(0).normal(size=5000) * 3).astype(numpy.float32)
        chances = numpy.exp(logits.astype(numpy.float64))
        order = numpy.argsort(-chances)
        reached = numpy.cumsum(chances[order]) / chances.sum()
        for top_p, least in ((0.3, 5), (0.9, 90), (0.99, 120)):
            kept = order[: int((reached < top_p).sum()) + 1].tolist()
            generator = dice(5)
            drawn = {draw(logits, Sampling(1, 1, top_p), generator) for _ in range(300)}
            assert drawn <= set(kept)
            assert len(drawn) > least or len(drawn) == len(kept)


class TestWriting:
    TEXT = "极光 🌈 né 👩‍👩‍👧 the end, 𠮷"

    def pieces(self, decode: Callable[[Any], str], tokens: list[int]) -> list[str]:
        writing = Writing(decode)
        return [*(writing.add(token) for token in tokens), writing.rest(cut=False)]

    def test_bytes_become_whole_characters(self, tiny_model: Path) -> None:
        tokenizer = Tokenizer.from_file(str(tiny_model / "tokenizer.json"))
        tokens = tokenizer.encode(self.TEXT).ids
        pieces = self.pieces(tokenizer.decode, tokens)
        assert "".join(pieces) == self.TEXT
        assert BROKEN not in "".join(pieces)
        assert all(len(piece) <= 4 for piece in pieces)

    def test_a_decoder_that_breaks_a_whole_group_at_once(self) -> None:
        """As the decoder of Llama 2 does: while the last character is not whole, every byte of the group is shown broken."""

        def decode(tokens: Any) -> str:
            try:
                return bytes(tokens).decode()
            except UnicodeDecodeError:
                return BROKEN * len(tokens)

        pieces = self.pieces(decode, list(self.TEXT.encode()))
        assert "".join(pieces) == self.TEXT

    def test_a_character_that_was_cut_is_left_out_and_a_broken_one_is_shown(self, tiny_model: Path) -> None:
        tokenizer = Tokenizer.from_file(str(tiny_model / "tokenizer.json"))
        writing = Writing(tokenizer.decode)
        for token in tokenizer.encode("ab极").ids[:-1]:
            writing.add(token)
        assert (writing.rest(cut=True), writing.rest(cut=False)) == ("", BROKEN)

    def test_what_never_becomes_a_character_does_not_wait_for_ever(self) -> None:
        writing = Writing(lambda tokens: BROKEN * len(tokens))
        assert any(writing.add(1) for _ in range(20))


class TestAnswer:
    @pytest.mark.parametrize(
        ("parts", "stop", "shown"),
        [
            (["Hel", "lo wo", "rld"], ["o w"], "Hell"),
            (["a<", "|e", "nd|>b"], ["<|end|>"], "a"),
            (["a<", "|en", "ough"], ["<|end|>"], "a<|enough"),
            (["aab", "aac"], ["aac"], "aab"),
            (["one two"], ["two", "one"], ""),
            (["plain"], [""], "plain"),
            (["ends with <|"], ["<|end|>"], "ends with <|"),
        ],
    )
    def test_stop_strings(self, parts: list[str], stop: list[str], shown: str) -> None:
        answer = Answer(stop)
        assert "".join(answer.add(part) for part in parts) + answer.rest() == shown

    @pytest.mark.parametrize(
        ("parts", "shown"),
        [
            (["<think>\n", "\n</think>\n\n", "Hello"], "Hello"),
            (["<think>\nLet me", " see"], "<think>\nLet me see"),
            (["Hi"], "Hi"),
            (["<thi"], "<thi"),
        ],
    )
    def test_the_lead_is_no_part_of_it(self, parts: list[str], shown: str) -> None:
        answer = Answer([], "<think>\n\n</think>\n\n")
        assert "".join(answer.add(part) for part in parts) + answer.rest() == shown


def test_the_line_is_in_the_order_of_asking_and_lets_go_of_who_has_gone() -> None:
    line, served, leave = Line(), [], threading.Event()

    def ask(name: str, gone: Callable[[], bool]) -> None:
        with line.turn(gone) as first:
            served.append((name, first))

    with line.turn(never) as first:
        assert first
        threads = []
        for name, gone in (("a", never), ("b", leave.is_set), ("c", never)):
            threads.append(threading.Thread(target=ask, args=(name, gone)))
            threads[-1].start()
            time.sleep(0.02)
        leave.set()
        threads[1].join(2)
    for thread in threads:
        thread.join(2)
    assert served == [("b", False), ("a", True), ("c", True)]
