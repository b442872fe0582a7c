"""Exported GGUF files in llama.cpp, and folders of few bits in transformers: they load in a fresh process and answer as here."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy
import pytest

from tests.slow.test_gguf import expected, log_chances, pieced, served, write_family
from tests.test_engines import CHAT, GREEDY, desk_for, never, text_of, write_adapter
from tests.test_gguf_export import trained_weights
from workbench import engines
from workbench.chats import ChatOptions, render, template_names
from workbench.engines import BASE
from workbench.exporters import Bounds, Source, Trained, quantized
from workbench.exporters import gguf as exporter
from workbench.models import load_model, load_tokenizer
from workbench.opening import prepare
from workbench.proving.asking import likely_at, say
from workbench.proving.comparing import Likely, compare
from workbench.setup.starter import NAME
from workbench.sockets import plugins
from workbench.workspace import Workspace

pytestmark = pytest.mark.slow

ASKED = ("What is the capital of France?", "Give me three names for a cat.")
TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "weather",
            "description": "Weather of a city",
            "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
        },
    }
]
CHATS: Sequence[tuple[Sequence[dict[str, Any]], Sequence[dict[str, Any]]]] = (
    ([{"role": "user", "content": "Hi there, 你好"}], ()),
    (
        [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "What is 2+2?"},
            {"role": "assistant", "content": "4"},
            {"role": "user", "content": "  And 3+3?  "},
        ],
        (),
    ),
    ([{"role": "user", "content": "How is the weather in Bern?"}], TOOLS),
)
OWN_DATE = ("llama3.1",)
"""Templates whose system text names a day: llama.cpp says today's, as it does for the family's own template."""
USUAL = ("alpaca", "chatml", "gemma", "llama2", "llama3", "mistral", "phi4", "qwen", "qwen3", "yi")


def lay(root: Path, model: Path) -> Workspace:
    home = Workspace(root)
    home.models.mkdir(parents=True)
    (home.models / "tiny").symlink_to(model)
    return home


def source_of(home: Workspace, *trained: Trained, **values: Any) -> Source:
    spec, desk = desk_for(home, **values)
    return Source(prepare(spec.model, desk), trained, "mine")


def exported(source: Source, folder: Path, **values: Any) -> Path:
    folder.mkdir(exist_ok=True)
    made = exporter.export(exporter.Spec(**values), source, folder)
    assert made.model is not None
    return folder / made.model


@pytest.mark.parametrize(("kind", "most"), [("f32", 2e-3), ("q4_k_m", 0.2)])
def test_a_trained_model_answers_in_llama_cpp_as_here(kind: str, most: float, tmp_path: Path) -> None:
    """Rows of 256 numbers, so that every K-quant is what it is called."""
    wide = {"hidden_size": 256, "intermediate_size": 512, "num_hidden_layers": 4, "initializer_range": 0.06}
    home = lay(tmp_path / "home", write_family(tmp_path / "model", "qwen2", wide))
    first, second = (write_adapter(tmp_path / "model", home.saves / str(seed), seed) for seed in (1, 2))
    source = source_of(home, Trained(first, 0.3), Trained(second, 0.15))
    file = exported(source, tmp_path / "out", gguf_kind=kind)
    model = load_model(tmp_path / "model", "fp32", False).cpu()
    weights = trained_weights(home, *source.trained)
    plain = expected(model, ids := list(range(3, 43)))
    for name, weight in model.named_parameters():
        weight.data.copy_(weight.new_tensor(weights[name]))
    wanted = expected(model, ids)
    with served(file) as server:
        told = log_chances(server, ids, len(wanted))
    distance = float((numpy.exp(wanted) * (wanted - told)).sum())
    assert -1e-6 < distance < most < float((numpy.exp(wanted) * (wanted - plain)).sum()), f"KL {distance:.5f}"


def test_sentencepiece_words_are_written_and_read_alike(tmp_path: Path) -> None:
    """As Llama 2, Mistral, Gemma and Yi have them, with Llama 2's template and its marks for training gone."""
    pieced(tmp_path / "words")
    size = len(load_tokenizer(tmp_path / "words", False))
    write_family(tmp_path / "model", "llama", {})
    model = load_model(tmp_path / "model", "fp32", False)
    model.resize_token_embeddings(size)
    model.save_pretrained(tmp_path / "model")
    pieced(tmp_path / "model")
    source = source_of(lay(tmp_path / "home", tmp_path / "model"), template="llama2")
    tokenizer = source.opening.tokenizer()
    text = render(tokenizer, CHATS[1][0], True, (), ChatOptions()).text
    with served(exported(source, tmp_path / "out", gguf_kind="f32")) as server:
        assert server.wire.post("/apply-template", {"messages": CHATS[1][0]})["prompt"] == text
        asked = {"content": text, "add_special": False, "parse_special": True}
        assert server.wire.post("/tokenize", asked)["tokens"] == tokenizer(text, add_special_tokens=False)["input_ids"]
        ids = tokenizer(text, add_special_tokens=False)["input_ids"][:60]
        wanted = expected(load_model(tmp_path / "model", "fp32", False).cpu(), ids)
        assert numpy.abs(log_chances(server, ids, size) - wanted).max() < 2e-3


def check_template(name: str, tiny_model: Path, folder: Path) -> None:
    source = source_of(lay(folder / "home", tiny_model), template=name)
    tokenizer = source.opening.tokenizer()
    with served(exported(source, folder / "out", gguf_kind="f16")) as server:
        for messages, tools in CHATS:
            wanted = render(tokenizer, messages, True, tools, ChatOptions()).text
            told = server.wire.post("/apply-template", {"messages": messages, **({"tools": tools} if tools else {})})["prompt"]
            assert told == wanted, name


@pytest.mark.parametrize("name", USUAL)
def test_llama_cpp_writes_a_chat_as_the_template_does(name: str, tiny_model: Path, tmp_path: Path) -> None:
    check_template(name, tiny_model, tmp_path)


@pytest.mark.proof
def test_llama_cpp_writes_a_chat_as_every_template_does(tiny_model: Path, tmp_path: Path) -> None:
    names = [name for name in template_names() if name not in OWN_DATE]
    assert len(names) >= 60
    for name in names:
        check_template(name, tiny_model, tmp_path / name)


def test_what_was_chosen_beside_the_template_stands_in_the_file(tiny_model: Path, tmp_path: Path) -> None:
    source = source_of(lay(tmp_path / "home", tiny_model), template="qwen3", default_system="Be kind.", enable_thinking="false")
    with served(exported(source, tmp_path / "out", gguf_kind="f16")) as server:
        prompt = server.wire.post("/apply-template", {"messages": CHATS[0][0]})["prompt"]
    assert "<|im_start|>system\nBe kind.<|im_end|>" in prompt and prompt.endswith("<think>\n\n</think>\n\n")


def test_an_adapter_alone_speaks_over_its_base(tiny_model: Path, tmp_path: Path) -> None:
    home = lay(tmp_path / "home", tiny_model)
    trained = Trained(write_adapter(tiny_model, home.saves / "a", 1))
    source = source_of(home, trained)
    (tmp_path / "out").mkdir()
    made = exporter.export(exporter.Spec(gguf_adapter=True), source, tmp_path / "out")
    texts = []
    for name, folder in (("llamacpp", tmp_path / "out" / (made.adapter or "")), ("transformers", trained.folder)):
        kind = plugins(engines)[name]
        values = {"llamacpp_type": "f32"} if name == "llamacpp" else {"infer_dtype": "float32"}
        engine = kind.open(kind.Spec(**values), replace(source.opening, adapters={"mine": folder}))
        texts.append(text_of(engine.stream("mine", CHAT, GREEDY, never))[0][:12])
        engine.close()
    assert texts[0] == texts[1]


Told = tuple[list[int], list[int], list[Likely]]


@pytest.fixture(scope="module")
def told(starter_home: Workspace) -> list[Told]:
    """Prompts, what the starter model answers in float32, and what was likely at each place."""
    kind = plugins(engines)["transformers"]
    source = source_of(lay(starter_home.root / "told", starter_home.models / NAME))
    engine = kind.open(kind.Spec(infer_dtype="float32", max_num_seqs=1), source.opening)
    found = []
    for words in ASKED:
        ids = list(engine.tokens(replace(CHAT, messages=[{"role": "user", "content": words}])))
        tokens = [one.token for one in say(engine, BASE, ids, 12)[1]]
        assert len(tokens) >= 4
        found.append((ids, tokens, likely_at(engine, BASE, ids, tokens)))
    engine.close()
    return found


def check_bounds(source: Source, told: Sequence[Told], bounds: Bounds, made: Path, name: str, **values: Any) -> None:
    kind = plugins(engines)[name]
    opening = replace(source.opening, folder=lambda: made, model=lambda precision: source.opening.whole(made, precision))
    engine = kind.open(kind.Spec(**values), opening)
    places = [compare(tokens, likely, likely_at(engine, BASE, ids, tokens)) for ids, tokens, likely in told]
    engine.close()
    count = sum(one.tokens for one in places)
    same, divergence = sum(one.same for one in places) / count, sum(one.divergence * one.tokens for one in places) / count
    assert same >= bounds.least_same and 0 < divergence <= bounds.most_divergence, f"{same:.3f} {divergence:.5f}"


def test_the_starter_model_lies_within_the_bounds(starter_home: Workspace, told: list[Told], tmp_path: Path) -> None:
    """Its rows of 576 numbers get other types, as in llama.cpp's own quantiser; that is told."""
    notes: list[str] = []
    source = source_of(lay(tmp_path / "home", starter_home.models / NAME))
    source = replace(source, opening=replace(source.opening, note=lambda message: notes.append(str(message))))
    file = exported(source, tmp_path / "out", gguf_kind="q4_k_m")
    assert any("no multiple of 256" in note for note in notes)
    check_bounds(source, told, exporter.BOUNDS["q4_k_m"], file, "llamacpp", llamacpp_parallel=1)


@pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing.*:FutureWarning")
@pytest.mark.parametrize("bits", ["4", "8"])
def test_a_folder_of_few_bits_lies_within_its_bounds(
    bits: str, starter_home: Workspace, told: list[Told], tmp_path: Path
) -> None:
    source = source_of(lay(tmp_path / "home", starter_home.models / NAME))
    out = tmp_path / "out"
    out.mkdir()
    spec = quantized.Spec.model_validate({"export_quantization_bit": bits})
    needed = quantized.needs(spec, source)
    made = quantized.export(spec, source, out)
    files = {file.name for file in out.iterdir()}
    assert {"config.json", "generation_config.json", "model.safetensors", "tokenizer.json", "chat_template.jinja"} <= files
    assert (out / "model.safetensors").stat().st_size < 0.8 * needed
    check_bounds(source, told, made.bounds, out, "transformers", infer_dtype="float32")
